//! Connections: used again, closed under us, held back, dropped, and used from several runtimes.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, mpsc};

use svc_edge::fill::fetch::{Fetch as _, Wanted};
use svc_edge::observe::metrics::{BACKOFF_RETRIES, FILL_ATTEMPTS, OriginLabel, RetryOp};
use svc_edge::origin::OriginConf;

use super::support::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn a_connection_is_used_again() {
    let server = always(OK);
    let origins = one(&server);
    for _ in 0..5 {
        assert_eq!(whole(&origins).await, (200, "hello".into()));
    }
    assert_eq!((server.requests(), server.connections()), (5, 1));
}

#[tokio::test]
async fn two_origins_never_share_a_connection() {
    let server = always(OK);
    let second = OriginConf { prefix: "b/".into(), urls: vec![server.url()], allow_private: true, headers: Vec::new() };
    let origins = origins(vec![server.url()], |conf| conf.origins.push(second));
    for origin in [0, 1, 0, 1] {
        let (_, mut body) = origins.fetch(Wanted { origin, ..wanted("a") }).await.unwrap();
        assert_eq!(drain(&mut body).await.0, b"hello");
    }
    assert_eq!((server.requests(), server.connections()), (4, 2));
}

#[tokio::test]
async fn a_connection_that_the_origin_closes_as_it_is_used_again_costs_no_retry() {
    // The first connection answers once, reads the next request, and closes without a word.
    let server = serve(|conn| {
        while conn.request().is_some() && conn.send(OK) {
            if conn.n == 0 {
                conn.request();
                return;
            }
        }
    });
    let label = OriginLabel::of("reused/");
    let origins = origins(vec![server.url()], |conf| {
        conf.origins[0].prefix = "reused/".into();
        conf.retry.count = 0;
        conf.circuit.failures = 1;
    });
    let before = BACKOFF_RETRIES.get(RetryOp::Connect);
    for _ in 0..3 {
        assert_eq!(whole(&origins).await, (200, "hello".into()));
    }
    assert_eq!(FILL_ATTEMPTS.get(label), 4, "one more than was asked");
    // Others retry at the same time in this process, but not for this origin: without a retry allowed, success is the proof.
    assert!(BACKOFF_RETRIES.get(RetryOp::Connect) >= before);
    assert_eq!(server.connections(), 3, "the one that stood in is closed after its request");
}

#[tokio::test]
async fn a_fresh_connection_that_closes_without_a_word_is_a_failure() {
    let server = serve(|conn| {
        if conn.n == 0 {
            conn.request();
            conn.send(OK);
        }
        conn.request();
    });
    let origins = origins(vec![server.url()], |conf| conf.retry.count = 0);
    assert_eq!(whole(&origins).await, (200, "hello".into()));
    refused(&origins).await;
    assert_eq!(server.connections(), 2, "exactly one other connection was tried");
}

#[tokio::test]
async fn not_asking_for_bytes_holds_the_origin_back() {
    const LENGTH: u64 = 256 << 20;
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let server = serve(move |conn| {
        conn.request();
        conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"));
        let piece = vec![7; 64 << 10];
        while counter.load(SeqCst) < LENGTH && conn.send(&piece) {
            counter.fetch_add(piece.len() as u64, SeqCst);
        }
    });
    let (_, mut body) = fetch(&one(&server)).await.unwrap();
    assert_eq!(body.next().await.unwrap().unwrap()[0], 7);
    // Longer than read_timeout: not asking is no stall of the origin's.
    tokio::time::sleep(1000 * MS).await;
    let ahead = sent.load(SeqCst);
    tokio::time::sleep(200 * MS).await;
    assert_eq!(sent.load(SeqCst), ahead, "it stands still");
    assert!(ahead < 24 << 20, "{ahead} bytes are under way");
    let mut received = 0;
    while let Some(bytes) = body.next().await.unwrap() {
        received += bytes.len() as u64;
    }
    assert!(received > LENGTH - (1 << 20), "and it goes on where it stood: {received}");
}

#[tokio::test]
async fn dropping_a_body_or_a_question_closes_the_origins_connection() {
    let (told, closed) = mpsc::channel();
    let server = serve(move |conn| {
        conn.request();
        if conn.n == 0 {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        }
        told.send(conn.closes_within(400 * MS)).unwrap();
    });
    let origins = one(&server);
    let (_, mut body) = fetch(&origins).await.unwrap();
    body.next().await.unwrap();
    drop(body);
    let closed = tokio::task::spawn_blocking(move || (closed.recv().unwrap(), closed)).await.unwrap();
    assert!(closed.0, "a body that was dropped");
    assert!(tokio::time::timeout(100 * MS, fetch(&origins)).await.is_err());
    assert!(tokio::task::spawn_blocking(move || closed.1.recv().unwrap()).await.unwrap(), "a question");
}

#[test]
fn any_runtime_may_ask() {
    let server = always(OK);
    let origins = one(&server);
    for threads in [1, 2, 1] {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
        assert_eq!(runtime.block_on(whole(&origins)), (200, "hello".into()));
        // Its connections die with it: the next one must not stumble over them.
        drop(runtime);
    }
    let single = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(single.block_on(whole(&origins)), (200, "hello".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_are_all_answered() {
    let server = always(OK);
    let origins = one(&server);
    let all: Vec<_> = (0..100)
        .map(|_| {
            let origins = origins.clone();
            tokio::spawn(async move { whole(&origins).await })
        })
        .collect();
    for task in all {
        assert_eq!(task.await.unwrap(), (200, "hello".into()));
    }
    assert_eq!(server.requests(), 100);
}
