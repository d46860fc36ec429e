//! Answers that may not be stored pass through to one reader each, and are remembered.

use http::{HeaderMap, HeaderValue, Method};
use svc_edge::fill::fetch::FetchError;
use svc_edge::fill::{Ask, FillError, FillHead, FillKey, Headed, PassBody, Remembered};
use tokio::time::timeout;

use super::support::*;

async fn all(body: &mut PassBody) -> Result<Vec<u8>, FillError> {
    let mut all = Vec::new();
    while let Some(bytes) = timeout(SOON, body.next()).await.unwrap()? {
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

async fn passed(bench: &Bench, ask: Ask) -> (std::sync::Arc<FillHead>, PassBody) {
    let mut reader = bench.fills.join(ask).unwrap();
    match timeout(SOON, reader.head()).await.unwrap().unwrap() {
        Headed::Pass(head, body) => (head, body),
        other => panic!("{}", word(&other)),
    }
}

#[tokio::test]
async fn what_may_not_be_stored_goes_to_its_starter_and_the_others_go_alone() {
    let table = [
        ("no-store", Answer::ok("x").with("cache-control", "no-store")),
        ("private", Answer::ok("x").with("cache-control", "private, max-age=60")),
        ("cookies", Answer::ok("x").with("set-cookie", "a=b")),
        ("any request varies", Answer::ok("x").with("vary", "*")),
        ("a coding nobody reads", Answer::ok("x").with("content-encoding", "compress")),
        ("two codings", Answer::ok("x").with("content-encoding", "gzip, br")),
        ("an end that can't be told from a cut", Answer { framed: false, ..Answer::ok("x").chunked() }),
        ("too long", Answer { length: Some(1 << 40), ..Answer::ok("x") }),
        ("a header that is too long", Answer::ok("x").with("x-long", &"x".repeat(66_000))),
    ];
    for (what, answer) in table {
        let gate = Gate::new();
        let answer = answer.behind(&gate);
        let bench = Bench::new(move |_, _| answer.clone());
        let mut readers: Vec<_> = (0..4).map(|_| bench.join("live/a").unwrap()).collect();
        gate.open();
        let mut starter = readers.remove(0);
        for reader in &mut readers {
            assert_eq!(headed(reader).await, "alone", "{what}");
        }
        let Headed::Pass(head, mut body) = timeout(SOON, starter.head()).await.unwrap().unwrap() else {
            panic!("{what}")
        };
        assert!(head.answer.is_none(), "{what}");
        assert_eq!(all(&mut body).await.unwrap(), b"x", "{what}");
        assert_eq!(bench.fills.remembered(&FillKey::path("live/a")), Some(Remembered::Uncacheable), "{what}");
        assert_eq!((bench.stored("live/a"), bench.fills.under_way()), (None, 0), "{what}");
    }
}

#[tokio::test]
async fn what_passes_through_holds_no_worker() {
    let (gate, conf) = (Gate::new(), svc_edge::fill::FillsConf { workers: 1, ..conf() });
    let passing = Answer::halves("passing", &gate).with("cache-control", "no-store");
    let bench = Bench::with(conf, &memory_store(), move |asked, _| match &*asked.rest {
        "a" => passing.clone(),
        _ => Answer::ok("x"),
    });
    let (_, mut body) = passed(&bench, bench.ask("live/a")).await;
    assert_eq!(get(bench.join("live/b").unwrap()).await.unwrap(), b"x");
    gate.open();
    assert_eq!(all(&mut body).await.unwrap(), b"passing");
}

#[tokio::test]
async fn only_so_many_answers_pass_through_at_once() {
    let bench = Bench::new(|_, _| Answer::ok("x").with("cache-control", "no-store"));
    let mut held = Vec::new();
    for number in 0..4 {
        held.push(bench.fills.pass(bench.ask(&format!("live/{number}")), Method::GET, None).await.unwrap());
    }
    let refused = bench.fills.pass(bench.ask("live/more"), Method::GET, None).await;
    assert_eq!(refused.err().unwrap().cause(), "passthrough_full");
    let mut starter = bench.join("live/started").unwrap();
    assert_eq!(headed(&mut starter).await, "passthrough_full");
    held.pop();
    assert!(bench.fills.pass(bench.ask("live/more"), Method::GET, None).await.is_ok());
}

#[tokio::test]
async fn a_failure_that_passes_is_not_remembered() {
    for status in [500, 503, 429] {
        let bench = Bench::new(move |_, _| Answer::ok("x").status(status).with("cache-control", "no-store"));
        passed(&bench, bench.ask("live/a")).await;
        assert_eq!(bench.fills.remembered(&FillKey::path("live/a")), None, "{status}");
    }
    let bench = Bench::new(|_, _| Answer::ok("x"));
    let request = HeaderMap::from_iter([(http::header::AUTHORIZATION, HeaderValue::from_static("x"))]);
    passed(&bench, Ask { request: request.into(), ..bench.ask("live/a") }).await;
    assert_eq!(bench.fills.remembered(&FillKey::path("live/a")), None, "it is this request that forbids it");
}

#[tokio::test]
async fn a_pass_that_could_be_stored_makes_the_key_worth_sharing_again() {
    let bench = Bench::new(|_, number| match number {
        0 => Answer::ok("x").with("cache-control", "no-store"),
        _ => Answer::ok("x"),
    });
    passed(&bench, bench.ask("live/a")).await;
    assert!(bench.fills.remembered(&FillKey::path("live/a")).is_some());
    bench.fills.pass(bench.ask("live/a"), Method::GET, Some(HeaderValue::from_static("bytes=0-0"))).await.unwrap();
    assert!(bench.fills.remembered(&FillKey::path("live/a")).is_some(), "a part tells nothing");
    bench.fills.pass(bench.ask("live/a"), Method::GET, None).await.unwrap();
    assert_eq!(bench.fills.remembered(&FillKey::path("live/a")), None);
}

#[tokio::test]
async fn a_cut_in_what_passes_through_reaches_its_reader() {
    let bench = Bench::new(|_, _| {
        let answer = Answer::ok("xy").with("cache-control", "no-store");
        answer.steps(vec![Step::Bytes("x".into()), Step::Cut])
    });
    let (_, mut body) = passed(&bench, bench.ask("live/a")).await;
    assert_eq!(all(&mut body).await.unwrap_err().cause(), "cut");
    drop(body);
    assert_eq!(bench.fake.open.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_origin_is_shown_what_its_conf_forwards_and_nothing_else() {
    let bench = Bench::new(|_, _| {
        let answer = Answer::ok("x").with("cache-control", "public, max-age=60");
        answer.with("connection", "x-hop").with("x-hop", "1").with("x-kept", "1")
    });
    let mut request = HeaderMap::new();
    for (name, value) in [
        ("accept-language", "de"),
        ("traceparent", "00-1-2-01"),
        ("cookie", "secret"),
        ("authorization", "secret"),
        ("x-other", "1"),
        ("if-none-match", "\"x\""),
        ("range", "bytes=0-1"),
    ] {
        request.insert(name, HeaderValue::from_static(value));
    }
    let key = FillKey { query: Some("q=1".into()), ..FillKey::path("live/a b/c") };
    let ask = Ask { key, request: request.into(), ..bench.ask("live/a b/c") };
    let mut reader = bench.fills.join(ask.clone()).unwrap();
    let head = streamed(&mut reader).await;
    assert!(head.headers.contains_key("x-kept") && !head.headers.contains_key("x-hop"));
    bench.fills.pass(ask, Method::GET, Some(HeaderValue::from_static("bytes=5-"))).await.unwrap();
    let asked = bench.fake.asked.lock().unwrap().clone();
    for (number, range) in [None, Some("bytes=5-")].into_iter().enumerate() {
        let Asked { origin, rest, query, headers, .. } = &asked[number];
        assert_eq!((*origin, rest.as_str(), query.as_deref()), (0, "a b/c", Some("q=1")));
        let mut names: Vec<_> = headers.keys().map(|name| name.as_str()).filter(|name| *name != "range").collect();
        names.sort_unstable();
        assert_eq!(names, ["accept-language", "traceparent"]);
        assert_eq!(headers.get("range").map(|range| range.to_str().unwrap()), range);
    }
}

#[tokio::test]
async fn what_passes_through_is_asked_for_in_the_codings_of_its_client_and_by_the_way_it_came() {
    let bench = Bench::new(|_, _| Answer::ok("x"));
    let mut request = HeaderMap::new();
    request.insert("accept-encoding", HeaderValue::from_static("br"));
    request.insert("cdn-loop", HeaderValue::from_static("another"));
    request.insert("via", HeaderValue::from_static("1.1 another"));
    bench.fills.pass(Ask { request: request.into(), ..bench.ask("live/a") }, Method::GET, None).await.unwrap();
    bench.fills.pass(bench.ask("live/a"), Method::GET, None).await.unwrap();
    get(bench.join("live/a").unwrap()).await.unwrap();
    let asked = bench.fake.asked.lock().unwrap().clone();
    let said = |number: usize, name: &str| asked[number].headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!((said(0, "cdn-loop"), said(0, "via")), (Some("another"), Some("1.1 another")));
    let codings = [0, 1, 2].map(|number| said(number, "accept-encoding"));
    assert_eq!(codings, [Some("br"), Some("identity"), None], "a fill asks for what the edge can read");
}

#[tokio::test]
async fn a_head_that_passes_through_asks_by_head_and_its_body_is_empty_at_once() {
    let bench = Bench::new(|asked, _| {
        let length = if asked.method == Method::HEAD { Some(0) } else { None };
        // A body would never come.
        let body = vec![Step::Gate(Gate::new())];
        Answer { length, ..Answer::ok("").with("content-length", "1234").with("cache-control", "no-store").steps(body) }
    });
    let range = HeaderValue::from_static("bytes=0-0");
    let mut held = Vec::new();
    for _ in 0..2 * conf().max_passthrough {
        let (head, mut body) =
            bench.fills.pass(bench.ask_part("live/a"), Method::HEAD, Some(range.clone())).await.unwrap();
        assert_eq!((head.status.as_u16(), head.length), (200, Some(1234)), "the length that GET would bring");
        assert_eq!(all(&mut body).await.unwrap(), b"");
        held.push(body);
    }
    let asked = bench.fake.asked.lock().unwrap()[0].clone();
    assert_eq!((asked.method, asked.headers.get("range")), (Method::HEAD, None));
    assert_eq!(bench.fills.remembered(&FillKey::path("live/a")), None, "it tells nothing of GET");
}

#[tokio::test]
async fn a_length_that_is_no_number_is_not_told_to_head() {
    for (value, length) in [("5", Some(5)), ("+5", None), ("5, 5", None), ("", None), ("99999999999999999999", None)] {
        let bench = Bench::new(move |_, _| Answer::ok("").with("content-length", value));
        let (head, _) = bench.fills.pass(bench.ask_part("live/a"), Method::HEAD, None).await.unwrap();
        assert_eq!(head.length, length, "{value:?}");
    }
}

#[tokio::test]
async fn an_answer_to_something_else_than_was_asked_is_an_error() {
    for status in [304, 206] {
        let bench = Bench::new(move |_, _| Answer::ok("x").status(status));
        assert_eq!(headed(&mut bench.join("live/a").unwrap()).await, "unreachable", "{status}");
        assert_eq!(
            bench.fills.pass(bench.ask("live/a"), Method::GET, None).await.err().unwrap().cause(),
            "unreachable",
            "{status}"
        );
    }
    let bench = Bench::new(|_, _| Answer::ok("x").status(206));
    let range = Some(HeaderValue::from_static("bytes=0-0"));
    assert_eq!(bench.fills.pass(bench.ask("live/a"), Method::GET, range).await.unwrap().0.status, 206);
    let bench = Bench::new(|_, _| Answer::error(FetchError::NotAllowed("private".into())));
    assert_eq!(bench.fills.pass(bench.ask("live/a"), Method::GET, None).await.err().unwrap().cause(), "not_allowed");
}

#[tokio::test]
async fn errors_and_redirects_that_are_fresh_are_stored_with_their_status() {
    for status in [404, 301, 410] {
        let bench = Bench::new(move |_, _| Answer::ok("not here").status(status).with("location", "/there"));
        let mut reader = bench.join("live/a").unwrap();
        let head = streamed(&mut reader).await;
        assert_eq!(head.status, status);
        assert_eq!(drain(&mut reader).await.unwrap(), b"not here");
        let done = timeout(SOON, reader.finished()).await.unwrap().unwrap();
        assert_eq!((done.hash, done.stored), (blake3::hash(b"not here"), true), "{status}");
        assert_eq!(answer_at(&bench, "live/a").status, status);
    }
}

#[tokio::test]
async fn an_object_is_stored_with_its_type_coding_and_header() {
    let bench = Bench::new(|_, _| {
        let answer = Answer::ok("zipped").with("content-encoding", "GZIP").with("content-type", "text/css");
        answer.with("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT").with("x-unknown", "kept")
    });
    get(bench.join("live/a").unwrap()).await.unwrap();
    let info = bench.cas.info("live/a").unwrap().unwrap();
    assert_eq!((info.content_type.as_str(), info.coding), ("text/css", svc_edge::rules::encoding::Coding::Gzip));
    assert_eq!(info.last_modified.map(httpdate::fmt_http_date).as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert!(!info.pinned);
    assert_eq!(answer_at(&bench, "live/a").headers.get("x-unknown").unwrap(), "kept");
}
