//! Clients behind a proxy that speaks the PROXY protocol.

use std::time::Duration;

use crate::http::Client;
use crate::server::{Server, Setup, setup};

const PATH: &str = "/edge/assets/site/a.txt";
const ASK: &[u8] = b"GET /edge/assets/site/a.txt HTTP/1.1\r\nHost: edge.test\r\n\r\n";

fn proxied(ingress: &str) -> Setup {
    let ingress = format!("  ingress: {{trusted_proxies: [127.0.0.0/8], {ingress}}}\n");
    setup().bind(&["{addr: 127.0.0.1:0, proxy_protocol: true}", "127.0.0.1:0"]).asset("a.txt", b"hello").edge(&ingress)
}

/// A header of version 2 for a client with an IPv4 address.
fn v2(source: [u8; 4], more: &[u8]) -> Vec<u8> {
    let block = [&source[..], &[192, 0, 2, 9], &4711_u16.to_be_bytes(), &443_u16.to_be_bytes(), more].concat();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &(block.len() as u16).to_be_bytes()[..], &block].concat()
}

/// The address that the log has for the client of the request with this id.
fn peer_of(server: &Server, id: &str) -> String {
    let line = || server.logged("request").into_iter().find(|line| line["corr_id"] == id);
    server.eventually("the request's line", || line().is_some());
    line().unwrap()["peer_addr"].as_str().unwrap().to_owned()
}

#[test]
fn the_client_is_whom_the_header_names_however_it_comes() {
    let server = proxied("").start();
    for (n, (header, peer)) in [
        (b"PROXY TCP4 198.51.100.7 192.0.2.9 4711 443\r\n".to_vec(), "198.51.100.7:4711"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::9 4711 443\r\n".to_vec(), "[2001:db8::7]:4711"),
        (v2([198, 51, 100, 8], b""), "198.51.100.8:4711"),
        (v2([198, 51, 100, 8], &[&[4, 3, 232][..], &[0; 1000]].concat()), "198.51.100.8:4711"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1:"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0".to_vec(), "127.0.0.1:"),
    ]
    .into_iter()
    .enumerate()
    {
        // At once with the request, before it, and in single bytes.
        for pause in [None, Some(header.len()), Some(1)] {
            let id = format!("case-{n}-{}", pause.unwrap_or_default());
            let request = format!("GET {PATH} HTTP/1.1\r\nHost: edge.test\r\nX-Corr-ID: {id}\r\n\r\n");
            let mut client = server.client();
            match pause {
                None => client.send(&[&header, request.as_bytes()].concat()),
                Some(step) => {
                    for piece in header.chunks(step) {
                        client.send(piece);
                        std::thread::sleep(Duration::from_millis(if step == 1 { 1 } else { 50 }));
                    }
                    client.send(request.as_bytes());
                }
            }
            assert_eq!(client.response(false).unwrap().body, b"hello", "{id}");
            assert!(peer_of(&server, &id).starts_with(peer), "{id}: {}", peer_of(&server, &id));
            // It is the connection's, not the request's.
            client.send(request.replace("case", "next").as_bytes());
            assert_eq!(client.response(false).unwrap().body, b"hello", "{id}");
            assert!(peer_of(&server, &id.replace("case", "next")).starts_with(peer));
        }
    }
}

#[test]
fn what_is_no_header_closes_the_connection_without_an_answer() {
    let server = proxied("header_timeout: 1s").start();
    for bytes in [
        ASK,
        b"PROXY TCP4 nobody 192.0.2.9 4711 443\r\n",
        b"\x16\x03\x01\x02\x00",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x01x",
        &[b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(),
    ] {
        let mut client = server.client();
        client.send(bytes);
        assert!(client.closed(), "{}", bytes.escape_ascii());
    }
    server.counts("rejected_total{reason=\"proxy_header\"}", 5.0);
    // Half a header is waited for as long as for any.
    let mut client = server.client();
    client.send(b"PROXY TCP4 198.51");
    assert!(client.closed());
    server.counts("io_timeouts_total{op=\"header\"}", 1.0);
    // The other listener knows no such header.
    let mut other = Client::connect(server.addresses[1]);
    other.send(&[b"PROXY TCP4 198.51.100.7 192.0.2.9 4711 443\r\n", ASK].concat());
    assert_eq!(other.response(false).unwrap().status, 400);
    assert_eq!(Client::connect(server.addresses[1]).request("GET", PATH, &[]).body, b"hello");
}

#[test]
fn who_is_not_trusted_is_not_believed() {
    let server = setup()
        .bind(&["{addr: 127.0.0.1:0, proxy_protocol: true}"])
        .asset("a.txt", b"hello")
        .edge("  ingress: {trusted_proxies: [192.0.2.0/24]}\n")
        .start();
    let mut client = server.client();
    client.send(&[b"PROXY TCP4 198.51.100.7 192.0.2.9 4711 443\r\n", ASK].concat());
    assert!(client.closed());
    server.counts("rejected_total{reason=\"proxy_header\"}", 1.0);
}

#[test]
fn connections_are_counted_by_the_client_behind_the_proxy() {
    let server = proxied("max_connections_per_client: 2").start();
    let named = |last: u8| {
        let mut client = server.client();
        client.send(&v2([198, 51, 100, last], b""));
        client
    };
    let mut held = vec![named(1), named(1)];
    for client in &mut held {
        client.send(ASK);
        assert_eq!(client.response(false).unwrap().body, b"hello");
    }
    assert_eq!(named(1).response(false).unwrap().header("x-reason"), Some("connections"));
    let mut other = named(2);
    other.send(ASK);
    assert_eq!(other.response(false).unwrap().body, b"hello");
    // The proxy itself is no client.
    for _ in 0..5 {
        let mut health = server.client();
        health.send(&[b"PROXY UNKNOWN\r\n", ASK].concat());
        assert_eq!(health.response(false).unwrap().body, b"hello");
        held.push(health);
    }
}
