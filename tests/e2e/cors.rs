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

#[test]
fn a_preflight_allows_the_listed_origins_and_no_other() {
    let server = setup()
        .asset("a.txt", b"hello")
        .edge("  http: {cors: {allow_origins: [\"https://a.example\", \"https://b.example\"]}}\n")
        .start();
    for (origin, allowed) in [
        ("https://a.example", Some("https://a.example")),
        ("https://b.example", Some("https://b.example")),
        ("https://c.example", None),
        ("https://a.example.evil.example", None),
        ("null", None),
    ] {
        // Of what is there and of what isn't: a preflight does not look.
        for path in ["/edge/assets/site/a.txt", "/edge/assets/none", "/edge/assets/none/0/0/0.mvt"] {
            let asked = [
                ("Origin", origin),
                ("Access-Control-Request-Method", "GET"),
                ("Access-Control-Request-Headers", "range"),
            ];
            let answer = server.client().request("OPTIONS", path, &asked);
            assert_eq!(answer.status, 204, "{path} {origin}");
            assert_eq!(answer.header("access-control-allow-origin"), allowed, "{path} {origin}");
            assert!(answer.list("vary").contains(&"Origin".into()), "{path} {origin}");
            if allowed.is_some() {
                assert_eq!(answer.list("access-control-allow-methods"), ["GET", "HEAD"]);
                assert!(answer.list("access-control-allow-headers").contains(&"Range".into()));
                assert_eq!(answer.header("access-control-max-age"), Some("86400"));
            }
        }
    }
}

#[test]
fn every_answer_to_options_says_what_is_allowed_and_who_answered() {
    let server = setup().asset("a.txt", b"hello").start();
    let preflight = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "GET")];
    for target in ["*", "/edge/assets/site/a.txt", "/edge/assets/none", "/healthz"] {
        for headers in [&[][..], &preflight] {
            let mut client = server.client();
            let answer = client.request("OPTIONS", target, headers);
            assert_eq!((answer.status, answer.header("allow")), (204, Some("GET, HEAD, OPTIONS")), "{target}");
            let status = answer.header("cache-status");
            assert!(status.is_some_and(|status| status.starts_with("svc-edge")), "{target}: {status:?}");
            assert!(answer.header("x-corr-id").is_some(), "{target}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{target}");
            // RFC 9110 §15.3.5: it has no body, so that the next answer follows at once.
            assert_eq!(client.request("GET", "/edge/assets/site/a.txt", &[]).body, b"hello", "behind {target}");
        }
    }
    // The asterisk is for OPTIONS alone (RFC 9112 §3.2.4).
    let other = server.get("*", &[]);
    assert!((400..500).contains(&other.status), "{}", other.status);
}
