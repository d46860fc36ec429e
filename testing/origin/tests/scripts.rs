//! What a script says happens on the wire, byte by byte.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use svc_edge_origin::{Directory, Gate, Origin, Outcome, Script, pattern};

/// Send text on a new connection.
fn send(origin: &Origin, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(origin.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

/// Ask on a connection of its own; everything until its end.
fn ask(origin: &Origin, method: &str, path: &str, headers: &str) -> Vec<u8> {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: o\r\nConnection: close\r\n{headers}\r\n");
    let mut stream = send(origin, &request);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Status line, header fields as one text, body.
fn get(origin: &Origin, path: &str, headers: &str) -> (String, String, Vec<u8>) {
    parts(&ask(origin, "GET", path, headers))
}

fn parts(bytes: &[u8]) -> (String, String, Vec<u8>) {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let (status, fields) = head.split_once("\r\n").unwrap_or((&head, ""));
    (status.to_owned(), format!("{fields}\r\n"), bytes[end + 4..].to_vec())
}

#[test]
fn the_nth_request_gets_the_nth_script_and_the_last_is_repeated() {
    let origin = Origin::start();
    origin.route("/a", [Script::status(503), Script::status(200).body(b"one"), Script::status(200).body(b"two")]);
    let answers: Vec<_> = (0..4).map(|_| get(&origin, "/a?q", "")).map(|(status, _, body)| (status, body)).collect();
    let expected = [("503", ""), ("200", "one"), ("200", "two"), ("200", "two")];
    for ((status, body), (code, text)) in answers.iter().zip(expected) {
        assert_eq!((status.as_str(), body.as_slice()), (format!("HTTP/1.1 {code} Scripted").as_str(), text.as_bytes()));
    }
    assert_eq!((origin.requests("/a").len(), origin.connections()), (4, 4));
    assert_eq!(origin.requests("/a")[0].target, "/a?q");
    assert!(get(&origin, "/none", "").0.contains("404"));
}

#[test]
fn a_connection_is_kept_between_answers_and_each_request_is_recorded_as_it_came() {
    let origin = Origin::start();
    origin.route("/a", Script::status(200).body(b"abc"));
    origin.answer("/head", |request| Script::status(200).body(request.head().as_bytes()));
    let two = "POST /a HTTP/1.1\r\nHost: o\r\nContent-Length: 4\r\n\r\nbodyPOST /a HTTP/1.1\r\nHost: o\r\n\
               Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\nGET /head HTTP/1.1\r\nX-One: 1\r\n\r\n";
    let mut stream = send(&origin, two);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert!(all.ends_with("GET /head\nx-one: 1\n"), "{all}");
    let requests = origin.requests("/a");
    assert_eq!((requests[0].body.as_slice(), requests[1].body.as_slice()), (&b"body"[..], &b"abcde"[..]));
    assert_eq!((origin.connections(), requests[1].connection), (1, 1));
    assert_eq!((requests[0].sent(), requests[0].outcome()), (3, Some(Outcome::Finished)));
}

#[test]
fn a_body_is_framed_as_the_script_says_be_it_true_or_not() {
    let origin = Origin::start();
    let script = || Script::status(200).body(b"abc").body(b"de");
    origin.route("/length", script());
    origin.route("/long", script().content_length(9));
    origin.route("/short", script().content_length(2));
    origin.route("/chunked", script().chunked());
    origin.route("/endless", script().chunked_without_end());
    origin.route("/until", script().until_close());
    let table = [
        ("/length", "Content-Length: 5\r\n", "abcde"),
        ("/long", "Content-Length: 9\r\n", "abcde"),
        ("/short", "Content-Length: 2\r\n", "abcde"),
        ("/chunked", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        ("/endless", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n2\r\nde\r\n"),
        ("/until", "Connection: close\r\n", "abcde"),
    ];
    for (path, field, body) in table {
        let (_, fields, got) = get(&origin, path, "");
        assert!(fields.contains(field), "{path}: {fields}");
        assert_eq!(String::from_utf8_lossy(&got), body, "{path}");
        let head = parts(&ask(&origin, "HEAD", path, ""));
        assert!(head.1.contains(field) && head.2.is_empty(), "HEAD {path}: {head:?}");
    }
    assert!(!get(&origin, "/until", "").1.contains("Content-Length"));
}

#[test]
fn a_gate_holds_the_script_until_the_test_opens_it() {
    let origin = Origin::start();
    let gate = Gate::new();
    origin.route("/a", Script::status(200).body(b"before").wait(&gate).body(b"after"));
    let mut stream = send(&origin, "GET /a HTTP/1.1\r\n\r\n");
    let mut seen = Vec::new();
    let mut buffer = [0; 1024];
    while !seen.ends_with(b"before") {
        let count = stream.read(&mut buffer).unwrap();
        seen.extend_from_slice(&buffer[..count]);
    }
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(matches!(stream.read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    assert_eq!(origin.requests("/a")[0].outcome(), None);
    gate.open();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.read_exact(&mut buffer[..5]).unwrap();
    assert_eq!(&buffer[..5], b"after");
}

#[test]
fn a_reset_is_a_reset_and_a_close_is_a_close() {
    let origin = Origin::start();
    let partial = || Script::status(200).content_length(100).body(b"abc").stall(Duration::from_millis(50));
    origin.route("/reset", partial().reset());
    origin.route("/close", partial().close());
    // A broken origin may reset before the request is written.
    let end = |path: &str| {
        let mut stream = TcpStream::connect(origin.address())?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes())?;
        stream.read_to_end(&mut Vec::new())
    };
    assert_eq!(end("/reset").unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(end("/close").is_ok());
    origin.set_broken(true);
    assert!(end("/close").is_err());
    origin.set_broken(false);
    assert!(end("/close").is_ok());
}

#[test]
fn delays_take_their_time_and_a_stopped_origin_ends_them() {
    let origin = Origin::start();
    origin.route("/trickle", Script::status(200).trickle(50, 10, Duration::from_millis(30)));
    origin.route("/stall", Script::status(200).stall(Duration::from_secs(3600)));
    let since = Instant::now();
    let (_, _, body) = get(&origin, "/trickle", "");
    assert!(since.elapsed() >= Duration::from_millis(150) && pattern::is_at(0, &body) && body.len() == 50);
    let mut stalled = send(&origin, "GET /stall HTTP/1.1\r\n\r\n");
    origin.await_requests("/stall", 1);
    let address = origin.address();
    drop(origin);
    assert!(stalled.read_to_end(&mut Vec::new()).is_ok_and(|count| count == 0));
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn connections_that_are_not_accepted_yet_wait() {
    let origin = Origin::start();
    let gate = Gate::new();
    origin.hold_accepts(&gate);
    origin.route("/a", Script::status(200).body(b"a"));
    let mut stream = send(&origin, "GET /a HTTP/1.1\r\n\r\n");
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(stream.read(&mut [0; 10]).is_err());
    gate.open();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert!(stream.read(&mut [0; 10]).unwrap() > 0);
}

#[test]
fn conditional_requests_and_ranges_are_answered_where_the_script_says_so() {
    let origin = Origin::start();
    let script = Script::fresh(60).header("ETag", "\"one\"").header("Last-Modified", "Sat, 01 Jan 2000 00:00:00 GMT");
    origin.route("/a", script.header("X-Body", "1").conditional().ranges().pattern(200_000));
    for condition in
        ["If-None-Match: \"zero\", W/\"one\"", "If-None-Match: *", "If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT"]
    {
        let (status, fields, body) = get(&origin, "/a", &format!("{condition}\r\n"));
        assert!(status.contains("304") && body.is_empty(), "{condition}: {status}");
        assert!(fields.contains("ETag: \"one\"") && !fields.contains("X-Body") && !fields.contains("Content-Length"));
    }
    assert!(
        get(&origin, "/a", "If-None-Match: \"two\"\r\nIf-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT\r\n")
            .0
            .contains("200")
    );
    for (range, from, to) in
        [("0-9", 0, 10), ("65530-131080", 65_530, 131_081), ("199990-", 199_990, 200_000), ("-5", 199_995, 200_000)]
    {
        let (status, fields, body) = get(&origin, "/a", &format!("Range: bytes={range}\r\n"));
        assert!(status.contains("206"), "{range}: {status}");
        assert!(fields.contains(&format!("Content-Range: bytes {from}-{}/200000", to - 1)), "{range}: {fields}");
        assert!(body.len() as u64 == to - from && pattern::is_at(from, &body), "{range}");
    }
    let other = get(&origin, "/a", "Range: bytes=0-9\r\nIf-Range: \"two\"\r\n");
    assert!(other.0.contains("200") && other.2.len() == 200_000);
}

#[test]
fn what_is_no_http_and_what_comes_before_a_response_is_sent_as_it_is() {
    let origin = Origin::start();
    origin.route("/garbage", Script::garbage(b"\x00\xffnot http"));
    origin.route("/early", Script::status(200).interim(103, &[("Link", "</x>")]).body(b"a"));
    assert_eq!(ask(&origin, "GET", "/garbage", ""), b"\x00\xffnot http");
    let text = String::from_utf8(ask(&origin, "GET", "/early", "")).unwrap();
    assert!(text.starts_with("HTTP/1.1 103 Interim\r\nLink: </x>\r\n\r\nHTTP/1.1 200 "), "{text}");
}

#[test]
fn a_reader_that_leaves_is_seen() {
    let origin = Origin::start();
    origin.route("/a", Script::status(200).pattern(64 << 20));
    drop(send(&origin, "GET /a HTTP/1.1\r\n\r\n"));
    let request = origin.await_requests("/a", 1).remove(0);
    let until = Instant::now() + Duration::from_secs(10);
    while request.outcome().is_none() && Instant::now() < until {
        std::thread::park_timeout(Duration::from_millis(10));
    }
    assert_eq!(request.outcome(), Some(Outcome::Cut));
    assert!(request.sent() < 64 << 20);
}

#[test]
fn a_directory_is_served_with_validators_and_nothing_outside_of_it() {
    let dir = std::env::temp_dir().join(format!("svc-edge-origin-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("in/deep")).unwrap();
    std::fs::write(dir.join("in/deep/a b.txt"), b"hello").unwrap();
    std::fs::write(dir.join("secret"), b"secret").unwrap();
    std::os::unix::fs::symlink(dir.join("secret"), dir.join("in/link")).unwrap();
    let directory = Directory::new(Some(&dir.join("in")), "max-age=9").unwrap();
    let origin = Origin::start();
    origin.fallback(move |request| directory.answer(request));
    let (status, fields, body) = get(&origin, "/deep/a%20b.txt", "");
    assert!(status.contains("200") && body == b"hello" && fields.contains("Cache-Control: max-age=9"), "{fields}");
    let etag = fields.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
    assert!(get(&origin, "/deep/a%20b.txt", &format!("If-None-Match: {etag}\r\n")).0.contains("304"));
    assert!(fields.contains("Last-Modified: "));
    for path in ["/link", "/../secret", "/%2e%2e/secret", "/deep", "/gen/x", "/gen/99999999999999999999"] {
        assert!(get(&origin, path, "").0.contains("404"), "{path}");
    }
    let generated = get(&origin, "/gen/100000", "").2;
    assert!(generated.len() == 100_000 && pattern::is_at(0, &generated));
    let post = parts(&ask(&origin, "POST", "/deep/a%20b.txt", "Content-Length: 0\r\n"));
    assert!(post.0.contains("405"));
    std::fs::remove_dir_all(&dir).unwrap();
}
