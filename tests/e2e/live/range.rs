//! Range, HEAD and preconditions on a miss.

use svc_edge_origin::{Gate, Origin, Script, pattern};

use super::*;

#[test]
fn a_range_on_a_miss_fills_the_whole_and_answers_when_its_bytes_are_there() {
    let (origin, gate) = (Origin::start(), Gate::new());
    origin.route("/s/a", Script::fresh(60).ranges().pattern(100_000).wait(&gate).pattern(900_000));
    let server = live(&origin);
    // The gate is shut: these bytes are there, and nobody waits for the others.
    let part = get(&server, "a", &[("Range", "bytes=500-1499")]);
    assert_eq!((part.status, part.header("content-range")), (206, Some("bytes 500-1499/1000000")));
    assert_eq!(part.header("content-length"), Some("1000"));
    assert!(part.body.len() == 1000 && pattern::is_at(500, &part.body));
    let mut later = server.client();
    later.ask("GET", &asset("a"), &[("Range", "bytes=-1000")]);
    gate.open();
    assert_eq!(later.head().unwrap().header("content-range"), Some("bytes 999000-999999/1000000"));
    assert!(pattern::is_at(999_000, &later.rest().unwrap()));
    assert_eq!(await_stored(&server, "a").body.len(), 1_000_000);
    let requests = origin.requests("/s/a");
    assert_eq!((requests.len(), requests[0].header("range")), (1, None));
}

#[test]
fn a_range_on_a_miss_of_unknown_length_is_right_too() {
    let origin = Origin::start();
    origin.route("/s/a", Script::fresh(60).chunked().pattern(100_000));
    let server = live(&origin);
    let part = get(&server, "a", &[("Range", "bytes=10-19")]);
    assert_eq!(part.status, 206);
    assert!(part.header("content-range").is_some_and(|range| range.starts_with("bytes 10-19/")), "{part:?}");
    assert!(part.body.len() == 10 && pattern::is_at(10, &part.body));
    assert_eq!(await_stored(&server, "a").body.len(), 100_000);
}

#[test]
fn a_range_past_the_end_on_a_miss_is_416_with_the_length() {
    let origin = Origin::start();
    origin.route("/s/a", Script::fresh(60).pattern(1000));
    let server = live(&origin);
    let answer = get(&server, "a", &[("Range", "bytes=1000-")]);
    assert_eq!((answer.status, answer.header("content-range")), (416, Some("bytes */1000")));
    assert_eq!(await_stored(&server, "a").body.len(), 1000);
}

#[test]
fn a_range_of_what_is_above_range_fill_max_is_passed_through_unstored() {
    const LENGTH: u64 = 4 << 20;
    let origin = Origin::start();
    origin.route("/s/a", Script::fresh(60).header("ETag", "\"one\"").ranges().pattern(LENGTH));
    let server = live_with(&origin, "", &format!("{FILL}, range_fill_max: 64KiB")).start();
    for _ in 0..2 {
        let part = get(&server, "a", &[("Range", "bytes=1000000-1000999")]);
        assert_eq!((part.status, part.header("content-range")), (206, Some("bytes 1000000-1000999/4194304")));
        assert!(part.body.len() == 1000 && pattern::is_at(1_000_000, &part.body));
        let last = origin.requests("/s/a").pop().unwrap();
        assert_eq!(last.header("range"), Some("bytes=1000000-1000999"));
        server.eventually("sent no more than that", || last.sent() == 1000);
    }
    assert_not_stored(&server, "a");
    // Whoever asks for the whole fills it.
    let whole = get(&server, "a", &[]);
    assert!(whole.body.len() as u64 == LENGTH && pattern::is_at(0, &whole.body));
    await_stored(&server, "a");
    let before = origin.requests("/s/a").len();
    assert_eq!(get(&server, "a", &[("Range", "bytes=0-9")]).status, 206);
    assert_eq!(origin.requests("/s/a").len(), before);
}

#[test]
fn what_is_above_max_object_bytes_is_passed_through_unstored() {
    const LENGTH: u64 = 4 << 20;
    let origin = Origin::start();
    origin.route("/s/known", Script::fresh(60).pattern(LENGTH));
    origin.route("/s/unknown", Script::fresh(60).chunked().pattern(LENGTH));
    let fill = format!("{FILL}, max_object_bytes: 1MiB, range_fill_max: 1MiB");
    let server = live_with(&origin, "", &fill).start();
    claim_faults(&server);
    let known = get(&server, "known", &[]);
    assert!(known.body.len() as u64 == LENGTH && pattern::is_at(0, &known.body));
    assert!(!says(&known, "stored"), "{known:?}");
    // Of unknown length, it may be cut where the bound is reached, but is never taken for whole.
    let unknown = server.client().fetch("GET", &asset("unknown"), &[]);
    assert!(unknown.is_err() || unknown.is_ok_and(|answer| answer.body.len() as u64 == LENGTH));
    assert_not_stored(&server, "known");
    assert_not_stored(&server, "unknown");
}

#[test]
fn head_on_a_miss_has_the_headers_of_get_and_no_body() {
    let origin = Origin::start();
    origin.route("/s/a", Script::fresh(60).header("Content-Type", "text/x-a").header("X-Own", "1").pattern(5000));
    let server = live(&origin);
    let head = server.client().fetch("HEAD", &asset("a"), &[]).unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, Some("5000")));
    assert_eq!((head.header("content-type"), head.header("x-own")), (Some("text/x-a"), Some("1")));
    assert!(says(&head, "fwd=miss"), "{head:?}");
    let whole = get(&server, "a", &[]);
    assert!(whole.body.len() == 5000 && pattern::is_at(0, &whole.body));
    await_stored(&server, "a");
    let head = server.client().fetch("HEAD", &asset("a"), &[]).unwrap();
    assert!(says(&head, "hit") && head.header("content-length") == Some("5000"), "{head:?}");
}

#[test]
fn on_a_miss_if_none_match_yields_200_and_never_reaches_the_origin() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello").header("ETag", "\"one\"").conditional());
    let server = live(&origin);
    let conditions = [("If-None-Match", "\"one\""), ("If-Modified-Since", "Sat, 01 Jan 2000 00:00:00 GMT")];
    let answer = get(&server, "a", &conditions);
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    let request = origin.requests("/s/a").remove(0);
    assert!(request.headers.iter().all(|(name, _)| !name.starts_with("if-")), "{}", request.head());
}

#[test]
fn on_a_miss_if_range_never_matches() {
    let origin = Origin::start();
    let modified = "Sat, 01 Jan 2000 00:00:00 GMT";
    for (name, condition) in [("tag", "\"one\""), ("date", modified)] {
        let script = text("hello").header("ETag", "\"one\"").header("Last-Modified", modified).ranges();
        origin.route(&format!("/s/{name}"), script);
        let server = live(&origin);
        let answer = get(&server, name, &[("Range", "bytes=0-1"), ("If-Range", condition)]);
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "{name}");
    }
}

#[test]
fn parts_that_passed_through_are_never_put_together_nor_used_for_another_part() {
    const LENGTH: u64 = 1 << 20;
    let origin = Origin::start();
    origin.route("/s/a", Script::fresh(60).header("ETag", "\"one\"").ranges().pattern(LENGTH));
    let server = live_with(&origin, "", &format!("{FILL}, range_fill_max: 64KiB")).start();
    // All of it, in two parts of one strong tag.
    let halves = ["bytes=0-524287", "bytes=524288-1048575"];
    let parts = halves.iter().chain(&["bytes=10-19", "bytes=0-524287"]);
    for (before, part) in parts.enumerate() {
        assert_eq!(get(&server, "a", &[("Range", part)]).status, 206, "{part}");
        // The first of all teaches the length, and may cost a request of its own.
        assert!(origin.requests("/s/a").len() > before, "{part} was asked for");
    }
    assert_not_stored(&server, "a");
    assert!(stored(&server, "a", &[("Range", "bytes=0-9")]).is_none());
}

#[test]
fn on_a_miss_if_match_is_compared_with_the_tag_of_what_was_filled() {
    let origin = Origin::start();
    origin.fallback(|_| text("hello").header("ETag", "\"theirs\""));
    let server = live(&origin);
    let ours = crate::fixtures::tag(b"hello");
    for (name, condition, status) in [
        ("ours", ours.as_str(), 200),
        ("any", "*", 200),
        ("theirs", "\"theirs\"", 412),
        ("weak", &format!("W/{ours}"), 412),
    ] {
        // Tags here are those of the bytes: the origin's mean nothing to a client, nor ours to the origin.
        for round in ["miss", "hit"] {
            let answer = get(&server, name, &[("If-Match", condition)]);
            assert_eq!(answer.status, status, "{name}, {round}: {answer:?}");
            server.eventually("stored", || stored(&server, name, &[]).is_some());
        }
        let requests = origin.requests(&format!("/s/{name}"));
        assert_eq!((requests.len(), requests[0].header("if-match")), (1, None), "{name}");
    }
}
