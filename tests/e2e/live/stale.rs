//! Stale answers: while one asks behind (RFC 5861 §3), and when nobody answers (§4, RFC 9111 §4.2.4).

use std::time::{Duration, Instant};

use svc_edge_origin::{Gate, Origin, Script};

use super::*;

/// Fill answers with these Cache-Control values as `0`, `1`, …, and let them become stale.
fn stale(origin: &Origin, values: &[&str]) -> Server {
    for (name, value) in values.iter().enumerate() {
        origin.route(
            &format!("/s/{name}"),
            Script::status(200).header("ETag", "\"one\"").cache_control(value).body(b"old"),
        );
    }
    // Every failure here is one that the test makes: the circuit stays closed.
    let server = live_with(origin, "", &format!("{FILL}, circuit: {{failures: 100}}")).start();
    claim_faults(&server);
    for name in 0..values.len() {
        assert_eq!(get(&server, &name.to_string(), &[]).text(), "old");
    }
    server.eventually("committed", || server.metric("edge_cas_objects") == values.len() as f64);
    become_stale();
    server
}

#[test]
fn stale_while_revalidate_answers_at_once_and_asks_behind() {
    let (origin, gate) = (Origin::start(), Gate::new());
    let old = Script::status(200).cache_control("max-age=1, stale-while-revalidate=60").body(b"old");
    origin.route("/s/a", [old, Script::fresh(60).wait(&gate).body(b"new")]);
    let server = live(&origin);
    get(&server, "a", &[]);
    server.eventually("committed", || server.metric("edge_cas_objects") == 1.0);
    become_stale();
    for _ in 0..5 {
        // The gate is shut: whoever waited for the origin would wait for ever.
        let since = Instant::now();
        let answer = get(&server, "a", &[]);
        assert_eq!(answer.text(), "old");
        assert!(answer.header("age").and_then(|age| age.parse::<u64>().ok()).is_some_and(|age| age >= 2));
        assert!(since.elapsed() < Duration::from_secs(2));
    }
    origin.await_requests("/s/a", 2);
    gate.open();
    server.eventually("renewed", || get(&server, "a", &[]).text() == "new");
    assert_eq!(origin.requests("/s/a").len(), 2, "one asked behind, however many were answered meanwhile");
}

#[test]
fn beyond_stale_while_revalidate_a_reader_waits() {
    let origin = Origin::start();
    let old = Script::status(200).cache_control("max-age=1, stale-while-revalidate=0").body(b"old");
    origin.route("/s/a", [old, text("new")]);
    let server = live(&origin);
    get(&server, "a", &[]);
    server.eventually("committed", || server.metric("edge_cas_objects") == 1.0);
    become_stale();
    assert_eq!(get(&server, "a", &[]).text(), "new");
}

#[test]
fn when_the_origin_can_not_be_reached_the_stale_answer_serves_unless_that_is_forbidden() {
    let values = [
        ("max-age=1", true),
        ("max-age=1, stale-if-error=600", true),
        ("max-age=1, must-revalidate", false),
        ("max-age=1, proxy-revalidate", false),
        ("s-maxage=1", false),
        ("no-cache", false),
    ];
    let origin = Origin::start();
    let server = stale(&origin, &values.map(|(value, _)| value));
    drop(origin);
    for (name, (value, served)) in values.into_iter().enumerate() {
        let answer = get(&server, &name.to_string(), &[]);
        if served {
            assert_eq!((answer.status, answer.text().as_str()), (200, "old"), "{value}: {answer:?}");
            assert!(says(&answer, "fwd=stale") || says(&answer, "hit"), "{value}: {answer:?}");
        } else {
            assert!(matches!(answer.status, 502 | 504), "{value}: {answer:?}");
        }
    }
}

#[test]
fn a_reset_and_a_5xx_are_errors_for_stale_if_error_too() {
    let origin = Origin::start();
    let server = stale(&origin, &["max-age=1, stale-if-error=600"; 4]);
    origin.route("/s/0", Script::garbage(b""));
    origin.route("/s/1", Script::status(200).reset());
    origin.route("/s/2", Script::status(500).body(b"broken"));
    origin.route("/s/3", Script::status(503).body(b"busy"));
    for name in ["0", "1", "2", "3"] {
        let answer = get(&server, name, &[]);
        assert_eq!((answer.status, answer.text().as_str()), (200, "old"), "{name}: {answer:?}");
    }
    // What is gone is no error: the origin has answered.
    origin.route("/s/0", Script::status(404).body(b"gone"));
    assert_eq!(get(&server, "0", &[]).status, 404);
}
