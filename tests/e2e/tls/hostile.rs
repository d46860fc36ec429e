//! Clients that speak no TLS, bad TLS, or none of it in time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::*;
use crate::http::Client;

/// A record of a handshake with a ClientHello of this body and version.
fn hello(version: u16, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    let message = [&[1], &length[1..], body].concat();
    let chunks = message.chunks(16_384).map(|chunk| {
        let length = (chunk.len() as u16).to_be_bytes();
        [&[22], &version.to_be_bytes()[..], &length, chunk].concat()
    });
    chunks.collect::<Vec<_>>().concat()
}

/// A ClientHello of so old a version, without extensions.
fn old(version: u16) -> Vec<u8> {
    let suites: [u16; 3] = [0xc013, 0xc014, 0x002f];
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let body = [&version.to_be_bytes()[..], &[7; 32], &[0], &(suites.len() as u16).to_be_bytes(), &suites, &[1, 0]];
    hello(version, &body.concat())
}

fn raw(server: &crate::server::Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// What comes until the server closes, which it does.
fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        read => drop(read.unwrap()),
    }
    bytes
}

#[test]
fn versions_before_1_2_are_refused_by_an_alert() {
    let (server, _, _) = started();
    for version in [0x0300, 0x0301, 0x0302] {
        let mut stream = raw(&server);
        stream.write_all(&old(version)).unwrap();
        let answer = until_closed(&mut stream);
        // A fatal alert: protocol_version, or what an older draft would say.
        assert!(answer.len() == 7 && answer[0] == 21 && answer[5] == 2, "{version:x}: {answer:?}");
    }
    server.eventually("counted", || handshakes(&server, "incompatible") == 3.0);
}

#[test]
fn http_in_clear_text_on_a_port_of_tls_is_told_so() {
    let (server, _, _) = started();
    for method in ["GET", "HEAD", "POST", "PRI"] {
        let mut client = Client::connect(server.address);
        client.send(format!("{method} / HTTP/1.1\r\nHost: edge.test\r\nContent-Length: 5\r\n\r\nhello").as_bytes());
        let answer = client.response(false).unwrap();
        assert_eq!((answer.status, answer.header("x-reason")), (400, Some("bad_request")), "{method}");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(answer.json()["title"].as_str().unwrap().contains("TLS"), "{answer:?}");
        assert_eq!(answer.json()["instance"].as_str(), answer.header("x-corr-id"));
        assert_eq!(answer.header("strict-transport-security"), None);
        assert!(client.closed());
    }
    server.eventually("counted", || handshakes(&server, "plain_http") == 4.0);
    server.counts("rejected_total{reason=\"bad_request\"}", 4.0);
}

#[test]
fn garbage_is_closed_and_counted_and_nobody_else_notices() {
    let (server, authority, _) = started();
    // Our own look whether the listener accepts ends without a word.
    let closed = handshakes(&server, "closed");
    let oversized = hello(0x0303, &[0; 100_000]);
    let mut half = hello(0x0303, &[0; 300]);
    half.truncate(60);
    for (what, bytes, ended) in [
        ("no record", &[0xff; 500][..], "malformed"),
        ("a record of no known type", &[99, 3, 3, 0, 1, 0], "malformed"),
        ("a record before its handshake", &[23, 3, 3, 0, 1, 0], "malformed"),
        ("an empty hello", &hello(0x0303, &[]), "malformed"),
        ("a hello of zeros", &hello(0x0303, &[0; 300]), "malformed"),
        ("a hello larger than any", &oversized, "malformed"),
        ("a record of a length that none has", &[22, 3, 3, 0xff, 0xff, 0], "malformed"),
        ("an alert", &[21, 3, 3, 0, 2, 2, 40], "refused"),
    ] {
        let before = handshakes(&server, ended);
        let mut stream = raw(&server);
        // It may close before it has read all.
        let _ = stream.write_all(bytes);
        let answer = until_closed(&mut stream);
        assert!(answer.is_empty() || answer[0] == 21, "{what}: {answer:?}");
        server.eventually(what, || handshakes(&server, ended) == before + 1.0);
    }
    for bytes in [&[][..], &[22], &half] {
        let mut stream = raw(&server);
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(until_closed(&mut stream).len() <= 7);
    }
    server.eventually("counted", || handshakes(&server, "closed") == closed + 3.0);
    assert_eq!(browser(&server, &authority).request("GET", "/edge/assets/site/a", &[]).text(), "hello");
}

#[test]
fn a_handshake_that_takes_too_long_is_ended_and_keeps_nobody_from_his() {
    let (setup, authority, _) = secure(crate::server::setup().asset("a", b"hello").edge("  ingress: {timeout: 2s}\n"));
    let server = setup.start();
    let hello = hello(0x0303, &[0; 300]);
    let silent: Vec<_> = (0..50).map(|_| raw(&server)).collect();
    let mut trickling: Vec<_> = (0..50).map(|_| raw(&server)).collect();
    let began = Instant::now();
    for at in 0..20 {
        for stream in &mut trickling {
            let _ = stream.write_all(&hello[at..=at]);
        }
        assert_eq!(browser(&server, &authority).request("GET", "/edge/assets/site/a", &[]).text(), "hello");
        std::thread::sleep(Duration::from_millis(100));
    }
    for mut stream in silent.into_iter().chain(trickling) {
        assert!(until_closed(&mut stream).len() <= 7);
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    server.eventually("counted", || handshakes(&server, "timeout") == 100.0);
}

#[test]
fn a_connection_that_is_cut_in_the_middle_of_an_answer_is_no_fault_of_the_server() {
    let (setup, authority, _) = secure(crate::server::setup().asset("big", &vec![7; 8 << 20]));
    let server = setup.start();
    for _ in 0..20 {
        let mut client = browser(&server, &authority);
        client.ask("GET", "/edge/assets/site/big", &[]);
        assert_eq!(client.head().unwrap().status, 200);
        assert!(!client.some(10_000).unwrap().is_empty());
        // Dropped without a word, and with bytes unread.
    }
    assert_eq!(browser(&server, &authority).request("GET", "/edge/assets/site/big", &[]).body.len(), 8 << 20);
    server.eventually("nothing in flight", || server.metric("edge_inflight") == 0.0);
}
