//! What an origin gets to see.

use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use svc_edge::fill::fetch::{Fetch as _, FetchError, Wanted};

use super::support::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn fields(list: &[(&str, &str)]) -> HeaderMap {
    list.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
}

/// The lines of the request that `wanted` becomes, sorted behind the first.
async fn lines(wanted: Wanted, fixed: &[(&str, &str)]) -> Vec<String> {
    let server = always(OK);
    let origins = origins(vec![server.url()], |conf| {
        let field = |(name, value): &(&str, &str)| (name.parse().unwrap(), value.parse().unwrap());
        conf.origins[0].headers = fixed.iter().map(field).collect();
    });
    origins.fetch(wanted).await.unwrap();
    let mut lines: Vec<String> = server.heads()[0].lines().map(str::to_owned).collect();
    lines.pop();
    lines[1..].sort();
    lines.retain(|line| !line.starts_with("Host: 127.0.0.1:"));
    lines
}

#[tokio::test]
async fn a_request_says_who_asks_and_nothing_of_a_client() {
    let asked = Wanted { rest: "fonts/a b.woff2".into(), query: Some("v=1&x=%20".into()), ..wanted("") };
    assert_eq!(
        lines(asked, &[]).await,
        [
            "GET /s/fonts/a%20b.woff2?v=1&x=%20 HTTP/1.1",
            "accept-encoding: gzip, br, zstd",
            "cdn-loop: edge-7",
            "user-agent: svc-edge/1.2.3 (+ops@edge.example)",
            "via: 1.1 edge-7",
        ]
    );
}

#[tokio::test]
async fn wanted_fields_are_sent_and_a_range_is_of_the_identity() {
    let headers = fields(&[("range", "bytes=0-4"), ("if-none-match", "\"a\""), ("accept-language", "de")]);
    let got = lines(Wanted { headers, method: Method::HEAD, ..wanted("a") }, &[]).await;
    assert_eq!(got[0], "HEAD /s/a HTTP/1.1");
    for line in ["Range: bytes=0-4", "If-None-Match: \"a\"", "Accept-Language: de", "Accept-Encoding: identity"] {
        assert!(got.iter().any(|got| got.eq_ignore_ascii_case(line)), "{line}: {got:?}");
    }
}

#[tokio::test]
async fn cookies_and_what_else_tells_clients_apart_are_never_sent() {
    let secret = [
        ("cookie", "s=1"),
        ("authorization", "Basic x"),
        ("proxy-authorization", "Basic x"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-host", "a"),
        ("forwarded", "for=192.0.2.1"),
        ("x-real-ip", "192.0.2.1"),
        ("connection", "close"),
        ("te", "trailers"),
        ("upgrade", "websocket"),
        ("transfer-encoding", "chunked"),
        ("content-length", "5"),
        ("host", "evil.example"),
        ("user-agent", "evil"),
        ("expect", "100-continue"),
    ];
    let got = lines(Wanted { headers: fields(&secret), ..wanted("a") }, &[]).await;
    assert_eq!(got.len(), 5, "{got:?}");
    assert!(!got.iter().any(|line| line.contains("evil") || line.contains("192.0.2.1")), "{got:?}");
}

#[tokio::test]
async fn the_way_a_request_came_goes_on_with_us_at_its_end() {
    let way = fields(&[("via", "1.1 first"), ("cdn-loop", "other; a=1")]);
    let got = lines(Wanted { headers: way, ..wanted("a") }, &[]).await;
    let of = |name: &str| got.iter().filter(|line| line.to_ascii_lowercase().starts_with(name)).collect::<Vec<_>>();
    // In the order of the alphabet, as `lines` gives them.
    assert_eq!(of("via: "), ["via: 1.1 edge-7", "via: 1.1 first"]);
    assert_eq!(of("cdn-loop: "), ["cdn-loop: edge-7", "cdn-loop: other; a=1"]);
}

#[tokio::test]
async fn fixed_fields_win_over_all_others() {
    let headers = fields(&[("x-key", "of a client"), ("accept-language", "de")]);
    let fixed = [("x-key", "ours"), ("authorization", "Bearer t"), ("x-two", "1"), ("x-two", "2")];
    let got = lines(Wanted { headers, ..wanted("a") }, &fixed).await;
    let of = |name: &str| got.iter().filter(|line| line.to_ascii_lowercase().starts_with(name)).collect::<Vec<_>>();
    assert_eq!(of("x-key: "), ["x-key: ours"]);
    assert_eq!(of("authorization: ").len(), 1);
    assert_eq!(of("x-two: "), ["x-two: 1", "x-two: 2"]);
}

#[tokio::test]
async fn a_key_that_would_break_the_request_line_is_refused() {
    let server = always(OK);
    let origins = one(&server);
    for rest in ["a\r\nX: y", "a\tb", "a#b", "ü"] {
        assert!(matches!(origins.fetch(wanted(rest)).await, Err(FetchError::NotAllowed(_))), "{rest:?}");
    }
    let query = Some("a b".to_owned());
    assert!(matches!(origins.fetch(Wanted { query, ..wanted("a") }).await, Err(FetchError::NotAllowed(_))));
    let method = Method::POST;
    assert!(matches!(origins.fetch(Wanted { method, ..wanted("a") }).await, Err(FetchError::NotAllowed(_))));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_request_that_passes_through_is_dressed_for_its_origin() {
    let server = always(OK);
    let origins = origins(vec![server.url()], |conf| {
        conf.origins[0].headers = vec![("x-key".parse().unwrap(), HeaderValue::from_static("ours"))];
    });
    let place = origins.peer_for(0).await.unwrap();
    assert_eq!(place.peer._address.to_string(), server.address.to_string());
    let mut head = RequestHeader::build("POST", b"/edge/assets/live/a?b=1", None).unwrap();
    for (name, value) in [
        ("host", "edge.example"),
        ("cookie", "s=1"),
        ("authorization", "Basic x"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=a"),
        ("x-real-ip", "192.0.2.1"),
        ("connection", "keep-alive, x-hop, content-length, transfer-encoding"),
        ("transfer-encoding", "chunked"),
        ("proxy-authorization", "Basic x"),
        ("http2-settings", "x"),
        ("origin", "https://page.example"),
        ("referer", "https://page.example/a"),
        ("x-hop", "1"),
        ("keep-alive", "5"),
        ("via", "1.1 before"),
        ("cdn-loop", "other"),
        ("user-agent", "client"),
        ("content-length", "3"),
        ("content-type", "text/plain"),
    ] {
        head.append_header(name, value).unwrap();
    }
    origins.dress(0, place.url, "a", Some("b=1"), &mut head).unwrap();
    assert_eq!(head.raw_path(), b"/s/a?b=1");
    let mut names: Vec<String> = head.headers.keys().map(|name| name.to_string()).collect();
    names.sort();
    let expected = "cdn-loop content-length content-type host origin referer transfer-encoding user-agent via x-key";
    assert_eq!(names.join(" "), expected);
    assert_eq!(head.headers["host"], server.address.to_string());
    assert_eq!(head.headers.get_all("via").iter().collect::<Vec<_>>(), ["1.1 before", "1.1 edge-7"]);
    assert_eq!(head.headers.get_all("cdn-loop").iter().collect::<Vec<_>>(), ["other", "edge-7"]);
    assert_eq!(head.headers["user-agent"], "svc-edge/1.2.3 (+ops@edge.example)");
    assert!(origins.dress(0, 1, "a", None, &mut head).is_err());
    assert!(origins.dress(0, 0, "a\r\nb", None, &mut head).is_err());
}
