//! Bounds: of the queue, of the share of an origin, of lengths, and what is given up.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use http::{HeaderValue, Method};
use svc_edge::fill::{FillKey, FillsConf, Remembered};
use svc_edge::observe::metrics::{BUSY_REJECTIONS, Endpoint, QUEUE_DROPPED, QueueName};

use super::support::*;

#[tokio::test]
async fn a_full_queue_refuses_a_new_fill_and_not_a_reader_of_one_that_waits() {
    let gate = Gate::new();
    let answer = Answer::ok("x").behind(&gate);
    let conf = FillsConf { queue: 2, workers: 1, ..conf() };
    let bench = Bench::with(conf, &memory_store(), move |_, _| answer.clone());
    let moving = bench.join("live/moving").unwrap();
    bench.until(|bench| bench.fetches() == 1).await;
    let waiting = ["live/1", "live/2"].map(|path| bench.join(path).unwrap());
    let (dropped, busy) = (QUEUE_DROPPED.get(QueueName::Fill), BUSY_REJECTIONS.get(Endpoint::Fill));
    assert_eq!(bench.join("live/3").err().unwrap().cause(), "queue_full");
    assert!(QUEUE_DROPPED.get(QueueName::Fill) > dropped && BUSY_REJECTIONS.get(Endpoint::Fill) > busy);
    assert!(bench.join("live/1").unwrap().collapsed());
    assert_eq!(bench.fills.under_way(), 3, "the refused one left nothing behind");
    gate.open();
    for reader in [moving].into_iter().chain(waiting) {
        assert_eq!(get(reader).await.unwrap(), b"x");
    }
}

#[tokio::test]
async fn an_origin_that_stalls_leaves_half_of_the_workers_to_the_others() {
    let gate = Gate::new();
    let stalled = Answer::ok("x").behind(&gate);
    let conf = FillsConf { workers: 4, ..conf() };
    let bench = Bench::with(conf, &memory_store(), move |asked, _| match asked.origin {
        0 => stalled.clone(),
        _ => Answer::ok("y"),
    });
    let slow: Vec<_> = (0..6).map(|number| bench.join(&format!("live/{number}")).unwrap()).collect();
    for number in 0..6 {
        assert_eq!(get(bench.join(&format!("other/{number}")).unwrap()).await.unwrap(), b"y");
    }
    assert_eq!(bench.fake.asked.lock().unwrap().iter().filter(|asked| asked.origin == 0).count(), 2);
    gate.open();
    for reader in slow {
        assert_eq!(get(reader).await.unwrap(), b"x");
    }
}

#[tokio::test]
async fn a_body_without_a_length_is_cut_at_the_bound_and_remembered() {
    let body = Answer::ok("").chunked().steps(vec![Step::Bytes(bytes(600)), Step::Bytes(bytes(600))]);
    let conf = FillsConf { max_object_bytes: 1000, range_fill_max: 1000, ..conf() };
    let bench = Bench::with(conf, &memory_store(), move |_, _| body.clone());
    let mut reader = bench.join("live/a").unwrap();
    streamed(&mut reader).await;
    assert_eq!(drain(&mut reader).await.unwrap_err().cause(), "too_large");
    assert_eq!(bench.fills.remembered(&FillKey::path("live/a")), Some(Remembered::Uncacheable));
    assert_eq!((bench.stored("live/a"), bench.fills.under_way()), (None, 0));
}

#[tokio::test]
async fn what_the_store_could_never_hold_passes_through_and_is_remembered() {
    let store = svc_edge::conf::CasConf { max_bytes: 1000, ..memory_store() };
    let bench = Bench::with(conf(), &store, |_, _| Answer::ok(bytes(2000)));
    assert_eq!(headed(&mut bench.join("live/a").unwrap()).await, "pass");
    assert_eq!(bench.fills.remembered(&FillKey::path("live/a")), Some(Remembered::Uncacheable));
}

#[tokio::test]
async fn a_range_of_what_is_too_long_is_passed_on_and_the_fill_given_up() {
    let answer = Answer::halves(bytes(2000), &Gate::new());
    let conf = FillsConf { range_fill_max: 1000, ..conf() };
    let bench = Bench::with(conf, &memory_store(), move |asked, _| match asked.headers.get("range") {
        None => answer.clone(),
        Some(_) => Answer::ok("part").status(206),
    });
    let mut readers = [(); 3].map(|()| bench.fills.join(bench.ask_part("live/a")).unwrap());
    for reader in &mut readers {
        assert_eq!(headed(reader).await, "alone");
    }
    bench.until(|bench| bench.fake.open.load(SeqCst) == 0).await;
    assert_eq!(bench.fills.remembered(&FillKey::path("live/a")), Some(Remembered::Large(2000)));
    let range = Some(HeaderValue::from_static("bytes=0-3"));
    let (head, _) = bench.fills.pass(bench.ask_part("live/a"), Method::GET, range).await.unwrap();
    assert_eq!(head.status, 206);
}

#[tokio::test]
async fn a_range_of_what_is_too_long_does_not_wait_for_one_who_wants_it_all() {
    let gate = Gate::new();
    let answer = Answer::halves(bytes(2000), &gate);
    let conf = FillsConf { range_fill_max: 1000, ..conf() };
    let bench = Bench::with(conf, &memory_store(), move |_, _| answer.clone());
    let mut part = bench.fills.join(bench.ask_part("live/a")).unwrap();
    let whole = bench.join("live/a").unwrap();
    assert_eq!(headed(&mut part).await, "alone");
    gate.open();
    assert!(get(whole).await.unwrap() == bytes(2000));
}

/// Join, read the first half, leave; whether the fill was given up.
async fn given_up(conf: FillsConf, chunked: bool, whole: bool) -> bool {
    let gate = Gate::new();
    let answer = Answer::halves(bytes(2000), &gate);
    let answer = if chunked { answer.chunked() } else { answer };
    let bench = Bench::with(conf, &memory_store(), move |_, _| answer.clone());
    let ask = if whole { bench.ask("live/a") } else { bench.ask_part("live/a") };
    let mut reader = bench.fills.join(ask).unwrap();
    streamed(&mut reader).await;
    assert_eq!(reader.until(1000).await.unwrap().bytes, 1000);
    drop(reader);
    let gone = async {
        while bench.fake.open.load(SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let given_up = tokio::time::timeout(Duration::from_millis(100), gone).await.is_ok();
    gate.open();
    bench.until(|bench| bench.fills.under_way() == 0).await;
    assert_eq!(bench.stored("live/a").is_none(), given_up);
    given_up
}

#[tokio::test]
async fn the_last_one_who_leaves_ends_what_is_too_long_to_finish_for_nobody() {
    let finish = |max| FillsConf { finish_max: Some(max), ..conf() };
    assert!(!given_up(finish(2000), false, true).await, "at the bound");
    assert!(given_up(finish(1999), false, true).await, "above it");
    let ranges = |max| FillsConf { range_fill_max: max, ..conf() };
    assert!(!given_up(ranges(1000), true, true).await, "somebody wanted it all");
    assert!(given_up(ranges(999), true, false).await, "nobody wanted it all, and it grew too long for a Range");
}

#[tokio::test]
async fn what_grows_too_long_for_nobody_is_given_up_as_it_grows() {
    let gate = Gate::new();
    let answer = Answer::halves(bytes(2000), &gate).chunked();
    let answer = Answer { body: [answer.body.clone(), vec![Step::Gate(Gate::new())]].concat(), ..answer };
    let conf = FillsConf { finish_max: Some(1500), ..conf() };
    let bench = Bench::with(conf, &memory_store(), move |_, _| answer.clone());
    let mut reader = bench.join("live/a").unwrap();
    streamed(&mut reader).await;
    reader.until(1000).await.unwrap();
    drop(reader);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(bench.fills.under_way(), 1, "short enough so far");
    gate.open();
    bench.until(|bench| bench.fake.open.load(SeqCst) == 0 && bench.fills.under_way() == 0).await;
}

#[test]
fn a_disk_that_stands_still_holds_the_origin_back() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let piece = bytes(64 * 1024);
        let body: Vec<_> = (0..256).map(|_| Step::Bytes(piece.clone())).collect();
        let gate = Gate::new();
        let answer = Answer { length: Some(16 << 20), ..Answer::ok("") };
        let answer = answer.steps([vec![Step::Gate(gate.clone())], body].concat());
        let bench = Bench::new(move |_, _| answer.clone());
        let mut reader = bench.join("live/a").unwrap();
        streamed(&mut reader).await;
        // The only thread that may write is busy.
        let (free, busy) = std::sync::mpsc::channel::<()>();
        let held = tokio::task::spawn_blocking(move || busy.recv().is_err());
        gate.open();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let taken = bench.fake.taken.load(SeqCst);
        assert!((512 * 1024..=1024 * 1024 + 64 * 1024).contains(&taken), "{taken} bytes taken");
        drop(free);
        assert!(held.await.unwrap());
        assert_eq!(drain(&mut reader).await.unwrap().len(), 16 << 20);
    });
}
