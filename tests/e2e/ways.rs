//! The short way and the long way: the same answers, whatever is asked, and the short one only where it is one.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::fixtures::{gzip, noise, pmtiles, png, sample, tag};
use crate::http::{Client, Response};
use crate::server::{Server, Setup, setup};

/// A field that changes nothing but the way.
const LONG: (&str, &str) = ("Proxy-Connection", "keep-alive");

/// Small and large objects, archives, tiles with a coding and without, absent ones.
fn served() -> Setup {
    let setup = setup();
    let dir = setup.dir.path().to_owned();
    let entries: [(u8, u32, u32, &[u8]); 2] = [(0, 0, 0, &png(1)), (1, 0, 0, &png(2))];
    let images = pmtiles(&dir.join("p.pmtiles"), pmtiles::TileType::Png, pmtiles::Compression::None, &entries);
    let coded = gzip(b"a vector tile");
    let entries: [(u8, u32, u32, &[u8]); 1] = [(0, 0, 0, &coded)];
    let vectors = pmtiles(&dir.join("v.pmtiles"), pmtiles::TileType::Mvt, pmtiles::Compression::Gzip, &entries);
    setup
        .unlimited()
        .asset("small", b"hello, world")
        .asset("empty", b"")
        .asset("middle", &noise(200_000, 3))
        .asset("large", &noise(3_000_000, 4))
        .pack("p", &images, "")
        .pack("v", &vectors, "")
        .pack("tile", &sample("tile.pmtiles"), "")
}

const TARGETS: [&str; 14] = [
    "/edge/assets/site/small",
    "/edge/assets/site/small?a=b",
    "/edge/assets/site/empty",
    "/edge/assets/site/middle",
    "/edge/assets/site/large",
    "/edge/assets/p.pmtiles",
    "/edge/assets/p.json",
    "/edge/assets/p/0/0/0.png",
    "/edge/assets/v/0/0/0.mvt",
    "/edge/assets/v/1/0/0.mvt",
    "/edge/assets/tile/0/0/0.mvt",
    "/edge/assets/site/none",
    "/edge/assets/../x",
    "/",
];

/// What is compared: everything but the time and the id.
fn shown(answer: &Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let mut fields: Vec<_> = answer
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .filter(|(name, _)| !["date", "x-corr-id"].contains(&name.as_str()))
        .collect();
    fields.sort();
    let body = match answer.status {
        // The id of the request stands in it.
        400.. if !answer.body.is_empty() => answer.json()["reason"].as_str().unwrap_or_default().as_bytes().to_vec(),
        _ => answer.body.clone(),
    };
    (answer.status, fields, body)
}

/// The answers of both ways to one request.
fn compare(client: &mut Client, method: &str, target: &str, fields: &[(&str, &str)]) {
    let short = client.request(method, target, fields);
    let long = client.request(method, target, &[fields, &[LONG]].concat());
    let (one, other) = (shown(&short), shown(&long));
    assert_eq!((one.0, &one.1), (other.0, &other.1), "{method} {target} {fields:?}");
    assert!(one.2 == other.2, "the bodies differ: {method} {target} {fields:?}");
    let ids = [&short, &long].map(|answer| answer.header("x-corr-id").map(str::to_owned));
    assert!(ids.iter().all(|id| id.as_ref().is_some_and(|id| !id.is_empty())), "{ids:?}");
    assert!(short.header("date").is_some());
}

fn direct(server: &Server) -> f64 {
    server.metric("edge_direct_answers_total")
}

#[test]
fn both_ways_answer_the_same() {
    for more in ["", "  http: {cors: {allow_origins: ['https://a.example']}}\n"] {
        let server = served().edge(more).start();
        let before = direct(&server);
        // Strategies own what they choose from.
        let tags: [&'static str; 2] = [tag(b"hello, world"), tag(&noise(3_000_000, 4))].map(|tag| &*tag.leak());
        let values: Vec<(&str, Vec<&str>)> = vec![
            (
                "Range",
                vec![
                    "bytes=0-4",
                    "bytes=-3",
                    "bytes=5-",
                    "bytes=100000-250000",
                    "bytes=0-0,3-4",
                    "x",
                    "bytes=9-1",
                    "bytes=99999999-",
                ],
            ),
            ("If-None-Match", vec![tags[0], tags[1], "*", "W/\"x\", \"y\"", "\"x"]),
            ("If-Match", vec![tags[0], tags[1], "*", "\"x\""]),
            ("If-Range", vec![tags[0], tags[1], "Thu, 01 Jan 1970 00:00:00 GMT"]),
            ("If-Modified-Since", vec!["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "x"]),
            ("If-Unmodified-Since", vec!["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"]),
            ("Accept-Encoding", vec!["gzip", "gzip;q=0", "identity", "*", "br, gzip;q=0.5", ""]),
            ("Origin", vec!["https://a.example", "https://b.example", "null"]),
            ("X-Corr-ID", vec!["mine", "not/mine"]),
            ("Cache-Control", vec!["no-cache", "max-age=0"]),
            ("Cookie", vec!["a=b"]),
        ];
        let field =
            prop::sample::select(values).prop_flat_map(|(name, values)| (Just(name), prop::sample::select(values)));
        let asked = (
            prop::sample::select(vec!["GET", "GET", "HEAD"]),
            prop::sample::select(TARGETS.to_vec()),
            prop::collection::vec(field, 0..4),
        );
        let client = std::cell::RefCell::new(server.client());
        let config = Config { cases: 600, failure_persistence: None, ..Config::default() };
        TestRunner::new(config)
            .run(&asked, |(method, target, fields)| {
                let mut client = client.borrow_mut();
                compare(&mut client, method, target, &fields);
                Ok(())
            })
            .unwrap();
        assert!(direct(&server) - before > 200.0, "the short way was hardly taken: {}", direct(&server) - before);
    }
}

#[test]
fn what_is_in_memory_or_in_the_page_cache_goes_the_short_way_and_nothing_else_does() {
    let server = served().start();
    let mut client = server.client();
    for (target, field, short) in [
        ("/edge/assets/site/small", None, true),
        ("/edge/assets/site/large", None, true),
        ("/edge/assets/site/large", Some(("Range", "bytes=1000000-1065535")), true),
        ("/edge/assets/site/small", Some(("If-None-Match", "*")), true),
        ("/edge/assets/p/0/0/0.png", None, true),
        ("/edge/assets/p.pmtiles", Some(("Range", "bytes=0-126")), true),
        ("/edge/assets/v/0/0/0.mvt", Some(("Accept-Encoding", "gzip")), true),
        ("/edge/assets/site/none", None, false),
        ("/edge/assets/site/small", Some(("If-Match", "\"x\"")), false),
        ("/edge/assets/site/small", Some(("Range", "bytes=100-")), false),
        ("/edge/assets/site/s%6Dall", None, false),
        ("/healthz", None, false),
    ] {
        let fields: Vec<_> = field.into_iter().collect();
        client.request("GET", target, &fields);
        let before = direct(&server);
        client.request("GET", target, &fields);
        assert_eq!(direct(&server) - before, f64::from(short), "{target} {field:?}");
    }
    assert_eq!(client.request("GET", "/edge/assets/site/large", &[]).body, noise(3_000_000, 4));
}

#[test]
fn the_short_way_can_be_closed_and_nothing_else_changes() {
    let server = served().edge("  http: {direct: false}\n").start();
    let mut client = server.client();
    for target in TARGETS {
        compare(&mut client, "GET", target, &[]);
    }
    assert_eq!(direct(&server), 0.0);
}

#[test]
fn requests_sent_at_once_are_answered_in_their_order_whichever_way_they_go() {
    let server = served().start();
    server.get("/edge/assets/site/small", &[]);
    let (small, large, none) = ("/edge/assets/site/small", "/edge/assets/site/large", "/edge/assets/site/none");
    let mut client = server.client();
    let wire = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: edge.test\r\n\r\n");
    client.send([small, large, small, none].map(wire).concat().as_bytes());
    let bodies: Vec<_> = (0..4).map(|_| client.response(false).unwrap()).collect();
    assert_eq!([bodies[0].text(), bodies[2].text()], ["hello, world"; 2]);
    assert!(bodies[1].body == noise(3_000_000, 4));
    assert_eq!(bodies[3].status, 404);
    // Cut anywhere, it is the same request.
    for at in [1, 5, 20, wire(small).len() - 1] {
        let (first, rest) = (wire(small)[..at].to_owned(), wire(small)[at..].to_owned());
        client.send(first.as_bytes());
        std::thread::sleep(std::time::Duration::from_millis(30));
        client.send(rest.as_bytes());
        assert_eq!(client.response(false).unwrap().text(), "hello, world");
    }
}

#[test]
fn what_comes_behind_a_long_request_is_kept_wherever_pingora_s_reads_end() {
    let server = served().start();
    server.get("/edge/assets/site/middle", &[]);
    // Pingora reads 4096 bytes at first, and the short way 8192.
    for end in [100, 4095, 4096, 4097, 8191, 8192] {
        for behind in [1, 40, 120] {
            let mut client = server.client();
            let head = "GET /edge/assets/site/none HTTP/1.1\r\nHost: edge.test\r\nX-Pad: ";
            let long = format!("{head}{}\r\n\r\n", "p".repeat(end - head.len() - 4));
            assert_eq!(long.len(), end);
            let short = "GET /edge/assets/site/middle HTTP/1.1\r\nHost: edge.test\r\nRange: bytes=0-9\r\n\r\n";
            client.send((long + &short.repeat(behind)).as_bytes());
            assert_eq!(client.response(false).unwrap().status, 404, "{end} {behind}");
            for nth in 0..behind {
                let answer = client.response(false).unwrap_or_else(|error| panic!("{end} {behind} {nth}: {error}"));
                assert_eq!((answer.status, &answer.body[..]), (206, &noise(200_000, 3)[..10]), "{end} {behind}");
            }
        }
    }
}

#[test]
fn without_keep_alive_each_answer_closes_whichever_way_it_goes() {
    let server = served().edge("  ingress: {keepalive: null, rps_limit: null}\n").start();
    for target in ["/edge/assets/site/small", "/edge/assets/site/large", "/edge/assets/site/none"] {
        for fields in [&[][..], &[LONG]] {
            server.get(target, fields);
            let mut client = server.client();
            let answer = client.request("GET", target, fields);
            assert_eq!(answer.header("connection"), Some("close"), "{target} {fields:?}");
            assert!(client.response(false).is_err(), "{target} {fields:?}: it stays open");
        }
    }
    assert!(direct(&server) > 0.0);
}
