//! Threads that panic: counted, told, started again, and nobody is left waiting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use svc_edge_origin::{Gate, Origin, Script};

use super::*;

/// Start it; that a thread panics is what the test is about.
fn start(setup: Setup) -> Server {
    let server = super::start(setup);
    // What the panic itself says is no line of the log.
    ["service_restarted", "no_json"].iter().for_each(|event| server.claim(event));
    server
}

#[test]
fn a_worker_that_panics_is_counted_and_told_and_its_reader_gets_an_error() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello"));
    let server = start(faulty(&origin, FILL, "fill.worker=panic@1"));
    let since = Instant::now();
    let answer = get(&server, "a", &[]);
    assert_refused(&answer, 500, "internal");
    assert!(since.elapsed() < Duration::from_secs(3), "an error, not silence: {:?}", since.elapsed());
    assert_eq!(origin.requests("/s/a").len(), 0);
    server.eventually("counted", || restarts(&server, "fill_worker") == 1.0);
    assert!(stored(&server, "a", &[]).is_none());
    assert_sound(&server, "a", b"hello");
    assert_eq!(restarts(&server, "fill_worker"), 1.0);
    assert!(server.logged("service_restarted").iter().any(|line| line["component"] == "fill_worker"));
}

#[test]
fn while_a_worker_is_down_readiness_names_it_and_hits_go_on() {
    const PANICS: usize = 8;
    let origin = Origin::start();
    origin.fallback(|request| text(&request.target));
    let setup = faulty(&origin, &format!("{FILL}, workers: 2"), &format!("fill.worker=panic@..{PANICS}"));
    let server = start(setup.asset("a.txt", b"imported").unlimited());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Two workers that panic four times each are down for 100, 200, 400 and 800 ms.
        let asking = scope.spawn(|| {
            (0..PANICS).for_each(|name| assert_refused(&get(&server, &name.to_string(), &[]), 500, "internal"));
            done.store(true, Ordering::Release);
        });
        let mut named = 0;
        while !done.load(Ordering::Acquire) {
            let ready = server.admin("/readyz");
            if ready.status == 503 {
                assert_eq!(ready.json()["missing"], serde_json::json!(["fill_workers"]));
                assert!(ready.header("retry-after").is_some());
                let public = server.get("/readyz", &[]);
                assert!(!public.text().contains("fill_workers"), "the public listener names nothing: {public:?}");
                assert_eq!(server.get("/edge/assets/site/a.txt", &[]).text(), "imported");
                named += 1;
            }
        }
        assert!(named > 0, "nobody was told");
        asking.join().unwrap();
    });
    server.await_ready();
    assert_eq!(restarts(&server, "fill_worker"), PANICS as f64);
    assert_sound(&server, "0", b"/s/0");
    assert_eq!(server.total("edge_queue_depth"), 0.0);
}

#[test]
fn all_who_wait_for_the_fill_of_a_worker_that_panics_get_an_error() {
    const READERS: usize = 10;
    let (origin, gate) = (Origin::start(), Gate::new());
    origin.route("/s/held", Script::fresh(60).wait(&gate).body(b"held"));
    origin.route("/s/a", text("hello"));
    // One origin has one of two workers: the fill of `a` waits, with all its readers, until that of `held` has ended.
    let server = start(faulty(&origin, &format!("{FILL}, workers: 2"), "fill.worker=panic@2"));
    std::thread::scope(|scope| {
        let held = scope.spawn(|| read(&server, "held", b"held"));
        origin.await_requests("/s/held", 1);
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(|| read(&server, "a", b"hello"))).collect();
        server.eventually("all are waiting", || server.metric("edge_inflight") >= READERS as f64 + 1.0);
        gate.open();
        assert_eq!(held.join().unwrap(), Got::Whole);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), Got::Refused(500));
        }
    });
    assert_sound(&server, "a", b"hello");
}

#[test]
fn a_committer_that_panics_takes_no_answer_along_and_is_counted() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello"));
    let server = start(faulty(&origin, FILL, "cas.commit=panic@1"));
    assert_eq!(read(&server, "a", b"hello"), Got::Whole, "its bytes were all there and verified");
    server.eventually("counted", || restarts(&server, "fill_committer") == 1.0);
    assert!(stored(&server, "a", &[]).is_none());
    assert_sound(&server, "a", b"hello");
    assert_eq!(origin.requests("/s/a").len(), 2);
}
