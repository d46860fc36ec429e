//! Requests whose handling panics: one answer with 500, and nobody else notices.

use super::*;
use crate::server::setup;

const A: &str = "/edge/assets/site/a.txt";

/// A server whose requests panic by `faults`.
fn panicking(faults: &str) -> Server {
    let server = setup().asset("a.txt", b"hello").environment("SVC_EDGE_FAULTS", faults).start();
    ["fault_armed", "request_panic"].iter().for_each(|event| server.claim(event));
    server
}

#[test]
fn a_request_that_panics_is_one_500_told_once_and_its_connection_closes() {
    let server = panicking("edge.request=panic@2");
    let mut other = server.client();
    assert_eq!(other.request("GET", A, &[]).text(), "hello");
    let mut client = server.client();
    let secrets = [("X-Corr-ID", "an.id_1-A"), ("Cookie", "secret1"), ("Authorization", "secret2")];
    let answer = client.request("GET", &format!("{A}?secret3"), &secrets);
    assert_refused(&answer, 500, "internal");
    assert_eq!((answer.header("x-corr-id"), answer.header("connection")), (Some("an.id_1-A"), Some("close")));
    assert_eq!(answer.json()["instance"], "an.id_1-A");
    assert!(!answer.text().contains("on purpose") && !answer.text().contains(".rs"), "{}", answer.text());
    assert!(client.closed());
    // Those who were there before, and those who come after.
    for client in [&mut other, &mut server.client()] {
        assert_eq!(client.request("GET", A, &[]).text(), "hello");
    }
    assert_eq!(server.metric("request_panics_total"), 1.0);
    assert_eq!(server.metric("rejected_total{reason=\"internal\"}"), 1.0);
    server.eventually("given back", || server.metric("edge_inflight") == 0.0);
    server.eventually("told", || !server.logged("request_panic").is_empty());
    let grave: Vec<_> = server.log().into_iter().filter(|line| line["level"] == "error").collect();
    assert_eq!(grave.len(), 1, "{grave:#?}");
    assert_eq!(grave[0]["corr_id"], "an.id_1-A");
    assert!(grave[0]["place"].as_str().is_some_and(|place| place.contains("faults.rs:")), "{}", grave[0]);
    let log = format!("{:?}", server.log());
    assert!(!log.contains("secret") && !log.contains("a.txt"), "{log}");
    assert!(server.logged("no_json").is_empty(), "the panic itself prints nothing");
}

#[test]
fn a_panic_behind_the_header_cuts_the_answer() {
    let server = panicking("edge.body=panic@2");
    assert_eq!(server.get(A, &[]).text(), "hello");
    let cut = server.client().fetch("GET", A, &[]);
    assert!(cut.is_err(), "a part passed for the whole: {cut:?}");
    assert_eq!(server.get(A, &[]).text(), "hello");
    assert_eq!(server.metric("request_panics_total"), 1.0);
    assert_eq!(server.metric("rejected_total{reason=\"internal\"}"), 0.0);
    server.eventually("given back", || server.metric("edge_inflight") == 0.0);
    server.eventually("told", || server.logged("request_panic").len() == 1);
}

#[test]
fn a_server_whose_every_request_panics_gives_every_place_back() {
    let setup = setup().asset("a.txt", b"hello").edge("  ingress: {max_inflight: 1}\n");
    let server = setup.environment("SVC_EDGE_FAULTS", "edge.request=panic@..40").start();
    ["fault_armed", "request_panic"].iter().for_each(|event| server.claim(event));
    for _ in 0..40 {
        assert_refused(&server.get(A, &[]), 500, "internal");
        server.eventually("given back", || server.metric("edge_inflight") == 0.0);
    }
    assert_eq!(server.get(A, &[]).text(), "hello");
    assert_eq!(server.metric("request_panics_total"), 40.0);
}
