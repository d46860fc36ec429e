//! Revalidation (RFC 9111 §4.3).

use svc_edge_origin::{Origin, Script, pattern};

use super::*;
use crate::fixtures::tag;

const MODIFIED: &str = "Sat, 01 Jan 2000 00:00:00 GMT";

/// Fill `a` and let it become stale.
fn stale(origin: &Origin) -> Server {
    let server = live(origin);
    get(&server, "a", &[]);
    server.eventually("committed", || server.metric("edge_cas_objects") == 1.0);
    become_stale();
    server
}

#[test]
fn a_304_renews_what_is_stored_and_saves_its_bytes() {
    let origin = Origin::start();
    let renewed = Script::status(304).header("ETag", "\"one\"").header("X-Revision", "2").cache_control("max-age=60");
    let script = Script::fresh(1).header("ETag", "\"one\"").header("X-Revision", "1").header("X-Kept", "1");
    origin.route("/s/a", script.or_not_modified(renewed).pattern(100_000));
    let server = stale(&origin);
    let answer = get(&server, "a", &[]);
    assert!(answer.status == 200 && answer.body.len() == 100_000 && pattern::is_at(0, &answer.body));
    assert_eq!((answer.header("x-revision"), answer.header("x-kept")), (Some("2"), Some("1")));
    assert_eq!(answer.header("cache-control"), Some("max-age=60"));
    assert_eq!(answer.header("content-length"), Some("100000"));
    assert!(says(&answer, "fwd=stale") && says(&answer, "fwd-status=304"), "{answer:?}");
    assert_eq!(answer.header("etag"), Some(tag(&answer.body).as_str()));
    let requests = origin.requests("/s/a");
    assert_eq!(requests[1].list("if-none-match"), ["\"one\""]);
    assert_eq!((requests.len(), requests[1].sent()), (2, 0));
    let hit = get(&server, "a", &[]);
    assert!(says(&hit, "hit") && hit.header("x-revision") == Some("2"), "{hit:?}");
    assert_eq!(origin.requests("/s/a").len(), 2);
}

#[test]
fn what_has_no_tag_is_revalidated_by_its_date() {
    let origin = Origin::start();
    origin.route("/s/a", Script::fresh(1).header("Last-Modified", MODIFIED).conditional().body(b"hello"));
    let server = stale(&origin);
    let answer = get(&server, "a", &[]);
    assert_eq!((answer.text().as_str(), says(&answer, "fwd-status=304")), ("hello", true), "{answer:?}");
    let requests = origin.requests("/s/a");
    assert_eq!((requests[1].header("if-modified-since"), requests[1].sent()), (Some(MODIFIED), 0));
}

#[test]
fn what_has_changed_comes_whole_and_replaces_what_was_stored() {
    let origin = Origin::start();
    let script =
        |tag: &str, body: &str, age| Script::fresh(age).header("ETag", tag).conditional().body(body.as_bytes());
    origin.route("/s/a", [script("\"one\"", "old", 1), script("\"two\"", "new", 60)]);
    let server = stale(&origin);
    let answer = get(&server, "a", &[]);
    assert_eq!(answer.text(), "new");
    assert!(says(&answer, "fwd=stale") && says(&answer, "fwd-status=200"), "{answer:?}");
    assert_eq!(await_stored(&server, "a").header("etag"), Some(tag(b"new").as_str()));
    assert_eq!(origin.requests("/s/a").len(), 2);
}

#[test]
fn a_client_whose_copy_is_still_right_gets_304_after_the_origin_has_confirmed_it() {
    let origin = Origin::start();
    origin.route("/s/a", Script::fresh(1).header("ETag", "\"one\"").conditional().body(b"hello"));
    let server = stale(&origin);
    let answer = get(&server, "a", &[("If-None-Match", &tag(b"hello"))]);
    assert_eq!((answer.status, answer.header("etag")), (304, Some(tag(b"hello").as_str())));
    let request = origin.requests("/s/a").remove(1);
    assert_eq!(request.list("if-none-match"), ["\"one\""], "the client's own tag stays here");
}

#[test]
fn a_range_of_what_is_stale_is_answered_from_what_the_origin_confirmed() {
    let origin = Origin::start();
    origin.route("/s/a", Script::fresh(1).header("ETag", "\"one\"").conditional().ranges().pattern(10_000));
    let server = stale(&origin);
    let part = get(&server, "a", &[("Range", "bytes=100-199")]);
    assert_eq!((part.status, part.header("content-range")), (206, Some("bytes 100-199/10000")));
    assert!(pattern::is_at(100, &part.body));
    let request = origin.requests("/s/a").remove(1);
    assert_eq!((request.header("range"), request.sent()), (None, 0));
}

#[test]
fn no_cache_is_stored_and_asked_about_each_time() {
    let origin = Origin::start();
    let script = Script::status(200).header("ETag", "\"one\"").cache_control("no-cache");
    origin.route("/s/a", script.conditional().pattern(5000));
    let server = live(&origin);
    get(&server, "a", &[]);
    server.eventually("committed", || server.metric("edge_cas_objects") == 1.0);
    for count in 2..=4 {
        let answer = get(&server, "a", &[]);
        assert!(pattern::is_at(0, &answer.body) && answer.body.len() == 5000);
        let requests = origin.requests("/s/a");
        assert_eq!((requests.len(), requests[count - 1].sent()), (count, 0));
    }
}

#[test]
fn many_that_find_it_stale_at_once_cost_one_revalidation() {
    let (origin, gate) = (Origin::start(), svc_edge_origin::Gate::new());
    let first = Script::fresh(1).header("ETag", "\"one\"").body(b"hello");
    let renewed = Script::status(304).header("ETag", "\"one\"").cache_control("max-age=60").wait(&gate);
    let second = Script::fresh(60).header("ETag", "\"one\"").or_not_modified(renewed).body(b"hello");
    origin.route("/s/a", [first, second]);
    let server = stale(&origin);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..10).map(|_| scope.spawn(|| get(&server, "a", &[]))).collect();
        server.eventually("all are waiting", || server.metric("edge_inflight") >= 10.0);
        gate.open();
        readers.into_iter().for_each(|reader| assert_eq!(reader.join().unwrap().text(), "hello"));
    });
    assert_eq!(origin.requests("/s/a").len(), 2);
}

#[test]
fn a_304_to_what_was_not_asked_conditionally_is_a_fault_of_the_origin() {
    let origin = Origin::start();
    origin.route("/s/a", Script::status(304).header("ETag", "\"one\"").cache_control("max-age=60"));
    let server = live(&origin);
    claim_faults(&server);
    let answer = get(&server, "a", &[]);
    assert_refused(&answer, 502, "origin");
    assert_not_stored(&server, "a");
}

#[test]
fn head_of_what_is_stored_is_answered_from_it_and_never_sent_to_the_origin() {
    let origin = Origin::start();
    let script = |age| Script::fresh(age).header("ETag", "\"one\"").header("X-Own", "1").body(b"hello").conditional();
    origin.route("/s/a", script(1));
    let server = live(&origin);
    let head = || server.client().fetch("HEAD", &asset("a"), &[]).unwrap();
    assert_eq!(get(&server, "a", &[]).text(), "hello");
    server.eventually("stored", || server.metric("edge_cas_objects") == 1.0);
    become_stale();
    // Long enough for a slow machine.
    origin.route("/s/a", script(60));
    // What is stale is validated by a conditional GET, whose 304 says all that a 200 to HEAD could (RFC 9111 §4.3.5).
    let answer = head();
    assert_eq!((answer.status, answer.header("content-length"), answer.header("x-own")), (200, Some("5"), Some("1")));
    assert!(says(&answer, "fwd=stale") && says(&answer, "fwd-status=304"), "{answer:?}");
    let answer = head();
    assert!(says(&answer, "hit") && answer.header("content-length") == Some("5"), "{answer:?}");
    let methods: Vec<_> = origin.requests("/s/a").iter().map(|request| request.method.clone()).collect();
    assert_eq!(methods, ["GET", "GET"]);
    assert_eq!(get(&server, "a", &[("Range", "bytes=1-3"), ("If-Range", &tag(b"hello"))]).text(), "ell");
}
