//! The admin listener.

use crate::fixtures::sample;
use crate::http::Client;
use crate::server::setup;

#[test]
fn the_admin_listener_answers_its_pages_and_the_public_one_only_the_probes() {
    let server = setup().start();
    for path in ["/metrics", "/healthz", "/readyz", "/version"] {
        assert_eq!(server.admin(path).status, 200, "{path}");
    }
    assert_eq!(server.admin("/version").json()["name"], "svc-edge");
    assert_eq!(server.admin("/edge/assets/x").status, 404);
    assert_eq!(Client::connect(server.admin).request("POST", "/metrics", &[]).status, 405);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.get(path, &[]).status, 200, "{path}");
    }
    for path in ["/metrics", "/version"] {
        assert_eq!(server.get(path, &[]).status, 404, "{path}");
    }
}

#[test]
fn what_happens_shows_in_the_metrics() {
    let server = setup().pack("tile", &sample("tile.pmtiles"), "").asset("a.txt", b"hello").start();
    for _ in 0..3 {
        server.get("/edge/assets/tile/0/0/0", &[]);
        server.get("/edge/assets/site/a.txt", &[("Range", "bytes=0-1")]);
    }
    server.get("/edge/assets/none", &[]);
    let table = [
        ("edge_cache_hits_total{kind=\"pack\"}", 3.0),
        ("edge_cache_hits_total{kind=\"cas\"}", 3.0),
        ("edge_cache_misses_total{cause=\"absent\"}", 1.0),
        ("edge_range_requests_total{result=\"partial\"}", 3.0),
        ("http_requests_total{route=\"tile\",method=\"GET\",status=\"200\"}", 3.0),
        ("http_requests_total{route=\"asset\",method=\"GET\",status=\"206\"}", 3.0),
        ("http_requests_total{route=\"asset\",method=\"GET\",status=\"404\"}", 1.0),
        ("request_latency_seconds_count{route=\"tile\"}", 3.0),
        ("edge_cas_objects", 1.0),
        ("edge_ready", 1.0),
        ("rejected_total{reason=\"not_found\"}", 1.0),
    ];
    for (series, value) in table {
        // Counted when the answer has been sent: a moment after the client has it.
        server.eventually(series, || server.metric(series) == value);
    }
    server.eventually("nothing in flight", || server.metric("edge_inflight") == 0.0);
    assert!(server.metric("edge_bytes_out_total") > 6.0);
    assert!(server.metric("edge_cas_bytes") >= 4096.0);
}
