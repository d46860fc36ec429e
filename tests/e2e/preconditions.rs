//! Preconditions (RFC 9110 §13), in the order of §13.2.2.

use crate::fixtures::tag;
use crate::server::setup;

const PATH: &str = "/edge/assets/site/a.txt";

#[test]
fn each_precondition_has_its_status_and_the_order_is_the_rfcs() {
    let setup = setup().asset("a.txt", b"hello");
    let file = std::fs::File::options().write(true).open(setup.dir.path().join("assets/a.txt")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)).unwrap();
    let server = setup.start();
    let tag = tag(b"hello");
    let weak = format!("W/{tag}");
    let list = format!("\"x\", {tag}");
    let (at, before, after) =
        ("Sun, 09 Sep 2001 01:46:40 GMT", "Sun, 09 Sep 2001 01:46:39 GMT", "Sun, 09 Sep 2001 01:46:41 GMT");
    let table: &[(&[(&str, &str)], u16)] = &[
        (&[("If-Match", &tag)], 200),
        (&[("If-Match", &list)], 200),
        (&[("If-Match", "*")], 200),
        (&[("If-Match", "\"x\"")], 412),
        (&[("If-Match", &weak)], 412),
        (&[("If-Unmodified-Since", at)], 200),
        (&[("If-Unmodified-Since", after)], 200),
        (&[("If-Unmodified-Since", before)], 412),
        (&[("If-Unmodified-Since", "yesterday")], 200),
        (&[("If-Match", &tag), ("If-Unmodified-Since", before)], 200),
        (&[("If-None-Match", &tag)], 304),
        (&[("If-None-Match", &weak)], 304),
        (&[("If-None-Match", &list)], 304),
        (&[("If-None-Match", "*")], 304),
        (&[("If-None-Match", "\"x\"")], 200),
        (&[("If-Modified-Since", at)], 304),
        (&[("If-Modified-Since", after)], 304),
        (&[("If-Modified-Since", before)], 200),
        (&[("If-Modified-Since", "Sunday, 09-Sep-01 01:46:40 GMT")], 304),
        (&[("If-Modified-Since", "Sun Sep  9 01:46:40 2001")], 304),
        (&[("If-Modified-Since", "1000000000")], 200),
        (&[("If-None-Match", "\"x\""), ("If-Modified-Since", at)], 200),
        (&[("If-Match", "\"x\""), ("If-None-Match", &tag)], 412),
        (&[("If-None-Match", &tag), ("Range", "bytes=0-0")], 304),
        (&[("If-None-Match", "\"x\""), ("Range", "bytes=0-0")], 206),
        (&[("If-Match", "\"x\""), ("Range", "bytes=9-")], 412),
    ];
    let mut client = server.client();
    for (headers, status) in table {
        let answer = client.request("GET", PATH, headers);
        assert_eq!(answer.status, *status, "{headers:?}");
        if *status != 206 {
            let head = client.request("HEAD", PATH, headers);
            assert_eq!(head.status, *status, "HEAD {headers:?}");
        }
    }
}

#[test]
fn if_range_takes_a_strong_match_and_else_the_whole() {
    let server = setup().asset("a.txt", b"hello").start();
    let tag = tag(b"hello");
    for (if_range, status) in [
        (tag.as_str(), 206),
        (&format!("W/{tag}"), 200),
        ("\"x\"", 200),
        ("Sun, 09 Sep 2001 01:46:40 GMT", 200),
        ("*", 200),
    ] {
        let answer = server.get(PATH, &[("If-Range", if_range), ("Range", "bytes=1-2")]);
        assert_eq!(answer.status, status, "{if_range}");
    }
}

#[test]
fn a_304_repeats_the_validators_and_nothing_of_the_body() {
    let server = setup().asset("a.txt", b"hello").start();
    let tag = tag(b"hello");
    let whole = server.get(PATH, &[]);
    let answer = server.get(PATH, &[("If-None-Match", &tag)]);
    assert_eq!(answer.status, 304);
    for name in ["etag", "cache-control"] {
        assert_eq!(answer.header(name), whole.header(name), "{name}");
    }
    assert!(answer.header("date").is_some());
    for name in [
        "content-length",
        "content-type",
        "content-encoding",
        "content-range",
        "accept-ranges",
        "last-modified",
        "repr-digest",
    ] {
        assert_eq!(answer.header(name), None, "{name}");
    }
}
