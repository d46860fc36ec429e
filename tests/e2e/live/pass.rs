//! Requests that can't be cached: passed straight through where the conf says so, and what they invalidate (RFC 9111 §4.4).

use svc_edge_origin::{Origin, Script};

use super::*;
use crate::http::Client;

/// A POST with a body.
fn post(client: &mut Client, name: &str, body: &str) -> Response {
    let length = body.len();
    let target = asset(name);
    client.send(
        format!("POST {target} HTTP/1.1\r\nHost: edge.test\r\nContent-Type: text/x-own\r\nContent-Length: {length}\r\n\r\n{body}")
            .as_bytes(),
    );
    let mut answer = client.head().unwrap();
    answer.body = client.rest().unwrap();
    answer
}

/// A server that passes, with these names stored.
fn passing(origin: &Origin, names: &[&str]) -> Server {
    let server = live_with(origin, ", pass: true", FILL).start();
    for name in names {
        get(&server, name, &[]);
        await_stored(&server, name);
    }
    server
}

#[test]
fn without_pass_other_methods_are_refused_and_ask_nobody() {
    let origin = Origin::start();
    origin.fallback(|_| text("hello"));
    let server = live(&origin);
    for method in ["POST", "PUT", "DELETE", "PATCH", "QUERY"] {
        let answer = server.client().request(method, &asset("a"), &[("Content-Length", "0")]);
        assert_refused(&answer, 405, "method");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn with_pass_a_request_goes_through_with_its_body_and_its_answer_comes_back() {
    let origin = Origin::start();
    origin.route("/s/a", Script::status(201).header("X-Own", "1").body(b"made"));
    let server = passing(&origin, &[]);
    let answer = post(&mut server.client(), "a", "a body");
    assert_eq!((answer.status, answer.header("x-own"), answer.text().as_str()), (201, Some("1"), "made"));
    assert!(says(&answer, "fwd=bypass") || says(&answer, "fwd=method"), "{answer:?}");
    let request = origin.requests("/s/a").remove(0);
    assert_eq!((request.method.as_str(), request.body.as_slice()), ("POST", &b"a body"[..]));
    assert_eq!(request.header("content-type"), Some("text/x-own"));
    assert!(request.list("via").iter().any(|via| via.ends_with(" svc-edge")), "{}", request.head());
    assert_not_stored(&server, "a");
}

#[test]
fn an_unsafe_request_that_succeeds_invalidates_what_is_stored() {
    let origin = Origin::start();
    for name in ["target", "location", "content", "elsewhere", "failed"] {
        origin.route(&format!("/s/{name}"), text(name));
    }
    let names = ["target", "location", "content", "elsewhere", "failed"];
    let server = passing(&origin, &names);
    let made = Script::status(201)
        .header("Location", "/s/location")
        .header("Content-Location", &origin.url("/s/content"))
        .header("Link", "</s/elsewhere>");
    origin.route("/s/target", made);
    origin.route("/s/failed", Script::status(500).body(b"no"));
    assert_eq!(post(&mut server.client(), "target", "x").status, 201);
    assert_eq!(post(&mut server.client(), "failed", "x").status, 500);
    for (name, gone) in
        [("target", true), ("location", true), ("content", true), ("elsewhere", false), ("failed", false)]
    {
        server.eventually(name, || stored(&server, name, &[]).is_none() == gone);
    }
}

#[test]
fn a_location_on_another_host_invalidates_nothing_here() {
    let origin = Origin::start();
    origin.fallback(|request| text(&request.target));
    let server = passing(&origin, &["kept"]);
    origin.route("/s/a", Script::status(201).header("Location", "http://other.example/s/kept"));
    assert_eq!(post(&mut server.client(), "a", "").status, 201);
    assert_not_stored(&server, "a");
    assert!(stored(&server, "kept", &[]).is_some());
}

#[test]
fn interim_responses_of_what_passes_through_are_passed_on() {
    let origin = Origin::start();
    origin.route("/s/a", Script::status(200).interim(103, &[("Link", "</x>; rel=preload")]).body(b"done"));
    let server = passing(&origin, &[]);
    let mut client = server.client();
    client.send(format!("POST {} HTTP/1.1\r\nHost: edge.test\r\nContent-Length: 0\r\n\r\n", asset("a")).as_bytes());
    let early = client.read_head().unwrap();
    assert_eq!((early.status, early.header("link")), (103, Some("</x>; rel=preload")));
    assert_eq!(client.head().unwrap().status, 200);
    assert_eq!(client.rest().unwrap(), b"done");
}
