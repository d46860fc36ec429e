//! CORS and security headers.

use crate::server::setup;

#[test]
fn every_origin_may_read_by_default() {
    let server = setup().asset("a.txt", b"hello").start();
    let answer = server.get("/edge/assets/site/a.txt", &[("Origin", "https://a.example")]);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let exposed = answer.list("access-control-expose-headers");
    for name in ["ETag", "Content-Range", "Content-Length", "Accept-Ranges", "Cache-Status", "Retry-After"] {
        assert!(exposed.iter().any(|exposed| exposed == name), "{name} in {exposed:?}");
    }
    assert_eq!(answer.header("vary"), None);
}

#[test]
fn a_preflight_allows_what_map_clients_send() {
    let server = setup().start();
    let asked = [
        ("Origin", "https://a.example"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "range,if-match"),
    ];
    let answer = server.client().request("OPTIONS", "/edge/assets/x.pmtiles", &asked);
    assert_eq!(answer.status, 204);
    assert_eq!(answer.list("access-control-allow-methods"), ["GET", "HEAD"]);
    assert_eq!(answer.list("access-control-allow-headers"), ["Range", "If-Match", "If-None-Match", "If-Range"]);
    assert_eq!(answer.header("access-control-max-age"), Some("86400"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

#[test]
fn a_list_of_origins_echoes_the_match_and_always_varies() {
    let server = setup()
        .asset("a.txt", b"hello")
        .edge("  http: {cors: {allow_origins: [\"https://a.example\", \"https://b.example\"]}}\n")
        .start();
    for path in ["/edge/assets/site/a.txt", "/edge/assets/none"] {
        for (origin, allowed) in
            [("https://b.example", Some("https://b.example")), ("https://c.example", None), ("null", None)]
        {
            let answer = server.get(path, &[("Origin", origin)]);
            assert_eq!(answer.header("access-control-allow-origin"), allowed, "{path} {origin}");
            assert_eq!(answer.list("vary"), ["Origin"]);
        }
        assert_eq!(server.get(path, &[]).list("vary"), ["Origin"], "a request without an origin too");
    }
}

#[test]
fn every_answer_carries_the_security_headers() {
    let server = setup().asset("a.txt", b"hello").start();
    for (path, headers) in [
        ("/edge/assets/site/a.txt", vec![]),
        ("/edge/assets/site/a.txt", vec![("If-None-Match", "*")]),
        ("/edge/assets/site/a.txt", vec![("Range", "bytes=0-0")]),
        ("/edge/assets/none", vec![]),
        ("/healthz", vec![]),
    ] {
        let answer = server.get(path, &headers);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("cross-origin"));
    }
}
