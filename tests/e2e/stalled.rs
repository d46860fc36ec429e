//! Readers that stall, and readers that are only slow.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::fixtures::{gzip, mbtiles, noise};
use crate::http::Response;
use crate::server::{Server, Setup, setup};

const TILE: &str = "/edge/assets/v/0/0/0";

/// Nine megabytes that gzip halves: under the ratio of decoding, above what sockets buffer and what the hot set holds.
fn large_tile() -> Vec<u8> {
    noise(4_500_000, 1)
        .iter()
        .flat_map(|byte| [b"0123456789abcdef"[usize::from(byte >> 4)], b'a' + (byte & 15)])
        .collect()
}

/// A server of that tile, coded; what asks for it without a coding is answered with all of it decoded.
fn with_large_tile(tile: &[u8]) -> Setup {
    let setup = setup();
    let path = mbtiles(&setup.dir.path().join("v.mbtiles"), "pbf", &[(0, 0, 0, &gzip(tile))]);
    setup.pack("v", &path, "").edge("  http: {decode: {bytes: 20MiB}}\n")
}

fn ask(server: &Server, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: edge.test\r\n\r\n").as_bytes()).unwrap();
    stream
}

/// Ask, read nothing, and see the request end on the server's side; then that what was sent is not the whole.
fn is_cut(server: &Server, path: &str) {
    let mut client = server.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: edge.test\r\n\r\n").as_bytes());
    server.eventually("in flight", || server.metric("edge_inflight") >= 1.0);
    let since = Instant::now();
    while server.metric("edge_inflight") != 0.0 {
        assert!(since.elapsed() < Duration::from_secs(6), "a stalled reader of {path} is still held");
        std::thread::sleep(Duration::from_millis(50));
    }
    let error = client.response(false).map(|answer: Response| answer.body.len()).expect_err("short of its length");
    assert!(error.contains("body cut"), "{error}");
    // Its end is worth no more than its own connection.
    assert_eq!(server.get("/healthz", &[]).status, 200);
}

#[test]
fn a_stalled_reader_of_a_large_asset_is_cut() {
    let server = setup().asset("large", &noise(20_000_000, 1)).edge("  ingress: {write_timeout: 1s}\n").start();
    is_cut(&server, "/edge/assets/site/large");
}

#[test]
fn a_stalled_reader_of_a_large_decoded_tile_is_cut() {
    let server = with_large_tile(&large_tile()).edge("  ingress: {write_timeout: 1s}\n").start();
    is_cut(&server, TILE);
}

#[test]
fn a_slow_reader_that_goes_on_reading_gets_everything() {
    let (tile, asset) = (large_tile(), noise(9_000_000, 2));
    let server = with_large_tile(&tile).asset("large", &asset).edge("  ingress: {write_timeout: 1s}\n").start();
    std::thread::scope(|scope| {
        for (path, whole) in [(TILE, &tile), ("/edge/assets/site/large", &asset)] {
            let server = &server;
            scope.spawn(move || {
                let mut stream = ask(server, path);
                let (mut answer, mut piece) = (Vec::new(), vec![0; 128 * 1024]);
                let since = Instant::now();
                // Three and a half seconds in all: longer than one write may take, with every single write much shorter.
                while header_end(&answer).is_none_or(|at| answer.len() < at + whole.len()) {
                    let read = stream.read(&mut piece).unwrap();
                    assert!(read > 0, "{path} was cut after {} bytes and {:?}", answer.len(), since.elapsed());
                    answer.extend_from_slice(&piece[..read]);
                    std::thread::sleep(Duration::from_millis(50) * read as u32 / piece.len() as u32);
                }
                let at = header_end(&answer).unwrap();
                assert!(answer[at..] == whole[..], "{path}");
                assert!(since.elapsed() > Duration::from_secs(2), "this reader was not slow: {:?}", since.elapsed());
            });
        }
    });
}

#[test]
fn forty_stalled_readers_of_one_decoded_tile_hold_it_once() {
    let tile = large_tile();
    // On a machine that is busy with other things the one decoding may take a while, and nobody is to be cut before all are counted.
    let server = with_large_tile(&tile).edge("  ingress: {timeout: 30s, write_timeout: 60s}\n").start();
    let before = server.rss();
    let readers: Vec<_> = (0..40).map(|_| ask(&server, TILE)).collect();
    for reader in &readers {
        let mut head = [0; 12];
        while reader.peek(&mut head).unwrap() < head.len() {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(&head, b"HTTP/1.1 200");
    }
    assert!(server.metric("edge_inflight") >= 40.0, "all of them stand still in the middle of their body");
    let grown = peak_rss(&server).saturating_sub(before);
    assert!(grown < 128 << 20, "{} MiB for one tile of 9 MB", grown >> 20);
    assert!(server.get(TILE, &[]).body == tile, "and beside them somebody reads");
    drop(readers);
    server.eventually("nothing in flight", || server.metric("edge_inflight") == 0.0);
}

fn header_end(answer: &[u8]) -> Option<usize> {
    answer[..answer.len().min(4096)].windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// The most memory that was ever resident, in bytes.
fn peak_rss(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
