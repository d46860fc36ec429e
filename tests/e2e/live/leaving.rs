//! Readers that leave.

use svc_edge_origin::{Gate, Origin, Outcome, Script, pattern};

use super::*;

#[test]
fn a_reader_that_leaves_changes_nothing_for_the_others() {
    let (origin, gate) = (Origin::start(), Gate::new());
    origin.route("/s/a", Script::fresh(60).pattern(100_000).wait(&gate).pattern(900_000));
    let server = live(&origin);
    let mut readers: Vec<_> = (0..4).map(|_| server.client()).collect();
    for reader in &mut readers {
        reader.ask("GET", &asset("a"), &[]);
        reader.head().unwrap();
        reader.exactly(1000).unwrap();
    }
    // The one that started the fill is among those that leave.
    readers.drain(..3);
    gate.open();
    let rest = readers[0].rest().unwrap();
    assert!(rest.len() == 999_000 && pattern::is_at(1000, &rest));
    assert!(pattern::is_at(0, &await_stored(&server, "a").body));
    assert_eq!(origin.requests("/s/a").len(), 1);
    server.eventually("nothing in flight", || server.metric("edge_inflight") == 0.0);
}

#[test]
fn when_the_last_reader_leaves_the_fill_goes_on_to_its_end() {
    let (origin, gate) = (Origin::start(), Gate::new());
    origin.route("/s/a", Script::fresh(60).pattern(100_000).wait(&gate).pattern(900_000));
    let server = live(&origin);
    let mut reader = server.client();
    reader.ask("GET", &asset("a"), &[]);
    reader.head().unwrap();
    reader.exactly(1000).unwrap();
    drop(reader);
    gate.open();
    let hit = await_stored(&server, "a");
    assert!(hit.body.len() == 1_000_000 && pattern::is_at(0, &hit.body));
    let requests = origin.requests("/s/a");
    assert_eq!((requests.len(), requests[0].outcome()), (1, Some(Outcome::Finished)));
}

#[test]
fn a_reader_that_leaves_before_the_head_came_changes_nothing_either() {
    let (origin, gate) = (Origin::start(), Gate::new());
    origin.route("/s/a", Script::fresh(60).wait(&gate).pattern(1000));
    let server = live(&origin);
    let mut reader = server.client();
    reader.ask("GET", &asset("a"), &[]);
    origin.await_requests("/s/a", 1);
    drop(reader);
    gate.open();
    assert!(pattern::is_at(0, &await_stored(&server, "a").body));
    assert_eq!(origin.requests("/s/a").len(), 1);
}

#[test]
fn above_finish_max_the_last_reader_takes_the_fill_with_it() {
    const LENGTH: u64 = 256 << 20;
    let (origin, gate) = (Origin::start(), Gate::new());
    origin.route("/s/a", Script::fresh(60).pattern(100_000).wait(&gate).pattern(LENGTH - 100_000));
    let server = live_with(&origin, "", &format!("{FILL}, finish_max: 1MiB")).start();
    let mut reader = server.client();
    reader.ask("GET", &asset("a"), &[]);
    reader.head().unwrap();
    reader.exactly(1000).unwrap();
    drop(reader);
    gate.open();
    let request = origin.requests("/s/a").remove(0);
    server.eventually("given up", || request.outcome() == Some(Outcome::Cut));
    assert!(request.sent() < LENGTH);
    assert_not_stored(&server, "a");
}

#[test]
fn a_reader_that_comes_when_all_had_left_joins_the_fill_that_goes_on() {
    let (origin, gate) = (Origin::start(), Gate::new());
    origin.route("/s/a", Script::fresh(60).pattern(100_000).wait(&gate).pattern(900_000));
    let server = live(&origin);
    for _ in 0..3 {
        let mut reader = server.client();
        reader.ask("GET", &asset("a"), &[]);
        assert_eq!(reader.head().unwrap().status, 200);
        assert!(pattern::is_at(0, &reader.exactly(100_000).unwrap()));
    }
    gate.open();
    assert!(pattern::is_at(0, &get(&server, "a", &[]).body));
    assert_eq!(origin.requests("/s/a").len(), 1);
}

#[test]
fn a_request_that_follows_a_fill_at_once_is_answered_on_the_same_connection() {
    let origin = Origin::start();
    origin.fallback(|request| {
        let empty = request.path().ends_with('0');
        Script::fresh(60).body(if empty { b"" } else { b"filled" })
    });
    let server = live(&origin);
    let mut client = server.client();
    for number in 0..300 {
        let answer = client.request("GET", &asset(&number.to_string()), &[]);
        assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")), "{number}");
    }
    // What passes through is no other to its client.
    origin.fallback(|_| Script::status(200).cache_control("no-store").body(b"passed"));
    for number in 300..500 {
        assert_eq!(client.request("GET", &asset(&number.to_string()), &[]).text(), "passed", "{number}");
    }
}
