//! What an origin is told, and what it is not.

use svc_edge_origin::{Origin, Script};

use super::*;

#[test]
fn what_is_the_clients_own_never_reaches_the_origin() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello"));
    let server = live(&origin);
    let own = [
        ("Cookie", "id=1"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-Host", "elsewhere.example"),
        ("X-Forwarded-Proto", "https"),
        ("X-Real-IP", "192.0.2.1"),
        ("Forwarded", "for=192.0.2.1"),
        ("Proxy-Authorization", "Basic abc"),
        ("Referer", "https://page.example/"),
        ("Origin", "https://page.example"),
        ("X-Unknown", "1"),
        ("Keep-Alive", "1"),
        ("TE", "trailers"),
        ("Connection", "X-Named"),
        ("X-Named", "1"),
        ("User-Agent", "curl/8"),
    ];
    assert_eq!(get(&server, "a", &own).status, 200);
    let request = origin.requests("/s/a").remove(0);
    for (name, value) in own {
        assert!(request.header(name).is_none_or(|known| known != value), "{name} in {}", request.head());
    }
    for name in ["cookie", "forwarded", "x-forwarded-for", "x-real-ip", "referer", "x-unknown", "x-named"] {
        assert_eq!(request.header(name), None, "{}", request.head());
    }
    assert_eq!(request.header("host"), Some(origin.address().to_string().as_str()));
    assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/s/a"));
}

#[test]
fn no_field_of_a_client_makes_a_key_of_its_own() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello"));
    let server = live(&origin);
    get(&server, "a", &[("Cookie", "id=1")]);
    await_stored(&server, "a");
    for header in [("Cookie", "id=2"), ("X-Forwarded-Host", "elsewhere.example"), ("User-Agent", "curl/8")] {
        assert!(says(&get(&server, "a", &[header]), "hit"), "{header:?}");
    }
    let other = format!("GET {} HTTP/1.1\r\nHost: other.test\r\n\r\n", asset("a"));
    let mut client = server.client();
    client.send(other.as_bytes());
    assert!(says(&client.response(false).unwrap(), "hit"), "nor does the Host");
    assert_eq!(origin.requests("/s/a").len(), 1);
}

#[test]
fn the_origin_is_told_who_asks() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello"));
    let fill = format!("{FILL}, contact: \"maps@edge.example\"");
    let server = live_with(&origin, "", &fill).start();
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let trace = [("traceparent", traceparent), ("tracestate", "vendor=1,other=2")];
    get(&server, "a", &[&trace[..], &[("Accept-Language", "de"), ("Accept", "text/plain")]].concat());
    let request = origin.requests("/s/a").remove(0);
    let agent = request.header("user-agent").unwrap_or_default();
    assert!(agent.starts_with("svc-edge/") && agent.contains("maps@edge.example"), "{agent}");
    assert!(request.list("via").iter().any(|via| via.ends_with(" svc-edge")), "{}", request.head());
    assert!(request.list("cdn-loop").iter().any(|name| name.starts_with("svc-edge")), "{}", request.head());
    let trace = request.header("traceparent").unwrap_or_default();
    assert!(trace.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "the trace goes on: {}", request.head());
    assert_eq!(request.list("tracestate"), ["vendor=1", "other=2"], "{}", request.head());
    assert_eq!((request.header("accept-language"), request.header("accept")), (Some("de"), Some("text/plain")));
}

#[test]
fn fixed_headers_reach_the_origin_and_secrets_nobody_else() {
    const SECRET: &str = "s3cret-0123456789";
    let origin = Origin::start();
    origin.answer("/s/a", |request| text(&request.head()));
    let options = ", headers: {X-Plain: fixed, X-Api-Key: {env: E2E_ORIGIN_KEY}}, forward: [accept, x-tenant]";
    let server = live_with(&origin, options, FILL).environment("E2E_ORIGIN_KEY", SECRET).start();
    get(&server, "a", &[("X-Plain", "theirs"), ("X-Api-Key", "theirs"), ("X-Tenant", "7"), ("Accept-Language", "de")]);
    let request = origin.requests("/s/a").remove(0);
    assert_eq!((request.header("x-plain"), request.header("x-api-key")), (Some("fixed"), Some(SECRET)));
    assert_eq!((request.header("x-tenant"), request.header("accept-language")), (Some("7"), None));
    assert!(!request.head().contains("theirs"), "{}", request.head());
    assert!(!format!("{:?}", server.log()).contains(SECRET));
    assert!(!server.admin("/metrics").text().contains(SECRET));
}

#[test]
fn the_path_reaches_the_origin_encoded_anew() {
    let origin = Origin::start();
    origin.fallback(|request| text(&request.target));
    let server = live(&origin);
    for (asked, target) in [
        ("a%20b/c", "/s/a%20b/c"),
        ("%C3%A9", "/s/%C3%A9"),
        ("what%3Fis%23this", "/s/what%3Fis%23this"),
        ("%41", "/s/A"),
        ("100%25", "/s/100%25"),
    ] {
        assert_eq!(get(&server, asked, &[]).text(), target, "{asked}");
    }
}

#[test]
fn the_query_is_dropped_or_kept_as_the_conf_says() {
    let origin = Origin::start();
    origin.fallback(|request| text(&request.target));
    let dropped = live(&origin);
    assert_eq!(get(&dropped, "a?x=1", &[]).text(), "/s/a");
    await_stored(&dropped, "a");
    assert!(says(&get(&dropped, "a?x=2", &[]), "hit"));
    let kept = live_with(&origin, ", query: keep", FILL).start();
    for query in ["?x=1", "?x=2", ""] {
        let name = format!("b{query}");
        assert_eq!(get(&kept, &name, &[]).text(), format!("/s/{name}"));
        await_stored(&kept, &name);
        assert!(says(&get(&kept, &name, &[]), "hit"), "{name}");
    }
    assert_eq!(origin.requests("/s/b").len(), 3);
}

#[test]
fn the_longest_prefix_chooses_the_origin() {
    let (one, two) = (Origin::start(), Origin::start());
    one.fallback(|request| text(&format!("one {}", request.target)));
    two.fallback(|request| text(&format!("two {}", request.target)));
    let private = ", allow_private: true";
    let table = [("live/", &*one.url("/s/"), private), ("live/deep/", &*two.url("/d/"), private)];
    let server = origins(&table, FILL).start();
    assert_eq!(get(&server, "a", &[]).text(), "one /s/a");
    assert_eq!(get(&server, "deep/a", &[]).text(), "two /d/a");
    assert_eq!(get(&server, "deeper/a", &[]).text(), "one /s/deeper/a");
    let none = server.get("/edge/assets/elsewhere/a", &[]);
    assert_refused(&none, 404, "not_found");
}

#[test]
fn an_imported_object_wins_over_an_origin() {
    let origin = Origin::start();
    origin.fallback(|_| Script::fresh(60).body(b"theirs"));
    let table = [("site/", &*origin.url("/s/"), ", allow_private: true")];
    let server = origins(&table, FILL).asset("a.txt", b"ours").start();
    assert_eq!(server.get("/edge/assets/site/a.txt", &[]).text(), "ours");
    assert_eq!(server.get("/edge/assets/site/a.txt", &[("Cache-Control", "no-cache")]).text(), "ours");
    assert_eq!(origin.connections(), 0);
    let other = server.client().fetch("GET", "/edge/assets/site/b.txt", &[]).unwrap();
    assert_eq!(other.text(), "theirs");
}
