//! HTTP/2 in clear text: where it is spoken, its deadlines, its end.

mod attacks;
pub mod frames;

use std::time::{Duration, Instant};

use frames::{END_HEADERS, END_STREAM, End, GOAWAY, H2, HEADERS, INITIAL_WINDOW, PREFACE, RST_STREAM};

use crate::fixtures::noise;
use crate::server::{Server, Setup, setup};

const PATH: &str = "/edge/assets/site/a.txt";
const LARGE: &str = "/edge/assets/site/large";

/// A server whose one listener speaks HTTP/2 in clear text.
pub fn h2c() -> Setup {
    setup().bind(&["{addr: 127.0.0.1:0, h2c: true}"]).asset("a.txt", b"hello")
}

fn connect(server: &Server) -> H2 {
    H2::connect(server.address, &[])
}

#[test]
fn http_2_in_clear_text_is_spoken_where_the_conf_says_so_and_nowhere_else() {
    let server = setup().bind(&["127.0.0.1:0", "{addr: 127.0.0.1:0, h2c: true}"]).asset("a.txt", b"hello").start();
    let (plain, h2c) = (server.address, server.addresses[1]);
    let mut client = H2::connect(h2c, &[]);
    client.send(&frames::get(1, PATH));
    assert_eq!(client.end_of(1, true), End::Whole(b"hello".into()));
    let mut client = crate::http::Client::connect(plain);
    client.send(PREFACE);
    let answer = client.response(false).unwrap();
    assert_eq!((answer.status, answer.header("x-reason")), (400, Some("bad_request")));
    for address in [plain, h2c] {
        let mut client = crate::http::Client::connect(address);
        assert_eq!(client.request("GET", PATH, &[]).body, b"hello");
        assert_eq!(client.request("GET", PATH, &[]).body, b"hello", "and again on the same connection");
        // An upgrade is not prior knowledge.
        let fields = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")];
        let answer = crate::http::Client::connect(address).request("GET", PATH, &fields);
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"hello".as_slice()));
    }
}

#[test]
fn a_short_request_does_not_wait_for_the_bytes_that_a_preface_would_have() {
    let server = h2c().start();
    for request in ["GET / HTTP/1.0\r\n\r\n", "PRI * HTTP/1.1\r\n\r\n", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        let since = Instant::now();
        let mut client = server.client();
        client.send(request.as_bytes());
        client.half_close();
        let status = client.response(false).map(|answer| answer.status);
        assert!(since.elapsed() < Duration::from_secs(3), "{request:?} waited {:?}", since.elapsed());
        assert!(matches!(status, Ok(404 | 400 | 405) | Err(_)), "{request:?}: {status:?}");
    }
    assert_eq!(server.client().request("GET", PATH, &[]).body, b"hello");
}

#[test]
fn a_preface_in_pieces_is_waited_for_and_half_a_one_no_longer_than_a_header() {
    let server = h2c().edge("  ingress: {header_timeout: 1s}\n").start();
    let stream = std::net::TcpStream::connect(server.address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut client = H2 { stream };
    for piece in PREFACE.chunks(5) {
        client.send(piece);
        std::thread::sleep(Duration::from_millis(20));
    }
    client.send(&frames::settings(&[]));
    client.send(&frames::get(1, PATH));
    assert_eq!(client.end_of(1, true), End::Whole(b"hello".into()));
    let mut half = server.client();
    half.send(&PREFACE[..20]);
    assert!(half.closed());
    server.counts("io_timeouts_total{op=\"header\"}", 1.0);
}

#[test]
fn an_idle_connection_of_http_2_is_closed() {
    let server = h2c().edge("  ingress: {keepalive: 1s}\n").start();
    let mut client = connect(&server);
    client.send(&frames::get(1, PATH));
    assert_eq!(client.end_of(1, true), End::Whole(b"hello".into()));
    let since = Instant::now();
    while client.frame().is_some() {}
    assert!(since.elapsed() < Duration::from_secs(15), "closed after {:?}", since.elapsed());
    server.eventually("no connection", || server.metric("edge_connections") == 0.0);
}

#[test]
fn a_connection_of_http_2_is_told_to_go_away_after_its_last_request_and_loses_none() {
    let server = h2c().edge("  ingress: {keepalive_requests: 5}\n").start();
    let mut client = connect(&server);
    for n in 0..5 {
        client.send(&frames::get(1 + 2 * n, PATH));
        assert_eq!(client.end_of(1 + 2 * n, true), End::Whole(b"hello".into()), "request {n}");
    }
    let mut told = false;
    while let Some(frame) = client.frame() {
        told |= frame.kind == GOAWAY && frame.payload[4..8] == [0; 4];
    }
    assert!(told, "it was closed without GOAWAY");
    server.eventually("no connection", || server.metric("edge_connections") == 0.0);
}

#[test]
fn a_stream_whose_window_stays_shut_is_reset_and_the_others_go_on() {
    let large = noise(4_000_000, 1);
    let server = h2c().asset("large", &large).edge("  ingress: {write_timeout: 1s}\n").start();
    let mut client = H2::connect(server.address, &[(INITIAL_WINDOW, 0)]);
    client.send(&frames::get(1, LARGE));
    // All of this one's window, and of the connection's.
    client.send(&[frames::get(3, LARGE), frames::window(3, 5_000_000), frames::window(0, 50_000_000)].concat());
    assert!(client.end_of(3, false) == End::Whole(large.clone()));
    let since = Instant::now();
    let end = client.end_of(1, false);
    assert!(matches!(end, End::Reset(_, 0)), "{end:?}");
    assert!(since.elapsed() < Duration::from_secs(10), "reset after {:?}", since.elapsed());
    client.send(&[frames::get(5, LARGE), frames::window(5, 5_000_000)].concat());
    assert!(client.end_of(5, false) == End::Whole(large), "the connection goes on");
    server.eventually("nothing in flight", || server.metric("edge_inflight") == 0.0);
}

#[test]
fn a_stream_whose_window_opens_by_single_bytes_is_reset() {
    let server = h2c().asset("large", &noise(4_000_000, 1)).edge("  ingress: {write_timeout: 1s}\n").start();
    let mut client = H2::connect(server.address, &[(INITIAL_WINDOW, 0)]);
    client.send(&frames::get(1, LARGE));
    let mut opener = H2 { stream: client.stream.try_clone().unwrap() };
    let since = Instant::now();
    let trickle = std::thread::spawn(move || {
        while since.elapsed() < Duration::from_secs(20) && opener.send(&frames::window(1, 1)) {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let end = client.end_of(1, false);
    assert!(matches!(end, End::Reset(_, 1..=4000)), "{end:?}");
    assert!(since.elapsed() < Duration::from_secs(15), "reset after {:?}", since.elapsed());
    drop(client.stream.shutdown(std::net::Shutdown::Both));
    trickle.join().unwrap();
}

#[test]
fn a_client_of_http_2_that_stops_reading_is_cut() {
    let server = h2c().asset("large", &noise(8 << 20, 1)).edge("  ingress: {write_timeout: 1s}\n").start();
    let mut client = H2::connect(server.address, &[(INITIAL_WINDOW, (1 << 31) - 1)]);
    client.send(&frames::window(0, (1 << 31) - 1 - 65_535));
    for n in 0..20 {
        client.send(&frames::get(1 + 2 * n, LARGE));
    }
    server.eventually("in flight", || server.metric("edge_inflight") >= 1.0);
    server.eventually("cut", || server.metric("edge_connections") == 0.0);
    server.eventually("nothing in flight", || server.metric("edge_inflight") == 0.0);
    assert!(server.metric("io_timeouts_total{op=\"write\"}") >= 1.0);
}

#[test]
fn a_body_of_http_2_that_never_comes_is_waited_for_no_longer_than_the_timeout() {
    let server = h2c().edge("  ingress: {timeout: 1s}\n").start();
    let mut client = connect(&server);
    client.send(&frames::frame(HEADERS, END_HEADERS, 1, &frames::get_block(PATH)));
    let since = Instant::now();
    let mut trickled = 0;
    // A byte of a body now and then does not help.
    let ended = loop {
        client.stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut peek = [0; 9];
        match client.stream.peek(&mut peek) {
            Ok(9) => {
                client.stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                let frame = client.frame().unwrap();
                if frame.stream == 1 && (frame.kind == RST_STREAM || frame.flags & END_STREAM != 0) {
                    break true;
                }
            }
            _ if since.elapsed() > Duration::from_secs(15) => break false,
            _ => {
                client.send(&frames::frame(frames::DATA, 0, 1, b"x"));
                trickled += 1;
            }
        }
    };
    assert!(ended && trickled > 1, "still waited for after {:?}", since.elapsed());
    client.send(&frames::get(3, PATH));
    assert_eq!(client.end_of(3, true), End::Whole(b"hello".into()), "the connection goes on");
}
