//! Which fills count as successes of their origin.

use http::Method;
use svc_edge::fill::{Ask, FillKey, FillsConf, Stale};
use svc_edge::observe::metrics::{FILL_SUCCESS, OriginLabel};

use super::support::*;

/// Fills from an origin with `prefix`, which no other test counts, and the wish for what it has.
fn bench(prefix: &str, answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> (Bench, Ask, OriginLabel) {
    let mut conf = FillsConf { lock: lock(&[("pinned/a", b"pinned")]), ..conf() };
    conf.origins[0].prefix = prefix.into();
    let bench = Bench::with(conf, &memory_store(), move |_, number| answer(number));
    let ask = Ask { key: FillKey::path(format!("{prefix}a")), ..bench.ask("live/a") };
    (bench, ask, OriginLabel::of(prefix))
}

#[tokio::test]
async fn a_fill_that_its_origin_answered_whole_is_a_success_whatever_it_said_below_500() {
    for (prefix, status) in [("found/", 200), ("moved/", 301), ("missing/", 404)] {
        let (bench, ask, label) = bench(prefix, move |_| Answer::ok("x").status(status));
        get(bench.fills.join(ask).unwrap()).await.unwrap();
        assert_eq!(FILL_SUCCESS.get(label), 1, "{status}");
    }
    let (bench, ask, label) = bench("secret/", |_| Answer::ok("x").with("cache-control", "no-store"));
    assert_eq!(headed(&mut bench.fills.join(ask).unwrap()).await, "pass");
    assert_eq!(FILL_SUCCESS.get(label), 1, "its answer was handed on");
}

#[tokio::test]
async fn a_validation_is_a_success() {
    let (bench, ask, label) = bench("validated/", |number| match number {
        0 => Answer::ok("x").with("etag", "\"1\""),
        _ => Answer::ok("").status(304).steps(Vec::new()),
    });
    get(bench.fills.join(ask.clone()).unwrap()).await.unwrap();
    let info = bench.cas.info("validated/a").unwrap().unwrap();
    let stale = Some(Stale { info, answer: answer_at(&bench, "validated/a") });
    assert_eq!(headed(&mut bench.fills.join(Ask { stale, ..ask }).unwrap()).await, "freshened");
    assert_eq!(FILL_SUCCESS.get(label), 2);
}

#[tokio::test]
async fn errors_cuts_wrong_bytes_and_what_is_no_fill_are_no_successes() {
    let failing: [(&str, Answer); 4] = [
        ("failing/", Answer::ok("x").status(503)),
        ("failing-secretly/", Answer::ok("x").status(500).with("cache-control", "no-store")),
        ("cut/", Answer::ok("xy").steps(vec![Step::Bytes("x".into()), Step::Cut])),
        ("pinned/", Answer::ok("pinneD")),
    ];
    for (prefix, answer) in failing {
        let (bench, ask, label) = bench(prefix, move |_| answer.clone());
        let mut reader = bench.fills.join(ask).unwrap();
        if headed(&mut reader).await == "stream" {
            let _ = tokio::time::timeout(SOON, reader.finished()).await.unwrap();
        }
        assert_eq!(FILL_SUCCESS.get(label), 0, "{prefix}");
    }
    let (bench, ask, label) = bench("alone/", |_| Answer::ok("x"));
    let (_, mut body) = bench.fills.pass(ask, Method::GET, None).await.unwrap();
    while body.next().await.unwrap().is_some() {}
    assert_eq!(FILL_SUCCESS.get(label), 0, "what passes through is no fill");
}
