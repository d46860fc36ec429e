//! Refusals: problem documents (RFC 9457), X-Reason, metrics and request ids that agree.

use crate::fixtures::sample;
use crate::server::setup;

#[test]
fn a_refusal_is_a_problem_document_whose_reason_agrees_with_header_and_metric() {
    let server = setup().asset("a.txt", b"hello").start();
    let a = "/edge/assets/site/a.txt";
    let table: &[(&str, &str, &[(&str, &str)], u16, &str)] = &[
        ("GET", "/edge/assets/none", &[], 404, "not_found"),
        ("GET", "/nowhere", &[], 404, "not_found"),
        ("GET", "/", &[], 404, "not_found"),
        ("GET", "/edge/cas/b3/00", &[], 404, "not_found"),
        ("GET", "/edge/assets/..", &[], 400, "bad_path"),
        ("POST", a, &[], 405, "method"),
        ("GET", a, &[("If-Match", "\"x\"")], 412, "precondition"),
        ("GET", a, &[("Range", "bytes=99-")], 416, "invalid_range"),
    ];
    for (method, path, headers, status, reason) in table {
        let series = format!("rejected_total{{reason=\"{reason}\"}}");
        let before = server.metric(&series);
        let answer = server.client().request(method, path, &[headers, &[("X-Corr-ID", "an.id_1-A")] as &[_]].concat());
        assert_eq!((answer.status, answer.header("x-reason")), (*status, Some(*reason)), "{method} {path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let problem = answer.json();
        assert_eq!((problem["status"].as_u64(), problem["reason"].as_str()), (Some(u64::from(*status)), Some(*reason)));
        assert!(problem["type"].is_string() && problem["title"].is_string());
        assert!(problem["instance"].as_str().unwrap().contains("an.id_1-A"));
        assert_eq!(answer.header("x-corr-id"), Some("an.id_1-A"));
        assert!(answer.header("cache-status").unwrap().starts_with("svc-edge"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(!answer.text().contains(server.dir.path().to_str().unwrap()), "no path of the machine");
        server.counts(&series, before + 1.0);
    }
}

#[test]
fn an_acceptable_id_is_echoed_and_logged_and_any_other_is_replaced() {
    let server = setup().asset("a.txt", b"hello").start();
    let id = |value: &str| {
        server.get("/edge/assets/site/a.txt", &[("X-Corr-ID", value)]).header("x-corr-id").unwrap().to_owned()
    };
    for good in ["a", "A-b_c.9", &"x".repeat(128)] {
        assert_eq!(id(good), good);
    }
    for bad in ["", "a b", "a/b", "é", "\"", &"x".repeat(129)] {
        let made = id(bad);
        assert_eq!(made.len(), 26, "{bad:?} became {made}");
        assert!(made.bytes().all(|b| b.is_ascii_alphanumeric()));
    }
    let (one, two) = (id("?"), id("?"));
    assert_ne!(one, two);
    server.eventually("logged", || server.logged("request").iter().any(|line| line["corr_id"] == one.as_str()));
}

#[test]
fn a_503_says_when_to_come_back() {
    let mut setup = setup();
    let path = setup.dir.path().join("tile.pmtiles");
    std::fs::copy(sample("tile.pmtiles"), &path).unwrap();
    setup = setup.pack("tile", &path, "");
    let server = setup.start();
    server.claim("pack_lost");
    // The digest that is computed behind may meet the change too.
    server.claim("pack_digest");
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(5000).unwrap();
    server.eventually("unready", || server.admin("/readyz").status == 503);
    let answer = server.get("/edge/assets/tile/0/0/0", &[]);
    assert_eq!((answer.status, answer.header("x-reason")), (503, Some("pack_changed")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=10).contains(&after));
}

#[test]
fn a_line_of_the_log_carries_no_query_no_path_and_no_control_character() {
    let server = setup().asset("a.txt", b"hello").start();
    let mut client = server.client();
    client.request(
        "GET",
        "/edge/assets/site/a.txt?token=secret1",
        &[("Cookie", "secret2"), ("Authorization", "Bearer secret3"), ("X-Corr-ID", "plain")],
    );
    client.send(b"GET /x?secret4 HTTP/1.1\r\nHost: edge.test\r\nbad header secret5\x1b\r\n\r\n");
    let _ = client.response(false);
    server.eventually("logged", || server.logged("request").iter().any(|line| line["corr_id"] == "plain"));
    let text = format!("{:?}", server.log());
    assert!(!text.contains("secret") && !text.contains("\\u{1b}") && !text.contains("a.txt"), "{text}");
    let line = server.logged("request").into_iter().find(|line| line["corr_id"] == "plain").unwrap();
    for key in
        ["ts", "level", "event", "corr_id", "route", "method", "status", "latency_ms", "bytes_out", "peer_addr", "hash"]
    {
        assert!(!line[key].is_null(), "{key} in {line}");
    }
}

#[test]
fn those_who_are_refused_together_are_not_told_to_come_back_together() {
    let setup = setup();
    let path = setup.dir.path().join("tile.pmtiles");
    std::fs::copy(sample("tile.pmtiles"), &path).unwrap();
    let server = setup.pack("tile", &path, "").start();
    for event in ["pack_lost", "pack_rejected", "pack_digest"] {
        server.claim(event);
    }
    std::fs::File::options().write(true).open(&path).unwrap().set_len(5000).unwrap();
    server.eventually("unready", || server.get("/readyz", &[]).status == 503);
    for path in ["/edge/assets/tile/0/0/0", "/edge/assets/tile.pmtiles", "/readyz"] {
        let mut client = server.client();
        let mut told = std::collections::BTreeSet::new();
        for _ in 0..50 {
            let answer = client.request("GET", path, &[]);
            assert_eq!(answer.status, 503, "{path}");
            let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=10).contains(&after), "{path}: {after}");
            if path == "/readyz" {
                assert_eq!(answer.json()["ready"], false);
            }
            told.insert(after);
        }
        // With two equally likely values, fifty alike happen once in five hundred million million runs.
        assert!(told.len() >= 2, "{path} tells everybody {told:?}");
    }
}
