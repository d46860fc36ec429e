//! Another try, its waits and its bounds; the circuit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use svc_edge::fill::fetch::{Fetch as _, FetchError, Wanted};
use svc_edge::observe::metrics::{BACKOFF_RETRIES, CIRCUIT_OPEN, FILL_ATTEMPTS, OriginLabel, RetryOp};
use svc_edge::origin::Origins;

use super::support::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const NO: &str = "HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nfail";

#[tokio::test]
async fn a_503_is_tried_again_until_the_origin_answers() {
    let server = in_turn([NO, "HTTP/1.1 504 No\r\nContent-Length: 4\r\n\r\nfail", OK]);
    let (label, before) = (OriginLabel::of("retried/"), BACKOFF_RETRIES.get(RetryOp::Status));
    let origins = origins(vec![server.url()], |conf| conf.origins[0].prefix = "retried/".into());
    assert_eq!(whole(&origins).await, (200, "hello".into()));
    assert_eq!(server.requests(), 3);
    assert_eq!(FILL_ATTEMPTS.get(label), 3, "each try");
    assert!(BACKOFF_RETRIES.get(RetryOp::Status) >= before + 2);
    origins.fetch(Wanted { fill: false, ..wanted("a") }).await.unwrap();
    assert_eq!((server.requests(), FILL_ATTEMPTS.get(label)), (4, 3), "what is no fill is no attempt of one");
}

#[tokio::test]
async fn the_last_503_is_the_answer() {
    let server = always(NO);
    assert_eq!(whole(&one(&server)).await, (503, "fail".into()));
    assert_eq!(server.requests(), 4);
}

#[tokio::test]
async fn a_status_that_the_conf_does_not_name_is_an_answer() {
    let server = always("HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\nfail");
    assert_eq!(whole(&one(&server)).await, (500, "fail".into()));
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_timeout_is_tried_again() {
    let server = serve(|conn| {
        while conn.request().is_some() {
            if conn.n == 0 {
                conn.closes_within(3000 * MS);
                return;
            }
            conn.send(OK);
        }
    });
    let origins = origins(vec![server.url()], |conf| conf.timeouts.read = 100 * MS);
    assert_eq!(whole(&origins).await, (200, "hello".into()));
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_retry_after_within_the_bound_is_waited_for() {
    let server = in_turn(["HTTP/1.1 503 No\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", OK]);
    let begun = Instant::now();
    assert_eq!(whole(&one(&server)).await, (200, "hello".into()));
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_retry_after_beyond_the_bound_hands_the_answer_on_at_once() {
    let server = always("HTTP/1.1 503 No\r\nRetry-After: 2\r\nContent-Length: 4\r\n\r\nfail");
    let begun = Instant::now();
    let (head, mut body) = fetch(&one(&server)).await.unwrap();
    assert_eq!((head.status.as_u16(), &head.headers["retry-after"]), (503, &"2".parse().unwrap()));
    let (bytes, end) = drain(&mut body).await;
    assert_eq!((bytes.as_slice(), end.is_ok()), (&b"fail"[..], true));
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn there_is_no_other_try_once_a_header_was_handed_on() {
    let server = serve(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    });
    let (_, mut body) = fetch(&one(&server)).await.unwrap();
    assert!(drain(&mut body).await.1.is_err());
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn the_total_timeout_bounds_all_tries_and_waits() {
    let server = always(NO);
    let origins = origins(vec![server.url()], |conf| {
        conf.timeouts.total = 250 * MS;
        (conf.retry.base, conf.retry.count) = (100 * MS, 100);
    });
    let begun = Instant::now();
    assert_eq!(whole(&origins).await.0, 503);
    assert!(begun.elapsed() < 300 * MS, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn the_budget_stops_retries_of_an_origin_that_is_down() {
    let server = always(NO);
    let origins = origins(vec![server.url()], |conf| conf.retry.base = MS);
    for _ in 0..60 {
        assert_eq!(whole(&origins).await.0, 503);
    }
    // 60 requests, a fifth of them again, and the floor of two a second over ten seconds; four times as many without it.
    let retried = server.requests() - 60;
    assert!((20..=32).contains(&retried), "{retried}");
}

async fn is_open(origins: &Origins) -> Duration {
    match refused(origins).await {
        FetchError::Open(left) => left,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_circuit_opens_probes_and_recovers() {
    let well = Arc::new(AtomicBool::new(false));
    let state = well.clone();
    let server = serve(move |conn| {
        while conn.request().is_some() {
            conn.send(if state.load(SeqCst) { OK } else { NO });
        }
    });
    let label = OriginLabel::of("circuit/");
    let origins = origins(vec![server.url()], |conf| {
        conf.origins[0].prefix = "circuit/".into();
        conf.circuit.failures = 5;
        conf.circuit.open_for = 200 * MS;
    });
    // The fifth failure is the first of the second request: it is handed on, and no other try follows.
    assert_eq!(whole(&origins).await.0, 503);
    assert_eq!(CIRCUIT_OPEN.get(label), 0);
    assert_eq!(whole(&origins).await.0, 503);
    assert_eq!((server.requests(), CIRCUIT_OPEN.get(label)), (5, 1));

    let begun = Instant::now();
    assert!(is_open(&origins).await <= 220 * MS);
    assert!(begun.elapsed() < 100 * MS, "at once");
    assert_eq!(server.requests(), 5, "and without a word to the origin");

    // One probe, which fails: alone for twice as long.
    tokio::time::sleep(230 * MS).await;
    assert_eq!(whole(&origins).await.0, 503);
    assert_eq!(server.requests(), 6);
    assert!(is_open(&origins).await > 220 * MS);

    well.store(true, SeqCst);
    tokio::time::sleep(450 * MS).await;
    assert_eq!(whole(&origins).await, (200, "hello".into()));
    assert_eq!(CIRCUIT_OPEN.get(label), 0);
    assert_eq!(whole(&origins).await, (200, "hello".into()));
}

#[tokio::test]
async fn while_a_probe_is_under_way_the_others_are_answered_at_once() {
    let server = serve(|conn| {
        conn.request();
        if conn.n == 0 {
            return;
        }
        conn.pause(300 * MS);
        conn.send(OK);
    });
    let origins = origins(vec![server.url()], |conf| {
        conf.retry.count = 0;
        (conf.circuit.failures, conf.circuit.open_for) = (1, 50 * MS);
    });
    assert!(matches!(refused(&origins).await, FetchError::Unreachable(_)));
    tokio::time::sleep(60 * MS).await;
    let probe = tokio::spawn({
        let origins = origins.clone();
        async move { whole(&origins).await }
    });
    tokio::time::sleep(50 * MS).await;
    is_open(&origins).await;
    assert_eq!(probe.await.unwrap(), (200, "hello".into()));
    assert_eq!(whole(&origins).await, (200, "hello".into()));
}

#[tokio::test]
async fn a_probe_that_its_caller_left_does_not_keep_the_circuit_open() {
    let server = serve(|conn| {
        conn.request();
        match conn.n {
            0 => {}
            1 => assert!(conn.closes_within(3000 * MS)),
            _ => assert!(conn.send(OK)),
        }
    });
    let origins = origins(vec![server.url()], |conf| {
        conf.retry.count = 0;
        (conf.circuit.failures, conf.circuit.open_for) = (1, 50 * MS);
    });
    refused(&origins).await;
    tokio::time::sleep(60 * MS).await;
    assert!(tokio::time::timeout(100 * MS, fetch(&origins)).await.is_err());
    assert_eq!(whole(&origins).await, (200, "hello".into()));
}
