//! Clients that are slow on purpose: each is cut in time, and nobody waits for it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::fixtures::noise;
use crate::http::Client;
use crate::server::{Server, setup};

const PATH: &str = "/edge/assets/site/a.txt";
const LARGE: &str = "/edge/assets/site/large";

/// The requests of others are answered while `slow` goes on.
fn beside(server: &Server, slow: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let slow = scope.spawn(slow);
        let mut worst = Duration::ZERO;
        loop {
            let since = Instant::now();
            assert_eq!(server.get(PATH, &[]).body, b"hello");
            worst = worst.max(since.elapsed());
            if slow.is_finished() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(worst < Duration::from_secs(2), "somebody waited {worst:?}");
    });
}

/// Send `head`, then a header line every 100 ms, until the server closes; after how long.
fn trickles(client: &mut Client, head: &str) -> Duration {
    client.send(head.as_bytes());
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(20) {
        client.send(b"X-More: y\r\n");
        std::thread::sleep(Duration::from_millis(100));
        if client.is_over() {
            return since.elapsed();
        }
    }
    panic!("still waited for after {:?}", since.elapsed());
}

#[test]
fn a_header_that_trickles_is_cut_on_the_first_request_and_on_a_later_one() {
    let server = setup().asset("a.txt", b"hello").edge("  ingress: {header_timeout: 1s}\n").start();
    let head = "GET / HTTP/1.1\r\nHost: edge.test\r\n";
    beside(&server, || {
        std::thread::scope(|scope| {
            for earlier in [0, 1, 5] {
                let server = &server;
                scope.spawn(move || {
                    let mut client = server.client();
                    for _ in 0..earlier {
                        assert_eq!(client.request("GET", PATH, &[]).body, b"hello");
                    }
                    let took = trickles(&mut client, head);
                    assert!(took >= Duration::from_millis(900), "cut after {took:?}, behind {earlier} requests");
                    assert!(took < Duration::from_secs(8), "cut after {took:?}, behind {earlier} requests");
                });
            }
        });
    });
    server.counts("io_timeouts_total{op=\"header\"}", 3.0);
    server.eventually("no connection", || server.metric("edge_connections") == 0.0);
}

#[test]
fn a_header_in_single_bytes_is_answered_if_it_is_there_in_time_and_else_cut() {
    let server = setup().asset("a.txt", b"hello").edge("  ingress: {header_timeout: 3s}\n").start();
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: edge.test\r\n\r\n");
    for (pause, answered) in [(5, true), (150, false)] {
        let mut client = server.client();
        for _ in 0..2 {
            for byte in request.bytes() {
                client.send(&[byte]);
                std::thread::sleep(Duration::from_millis(pause));
            }
            let answer = client.response(false);
            assert_eq!(answer.is_ok(), answered, "{answer:?}");
            if !answered {
                break;
            }
        }
    }
}

#[test]
fn the_time_between_two_requests_is_not_time_of_a_header() {
    let server = setup().asset("a.txt", b"hello").edge("  ingress: {header_timeout: 300ms, keepalive: 20s}\n").start();
    let mut client = server.client();
    std::thread::sleep(Duration::from_millis(700));
    for _ in 0..3 {
        assert_eq!(client.request("GET", PATH, &[]).body, b"hello");
        std::thread::sleep(Duration::from_millis(700));
    }
    assert_eq!(server.metric("io_timeouts_total{op=\"header\"}"), 0.0);
}

#[test]
fn a_connection_on_which_nothing_is_asked_is_closed() {
    let server = setup().asset("a.txt", b"hello").edge("  ingress: {keepalive: 1s}\n").start();
    for asked in [false, true] {
        let mut client = server.client();
        if asked {
            assert_eq!(client.request("GET", PATH, &[]).body, b"hello");
        }
        let since = Instant::now();
        assert!(client.closed());
        assert!(since.elapsed() < Duration::from_secs(10), "closed after {:?}", since.elapsed());
    }
    assert_eq!(server.metric("io_timeouts_total{op=\"header\"}"), 0.0, "idle is not late");
}

#[test]
fn a_body_that_trickles_is_waited_for_no_longer_than_the_timeout() {
    let server = setup().asset("a.txt", b"hello").edge("  ingress: {timeout: 1s}\n").start();
    beside(&server, || {
        std::thread::scope(|scope| {
            for method in ["GET", "POST", "PUT"] {
                let server = &server;
                scope.spawn(move || {
                    let mut client = server.client();
                    client.send(
                        format!("{method} {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n").as_bytes(),
                    );
                    let since = Instant::now();
                    while !client.is_over() {
                        client.send(b"x");
                        std::thread::sleep(Duration::from_millis(100));
                        assert!(since.elapsed() < Duration::from_secs(15), "{method} is still waited for");
                    }
                });
            }
        });
    });
    server.eventually("nothing in flight", || server.metric("edge_inflight") == 0.0);
}

#[test]
fn a_reader_of_8_mib_that_takes_next_to_nothing_is_cut_whatever_its_steps() {
    let large = noise(8 << 20, 1);
    let server = setup()
        .asset("a.txt", b"hello")
        .asset("large", &large)
        .edge("  ingress: {write_timeout: 1s, min_send_rate: 64KiB}\n")
        .start();
    beside(&server, || {
        // Nothing at all, and a thousand bytes a second.
        for step in [0, 100] {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            stream.write_all(format!("GET {LARGE} HTTP/1.1\r\nHost: edge.test\r\n\r\n").as_bytes()).unwrap();
            server.eventually("in flight", || server.metric("edge_inflight") >= 1.0);
            let since = Instant::now();
            while server.metric("edge_inflight") != 0.0 {
                assert!(since.elapsed() < Duration::from_secs(15), "{step} bytes at a time are still put up with");
                let _ = stream.read(&mut vec![0; step]);
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    });
    server.counts("io_timeouts_total{op=\"write\"}", 2.0);
}

#[test]
fn a_reader_that_pauses_after_a_fast_start_and_goes_on_gets_everything() {
    let large = noise(24 << 20, 2);
    let server = setup().asset("large", &large).edge("  ingress: {write_timeout: 1s, min_send_rate: 1KiB}\n").start();
    let mut client = server.client();
    client.send(format!("GET {LARGE} HTTP/1.1\r\nHost: edge.test\r\n\r\n").as_bytes());
    let head = client.head().unwrap();
    assert_eq!(head.status, 200);
    let mut body = Vec::new();
    // A fast reader, for whom the kernel makes its buffers large; then one of 1 MB a second, for which the kernel may say for seconds that there is no room.
    while body.len() < large.len() {
        let piece = client.some(128 * 1024).unwrap();
        assert!(!piece.is_empty());
        body.extend(piece);
        if (12 << 20..16 << 20).contains(&body.len()) {
            std::thread::sleep(Duration::from_millis(120));
        }
    }
    assert!(body == large);
    assert_eq!(server.metric("io_timeouts_total{op=\"write\"}"), 0.0);
}

#[test]
fn a_client_that_closes_its_side_behind_its_request_is_answered() {
    let large = noise(2_000_000, 3);
    let server = setup().asset("a.txt", b"hello").asset("large", &large).start();
    for (path, body) in [(PATH, b"hello".as_slice()), (LARGE, &large)] {
        let mut client = server.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: edge.test\r\n\r\n").as_bytes());
        client.half_close();
        assert!(client.response(false).unwrap().body == body, "{path}");
        assert!(client.closed());
    }
    // In the middle of a header it is gone.
    let mut client = server.client();
    client.send(b"GET / HT");
    client.half_close();
    assert!(client.closed());
    server.eventually("no connection", || server.metric("edge_connections") == 0.0);
}

#[test]
fn what_is_no_request_is_told_so_with_a_reason_and_counted() {
    let server = setup().asset("a.txt", b"hello").edge("  ingress: {header_bytes: 8KiB}\n").start();
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {}", "y".repeat(20_000));
    for (what, bytes, status, reason) in [
        ("junk", "\u{0}\u{1}\u{2}\r\n\r\n", 400, "bad_request"),
        ("TLS to a listener in clear text", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\r\n\r\n", 400, "bad_request"),
        (
            "two lengths",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
            "bad_request",
        ),
        ("CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405, "method"),
        ("a header without an end", &long, 431, "header_cap"),
    ] {
        let series = format!("rejected_total{{reason=\"{reason}\"}}");
        let before = server.metric(&series);
        let mut client = server.client();
        client.send(bytes.as_bytes());
        let answer = client.response(false).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((answer.status, answer.header("x-reason")), (status, Some(reason)), "{what}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
        assert_eq!(answer.header("connection"), Some("close"), "{what}");
        assert!(answer.header("x-corr-id").is_some_and(|id| answer.text().contains(id)), "{what}: {answer:?}");
        assert!(client.closed(), "{what}");
        server.counts(&series, before + 1.0);
    }
    // A later request that is none, too.
    let mut client = server.client();
    assert_eq!(client.request("GET", PATH, &[]).body, b"hello");
    client.send(b"\x00\r\n\r\n");
    assert_eq!(client.response(false).unwrap().status, 400);
}

#[test]
fn a_crowd_of_readers_that_take_nothing_is_in_nobodys_way() {
    let large = noise(8 << 20, 4);
    let server = setup().asset("a.txt", b"hello").asset("large", &large).start();
    let before = server.rss();
    let crowd: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.write_all(format!("GET {LARGE} HTTP/1.1\r\nHost: edge.test\r\n\r\n").as_bytes()).unwrap();
            stream
        })
        .collect();
    beside(&server, || server.eventually("they are answered", || server.metric("edge_inflight") >= 300.0));
    // A chunk of 64 KiB each; what they have not taken stands nowhere.
    let grown = server.rss().saturating_sub(before);
    assert!(grown < 96 << 20, "{} MiB", grown >> 20);
    drop(crowd);
    server.eventually("nothing in flight", || server.metric("edge_inflight") == 0.0);
}
