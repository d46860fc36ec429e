//! One fill a key: who shares it, at which pace, and what is left when everybody is served.

use super::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_who_miss_cost_one_fetch_and_read_the_same_bytes() {
    let (dir, gate, body) = (tempfile::tempdir().unwrap(), Gate::new(), bytes(5 << 20));
    let answer = Answer::halves(body.clone(), &gate);
    let bench = Bench::with(conf(), &disk_store(dir.path()), move |_, _| answer.clone());
    let readers: Vec<_> = (0..100).map(|_| bench.join("live/a").unwrap()).collect();
    assert_eq!(readers.iter().filter(|reader| !reader.collapsed()).count(), 1);
    let readers: Vec<_> = readers.into_iter().map(|reader| tokio::spawn(get(reader))).collect();
    gate.open();
    for reader in readers {
        assert!(reader.await.unwrap().unwrap() == body);
    }
    assert_eq!((bench.fetches(), bench.fills.under_way()), (1, 0));
    assert!(bench.stored("live/a").unwrap() == body);
}

#[tokio::test]
async fn bytes_flow_before_the_fill_ends_and_who_comes_late_has_them_all() {
    let (gate, body) = (Gate::new(), bytes(300_000));
    let answer = Answer::halves(body.clone(), &gate);
    let bench = Bench::new(move |_, _| answer.clone());
    let mut first = bench.join("live/a").unwrap();
    assert_eq!(streamed(&mut first).await.length, Some(300_000));
    let mut read = first.next().await.unwrap().unwrap().to_vec();
    let mut late = bench.join("live/a").unwrap();
    assert!(late.collapsed());
    let available = first.until(150_000).await.unwrap();
    assert_eq!((available.bytes, available.whole), (150_000, false));
    gate.open();
    read.extend(drain(&mut first).await.unwrap());
    assert!(read == body);
    streamed(&mut late).await;
    assert!(drain(&mut late).await.unwrap() == body);
    assert_eq!(bench.fetches(), 1);
}

#[tokio::test]
async fn a_slow_reader_does_not_slow_the_fill() {
    let body = bytes(4 << 20);
    let answer = Answer::ok(body.clone());
    let bench = Bench::new(move |_, _| answer.clone());
    let mut slow = bench.join("live/a").unwrap();
    streamed(&mut slow).await;
    let first = slow.next().await.unwrap().unwrap();
    assert!(get(bench.join("live/a").unwrap()).await.unwrap() == body);
    assert!(bench.stored("live/a").unwrap() == body, "it is committed while the slow one reads");
    let rest = drain(&mut slow).await.unwrap();
    assert!([&first[..], &rest].concat() == body);
}

#[tokio::test]
async fn a_reader_that_leaves_changes_nothing_and_the_last_one_lets_the_fill_finish() {
    let (gate, body) = (Gate::new(), bytes(100_000));
    let answer = Answer::halves(body.clone(), &gate);
    let bench = Bench::new(move |_, _| answer.clone());
    let (mut first, mut second) = (bench.join("live/a").unwrap(), bench.join("live/a").unwrap());
    streamed(&mut first).await;
    drop(first);
    streamed(&mut second).await;
    assert_eq!(second.until(50_000).await.unwrap().bytes, 50_000);
    drop(second);
    tokio::task::yield_now().await;
    gate.open();
    bench.until(|bench| bench.fills.under_way() == 0).await;
    assert!(bench.stored("live/a").unwrap() == body);
    assert_eq!(bench.fetches(), 1);
}

#[tokio::test]
async fn a_range_is_read_when_its_bytes_are_there() {
    let (gate, body) = (Gate::new(), bytes(300_000));
    let answer = Answer::halves(body.clone(), &gate);
    let bench = Bench::new(move |_, _| answer.clone());
    let mut reader = bench.fills.join(bench.ask_part("live/a")).unwrap();
    streamed(&mut reader).await;
    reader.seek(100_000..140_000);
    assert!(reader.until(140_000).await.unwrap().bytes >= 140_000);
    assert!(drain(&mut reader).await.unwrap() == body[100_000..140_000], "before the second half has come");
    gate.open();
    reader.seek(299_990..1_000_000);
    assert!(drain(&mut reader).await.unwrap() == body[299_990..], "and never past the end");
    let all = reader.until(u64::MAX).await.unwrap();
    assert_eq!((all.bytes, all.whole), (300_000, true));
}

#[tokio::test]
async fn who_looked_before_a_fill_ended_is_told_to_look_again() {
    let bench = Bench::new(|_, _| Answer::ok("x"));
    let seen = Some(bench.fills.seen("live/a"));
    assert_eq!(get(bench.join("live/a").unwrap()).await.unwrap(), b"x");
    let mut late = bench.fills.join(svc_edge::fill::Ask { seen, ..bench.ask("live/a") }).unwrap();
    assert_eq!(headed(&mut late).await, "look again");
    assert_eq!(bench.fetches(), 1);
    // What it finds there may not do: then it asks as one that looked later.
    let seen = Some(bench.fills.seen("live/a"));
    let mut again = bench.fills.join(svc_edge::fill::Ask { seen, ..bench.ask("live/a") }).unwrap();
    assert_eq!(headed(&mut again).await, "stream");
    assert_eq!(bench.fetches(), 2);
}

#[tokio::test]
async fn an_empty_body_is_an_object_like_any_other() {
    let bench = Bench::new(|_, _| Answer::ok("").steps(Vec::new()));
    assert_eq!(get(bench.join("live/empty").unwrap()).await.unwrap(), b"");
    assert_eq!(bench.stored("live/empty").unwrap(), "");
}

#[tokio::test]
async fn a_wait_for_the_head_can_be_given_up_and_taken_up_again() {
    let gate = Gate::new();
    let answer = Answer::ok("x").behind(&gate);
    let bench = Bench::new(move |_, _| answer.clone());
    let mut reader = bench.join("live/a").unwrap();
    let short = std::time::Duration::from_millis(20);
    assert!(tokio::time::timeout(short, reader.head()).await.is_err());
    gate.open();
    assert_eq!(get(reader).await.unwrap(), b"x");
}

#[tokio::test]
async fn a_fill_behind_has_no_reader_and_runs_once() {
    let gate = Gate::new();
    let answer = Answer::ok("new").behind(&gate);
    let bench = Bench::new(move |_, _| answer.clone());
    (0..5).for_each(|_| bench.fills.refresh_behind(bench.ask("live/a")));
    assert_eq!(bench.fills.under_way(), 1);
    gate.open();
    bench.until(|bench| bench.fills.under_way() == 0).await;
    assert_eq!((bench.fetches(), bench.stored("live/a").unwrap()), (1, "new".into()));
}
