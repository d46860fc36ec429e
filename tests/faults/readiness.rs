//! Conditions of readiness that nothing but a fault clears: `/readyz` names them on the admin listener, and they come back.

use serde_json::json;

use super::*;
use crate::server::setup;

/// Start it and wait only until it listens.
fn unready(faults: &str) -> Server {
    let server = setup().asset("a.txt", b"imported").environment("SVC_EDGE_FAULTS", faults).start_unready();
    server.claim("fault_armed");
    server
}

/// It is not ready for want of `condition` alone: the admin listener names it, the public one doesn't, hits go on. Then it is ready.
fn is_missed(server: &Server, condition: &str) {
    server.eventually(condition, || server.admin("/readyz").json()["missing"] == json!([condition]));
    let named = server.admin("/readyz");
    assert_eq!((named.status, named.json()["ready"].as_bool()), (503, Some(false)));
    assert_eq!((named.json()["retry_after"].as_u64(), named.header("retry-after")), (Some(1), Some("1")));
    let public = server.get("/readyz", &[]);
    assert_eq!((public.status, public.json()), (503, json!({"ready": false, "retry_after": 1})));
    assert_eq!(server.metric("edge_ready"), 0.0);
    assert_eq!(server.metric(&format!("edge_ready_condition{{condition=\"{condition}\"}}")), 0.0);
    assert_eq!(server.get("/edge/assets/site/a.txt", &[]).text(), "imported", "who asks nevertheless is served");
    server.await_ready();
    assert_eq!(server.admin("/readyz").json(), json!({"ready": true, "missing": []}));
    assert_eq!(server.metric(&format!("edge_ready_condition{{condition=\"{condition}\"}}")), 1.0);
    server.eventually("told", || {
        let told = server.logged("readiness_changed");
        told.last().is_some_and(|line| line["ready"] == true) && told.iter().any(|line| line["missing"] == condition)
    });
}

#[test]
fn a_cas_that_takes_no_writes_is_missed_until_it_does() {
    // Asked once when it is opened, then once a second.
    is_missed(&unready("cas.probe=enospc@..5"), "cas_writable");
}

#[test]
fn a_server_is_not_ready_before_it_has_seen_its_listeners_accept() {
    is_missed(&unready("boot.listen=stall:4s"), "listener");
}
