//! What fails is stored by no one, and nobody is left waiting.

use std::time::Duration;

use svc_edge::fill::FillError;
use svc_edge::fill::fetch::FetchError;
use svc_edge::observe::metrics::{Component, SERVICE_RESTARTS};
use svc_edge::observe::readiness::{Condition, READINESS};
use tokio::time::timeout;

use super::support::*;

/// Read until the fill fails.
async fn cut(bench: &Bench, path: &str) -> FillError {
    let mut reader = bench.join(path).unwrap();
    streamed(&mut reader).await;
    let error = drain(&mut reader).await.unwrap_err();
    assert_eq!(timeout(SOON, reader.finished()).await.unwrap().unwrap_err().cause(), error.cause());
    error
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_stored_and_cuts_its_readers() {
    let half = Step::Bytes(bytes(1000));
    let table = [
        ("a cut", Answer::ok(bytes(2000)).steps(vec![half.clone(), Step::Cut])),
        ("an end before its length", Answer::ok(bytes(2000)).steps(vec![half.clone()])),
        ("more than its length", Answer::ok(bytes(500)).steps(vec![half.clone()])),
        ("a cut without a length", Answer::ok("").chunked().steps(vec![half, Step::Cut])),
    ];
    for (what, answer) in table {
        let bench = Bench::new(move |_, number| if number == 0 { answer.clone() } else { Answer::ok("whole") });
        assert_eq!(cut(&bench, "live/a").await.cause(), "cut", "{what}");
        assert!(bench.stored("live/a").is_none(), "{what}");
        assert_eq!(get(bench.join("live/a").unwrap()).await.unwrap(), b"whole", "{what}: the next one starts anew");
    }
}

#[tokio::test]
async fn an_origin_that_gives_no_answer_fails_everybody_who_waits_and_nobody_later() {
    let gate = Gate::new();
    let failing = Answer::error(FetchError::TimedOut("total")).behind(&gate);
    let bench = Bench::new(move |_, number| if number == 0 { failing.clone() } else { Answer::ok("x") });
    let mut readers: Vec<_> = (0..10).map(|_| bench.join("live/a").unwrap()).collect();
    gate.open();
    for reader in &mut readers {
        assert_eq!(headed(reader).await, "timeout");
    }
    assert_eq!((bench.fetches(), bench.fills.under_way()), (1, 0));
    assert_eq!(get(bench.join("live/a").unwrap()).await.unwrap(), b"x");
}

#[tokio::test]
async fn a_worker_that_panics_fails_its_readers_is_counted_and_started_again() {
    let conf = svc_edge::fill::FillsConf { workers: 1, ..conf() };
    let bench = Bench::with(conf, &memory_store(), |asked, _| match &*asked.rest {
        "bad" => Answer::ok("xx").steps(vec![Step::Bytes("x".into()), Step::Panic]),
        _ => Answer::ok("good"),
    });
    let before = SERVICE_RESTARTS.get(Component::FillWorker);
    let mut reader = bench.join("live/bad").unwrap();
    assert_eq!(headed(&mut reader).await, "stream");
    assert_eq!(drain(&mut reader).await.unwrap_err().cause(), "worker");
    bench.until(|_| !READINESS.holds(Condition::FillWorkers)).await;
    bench.until(|_| READINESS.holds(Condition::FillWorkers)).await;
    assert_eq!(SERVICE_RESTARTS.get(Component::FillWorker), before + 1);
    assert!(bench.stored("live/bad").is_none());
    assert_eq!(get(bench.join("live/good").unwrap()).await.unwrap(), b"good", "the only worker works again");
}

#[tokio::test]
async fn a_commit_that_fails_leaves_the_readers_their_whole_answer() {
    let (dir, body) = (tempfile::tempdir().unwrap(), bytes(1000));
    let answer = Answer::ok(body.clone());
    let bench = Bench::with(conf(), &disk_store(dir.path()), move |_, _| answer.clone());
    let index = rusqlite::Connection::open(dir.path().join("index.sqlite")).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON objects BEGIN SELECT RAISE(ABORT, 'no room'); END";
    index.execute_batch(refuse).unwrap();
    let mut reader = bench.join("live/a").unwrap();
    streamed(&mut reader).await;
    assert!(drain(&mut reader).await.unwrap() == body);
    assert_eq!(timeout(SOON, reader.finished()).await.unwrap().unwrap_err().cause(), "disk");
    assert_eq!((bench.fills.under_way(), bench.stored("live/a")), (0, None));
    index.execute_batch("DROP TRIGGER refuse").unwrap();
    assert!(get(bench.join("live/a").unwrap()).await.unwrap() == body);
    assert!(bench.stored("live/a").unwrap() == body, "and the next one is stored");
}

#[tokio::test]
async fn stopping_lets_what_moves_end_and_refuses_the_rest() {
    let (gate, conf) = (Gate::new(), svc_edge::fill::FillsConf { workers: 1, ..conf() });
    let answer = Answer::halves("moving", &gate);
    let mut bench = Bench::with(conf, &memory_store(), move |_, _| answer.clone());
    let mut moving = bench.join("live/a").unwrap();
    streamed(&mut moving).await;
    let mut waiting = bench.join("live/b").unwrap();
    let stopped = bench.stop();
    assert_eq!(headed(&mut waiting).await, "draining");
    assert_eq!(bench.join("live/c").err().unwrap().cause(), "draining");
    assert!(bench.join("live/a").unwrap().collapsed(), "what moves can still be joined");
    gate.open();
    assert_eq!(drain(&mut moving).await.unwrap(), b"moving");
    timeout(SOON, stopped).await.unwrap().unwrap();
    assert_eq!(bench.stored("live/a").unwrap(), "moving");
    assert_eq!(bench.fills.under_way(), 0);
}

#[tokio::test]
async fn what_moves_longer_than_the_grace_is_cut() {
    let answer = Answer::halves("moving", &Gate::new());
    let mut bench = Bench::idle(conf(), &memory_store(), move |_, _| answer.clone());
    bench.start(Duration::from_millis(50));
    let mut moving = bench.join("live/a").unwrap();
    streamed(&mut moving).await;
    let stopped = bench.stop();
    assert_eq!(drain(&mut moving).await.unwrap_err().cause(), "draining");
    timeout(SOON, stopped).await.unwrap().unwrap();
    assert_eq!((bench.fills.under_way(), bench.stored("live/a")), (0, None));
    assert_eq!(bench.fake.open.load(std::sync::atomic::Ordering::SeqCst), 0, "the request to the origin is gone");
}
