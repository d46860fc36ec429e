//! Bodies that are whole, and what is known of them from their header.

use std::sync::{Arc, Mutex};

use http::Method;
use svc_edge::fill::fetch::{Fetch as _, Tap};

use super::support::*;

#[tokio::test]
async fn a_body_with_a_content_length_comes_whole() {
    let server = always("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"a\"\r\nConnection: keep-alive\r\n\r\nhello");
    let (head, mut body) = fetch(&one(&server)).await.unwrap();
    assert_eq!((head.status.as_u16(), head.length, head.framed), (200, Some(5), true));
    assert_eq!(head.headers["etag"], "\"a\"");
    assert_eq!(head.headers["connection"], "keep-alive", "hop-by-hop fields are for others to judge");
    assert!(head.request_time <= head.response_time);
    let (bytes, end) = drain(&mut body).await;
    assert_eq!((bytes.as_slice(), end.is_ok()), (&b"hello"[..], true));
}

#[tokio::test]
async fn a_chunked_body_comes_whole_and_its_trailers_are_dropped() {
    let server = always(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n",
    );
    let origins = one(&server);
    for _ in 0..2 {
        let (head, mut body) = fetch(&origins).await.unwrap();
        assert_eq!((head.length, head.framed), (None, true));
        let (bytes, end) = drain(&mut body).await;
        assert_eq!((bytes.as_slice(), end.is_ok()), (&b"hello world"[..], true));
    }
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_is_not_framed() {
    let server = serve(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\n\r\nhello");
    });
    let (head, mut body) = fetch(&one(&server)).await.unwrap();
    assert_eq!((head.length, head.framed), (None, false));
    assert!(!head.headers.contains_key("transfer-encoding"), "no field is made up: {:?}", head.headers);
    let (bytes, end) = drain(&mut body).await;
    assert_eq!((bytes.as_slice(), end.is_ok()), (&b"hello"[..], true));
}

#[tokio::test]
async fn an_http_1_0_answer_is_taken_as_it_is() {
    let server = serve(|conn| {
        conn.request();
        conn.send("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    });
    let origins = one(&server);
    for _ in 0..2 {
        assert_eq!(whole(&origins).await, (200, "hello".into()));
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn an_answer_without_a_body_is_whole_at_once_and_its_connection_is_used_again() {
    let cases = [
        (Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        (Method::HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (Method::HEAD, "HTTP/1.1 200 OK\r\n\r\n"),
        (Method::GET, "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 1000\r\n\r\n"),
        (Method::GET, "HTTP/1.1 304 Not Modified\r\n\r\n"),
        (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n"),
        (Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    for (method, answer) in cases {
        let server = always(answer);
        let origins = one(&server);
        // Nobody asks for the first one's body, or for its end.
        for asks in [false, true] {
            let (head, mut body) =
                origins.fetch(svc_edge::fill::fetch::Wanted { method: method.clone(), ..wanted("a") }).await.unwrap();
            assert_eq!((head.length, head.framed), (Some(0), true), "{method} {answer}");
            if asks {
                let (bytes, end) = drain(&mut body).await;
                assert!(bytes.is_empty() && end.is_ok(), "{method} {answer}: {end:?}");
            }
        }
        assert_eq!(server.connections(), 1, "{method} {answer}");
    }
}

#[tokio::test]
async fn a_redirect_is_handed_on_and_not_followed() {
    let server = always("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 2\r\n\r\nno");
    let (head, mut body) = fetch(&one(&server)).await.unwrap();
    assert_eq!((head.status.as_u16(), &head.headers["location"]), (302, &"/elsewhere".parse().unwrap()));
    assert_eq!(drain(&mut body).await.0, b"no");
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn interim_answers_are_swallowed() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(12);
    let server = always(format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"));
    let (head, mut body) = fetch(&one(&server)).await.unwrap();
    assert_eq!(head.status, 200);
    assert!(!head.headers.contains_key("link"));
    assert_eq!(drain(&mut body).await.0, b"hello");
}

/// Keeps what it sees.
#[derive(Default)]
struct Seen(Mutex<Vec<u8>>);

impl Tap for Seen {
    fn pass(&self, bytes: &[u8]) {
        self.0.lock().unwrap().extend_from_slice(bytes);
    }
}

async fn tapped(server: &Server) -> (Vec<u8>, Vec<u8>) {
    let seen = Arc::<Seen>::default();
    let asked = svc_edge::fill::fetch::Wanted { tap: Some(seen.clone()), ..wanted("a") };
    let (_, mut body) = one(server).fetch(asked).await.unwrap();
    let (bytes, end) = drain(&mut body).await;
    end.unwrap();
    let seen = seen.0.lock().unwrap().clone();
    (bytes, seen)
}

#[tokio::test]
async fn a_tap_sees_exactly_the_body() {
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(&body);
    let (bytes, seen) = tapped(&always(answer)).await;
    assert!(bytes == body && seen == body);

    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    assert_eq!(tapped(&always(chunked)).await.1, b"hello world");
}

#[tokio::test]
async fn a_tap_sees_nothing_of_an_answer_that_was_refused() {
    let server = in_turn([
        "HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nfail",
        "HTTP/1.1 504 No\r\nContent-Length: 4\r\n\r\nfail",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ]);
    let (bytes, seen) = tapped(&server).await;
    assert_eq!((bytes.as_slice(), seen.as_slice()), (&b"hello"[..], &b"hello"[..]));
}
