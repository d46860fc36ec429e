//! What passes by the store: its tags, codings and parts, and what may not go that way.

use svc_edge_origin::{Origin, Script};

use super::*;
use crate::fixtures::gzip;

/// A server whose conf pins `live/a` to the hash of `pinned`, before an origin that takes everything.
fn pinned(origin: &Origin, pinned: &[u8]) -> Server {
    let setup = live_with(origin, ", pass: true", FILL);
    let (dir, lock) = (setup.dir.path().join("cas"), setup.dir.path().join("assets.lock"));
    std::fs::write(&lock, format!("{}  live/a\n", blake3::hash(pinned).to_hex())).unwrap();
    setup.edge(&format!("  cas: {{dir: {}, lock: {}}}\n", dir.display(), lock.display())).start()
}

#[test]
fn nothing_of_a_pinned_path_goes_through_unverified() {
    let origin = Origin::start();
    origin.fallback(|_| text("not what the pin says"));
    let server = pinned(&origin, b"hello");
    let answer = get(&server, "a", &[("Authorization", "Bearer x")]);
    assert_refused(&answer, 403, "not_allowed");
    let answer = server.client().request("POST", &asset("a"), &[("Content-Length", "0")]);
    assert_refused(&answer, 405, "method");
    assert_eq!(origin.requests("/s/a").len(), 0);
    assert_eq!(server.client().request("POST", &asset("b"), &[("Content-Length", "0")]).status, 200);
}

#[test]
fn a_get_with_credentials_goes_through_and_one_with_a_body_is_refused() {
    let origin = Origin::start();
    origin.route("/s/a", Script::status(200).cache_control("private").body(b"yours"));
    let server = live_with(&origin, ", pass: true", FILL).start();
    let credentials = [("Authorization", "Bearer x"), ("Cookie", "a=b")];
    let answer = get(&server, "a", &credentials);
    assert_eq!((answer.status, answer.text().as_str()), (200, "yours"));
    let seen = origin.requests("/s/a").remove(0);
    assert_eq!(seen.header("authorization"), Some("Bearer x"), "{}", seen.head());
    assert!(seen.header("cookie").is_none(), "{}", seen.head());
    assert_not_stored(&server, "a");
    let mut client = server.client();
    let head = "HTTP/1.1\r\nHost: edge.test\r\nAuthorization: Bearer x\r\nContent-Length: 4\r\n\r\nbody";
    client.send(format!("GET {} {head}", asset("a")).as_bytes());
    assert_refused(&client.response(false).unwrap(), 413, "body_cap");
}

#[test]
fn a_loop_is_refused_whatever_the_method() {
    let origin = Origin::start();
    let server = live_with(&origin, ", pass: true", FILL).start();
    let loops = [("Via", "1.1 svc-edge"), ("Content-Length", "0")];
    assert_refused(&server.client().request("POST", &asset("a"), &loops), 508, "loop");
    assert_refused(&get(&server, "a", &loops[..1]), 508, "loop");
    assert_eq!(origin.connections(), 0);
}

#[test]
fn what_an_origin_says_in_a_broken_answer_is_not_repeated_in_the_log() {
    let origin = Origin::start();
    origin.route("/s/a", Script::garbage(b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=SECRET\r\nBroken Header\r\n\r\n"));
    let server = live_with(&origin, ", pass: true", FILL).start();
    claim_faults(&server);
    let answer = server.client().request("POST", &asset("a"), &[("Content-Length", "0")]);
    assert_refused(&answer, 502, "origin");
    let log = format!("{:?}", server.log());
    assert!(!log.contains("SECRET") && !log.contains(&origin.address().to_string()), "{log}");
}

#[test]
fn who_may_read_what_goes_through_is_told_as_of_everything_else() {
    let origin = Origin::start();
    origin.fallback(|_| text("hello"));
    let setup = live_with(&origin, ", pass: true", FILL);
    let server = setup.edge("  http: {cors: {allow_origins: [\"https://a.example\"]}}\n").start();
    let from = [("Origin", "https://a.example"), ("Content-Length", "0")];
    let answer = server.client().request("POST", &asset("a"), &from);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"));
    assert!(answer.list("vary").iter().any(|name| name.eq_ignore_ascii_case("origin")), "{answer:?}");
}

#[test]
fn a_part_in_a_coding_is_never_decoded() {
    let origin = Origin::start();
    let coded = gzip(&vec![b'a'; 5000]);
    let part = Script::status(206)
        .header("Content-Encoding", "gzip")
        .header("Content-Range", &format!("bytes 0-{}/{}", coded.len() - 1, coded.len()))
        .header("ETag", "\"o\"")
        .cache_control("no-store")
        .body(&coded);
    let whole = Script::status(200).cache_control("no-store").body(b"x");
    origin.route("/s/a", [whole, part]);
    let server = live(&origin);
    get(&server, "a", &[]);
    let answer = get(&server, "a", &[("Range", &format!("bytes=0-{}", coded.len() - 1))]);
    assert_eq!((answer.status, answer.header("content-encoding")), (206, Some("gzip")), "{answer:?}");
    assert!(answer.body == coded);
    assert_eq!(answer.header("etag"), Some("\"o\""), "RFC 9110 §15.3.7: it has the tag of its 200");
}

#[test]
fn an_uncacheable_answer_keeps_its_tag_and_comes_decoded_where_it_must() {
    let origin = Origin::start();
    let plain = vec![b'a'; 5000];
    let script =
        Script::status(200).header("Content-Encoding", "gzip").header("ETag", "\"o\"").cache_control("no-store");
    origin.route("/s/a", script.body(&gzip(&plain)));
    let server = live(&origin);
    let coded = get(&server, "a", &[("Accept-Encoding", "gzip")]);
    assert_eq!((coded.header("etag"), coded.header("content-encoding")), (Some("\"o\""), Some("gzip")));
    let decoded = get(&server, "a", &[]);
    assert!(decoded.body == plain && decoded.header("content-encoding").is_none(), "{decoded:?}");
    assert_eq!(decoded.header("etag"), None, "it is the tag of other bytes");
}

#[test]
fn a_conditional_request_on_a_miss_gets_the_whole() {
    let origin = Origin::start();
    origin.fallback(|_| text("hello").header("Last-Modified", "Tue, 01 Jan 2019 00:00:00 GMT"));
    let server = live(&origin);
    let tests =
        [("If-None-Match", "*"), ("If-None-Match", "\"one\""), ("If-Modified-Since", "Wed, 01 Jan 2020 00:00:00 GMT")];
    for (at, test) in tests.into_iter().enumerate() {
        let answer = get(&server, &format!("{at}"), &[test]);
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "{test:?}");
    }
}

#[test]
fn head_on_a_miss_has_exactly_the_headers_of_get() {
    let origin = Origin::start();
    origin.fallback(|_| text("hello"));
    let server = live(&origin);
    let own = ["x-corr-id", "date", "age"];
    let mut heads = ["HEAD", "GET"].map(|method| {
        let answer = server.client().fetch(method, &asset(method), &[]).unwrap();
        answer.headers.into_iter().filter(|(name, _)| !own.contains(&name.as_str())).collect::<Vec<_>>()
    });
    heads.iter_mut().for_each(|headers| headers.sort());
    assert_eq!(heads[0], heads[1]);
}

#[test]
fn a_miss_is_counted_once_and_is_no_hit() {
    let origin = Origin::start();
    origin.fallback(|_| text("hello"));
    let server = live(&origin);
    let misses = || server.total("edge_cache_misses_total");
    let hits = || server.total("edge_cache_hits_total");
    get(&server, "a", &[("If-Match", "*")]);
    server.eventually("counted", || misses() == 1.0);
    assert_eq!(hits(), 0.0);
    await_stored(&server, "a");
    let before = (hits(), misses());
    get(&server, "a", &[]);
    server.eventually("counted", || (hits(), misses()) == (before.0 + 1.0, before.1));
}

#[test]
fn a_client_of_http_1_0_never_takes_a_cut_body_for_a_whole_one() {
    let origin = Origin::start();
    let cut = |script: Script| script.pattern(3000).chunked_without_end();
    origin.route("/s/stored", cut(Script::fresh(60)));
    origin.route("/s/passed", cut(Script::status(200).cache_control("no-store")));
    origin.route("/s/whole", Script::status(200).cache_control("no-store").pattern(3000).chunked());
    let server = live(&origin);
    claim_faults(&server);
    for name in ["stored", "passed"] {
        let mut client = server.client();
        client.send(format!("GET {} HTTP/1.0\r\nHost: edge.test\r\n\r\n", asset(name)).as_bytes());
        assert_refused(&client.response(false).unwrap(), 502, "origin");
    }
    let mut client = server.client();
    client.send(format!("GET {} HTTP/1.0\r\nHost: edge.test\r\n\r\n", asset("whole")).as_bytes());
    let answer = client.response(false).unwrap();
    assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (200, Some("3000"), 3000));
}

#[test]
fn what_a_client_provokes_is_no_other_ones_answer() {
    let origin = Origin::start();
    let wrong = Script::status(400).cache_control("max-age=600").body(b"what is this");
    origin.route("/s/a", [wrong, text("hello")]);
    let server = live(&origin);
    assert_eq!(get(&server, "a", &[("Accept", "nonsense")]).status, 400);
    assert_eq!(get(&server, "a", &[]).text(), "hello");
    let long = "x".repeat(2000);
    assert_refused(&get(&server, "b", &[("Accept-Language", &long)]), 431, "header_cap");
    assert_eq!(origin.requests("/s/b").len(), 0, "an origin that hangs up on it would seem to fail");
    assert_eq!(await_stored(&server, "a").text(), "hello");
    assert_eq!(get(&server, "a", &[("Accept-Language", &long)]).text(), "hello", "a hit needs no origin");
}

#[test]
fn head_of_what_is_not_stored_asks_by_head_and_tells_the_length() {
    let origin = Origin::start();
    origin.route("/s/a", Script::status(200).cache_control("no-store").body(b"hello"));
    let server = live(&origin);
    get(&server, "a", &[]);
    let head = server.client().fetch("HEAD", &asset("a"), &[]).unwrap();
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("5"), 0));
    let methods: Vec<_> = origin.requests("/s/a").iter().map(|request| request.method.clone()).collect();
    assert_eq!(methods, ["GET", "HEAD"]);
}

#[test]
fn credentials_of_the_conf_win_over_those_of_a_client() {
    let origin = Origin::start();
    origin.fallback(|_| text("hello"));
    let options = ", pass: true, headers: {Authorization: Basic of-the-conf}";
    let server = live_with(&origin, options, FILL).start();
    get(&server, "a", &[("Authorization", "Bearer of-a-client")]);
    assert_eq!(origin.requests("/s/a")[0].list("authorization"), ["Basic of-the-conf"]);
}

#[test]
fn a_client_that_leaves_while_the_origin_is_silent_is_missed_at_once() {
    let (origin, gate) = (Origin::start(), svc_edge_origin::Gate::new());
    origin.route("/s/a", Script::fresh(60).pattern(1000).wait(&gate).pattern(1000));
    origin.route("/s/b", Script::status(200).cache_control("no-store").pattern(1000).wait(&gate).pattern(1000));
    let server = live_with(&origin, "", &format!("{FILL}, read_timeout: 60s")).start();
    for name in ["a", "b"] {
        let mut reader = server.client();
        reader.ask("GET", &asset(name), &[]);
        reader.head().unwrap();
    }
    server.eventually("missed", || server.metric("edge_inflight") == 0.0);
    gate.open();
    assert_eq!(await_stored(&server, "a").body.len(), 2000);
}
