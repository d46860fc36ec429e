//! Requests in odd forms and at odd paces (RFC 9112): whatever comes, an answer is the answer to a request, or there is none.

use std::time::{Duration, Instant};

use crate::fixtures::noise;
use crate::http::{Client, Response};
use crate::server::{Server, setup};

const PATH: &str = "/edge/assets/site/a.txt";

/// Read an answer, which comes soon or not at all: an end of the connection is fine, anything half or foreign is not.
fn answer_or_end(client: &mut Client, head: bool) -> Option<Response> {
    let since = Instant::now();
    let result = client.response(head);
    assert!(since.elapsed() < Duration::from_secs(10), "neither an answer nor an end");
    match result {
        Ok(answer) => Some(answer),
        Err(error) => {
            let ended = error.ends_with("in a header line: \"\"") || error.contains("reset");
            assert!(ended, "garbage: {error}");
            None
        }
    }
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: edge.test\r\n{headers}\r\n")
}

#[test]
fn what_is_over_the_parsers_bounds_is_refused_and_the_server_lives() {
    let mut server = setup().asset("a.txt", b"hello").start();
    let lines = |count: usize| (0..count).map(|i| format!("X-{i}: y\r\n")).collect::<String>();
    assert_eq!(server.get(PATH, &[]).status, 200);
    let mut client = server.client();
    client.send(get(PATH, &lines(200)).as_bytes());
    assert_eq!(client.response(false).unwrap().status, 200, "two hundred lines are unusual, not wrong");
    let before = server.rss();
    let long = "a".repeat(2_000_000);
    for (what, request) in [
        ("300 lines", get(PATH, &lines(300))),
        ("10,000 lines", get(PATH, &lines(10_000))),
        ("a header of 2 MB", get(PATH, &format!("X-Long: {long}\r\n"))),
        ("a header name of 2 MB", get(PATH, &format!("{long}: x\r\n"))),
        ("a target of 2 MB", get(&format!("/edge/assets/{long}"), "")),
        ("a query of 2 MB", get(&format!("{PATH}?{long}"), "")),
        ("a method of 2 MB", get(PATH, "").replacen("GET", &long, 1)),
        ("lines of 2 MB without an end", long.replace('a', "b: c\r\n")),
    ] {
        let mut client = server.client();
        client.send(request.as_bytes());
        let since = Instant::now();
        let status = client.response(false).map(|answer| answer.status);
        assert!(since.elapsed() < Duration::from_secs(10), "{what}: neither an answer nor an end");
        // An end may overtake the answer: what was not read makes the kernel reset the connection.
        assert!(status.is_err() || matches!(status, Ok(400 | 414 | 431)), "{what}: {status:?}");
        assert_eq!(server.get(PATH, &[]).body, b"hello", "after {what}");
    }
    assert!(server.alive());
    assert!(server.rss() < before + (64 << 20), "{before} -> {}", server.rss());
}

#[test]
fn a_get_that_expects_100_continue_is_answered_at_once_and_its_body_is_no_request() {
    let server = setup().asset("a.txt", b"hello").start();
    let body = get("/edge/assets/none", "");
    let head = get(PATH, &format!("Expect: 100-continue\r\nContent-Length: {}\r\n", body.len()));
    assert_eq!(server.get(PATH, &[]).status, 200);
    // A client that waits for the word before it sends its body.
    let mut client = server.client();
    let since = Instant::now();
    client.send(head.as_bytes());
    let mut first = client.response(false).unwrap();
    assert!(since.elapsed() < Duration::from_secs(1), "answered after {:?}", since.elapsed());
    client.send(body.as_bytes());
    if first.status == 100 {
        first = client.response(false).unwrap();
    }
    assert!(first.status < 500 && first.status != 404, "{first:?}");
    client.send(get(PATH, "").as_bytes());
    if let Some(next) = answer_or_end(&mut client, false) {
        assert_eq!((next.status, next.body.as_slice()), (200, b"hello".as_slice()), "the body was read as a request");
    }
    // One that does not wait.
    let mut client = server.client();
    client.send(format!("{head}{body}").as_bytes());
    let mut first = client.response(false).unwrap();
    if first.status == 100 {
        first = client.response(false).unwrap();
    }
    assert!(first.status < 500 && first.status != 404, "{first:?}");
    client.send(get(PATH, "").as_bytes());
    if let Some(next) = answer_or_end(&mut client, false) {
        assert_eq!((next.status, next.body.as_slice()), (200, b"hello".as_slice()), "the body was read as a request");
    }
}

#[test]
fn a_request_that_comes_a_byte_at_a_time_is_answered_or_cut_and_blocks_nobody() {
    let server = setup().asset("a.txt", b"hello").start();
    let trickle = |server: &Server| {
        let mut client = server.client();
        for byte in get(PATH, "").bytes() {
            client.send(&[byte]);
            std::thread::sleep(Duration::from_millis(50));
        }
        if let Some(answer) = answer_or_end(&mut client, false) {
            assert_eq!((answer.status, answer.body.as_slice()), (200, b"hello".as_slice()));
        }
    };
    std::thread::scope(|scope| {
        let slow: Vec<_> = (0..20).map(|_| scope.spawn(|| trickle(&server))).collect();
        let mut answered = 0;
        while slow.iter().any(|one| !one.is_finished()) {
            let since = Instant::now();
            assert_eq!(server.get(PATH, &[]).body, b"hello");
            // A slow request lasts two and a half seconds.
            assert!(since.elapsed() < Duration::from_secs(2), "waited {:?} behind slow requests", since.elapsed());
            answered += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(answered >= 10, "{answered} requests beside the slow ones");
    });
}

#[test]
fn pipelined_requests_are_answered_in_order_or_not_at_all() {
    let large = noise(1_000_000, 1);
    let server = setup().asset("a.txt", b"hello").asset("b.txt", b"another").asset("large", &large).start();
    let tag = crate::fixtures::tag(b"hello");
    let firsts: [(String, u16, &[u8]); 8] = [
        (get(PATH, ""), 200, b"hello"),
        (get(PATH, "").replacen("GET", "HEAD", 1), 200, b""),
        (get(PATH, "Range: bytes=1-2\r\n"), 206, b"el"),
        (get(PATH, &format!("If-None-Match: {tag}\r\n")), 304, b""),
        (get(PATH, "").replacen("GET", "OPTIONS", 1), 204, b""),
        (get("/healthz", ""), 200, b"{\"healthy\":true}"),
        (get("/edge/assets/site/large", ""), 200, &large),
        (get(PATH, "Content-Length: 5\r\n") + "xxxxx", 200, b"hello"),
    ];
    for (first, status, body) in &firsts {
        let mut client = server.client();
        let follower = get("/edge/assets/site/b.txt", "");
        client.send(format!("{first}{follower}").as_bytes());
        let answer = client.response(first.starts_with("HEAD")).unwrap();
        assert_eq!(answer.status, *status, "{first}");
        assert!(answer.body == *body, "{first}");
        if let Some(next) = answer_or_end(&mut client, false) {
            assert_eq!((next.status, next.body.as_slice()), (200, b"another".as_slice()), "behind {first}");
        }
    }
    // Many at once: each that is answered is answered in its turn.
    let mut client = server.client();
    client.send((0..10).map(|i| get(["/edge/assets/site/b.txt", PATH][i % 2], "")).collect::<String>().as_bytes());
    for i in 0..10 {
        match answer_or_end(&mut client, false) {
            Some(answer) => assert_eq!(answer.body, [b"another".as_slice(), b"hello"][i % 2]),
            None => {
                assert!(i > 0, "the first is answered in any case");
                break;
            }
        }
    }
}

#[test]
fn http_1_0_is_answered_and_its_connection_is_kept_only_on_demand() {
    let server = setup().asset("a.txt", b"hello").start();
    for host in ["", "Host: edge.test\r\n"] {
        let mut client = server.client();
        client.send(format!("GET {PATH} HTTP/1.0\r\n{host}\r\n").as_bytes());
        let answer = client.response(false).unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"hello".as_slice()), "{host:?}");
        assert_eq!(answer.header("transfer-encoding"), None, "HTTP/1.0 knows no chunks (RFC 9112 §6.1)");
        assert!(client.closed(), "{host:?}");
    }
    let mut client = server.client();
    for round in 0..3 {
        client.send(format!("GET {PATH} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").as_bytes());
        let answer = client.response(false).unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"hello".as_slice()));
        let said = answer.header("connection").map(str::to_ascii_lowercase);
        assert_eq!(said.as_deref(), Some("keep-alive"), "an HTTP/1.0 client must be told (RFC 9112 §C.2.2)");
    }
    client.send(format!("GET {PATH} HTTP/1.0\r\n\r\n").as_bytes());
    assert_eq!(client.response(false).unwrap().body, b"hello");
    assert!(client.closed());
    // HTTP/1.1 is the other way round.
    let mut client = server.client();
    assert_eq!(client.request("GET", PATH, &[("Connection", "close")]).body, b"hello");
    assert!(client.closed());
}
