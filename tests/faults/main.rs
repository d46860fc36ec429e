//! Live fills under faults on demand: `cargo test --features faults --test faults`, with the harness of the end-to-end tests.

// Of that harness these tests use a part.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, clippy::type_complexity)]

#[path = "../e2e/http.rs"]
mod http;
#[path = "../e2e/server.rs"]
mod server;
#[path = "../e2e/live/support.rs"]
mod support;

mod disk;
mod lifecycle;
mod listeners;
mod panics;
mod places;
mod readiness;
mod requests;
mod stalls;

use server::{Server, Setup};
use support::*;
use svc_edge_origin::Origin;

/// A server in live mode with one origin, to be started with these faults: `fill` is all of `edge.fill`.
fn faulty(origin: &Origin, fill: &str, faults: &str) -> Setup {
    live_with(origin, "", fill).environment("SVC_EDGE_FAULTS", faults)
}

/// Start it; the faults and what they leave in the log are what the test is about.
fn start(setup: Setup) -> Server {
    let server = setup.start();
    claim_faults(&server);
    ["fault_armed", "internal", "body_cut"].iter().for_each(|event| server.claim(event));
    server
}

/// What a fault may leave a reader with: all of it, or an error that says so. Whatever it is, never a part that passes for the whole.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Whole,
    Refused(u16),
    Cut,
}

/// Ask for `name`, whose body is known.
fn read(server: &Server, name: &str, body: &[u8]) -> Got {
    match server.client().fetch("GET", &asset(name), &[]) {
        Ok(answer) if answer.status == 200 => {
            assert!(answer.body == body, "{} bytes of {name} passed for the whole", answer.body.len());
            Got::Whole
        }
        Ok(answer) => {
            assert!(answer.status >= 500, "{answer:?}");
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
            Got::Refused(answer.status)
        }
        Err(_cut) => Got::Cut,
    }
}

/// The next requests fill it and find it: the fault is over and left nothing behind.
fn assert_sound(server: &Server, name: &str, body: &[u8]) {
    server.eventually("filled", || read(server, name, body) == Got::Whole);
    assert!(await_stored(server, name).body == body, "{name}");
    server.await_ready();
    server.command(&["cas", "verify"]);
}

/// Failures of the CAS to take bytes, as they are counted.
fn failed_writes(server: &Server) -> f64 {
    server.metric("edge_cas_writes_total{status=\"failed\"}")
}

/// How often a component was started again.
fn restarts(server: &Server, component: &str) -> f64 {
    server.metric(&format!("service_restarts_total{{component=\"{component}\"}}"))
}
