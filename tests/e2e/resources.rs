//! HEAD, conditional requests and ranges are rules of HTTP, not of one kind of resource: tiles, TileJSON and archives keep them all.

use crate::fixtures::{gzip, mbtiles, noise, pmtiles, png};
use crate::http::{Client, Response};
use crate::server::{Server, setup};

/// Each with what its clients accept, and whether ranges of that representation are answered.
const RESOURCES: [(&str, &str, bool); 8] = [
    ("/edge/assets/p/0/0/0.png", "gzip", true),
    ("/edge/assets/v/0/0/0.mvt", "gzip", true),
    ("/edge/assets/v/0/0/0.mvt", "identity", false),
    ("/edge/assets/m/0/0/0", "gzip", true),
    ("/edge/assets/m/0/0/0", "identity", false),
    ("/edge/assets/p.json", "gzip", true),
    ("/edge/assets/m.json", "gzip", true),
    ("/edge/assets/v.pmtiles", "gzip", true),
];

fn server() -> Server {
    let setup = setup();
    let dir = setup.dir.path().to_owned();
    let tile = noise(2000, 1);
    let (none, coded) = (pmtiles::Compression::None, pmtiles::Compression::Gzip);
    let p = pmtiles(&dir.join("p.pmtiles"), pmtiles::TileType::Png, none, &[(0, 0, 0, &png(1))]);
    let v = pmtiles(&dir.join("v.pmtiles"), pmtiles::TileType::Mvt, coded, &[(0, 0, 0, &tile)]);
    let m = mbtiles(&dir.join("m.mbtiles"), "pbf", &[(0, 0, 0, &gzip(&tile))]);
    setup.pack("p", &p, "").pack("v", &v, "").pack("m", &m, "").unlimited().start()
}

/// Ask with what a resource's clients accept, and more.
struct Asker<'a> {
    client: Client,
    path: &'a str,
    accept: &'a str,
}

impl Asker<'_> {
    fn ask(&mut self, method: &str, headers: &[(&str, &str)]) -> Response {
        let headers = [&[("Accept-Encoding", self.accept), ("X-Corr-ID", "same")], headers].concat();
        self.client.request(method, self.path, &headers)
    }
}

/// Run a test on every resource; it gets the whole answer to GET.
fn on_each(test: impl Fn(&mut Asker, &Response, bool)) {
    let server = server();
    // Twice: from the packs, and from the hot set.
    for _ in 0..2 {
        for (path, accept, ranges) in RESOURCES {
            let mut asker = Asker { client: server.client(), path, accept };
            let whole = asker.ask("GET", &[]);
            assert_eq!(whole.status, 200, "{path}");
            assert!(whole.body.len() > 100 && whole.header("etag").is_some(), "{path}");
            test(&mut asker, &whole, ranges);
        }
    }
}

#[test]
fn head_has_the_headers_of_get_whatever_it_asks_for() {
    on_each(|asker, whole, _| {
        let kept = |answer: &Response| {
            let mut kept: Vec<_> = answer.headers.iter().filter(|(name, _)| name != "date").cloned().collect();
            kept.sort();
            kept
        };
        let head = asker.ask("HEAD", &[]);
        assert_eq!((head.status, kept(&head)), (200, kept(whole)), "{}", asker.path);
        // RFC 9110 §14.2: Range is for GET alone.
        let ranged = asker.ask("HEAD", &[("Range", "bytes=0-1")]);
        assert_eq!((ranged.status, kept(&ranged)), (200, kept(whole)), "{}", asker.path);
    });
}

#[test]
fn a_304_of_any_resource_has_its_validators_and_nothing_of_its_body() {
    on_each(|asker, whole, _| {
        let tag = whole.header("etag").unwrap();
        let weak = format!("W/{tag}");
        let mut conditions = vec![("If-None-Match", tag), ("If-None-Match", weak.as_str()), ("If-None-Match", "*")];
        conditions.extend(whole.header("last-modified").map(|date| ("If-Modified-Since", date)));
        for condition in conditions {
            for method in ["GET", "HEAD"] {
                let answer = asker.ask(method, &[condition]);
                assert_eq!(answer.status, 304, "{method} {} {condition:?}", asker.path);
                for name in ["etag", "cache-control", "vary"] {
                    assert_eq!(answer.header(name), whole.header(name), "{name} of {}", asker.path);
                }
                for name in ["content-length", "content-type", "content-encoding", "content-range"] {
                    assert_eq!(answer.header(name), None, "{name} of {}", asker.path);
                }
            }
        }
        for method in ["GET", "HEAD"] {
            assert_eq!(asker.ask(method, &[("If-None-Match", "\"x\"")]).status, 200, "{}", asker.path);
            for wrong in ["\"x\"", weak.as_str()] {
                let answer = asker.ask(method, &[("If-Match", wrong)]);
                assert_eq!((answer.status, answer.header("x-reason")), (412, Some("precondition")), "{}", asker.path);
            }
            assert_eq!(asker.ask(method, &[("If-Match", tag)]).status, 200, "{}", asker.path);
        }
    });
}

#[test]
fn a_range_of_any_resource_is_a_part_of_its_representation() {
    on_each(|asker, whole, ranges| {
        let (path, len, tag) = (asker.path, whole.body.len(), whole.header("etag").unwrap());
        assert_eq!(whole.header("accept-ranges"), Some(if ranges { "bytes" } else { "none" }), "{path}");
        let (suffix, last) = (format!("bytes=-{}", len - 20), format!("bytes={}-{}", len - 1, len + 9));
        for (range, expected) in
            [("bytes=0-0", 0..1), ("bytes=10-29", 10..30), (suffix.as_str(), 20..len), (last.as_str(), len - 1..len)]
        {
            for condition in [None, Some(("If-Range", tag)), Some(("If-None-Match", "\"x\""))] {
                let headers: Vec<_> = [("Range", range)].into_iter().chain(condition).collect();
                let answer = asker.ask("GET", &headers);
                for name in ["etag", "content-type", "content-encoding", "vary", "cache-control", "last-modified"] {
                    assert_eq!(answer.header(name), whole.header(name), "{name} of {path} {headers:?}");
                }
                if ranges {
                    let told = format!("bytes {}-{}/{len}", expected.start, expected.end - 1);
                    assert_eq!((answer.status, answer.header("content-range")), (206, Some(told.as_str())), "{path}");
                    assert!(answer.body == whole.body[expected.clone()], "{path} {headers:?}");
                } else {
                    assert_eq!((answer.status, answer.header("content-range")), (200, None), "{path}");
                    assert!(answer.body == whole.body, "{path} {headers:?}");
                }
            }
            let whole_again = asker.ask("GET", &[("Range", range), ("If-Range", "\"x\"")]);
            assert!(whole_again.status == 200 && whole_again.body == whole.body, "{path} {range}");
        }
    });
}

#[test]
fn a_range_past_the_end_of_any_resource_is_416_with_its_length() {
    on_each(|asker, whole, ranges| {
        for range in [format!("bytes={}-", whole.body.len()), "bytes=99999999-".into(), "bytes=-0".into()] {
            let answer = asker.ask("GET", &[("Range", &range)]);
            if ranges {
                let told = format!("bytes */{}", whole.body.len());
                assert_eq!((answer.status, answer.header("content-range")), (416, Some(told.as_str())), "{range}");
                assert_eq!(answer.header("x-reason"), Some("invalid_range"), "{}", asker.path);
            } else {
                assert!(answer.status == 200 && answer.body == whole.body, "{} {range}", asker.path);
            }
            // Whoever has it already is told so before any range counts (RFC 9110 §13.2.2).
            let tag = whole.header("etag").unwrap();
            assert_eq!(asker.ask("GET", &[("Range", &range), ("If-None-Match", tag)]).status, 304, "{}", asker.path);
        }
    });
}
