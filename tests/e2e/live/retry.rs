//! Retries, their budget, and the circuit.

use std::time::{Duration, Instant};

use svc_edge_origin::{Gate, Origin, Script};

use super::*;
use crate::server::free_address;

/// `edge.fill` with short timeouts.
const SHORT: &str = "connect_timeout: 300ms, read_timeout: 300ms, total_timeout: 3s";

#[test]
fn a_503_is_tried_again() {
    let origin = Origin::start();
    let busy = || Script::status(503).body(b"busy");
    origin.route("/s/a", [busy(), Script::status(504), text("hello")]);
    let server = live(&origin);
    claim_faults(&server);
    let answer = get(&server, "a", &[]);
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    assert_eq!(origin.requests("/s/a").len(), 3);
    assert_eq!(server.total("backoff_retries_total"), 2.0);
    assert_eq!(await_stored(&server, "a").text(), "hello");
}

#[test]
fn other_errors_are_the_origins_answer() {
    let origin = Origin::start();
    for status in [400, 403, 404, 410, 500, 501, 505] {
        let path = format!("/s/{status}");
        origin.route(&path, Script::status(status).cache_control("no-store").body(b"theirs"));
        let server = live(&origin);
        let answer = get(&server, &status.to_string(), &[]);
        assert_eq!((answer.status, answer.text().as_str()), (status, "theirs"));
        assert_eq!(origin.requests(&path).len(), 1, "{status}");
    }
}

#[test]
fn retry_after_is_waited_for_within_bounds() {
    let origin = Origin::start();
    origin.route("/s/soon", [Script::status(503).header("Retry-After", "1"), text("hello")]);
    origin.route("/s/never", Script::status(503).header("Retry-After", "3600"));
    let server = live_with(
        &origin,
        "",
        "connect_timeout: 1s, read_timeout: 1s, total_timeout: 4s, retry: {base: 10ms, max: 2s}",
    )
    .start();
    claim_faults(&server);
    assert_eq!(get(&server, "soon", &[]).text(), "hello");
    let requests = origin.requests("/s/soon");
    let pause = requests[1].at - requests[0].at;
    assert!((900..3500).contains(&pause.as_millis()), "{pause:?}");
    let since = Instant::now();
    assert!(matches!(get(&server, "never", &[]).status, 502..=504));
    assert!(since.elapsed() < Duration::from_secs(10), "nobody waits for an hour");
}

#[test]
fn an_origin_that_stays_busy_is_asked_no_more_often_than_the_conf_says() {
    let origin = Origin::start();
    origin.route("/s/a", Script::status(503).body(b"busy"));
    let server = live_with(&origin, "", "retry: {base: 10ms, max: 50ms, count: 2}").start();
    claim_faults(&server);
    let answer = get(&server, "a", &[]);
    assert!(matches!(answer.status, 502 | 503), "{answer:?}");
    assert_eq!(origin.requests("/s/a").len(), 3, "one try and two more");
    assert_not_stored(&server, "a");
}

#[test]
fn a_stalled_try_is_given_up_and_tried_again() {
    let origin = Origin::start();
    let stalled = Script::fresh(60).stall(Duration::from_secs(60)).body(b"late");
    origin.route("/s/a", [stalled, text("hello")]);
    let server = live_with(&origin, "", &format!("{SHORT}, {FILL}")).start();
    claim_faults(&server);
    assert_eq!(get(&server, "a", &[]).text(), "hello");
    assert_eq!(origin.requests("/s/a").len(), 2);
    assert!(server.total("io_timeouts_total") >= 1.0);
}

#[test]
fn a_stalled_origin_is_a_gateway_timeout() {
    let origin = Origin::start();
    let (gate, fill) = (Gate::new(), format!("{SHORT}, retry: {{base: 10ms, max: 50ms, count: 1}}"));
    origin.route("/s/head", Script::fresh(60).stall(Duration::from_secs(60)).body(b"late"));
    let server = live_with(&origin, "", &fill).start();
    claim_faults(&server);
    let since = Instant::now();
    assert_refused(&get(&server, "head", &[]), 504, "timeout");
    assert_eq!(origin.requests("/s/head").len(), 2);
    // A connection that nobody reads from.
    let origin = Origin::start();
    origin.hold_accepts(&gate);
    let server = live_with(&origin, "", &fill).start();
    claim_faults(&server);
    assert_refused(&get(&server, "accept", &[]), 504, "timeout");
    assert!(since.elapsed() < Duration::from_secs(15));
}

#[test]
fn total_timeout_bounds_all_tries_together() {
    let origin = Origin::start();
    origin.route("/s/a", Script::fresh(60).stall(Duration::from_secs(60)).body(b"late"));
    let fill =
        "connect_timeout: 300ms, read_timeout: 400ms, total_timeout: 1s, retry: {base: 10ms, max: 50ms, count: 9}";
    let server = live_with(&origin, "", fill).start();
    claim_faults(&server);
    let since = Instant::now();
    assert_refused(&get(&server, "a", &[]), 504, "timeout");
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
    assert!(origin.requests("/s/a").len() <= 4);
}

#[test]
fn a_dead_origin_is_a_bad_gateway() {
    let url = format!("http://{}/s/", free_address());
    let server = origins(&[("live/", &url, ", allow_private: true")], FILL).start();
    claim_faults(&server);
    assert_refused(&get(&server, "a", &[]), 502, "origin");
    assert_not_stored(&server, "a");
    assert!(server.total("backoff_retries_total") >= 1.0, "a failed connect is tried again");
}

#[test]
fn the_budget_keeps_a_busy_origin_from_being_hammered() {
    const ASKED: usize = 200;
    let origin = Origin::start();
    origin.fallback(|_| Script::status(503));
    let fill = "circuit: {failures: 1000}, retry: {base: 1ms, max: 2ms, count: 3, budget: 20}";
    let server = live_with(&origin, "", fill).start();
    claim_faults(&server);
    for name in 0..ASKED {
        assert!(matches!(get(&server, &name.to_string(), &[]).status, 502 | 503));
    }
    let asked = origin.all_requests().len();
    // A fifth more, and what may be saved up at the start; without a budget it would be four times as many.
    assert!((ASKED..=ASKED + ASKED / 5 + 100).contains(&asked), "{asked} requests for {ASKED}");
}

#[test]
fn the_circuit_opens_after_failures_answers_at_once_and_recovers() {
    let origin = Origin::start();
    origin.fallback(|request| text(&request.target));
    let fill = "circuit: {failures: 3, open_for: 1s}, retry: {base: 1ms, max: 2ms, count: 0}";
    let server = live_with(&origin, "", fill).start();
    claim_faults(&server);
    origin.set_broken(true);
    for name in 0..3 {
        assert_eq!(get(&server, &format!("broken-{name}"), &[]).status, 502);
    }
    let before = origin.connections();
    for name in 0..20 {
        let answer = get(&server, &format!("open-{name}"), &[]);
        assert!(matches!(answer.status, 502 | 503), "{answer:?}");
    }
    let asked = origin.connections() - before;
    assert!(asked <= 1, "{asked} connections to an origin whose circuit is open");
    origin.set_broken(false);
    server.eventually("closed again", || get(&server, "back", &[]).status == 200);
    assert_eq!(get(&server, "after", &[]).status, 200);
}
