//! `/readyz` on both listeners. What clears `packs_verified` is in `packs`; `cas_writable`, `listener` and `fill_workers` need faults on demand.

use serde_json::json;

use crate::fixtures::noise;
use crate::server::setup;

#[test]
fn a_server_that_drains_is_not_ready_and_both_listeners_say_so() {
    let large = noise(20_000_000, 1);
    let mut server = setup().asset("large", &large).start();
    assert_eq!(server.admin("/readyz").json(), json!({"ready": true, "missing": []}));
    assert_eq!(server.get("/readyz", &[]).json(), json!({"ready": true}));
    let mut client = server.client();
    client.send(b"GET /edge/assets/site/large HTTP/1.1\r\nHost: edge.test\r\n\r\n");
    server.eventually("in flight", || server.metric("edge_inflight") == 1.0);
    // From before: a server that stops need not take new ones.
    let (mut ready, mut health) = (server.client(), server.client());
    assert_eq!(ready.request("GET", "/readyz", &[]).status, 200);
    assert_eq!(health.request("GET", "/healthz", &[]).status, 200);
    server.signal("TERM");
    server.eventually("draining", || server.admin("/readyz").status == 503);
    let named = server.admin("/readyz");
    assert_eq!(
        (named.status, named.json()),
        (503, json!({"ready": false, "missing": ["not_draining"], "retry_after": 1}))
    );
    assert_eq!(ready.request("GET", "/readyz", &[]).json(), json!({"ready": false, "retry_after": 1}));
    assert_eq!(health.request("GET", "/healthz", &[]).status, 200, "it is not ready, and well");
    assert_eq!(server.metric("edge_ready_condition{condition=\"not_draining\"}"), 0.0);
    assert!(client.response(false).unwrap().body == large);
    assert!(server.wait().success());
}

#[test]
fn the_metrics_say_what_the_bounds_and_the_clock_are() {
    let server = setup().edge("  cas: {dir: cas, max_bytes: 1MiB, max_objects: 7}\n").start();
    server.eventually("told", || server.metric("edge_cas_max_bytes") == f64::from(1 << 20));
    assert_eq!(server.metric("edge_cas_max_objects"), 7.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((server.metric("edge_clock_seconds") - now).abs() < 60.0);
}
