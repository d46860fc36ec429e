//! Answers of an origin that are not whole, or no answers at all.

use std::time::Duration;

use svc_edge_origin::{Gate, Origin, Script, pattern};

use super::*;

/// Answers that break off behind their first thousand bytes, when the gate is opened.
fn broken(gate: &Gate) -> Vec<(&'static str, Script)> {
    let begun = || Script::fresh(60).pattern(1000).wait(gate);
    vec![
        ("the connection ends short of the length", begun().content_length(5000).close()),
        ("a reset short of the length", begun().content_length(5000).reset()),
        ("the last chunk is missing", begun().chunked_without_end().pattern(3000)),
        ("a reset between chunks", begun().chunked().reset()),
        ("a chunk is cut", begun().chunked().raw(b"ff\r\nabc").close()),
        ("a chunk has no size", begun().chunked().raw(b"zz\r\nabc\r\n0\r\n\r\n").close()),
        ("a chunk has no end", begun().chunked().raw(b"3\r\nabcdef\r\n0\r\n\r\n").close()),
        ("nothing more comes", begun().content_length(5000).stall(Duration::from_secs(60))),
    ]
}

#[test]
fn the_readers_of_a_fill_that_breaks_off_are_cut_and_nothing_is_stored() {
    let cases = broken(&Gate::new()).len();
    for case in 0..cases {
        let (origin, gate) = (Origin::start(), Gate::new());
        let (what, script) = broken(&gate).swap_remove(case);
        origin.route("/s/a", [script, Script::fresh(60).pattern(5000)]);
        let server = live_with(&origin, "", &format!("{FILL}, read_timeout: 2s")).start();
        claim_faults(&server);
        let mut readers = [server.client(), server.client()];
        for reader in &mut readers {
            reader.ask("GET", &asset("a"), &[]);
            assert_eq!(reader.head().unwrap().status, 200, "{what}");
            assert!(pattern::is_at(0, &reader.exactly(1000).unwrap()), "{what}");
        }
        gate.open();
        for reader in &mut readers {
            let rest = reader.rest();
            assert!(rest.is_err(), "{what}: a reader took it for whole: {rest:?}");
        }
        assert_not_stored(&server, "a");
        assert_eq!(origin.requests("/s/a").len(), 1, "{what}: never tried again once a byte was sent");
        let next = get(&server, "a", &[]);
        assert!(next.body.len() == 5000 && pattern::is_at(0, &next.body), "{what}");
        assert!(says(&next, "fwd=miss"), "{what}: {next:?}");
        assert_eq!(await_stored(&server, "a").body.len(), 5000, "{what}");
        server.eventually("counted", || server.total("edge_live_fill_success_total") == 1.0);
    }
}

#[test]
fn what_follows_behind_the_length_is_never_read_as_an_answer() {
    let origin = Origin::start();
    let smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCache-Control: max-age=60\r\n\r\nevil";
    origin.route("/s/a", Script::fresh(60).content_length(2).body(b"ab").raw(smuggled).stall(Duration::from_secs(1)));
    for name in ["b", "c", "d"] {
        origin.route(&format!("/s/{name}"), text(name));
    }
    let server = live(&origin);
    claim_faults(&server);
    let first = server.client().fetch("GET", &asset("a"), &[]);
    assert!(first.as_ref().is_err() || first.is_ok_and(|answer| answer.body == b"ab"));
    for name in ["b", "c", "d"] {
        assert_eq!(get(&server, name, &[]).text(), name);
    }
}

#[test]
fn a_body_that_ends_with_the_connection_passes_through_and_is_not_stored() {
    let origin = Origin::start();
    origin.route("/s/a", Script::fresh(60).until_close().pattern(300_000));
    let server = live(&origin);
    for count in 1..=3 {
        let answer = get(&server, "a", &[]);
        assert!(answer.status == 200 && answer.body.len() == 300_000 && pattern::is_at(0, &answer.body));
        assert!(!says(&answer, "stored"), "{answer:?}");
        assert_eq!(origin.requests("/s/a").len(), count);
    }
    assert_not_stored(&server, "a");
}

#[test]
fn what_is_no_http_is_a_bad_gateway() {
    let flood: String = (0..20_000).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let table: [(&str, Vec<u8>); 8] = [
        ("no HTTP", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("zeros", vec![0; 100_000]),
        ("nothing at all", Vec::new()),
        ("half a head", b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()),
        ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc".to_vec()),
        ("no number for a length", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc".to_vec()),
        ("a flood of fields", format!("HTTP/1.1 200 OK\r\n{flood}Content-Length: 0\r\n\r\n").into()),
        ("a field without end", [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &[b'x'; 4 << 20]].concat()),
    ];
    for (what, bytes) in table {
        let origin = Origin::start();
        origin.route("/s/a", Script::garbage(&bytes));
        let server = live(&origin);
        claim_faults(&server);
        let answer = get(&server, "a", &[]);
        assert_eq!(answer.status, 502, "{what}: {answer:?}");
        assert_refused(&answer, 502, "origin");
        assert_not_stored(&server, "a");
    }
}

#[test]
fn interim_responses_before_the_answer_of_a_fill_stay_here() {
    let origin = Origin::start();
    let early = Script::fresh(60).interim(100, &[]).interim(103, &[("Link", "</x>; rel=preload")]).body(b"hello");
    origin.route("/s/early", early);
    let server = live(&origin);
    let mut client = server.client();
    client.ask("GET", &asset("early"), &[]);
    assert_eq!(client.read_head().unwrap().status, 200, "1xx are for requests that pass through");
    assert_eq!(await_stored(&server, "early").text(), "hello");
}

#[test]
fn a_body_below_the_lowest_rate_is_given_up() {
    let origin = Origin::start();
    origin.route("/s/a", Script::fresh(60).trickle(1 << 20, 10, Duration::from_millis(100)));
    let server = live_with(&origin, "", &format!("{FILL}, min_rate: 64KiB")).start();
    claim_faults(&server);
    let mut reader = server.client();
    reader.ask("GET", &asset("a"), &[]);
    assert_eq!(reader.head().unwrap().status, 200);
    let since = std::time::Instant::now();
    while reader.some(1000).is_ok_and(|piece| !piece.is_empty()) {
        assert!(since.elapsed() < Duration::from_secs(60), "a thousandth of the rate is let be");
    }
    assert_not_stored(&server, "a");
}
