//! One fill a key, and its readers.

use std::time::{Duration, Instant};

use svc_edge_origin::{Gate, Origin, Outcome, Script, pattern};

use super::*;
use crate::fixtures::tag;

#[test]
fn many_misses_of_one_key_at_once_cost_one_request_of_the_origin() {
    const READERS: usize = 50;
    let (origin, gate) = (Origin::start(), Gate::new());
    origin.route("/s/a", Script::fresh(60).wait(&gate).pattern(300_000));
    let server = live(&origin);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(|| get(&server, "a", &[]))).collect();
        server.eventually("all are waiting", || server.metric("edge_inflight") >= READERS as f64);
        gate.open();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    let whole = pattern::bytes(0..300_000);
    for answer in &answers {
        assert_eq!(answer.status, 200);
        assert!(answer.body == whole);
    }
    let first = answers.iter().filter(|answer| !says(answer, "collapsed") && !says(answer, "hit")).count();
    assert_eq!(first, 1, "one started the fill, the others joined it");
    assert_eq!(origin.requests("/s/a").len(), 1);
    assert_eq!(server.total("edge_live_fill_attempts_total"), 1.0);
    await_stored(&server, "a");
    server.eventually("counted", || server.total("edge_live_fill_success_total") == 1.0);
}

#[test]
fn bytes_flow_before_the_fill_ends_and_a_reader_that_joins_gets_those_that_it_missed() {
    for chunked in [false, true] {
        let (origin, gate) = (Origin::start(), Gate::new());
        let script = Script::fresh(60).pattern(100_000).wait(&gate).pattern(200_000);
        origin.route("/s/a", if chunked { script.chunked() } else { script });
        let server = live(&origin);
        let (mut first, mut second) = (server.client(), server.client());
        for (client, joined) in [(&mut first, false), (&mut second, true)] {
            client.ask("GET", &asset("a"), &[]);
            let head = client.head().unwrap();
            assert_eq!((head.status, says(&head, "collapsed")), (200, joined), "{head:?}");
            assert_eq!(head.header("content-length"), (!chunked).then_some("300000"));
            // The gate is shut: the origin has sent no more than this.
            assert!(pattern::is_at(0, &client.exactly(100_000).unwrap()));
        }
        gate.open();
        for client in [&mut first, &mut second] {
            let rest = client.rest().unwrap();
            assert!(rest.len() == 200_000 && pattern::is_at(100_000, &rest));
        }
        assert_eq!(origin.requests("/s/a").len(), 1);
    }
}

#[test]
fn a_body_has_its_hash_whichever_thread_computes_it() {
    let body = crate::fixtures::noise(3_000_000, 5);
    for on_runtime in [true, false] {
        let origin = Origin::start();
        origin.route("/s/large", Script::fresh(60).content_length(body.len() as u64).body(&body));
        let server = live_with(&origin, "", &format!("{FILL}, hash_on_runtime: {on_runtime}")).start();
        assert!(get(&server, "large", &[]).body == body);
        let hit = await_stored(&server, "large");
        assert!(hit.body == body && hit.header("etag") == Some(tag(&body).as_str()), "{on_runtime}");
    }
}

#[test]
fn a_miss_becomes_a_hit_with_the_hash_as_its_tag() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello").header("ETag", "\"theirs\""));
    let server = live(&origin);
    let miss = get(&server, "a", &[]);
    assert_eq!((miss.status, miss.text().as_str()), (200, "hello"));
    assert!(says(&miss, "fwd=miss") && says(&miss, "fwd-status=200") && says(&miss, "stored"), "{miss:?}");
    assert_eq!(miss.header("etag"), None, "its bytes were not hashed when its head was sent");
    let hit = await_stored(&server, "a");
    assert!(told(&hit, "ttl").is_some_and(|ttl| (50..=60).contains(&ttl)), "{hit:?}");
    assert_eq!((hit.text().as_str(), hit.header("content-type")), ("hello", Some("text/plain")));
    assert_eq!(hit.header("etag"), Some(tag(b"hello").as_str()));
    let not_modified = get(&server, "a", &[("If-None-Match", &tag(b"hello"))]);
    assert_eq!(not_modified.status, 304);
    let part = get(&server, "a", &[("Range", "bytes=1-3"), ("If-Range", &tag(b"hello"))]);
    assert_eq!((part.status, part.text().as_str()), (206, "ell"));
    assert_eq!(origin.requests("/s/a").len(), 1);
    let by_hash = server.get(&format!("/edge/cas/b3/{}", blake3::hash(b"hello").to_hex()), &[]);
    assert_eq!((by_hash.status, by_hash.text().as_str()), (200, "hello"));
}

#[test]
fn what_was_filled_survives_the_process() {
    let (origin, dir) = (Origin::start(), tempfile::tempdir().unwrap());
    origin.route("/s/a", text("hello").header("X-Own", "1"));
    let start = || live_with(&origin, "", FILL).edge(&format!("  cas: {{dir: {}}}\n", dir.path().display())).start();
    let first = start();
    get(&first, "a", &[]);
    await_stored(&first, "a");
    drop(first);
    let second = start();
    let hit = get(&second, "a", &[]);
    assert!(says(&hit, "hit") && hit.text() == "hello", "{hit:?}");
    assert_eq!((hit.header("x-own"), hit.header("content-type")), (Some("1"), Some("text/plain")));
    assert_eq!(origin.requests("/s/a").len(), 1);
    assert!(second.command(&["cas", "list"]).contains("live/a"));
    second.command(&["cas", "verify"]);
}

#[test]
fn an_empty_body_is_filled_like_any_other() {
    let origin = Origin::start();
    origin.route("/s/length", Script::fresh(60));
    origin.route("/s/chunked", Script::fresh(60).chunked());
    let server = live(&origin);
    for name in ["length", "chunked"] {
        let miss = get(&server, name, &[]);
        assert_eq!((miss.status, miss.body.len()), (200, 0), "{name}");
        let hit = await_stored(&server, name);
        assert_eq!((hit.status, hit.header("content-length")), (200, Some("0")), "{name}");
        assert_eq!(hit.header("etag"), Some(tag(b"").as_str()));
        assert_eq!(get(&server, name, &[("Range", "bytes=-1")]).status, 416);
    }
}

#[test]
fn a_slow_reader_does_not_slow_the_fill_nor_the_other_readers() {
    const LENGTH: u64 = 32 << 20;
    let origin = Origin::start();
    origin.route("/s/a", Script::fresh(60).pattern(LENGTH));
    let setup = live_with(&origin, "", FILL).edge("  ingress: {write_timeout: 60s, min_send_rate: null}\n");
    let server = setup.start();
    let mut slow = server.client();
    slow.ask("GET", &asset("a"), &[]);
    slow.head().unwrap();
    let mut seen = slow.exactly(10).unwrap();
    let since = Instant::now();
    let fast = get(&server, "a", &[]);
    assert!(fast.body.len() as u64 == LENGTH && pattern::is_at(0, &fast.body));
    let request = origin.requests("/s/a").remove(0);
    server.eventually("the origin is done", || request.outcome() == Some(Outcome::Finished));
    assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    await_stored(&server, "a");
    seen.extend(slow.rest().unwrap());
    assert!(seen.len() as u64 == LENGTH && pattern::is_at(0, &seen));
    assert_eq!(origin.requests("/s/a").len(), 1);
}

#[test]
fn two_keys_are_filled_beside_each_other() {
    let (origin, gate) = (Origin::start(), Gate::new());
    origin.route("/s/held", Script::fresh(60).wait(&gate).body(b"held"));
    origin.route("/s/free", text("free"));
    let server = live(&origin);
    let mut held = server.client();
    held.ask("GET", &asset("held"), &[]);
    origin.await_requests("/s/held", 1);
    assert_eq!(get(&server, "free", &[]).text(), "free");
    gate.open();
    held.head().unwrap();
    assert_eq!(held.rest().unwrap(), b"held");
}
