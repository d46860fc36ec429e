//! Methods and targets (RFC 9110 §9, RFC 9112 §3).

use crate::server::setup;

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let server = setup().asset("a.txt", b"hello").start();
    let mut client = server.client();
    for path in ["/edge/assets/site/a.txt", "/edge/assets/none", "/healthz"] {
        let get = client.request("GET", path, &[("X-Corr-ID", "same")]);
        let head = client.request("HEAD", path, &[("X-Corr-ID", "same")]);
        let kept = |headers: &[(String, String)]| {
            let mut kept: Vec<_> = headers.iter().filter(|(name, _)| name != "date").cloned().collect();
            kept.sort();
            kept
        };
        assert_eq!(get.status, head.status, "{path}");
        assert_eq!(kept(&get.headers), kept(&head.headers), "{path}");
        assert!(head.body.is_empty());
    }
}

#[test]
fn every_other_method_is_405_with_allow_and_the_connection_closes() {
    let server = setup().asset("a.txt", b"hello").start();
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PURGE", "get", "PROPFIND"] {
        let mut client = server.client();
        let answer = client.request(method, "/edge/assets/site/a.txt", &[]);
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, OPTIONS")), "{method}");
        assert_eq!(answer.header("x-reason"), Some("method"));
        assert!(client.closed(), "{method}");
    }
}

#[test]
fn options_says_what_may_be_done() {
    let server = setup().start();
    let answer = server.client().request("OPTIONS", "/edge/assets/x", &[]);
    assert_eq!((answer.status, answer.header("allow")), (204, Some("GET, HEAD, OPTIONS")));
}

#[test]
fn http_1_1_without_host_is_400() {
    let server = setup().start();
    let mut client = server.client();
    client.send(b"GET /healthz HTTP/1.1\r\n\r\n");
    let answer = client.response(false).unwrap();
    assert_eq!((answer.status, answer.header("x-reason")), (400, Some("bad_request")));
}

#[test]
fn a_host_that_is_none_is_400() {
    let server = setup().start();
    for host in ["a b", "a/b", "u@h", "a:b", "[::1", "a?b"] {
        let mut client = server.client();
        client.send(format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        // Pingora refuses some of them before we see them.
        assert_eq!(client.response(false).unwrap().status, 400, "{host}");
    }
    for host in ["", "edge.test", "edge.test:8080", "[::1]:8080"] {
        let mut client = server.client();
        client.send(format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert_eq!(client.response(false).unwrap().status, 200, "{host}");
    }
}

#[test]
fn a_header_block_over_its_bound_is_431_and_a_target_over_its_bound_is_414() {
    let server = setup().edge("  ingress: {header_bytes: 4KiB, uri_bytes: 1KiB}\n").start();
    let long = "a".repeat(5000);
    let answer = server.get("/healthz", &[("X-Long", &long)]);
    assert_eq!((answer.status, answer.header("x-reason")), (431, Some("header_cap")));
    let answer = server.get(&format!("/edge/assets/{}", "a".repeat(1100)), &[]);
    assert_eq!((answer.status, answer.header("x-reason")), (414, Some("uri_cap")));
    assert_eq!(server.get("/healthz", &[("X-Long", &"a".repeat(3000))]).status, 200);
    assert_eq!(server.get(&format!("/edge/assets/{}", "a".repeat(900)), &[]).status, 404);
}

#[test]
fn a_path_that_has_no_canonical_key_is_400() {
    let server = setup().asset("a.txt", b"hello").start();
    for path in [
        "/edge/assets/site//a.txt",
        "/edge/assets/site/./a.txt",
        "/edge/assets/site/../site/a.txt",
        "/edge/assets/site/%2e%2e/site/a.txt",
        "/edge/assets/site/%2E/a.txt",
        "/edge/assets/site%2f%2fa.txt",
        "/edge/assets/site/a.txt%00",
        "/edge/assets/site/a%5Cb",
        "/edge/assets/site/a\\b",
        "/edge/assets/site/%0a",
        "/edge/assets/site/%7f",
        "/edge/assets/site/%c2%85",
        "/edge/assets/site/%ff",
        "/edge/assets/site/%zz",
        "/edge/assets/site/%4",
        "/edge/assets/",
        "/edge/assets/site/",
    ] {
        let answer = server.get(path, &[]);
        assert_eq!((answer.status, answer.header("x-reason")), (400, Some("bad_path")), "{path}");
    }
}

#[test]
fn one_resource_has_one_key_however_it_is_encoded() {
    let server = setup().asset("a b/é.txt", b"hello").asset("%41.txt", b"percent").start();
    for path in [
        "/edge/assets/site/a%20b/%C3%A9.txt",
        "/edge/assets/%73ite/%61%20b/%c3%a9.txt",
        "/edge/assets/site/a%20b%2f%C3%A9.txt",
    ] {
        assert_eq!(server.get(path, &[]).body, b"hello", "{path}");
    }
    // Decoded once: the file whose name has a percent sign in it is asked for by encoding the sign.
    assert_eq!(server.get("/edge/assets/site/%2541.txt", &[]).body, b"percent");
    assert_eq!(server.get("/edge/assets/site/%41.txt", &[]).status, 404);
    // NFC and NFD are two keys.
    assert_eq!(server.get("/edge/assets/site/a%20b/e%CC%81.txt", &[]).status, 404);
}

#[test]
fn a_query_and_a_fragment_never_reach_a_key() {
    let server = setup().asset("a.txt", b"hello").start();
    for path in [
        "/edge/assets/site/a.txt?v=1",
        "/edge/assets/site/a.txt?",
        "/edge/assets/site/a.txt?a/../b",
        "/edge/assets/site/a.txt#x",
    ] {
        assert_eq!(server.get(path, &[]).body, b"hello", "{path}");
    }
    assert_eq!(server.get("/edge/assets/site/a.txt%3fv=1", &[]).status, 404);
}

#[test]
fn the_absolute_form_is_answered_too() {
    let server = setup().asset("a.txt", b"hello").start();
    let mut client = server.client();
    assert_eq!(client.request("GET", "http://edge.test/edge/assets/site/a.txt", &[]).body, b"hello");
}

#[test]
fn a_body_that_nobody_asked_for_is_never_read_as_the_next_request() {
    let server = setup().asset("a.txt", b"hello").start();
    let smuggled = "GET /edge/assets/none HTTP/1.1\r\nHost: edge.test\r\n\r\n";
    let mut client = server.client();
    let length = smuggled.len();
    client.send(
        format!(
            "GET /edge/assets/site/a.txt HTTP/1.1\r\nHost: edge.test\r\nContent-Length: {length}\r\n\r\n{smuggled}"
        )
        .as_bytes(),
    );
    assert_eq!(client.response(false).unwrap().body, b"hello");
    let next = client.request("GET", "/edge/assets/site/a.txt", &[]);
    assert_eq!(
        (next.status, next.body.as_slice()),
        (200, b"hello".as_slice()),
        "the next answer is the next request's"
    );
    // Chunked likewise.
    let mut client = server.client();
    client.send(format!("GET /edge/assets/site/a.txt HTTP/1.1\r\nHost: edge.test\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{smuggled}\r\n0\r\n\r\n").as_bytes());
    assert_eq!(client.response(false).unwrap().body, b"hello");
    let next = client.request("GET", "/edge/assets/site/a.txt", &[]);
    assert_eq!((next.status, next.body.as_slice()), (200, b"hello".as_slice()));
    // A chunked one that does not end within its bound.
    let mut client = server.client();
    client.send(b"GET /edge/assets/site/a.txt HTTP/1.1\r\nHost: edge.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..20 {
        client.send(format!("2000\r\n{}\r\n", "x".repeat(0x2000)).as_bytes());
    }
    assert_eq!(client.response(false).unwrap().header("x-reason"), Some("body_cap"));
    // Larger than what is worth reading away: refused, closed.
    let mut client = server.client();
    let answer = client.request("GET", "/edge/assets/site/a.txt", &[("Content-Length", "1000000000")]);
    assert_eq!((answer.status, answer.header("x-reason")), (413, Some("body_cap")));
    assert!(client.closed());
}

#[test]
fn a_malformed_request_is_refused_and_the_server_lives() {
    let server = setup().start();
    for bytes in [
        b"\x00\x01\x02\r\n\r\n".as_slice(),
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost a\r\n\r\n",
    ] {
        let mut client = server.client();
        client.send(bytes);
        if let Ok(answer) = client.response(false) {
            assert_eq!(answer.status, 400, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
    assert_eq!(server.get("/healthz", &[]).status, 200);
}
