//! The queue of fills and its workers: bounded, and shared fairly.

use svc_edge_origin::{Gate, Origin, Script};

use super::*;

#[test]
fn a_full_queue_is_told_at_once_and_counted() {
    const ASKED: usize = 20;
    let (origin, gate) = (Origin::start(), Gate::new());
    let held = gate.clone();
    origin.fallback(move |request| Script::fresh(60).wait(&held).body(request.target.as_bytes()));
    let server = live_with(&origin, "", &format!("{FILL}, queue: 2, workers: 2")).start();
    claim_faults(&server);
    server.claim("queue_full");
    let answers: Vec<_> = std::thread::scope(|scope| {
        let server = &server;
        let readers: Vec<_> =
            (0..ASKED).map(|name| scope.spawn(move || (name, get(server, &name.to_string(), &[])))).collect();
        server.eventually("some were refused", || server.metric("rejected_total{reason=\"queue_full\"}") >= 1.0);
        server.eventually("all have come", || {
            server.metric("rejected_total{reason=\"queue_full\"}") + server.metric("edge_inflight") >= ASKED as f64
        });
        gate.open();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    let mut refused = 0.0;
    for (name, answer) in &answers {
        if answer.status == 200 {
            assert_eq!(answer.text(), format!("/s/{name}"));
            continue;
        }
        assert_refused(answer, 429, "queue_full");
        assert!(answer.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok()), "{answer:?}");
        refused += 1.0;
    }
    assert!(refused >= 1.0 && refused < ASKED as f64, "{refused} of {ASKED}");
    assert_eq!(server.total("edge_queue_dropped_total"), refused);
    assert_eq!(server.total("busy_rejections_total"), refused);
    server.counts("rejected_total{reason=\"queue_full\"}", refused);
    server.eventually("empty again", || server.total("edge_queue_depth") == 0.0);
    assert_eq!(server.get("/readyz", &[]).status, 200, "a full queue is no reason to leave a balancer");
}

#[test]
fn one_origin_leaves_workers_to_the_others() {
    let (slow, other, gate) = (Origin::start(), Origin::start(), Gate::new());
    let held = gate.clone();
    slow.fallback(move |_| Script::fresh(60).wait(&held).body(b"slow"));
    other.fallback(|_| text("other"));
    let private = ", allow_private: true";
    let table = [("slow/", &*slow.url("/s/"), private), ("live/", &*other.url("/s/"), private)];
    let server = origins(&table, &format!("{FILL}, workers: 4")).start();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8)
            .map(|name| {
                let server = &server;
                scope.spawn(move || server.client().fetch("GET", &format!("/edge/assets/slow/{name}"), &[]))
            })
            .collect();
        server.eventually("two are asked for", || slow.all_requests().len() >= 2);
        server.eventually("all are waiting", || server.metric("edge_inflight") >= 8.0);
        for name in ["a", "b", "c"] {
            assert_eq!(get(&server, name, &[]).text(), "other");
        }
        assert_eq!(slow.all_requests().len(), 2, "half of the workers");
        gate.open();
        readers.into_iter().for_each(|reader| assert_eq!(reader.join().unwrap().unwrap().body, b"slow"));
    });
}

#[test]
fn only_so_many_answers_pass_through_at_a_time_and_a_place_comes_back_when_its_reader_leaves() {
    const EVERY: Duration = Duration::from_millis(20);
    let (origin, gate) = (Origin::start(), Gate::new());
    let unstored = || Script::status(200).cache_control("no-store").pattern(10_000);
    origin.fallback(move |_| unstored().pattern(10_000));
    origin.route("/s/long", unstored().trickle(10_000_000, 1000, EVERY));
    origin.route("/s/held", unstored().wait(&gate).pattern(10_000));
    let server =
        live_with(&origin, "", &format!("{FILL}, max_passthrough: 2, read_timeout: 30s, min_rate: null")).start();
    claim_faults(&server);
    server.claim("queue_full");
    let begin = |name: &str| {
        let mut client = server.client();
        client.ask("GET", &asset(name), &[]);
        assert_eq!(client.head().unwrap().status, 200, "{name}");
        client.exactly(10_000).unwrap();
        client
    };
    let (long, mut held) = (begin("long"), begin("held"));
    // Both ways to pass through: by a fill that turns out unstorable, and by what is remembered of the key.
    for (refused, name) in ["other", "other", "long"].into_iter().enumerate() {
        let answer = get(&server, name, &[]);
        assert_refused(&answer, 429, "queue_full");
        assert!(answer.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok()), "{answer:?}");
        server.counts("busy_rejections_total{endpoint=\"passthrough\"}", refused as f64 + 1.0);
    }
    assert_eq!(server.total("edge_queue_dropped_total"), 0.0, "the queue of fills is another bound");
    // One leaves in the middle, and one at its end.
    drop(long);
    server.eventually("a place", || get(&server, "other", &[]).body.len() == 20_000);
    gate.open();
    assert_eq!(held.rest().unwrap().len(), 10_000);
    server.eventually("both places", || server.metric("edge_inflight") == 0.0);
    for name in ["a", "b", "c", "other"] {
        assert_eq!(get(&server, name, &[]).body.len(), 20_000, "{name}");
    }
}
