//! Loops, and edges that stand behind each other (RFC 9110 §7.6.3, RFC 8586).

use svc_edge_origin::Origin;

use super::*;

#[test]
fn a_request_that_came_from_us_is_a_loop() {
    let origin = Origin::start();
    origin.fallback(|_| text("hello"));
    let server = live(&origin);
    server.claim("loop");
    for (case, header) in
        [("Via", "1.1 svc-edge"), ("Via", "1.0 fred, 1.1 svc-edge (edge)"), ("CDN-Loop", "other, svc-edge; a=b")]
            .iter()
            .enumerate()
    {
        assert_refused(&get(&server, &case.to_string(), &[*header]), 508, "loop");
    }
    assert_eq!(origin.connections(), 0);
    for (case, header) in [("Via", "1.1 other"), ("Via", "1.1 svc-edge-two"), ("CDN-Loop", "other")].iter().enumerate()
    {
        assert_eq!(get(&server, &format!("fine-{case}"), &[*header]).status, 200, "{header:?}");
    }
    let seen = origin.requests("/s/fine-0").remove(0);
    assert_eq!(seen.list("via").len(), 2, "the path so far goes on: {}", seen.head());
}

#[test]
fn edges_in_a_chain_need_names_of_their_own() {
    let origin = Origin::start();
    origin.fallback(|_| text("hello"));
    for (name, status) in [("svc-edge", 508), ("inner", 200)] {
        let inner = live_with(&origin, "", &format!("{FILL}, name: {name}")).start();
        inner.claim("loop");
        let url = format!("http://{}/edge/assets/live/", inner.address);
        let outer = origins(&[("live/", &url, ", allow_private: true")], FILL).start();
        assert_eq!(get(&outer, name, &[]).status, status, "{name}");
    }
}
