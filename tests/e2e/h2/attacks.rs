//! What clients of HTTP/2 have been made to do: each costs its own connection at most, no memory that grows, and nobody else's answer.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, H2, HEADERS, INITIAL_WINDOW, PING, SETTINGS, frame, get,
    get_block, reset, settings, window,
};
use super::{LARGE, PATH, h2c};
use crate::fixtures::noise;
use crate::server::Server;

/// How long one attack goes on, if nobody stops it.
const SPAN: Duration = Duration::from_secs(3);

/// Attack on some connections at a time, and see that others are answered meanwhile and that no memory stays taken. `attack` sends one portion, and tells whether the
/// connection still stands.
fn withstands(server: &Server, what: &str, open: impl Fn() -> H2 + Sync, attack: impl Fn(&mut H2, u32) -> bool + Sync) {
    for _ in 0..20 {
        assert_eq!(server.get(PATH, &[]).status, 200);
    }
    let before = server.rss();
    let (open, attack) = (&open, &attack);
    std::thread::scope(|scope| {
        let attackers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(move || {
                    let (since, mut portions) = (Instant::now(), 0);
                    while since.elapsed() < SPAN {
                        let mut client = open();
                        // Answers are read away, as far as a test of its own does not forbid it.
                        let mut away = H2 { stream: client.stream.try_clone().unwrap() };
                        let reader = std::thread::spawn(move || while away.frame().is_some() {});
                        let mut round = 0;
                        while since.elapsed() < SPAN && attack(&mut client, round) {
                            round += 1;
                        }
                        portions += round;
                        let _ = client.stream.shutdown(Shutdown::Both);
                        reader.join().unwrap();
                    }
                    portions
                })
            })
            .collect();
        let mut worst = Duration::ZERO;
        while attackers.iter().any(|attacker| !attacker.is_finished()) {
            let since = Instant::now();
            assert_eq!(server.get(PATH, &[]).body, b"hello", "{what}");
            worst = worst.max(since.elapsed());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(worst < Duration::from_secs(2), "{what}: somebody waited {worst:?}");
        let portions: u32 = attackers.into_iter().map(|attacker| attacker.join().unwrap()).sum();
        assert!(portions > 0, "{what}: nothing was sent");
    });
    server.eventually("no connection", || server.metric("edge_connections") == 0.0);
    server.eventually("nothing in flight", || server.metric("edge_inflight") == 0.0);
    let grown = server.peak_rss().saturating_sub(before);
    assert!(grown < 48 << 20, "{what}: {} MiB", grown >> 20);
}

/// The id of the `n`th stream of a client.
fn stream(n: u32) -> u32 {
    1 + 2 * n
}

#[test]
fn streams_that_are_reset_at_once_are_bounded() {
    let server = h2c().start();
    let portion = |client: &mut H2, round: u32| {
        let frames: Vec<u8> = (0..100)
            .flat_map(|n| [get(stream(100 * round + n), PATH), reset(stream(100 * round + n))].concat())
            .collect();
        client.send(&frames)
    };
    withstands(&server, "rapid reset", || H2::connect(server.address, &[]), portion);
}

#[test]
fn streams_that_the_server_is_made_to_reset_are_bounded() {
    let server = h2c().start();
    // A window update of zero is a fault of the stream (RFC 9113 §6.9).
    let portion = |client: &mut H2, round: u32| {
        let frames: Vec<u8> = (0..100)
            .flat_map(|n| [get(stream(100 * round + n), PATH), window(stream(100 * round + n), 0)].concat())
            .collect();
        client.send(&frames)
    };
    withstands(&server, "made you reset", || H2::connect(server.address, &[]), portion);
}

#[test]
fn a_header_that_goes_on_in_frames_without_end_is_bounded() {
    let server = h2c().start();
    for (what, piece) in [
        // A literal of 10 KB, again and again; and frames without anything.
        ("large continuations", [&[0x00, 0x01, b'x', 0x7f, 0x81, 0x4d][..], &[b'y'; 10_000]].concat()),
        ("empty continuations", Vec::new()),
    ] {
        let portion = |client: &mut H2, round: u32| {
            let begin = if round == 0 { frame(HEADERS, END_STREAM, 1, &get_block(PATH)) } else { Vec::new() };
            client.send(&[begin, frame(CONTINUATION, 0, 1, &piece).repeat(20)].concat())
        };
        withstands(&server, what, || H2::connect(server.address, &[]), portion);
    }
}

#[test]
fn a_small_block_that_stands_for_a_large_header_is_bounded() {
    let server = h2c().start();
    let portion = |client: &mut H2, round: u32| {
        // A field of 3 KB goes into the dynamic table (RFC 7541 §6.2.1); each byte after it is all of the field again.
        let field = [&[0x40, 0x01, b'x', 0x7f, 0xb9, 0x16][..], &[b'y'; 2_999 - 1 + 1 - 127 + 64]].concat();
        let mut block = get_block(PATH);
        if round == 0 {
            block.extend(&field);
        }
        block.extend([0xbe; 16_000 - 3_200]);
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream(round), &block))
    };
    withstands(&server, "HPACK bomb", || H2::connect(server.address, &[]), portion);
}

#[test]
fn frames_that_carry_nothing_are_bounded() {
    let server = h2c().start();
    for (what, one) in [
        ("empty DATA", frame(DATA, 0, 1, b"")),
        ("DATA of one byte", frame(DATA, 0, 1, b"x")),
        ("DATA that is all padding", frame(DATA, 8, 1, &[&[255][..], &[0; 255]].concat())),
        ("PING", frame(PING, 0, 0, &[7; 8])),
        ("SETTINGS", settings(&[(INITIAL_WINDOW, 65_535)])),
        ("empty SETTINGS", frame(SETTINGS, 0, 0, b"")),
        ("window updates", window(0, 1)),
        ("unknown frames", frame(0xfe, 0, 0, &[0; 100])),
        ("PRIORITY", frame(2, 0, 1, &[0, 0, 0, 3, 7])),
    ] {
        let portion = |client: &mut H2, round: u32| {
            let begin = if round == 0 { frame(HEADERS, END_HEADERS, 1, &get_block(PATH)) } else { Vec::new() };
            client.send(&[begin, one.repeat(500)].concat())
        };
        withstands(&server, what, || H2::connect(server.address, &[]), portion);
    }
}

#[test]
fn who_reads_no_answers_to_its_pings_makes_none_pile_up() {
    let server = h2c().edge("  ingress: {write_timeout: 1s}\n").start();
    let before = server.rss();
    for one in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, b"")] {
        let mut client = H2::connect(server.address, &[]);
        let since = Instant::now();
        // It is not read until the kernel takes no more; then it is cut.
        while client.send(&one.repeat(1000)) {
            assert!(since.elapsed() < Duration::from_secs(25), "it goes on and on");
        }
        assert_eq!(server.get(PATH, &[]).body, b"hello");
    }
    server.eventually("no connection", || server.metric("edge_connections") == 0.0);
    let grown = server.peak_rss().saturating_sub(before);
    assert!(grown < 48 << 20, "{} MiB", grown >> 20);
}

#[test]
fn a_hundred_shut_windows_on_each_of_many_connections_hold_next_to_nothing() {
    let server = h2c().asset("large", &noise(8 << 20, 1)).edge("  ingress: {write_timeout: 5s}\n").start();
    let before = server.rss();
    let mut clients: Vec<_> = (0..5).map(|_| H2::connect(server.address, &[(INITIAL_WINDOW, 0)])).collect();
    for client in &mut clients {
        client.send(&(0..100).flat_map(|n| get(stream(n), LARGE)).collect::<Vec<_>>());
    }
    server.eventually("many in flight", || server.metric("edge_inflight") >= 400.0);
    assert_eq!(server.get(PATH, &[]).body, b"hello");
    server.eventually("all of them are reset", || server.metric("edge_inflight") == 0.0);
    // 500 answers of which a chunk of 64 KiB is at hand: not 500 times 8 MiB.
    let grown = server.peak_rss().saturating_sub(before);
    assert!(grown < 160 << 20, "{} MiB", grown >> 20);
}

#[test]
fn more_streams_than_are_allowed_are_refused_and_idle_ones_end() {
    let server = h2c().edge("  ingress: {timeout: 2s}\n").start();
    let mut client = H2::connect(server.address, &[]);
    // None of them ends its request.
    let frames: Vec<u8> = (0..150).flat_map(|n| frame(HEADERS, END_HEADERS, stream(n), &get_block(PATH))).collect();
    client.send(&frames);
    server.eventually("they are being answered", || server.metric("edge_inflight") >= 90.0);
    assert!(server.metric("edge_inflight") <= 100.0);
    assert_eq!(server.get(PATH, &[]).body, b"hello");
    server.eventually("they ended", || server.metric("edge_inflight") == 0.0);
    drop(client);
}

#[test]
fn a_client_that_takes_no_notice_of_goaway_is_cut() {
    let server = h2c().edge("  ingress: {keepalive_requests: 10}\n").start();
    let mut client = H2::connect(server.address, &[]);
    let mut asked = 0;
    let mut told = false;
    // PINGs stay without an answer, so that the server can't know that it was heard. It closes in a moment without requests, or after a thousand.
    let since = Instant::now();
    while client.send(&get(stream(asked), PATH)) && asked < 5000 {
        asked += 1;
        assert!(since.elapsed() < Duration::from_secs(60));
        let mut head = [0; 9];
        loop {
            use std::io::Read;
            if client.stream.read_exact(&mut head).is_err() {
                break;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            if client.stream.read_exact(&mut vec![0; length]).is_err() {
                break;
            }
            told |= head[3] == GOAWAY;
            if head[3] == DATA && head[4] & END_STREAM != 0 {
                break;
            }
        }
    }
    assert!(told && (10..1200).contains(&asked), "{asked} requests, told: {told}");
    server.eventually("no connection", || server.metric("edge_connections") == 0.0);
}
