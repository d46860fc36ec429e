//! Answers that may not be stored: they pass through, once each.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use svc_edge_origin::{Gate, Origin, Outcome, Script, pattern};

use super::*;

/// What keeps an answer out of a shared cache (RFC 9111 §3, and Set-Cookie by the contract).
const REASONS: [(&str, &str); 6] = [
    ("Cache-Control", "no-store, max-age=60"),
    ("Cache-Control", "private, max-age=60"),
    ("CDN-Cache-Control", "no-store"),
    ("Set-Cookie", "id=1; Path=/"),
    ("Vary", "*"),
    ("Vary", "Accept-Language, *"),
];

/// Answer each request with a body of its own that may not be stored.
fn counted(origin: &Origin, path: &str, gate: &Gate) {
    let (count, gate) = (Arc::new(AtomicUsize::new(0)), gate.clone());
    origin.answer(path, move |_| {
        let body = count.fetch_add(1, Ordering::SeqCst).to_string();
        Script::status(200).cache_control("no-store").wait(&gate).body(body.as_bytes())
    });
}

#[test]
fn what_may_not_be_stored_passes_through_each_time() {
    let origin = Origin::start();
    let server = live(&origin);
    for (case, (name, value)) in REASONS.into_iter().enumerate() {
        let (own, path) = (case.to_string(), format!("/s/{case}"));
        origin.route(&path, Script::fresh(60).header(name, value).pattern(100_000));
        for count in 1..=3 {
            let answer = get(&server, &own, &[]);
            assert!(answer.body.len() == 100_000 && pattern::is_at(0, &answer.body), "{name}: {value}");
            assert!(!says(&answer, "stored") && !says(&answer, "hit"), "{name}: {value}: {answer:?}");
            assert!(!answer.list(&name.to_ascii_lowercase()).is_empty(), "{name} is passed on");
            assert_eq!(origin.requests(&path).len(), count, "{name}: {value}");
        }
        assert_not_stored(&server, &own);
    }
}

#[test]
fn those_who_waited_for_what_may_not_be_stored_go_on_their_own() {
    let (origin, gate) = (Origin::start(), Gate::new());
    counted(&origin, "/s/a", &gate);
    let server = live(&origin);
    let bodies: HashSet<_> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..5).map(|_| scope.spawn(|| get(&server, "a", &[]))).collect();
        server.eventually("all are waiting", || server.metric("edge_inflight") >= 5.0);
        gate.open();
        readers.into_iter().map(|reader| reader.join().unwrap().text()).collect()
    });
    assert_eq!(bodies.len(), 5, "an answer went to more than one: {bodies:?}");
    assert_eq!(origin.requests("/s/a").len(), 5);
}

#[test]
fn a_key_that_could_not_be_stored_is_not_waited_for_the_next_time() {
    let (origin, gate) = (Origin::start(), Gate::new());
    gate.open();
    counted(&origin, "/s/a", &gate);
    let server = live(&origin);
    get(&server, "a", &[]);
    let gate = Gate::new();
    origin.route("/s/a", Script::status(200).cache_control("no-store").wait(&gate).body(b"x"));
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(|| get(&server, "a", &[]))).collect();
        // All three reach the origin while none of them is answered.
        origin.await_requests("/s/a", 4);
        gate.open();
        readers.into_iter().for_each(|reader| assert_eq!(reader.join().unwrap().status, 200));
    });
}

#[test]
fn an_answer_that_passes_through_gives_its_worker_back_at_its_head() {
    let (origin, gate) = (Origin::start(), Gate::new());
    origin.route("/s/long", Script::status(200).cache_control("no-store").pattern(1000).wait(&gate).pattern(1000));
    origin.route("/s/other", text("other"));
    // Of two workers, one origin holds one at most.
    let server = live_with(&origin, "", &format!("{FILL}, workers: 2")).start();
    let mut long = server.client();
    long.ask("GET", &asset("long"), &[]);
    long.head().unwrap();
    long.exactly(1000).unwrap();
    assert_eq!(get(&server, "other", &[]).text(), "other");
    gate.open();
    assert!(pattern::is_at(1000, &long.rest().unwrap()));
}

#[test]
fn a_slow_reader_of_what_passes_through_holds_the_origin_back_and_takes_it_along_when_it_leaves() {
    const LENGTH: u64 = 512 << 20;
    let origin = Origin::start();
    origin.route("/s/a", Script::status(200).cache_control("no-store").pattern(LENGTH));
    let server = live(&origin);
    claim_faults(&server);
    let before = server.rss();
    let mut slow = server.client();
    slow.ask("GET", &asset("a"), &[]);
    slow.head().unwrap();
    slow.exactly(1000).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let request = origin.requests("/s/a").remove(0);
    // What is under way is in the buffers of four sockets and in bounded channels.
    assert!(request.sent() < 64 << 20, "{} bytes are held somewhere", request.sent());
    assert!(server.rss() < before + (32 << 20), "{} bytes more than before", server.rss() - before);
    drop(slow);
    server.eventually("given up", || request.outcome() == Some(Outcome::Cut));
}

#[test]
fn store_set_cookie_lets_an_answer_with_a_cookie_be_stored() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello").header("Set-Cookie", "id=1"));
    let server = live_with(&origin, ", store_set_cookie: true", FILL).start();
    get(&server, "a", &[]);
    assert_eq!(await_stored(&server, "a").text(), "hello");
    assert_eq!(origin.requests("/s/a").len(), 1);
}

#[test]
fn a_request_with_authorization_gets_nothing_that_would_be_shared() {
    let origin = Origin::start();
    origin.route("/s/a", text("secret"));
    let server = live(&origin);
    let answer = get(&server, "a", &[("Authorization", "Bearer abc")]);
    assert_refused(&answer, 403, "not_allowed");
    assert_eq!(origin.all_requests().len(), 0);
    assert_not_stored(&server, "a");
}
