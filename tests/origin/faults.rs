//! Answers that break off, stall, trickle, or are none.

use std::sync::Arc;
use std::time::Instant;

use svc_edge::fill::fetch::{Fetch as _, FetchError, Tap, Wanted};

use super::support::*;

/// An answer that begins well and must end as cut, with what came before.
async fn cut(server: &Server) -> (Vec<u8>, String) {
    let (_, mut body) = fetch(&one(server)).await.unwrap();
    let (bytes, end) = drain(&mut body).await;
    let Err(FetchError::Cut(why)) = end else { panic!("{end:?}") };
    assert!(matches!(body.next().await, Err(FetchError::Cut(_))), "the fault is told again");
    (bytes, why)
}

fn closing(answer: &'static str) -> Server {
    serve(move |conn| {
        conn.request();
        conn.send(answer);
    })
}

#[tokio::test]
async fn a_body_that_ends_too_early_is_cut_however_it_is_framed() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
    ] {
        let (bytes, why) = cut(&closing(answer)).await;
        assert!(b"hello".starts_with(&bytes) && !why.is_empty(), "{answer}: {bytes:?} {why}");
    }
}

#[tokio::test]
async fn a_body_without_its_first_byte_is_cut() {
    assert_eq!(cut(&closing("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")).await.0, b"");
    assert_eq!(cut(&closing("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")).await.0, b"");
}

#[tokio::test]
async fn a_reset_in_the_body_is_a_cut() {
    let server = serve(|conn| {
        conn.peek_request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        conn.pause(50 * MS);
    });
    cut(&server).await;
    let unframed = serve(|conn| {
        conn.peek_request();
        conn.send("HTTP/1.1 200 OK\r\n\r\nhello");
        conn.pause(50 * MS);
    });
    cut(&unframed).await;
}

#[tokio::test]
async fn an_origin_that_closes_or_resets_before_its_header_is_unreachable_after_all_tries() {
    let closes = serve(|conn| drop(conn.request()));
    let FetchError::Unreachable(why) = refused(&one(&closes)).await else { panic!("not unreachable") };
    assert!(why.contains("closed before an answer"), "{why}");
    assert_eq!(closes.requests(), 4);
    let resets = serve(|conn| drop(conn.peek_request()));
    assert!(matches!(refused(&one(&resets)).await, FetchError::Unreachable(_)));
    assert_eq!(resets.requests(), 4);
    let half = closing("HTTP/1.1 200 OK\r\nContent-Le");
    assert!(matches!(refused(&one(&half)).await, FetchError::Unreachable(_)));
}

#[tokio::test]
async fn a_stall_before_the_header_is_a_timeout() {
    let server = serve(|conn| {
        conn.request();
        conn.closes_within(5000 * MS);
    });
    let origins = origins(vec![server.url()], |conf| {
        conf.timeouts.read = 100 * MS;
        conf.retry.timeouts = false;
    });
    let begun = Instant::now();
    assert!(matches!(refused(&origins).await, FetchError::TimedOut("read_timeout")));
    assert!(begun.elapsed() >= 100 * MS && begun.elapsed() < 2000 * MS);
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_stall_in_the_body_is_a_cut() {
    let server = serve(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        conn.closes_within(5000 * MS);
    });
    let origins = origins(vec![server.url()], |conf| conf.timeouts.read = 100 * MS);
    let (_, mut body) = fetch(&origins).await.unwrap();
    let (bytes, end) = drain(&mut body).await;
    let Err(FetchError::Cut(why)) = end else { panic!("{end:?}") };
    assert_eq!((bytes.as_slice(), why.as_str()), (&b"hello"[..], "nothing came for read_timeout"));
}

#[tokio::test]
async fn a_header_that_drips_is_cut_off_by_the_total_timeout() {
    let server = serve(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\n");
        while conn.send("X-Drip: 1\r\n") {
            conn.pause(50 * MS);
        }
    });
    let origins = origins(vec![server.url()], |conf| conf.timeouts.total = 400 * MS);
    let begun = Instant::now();
    assert!(matches!(refused(&origins).await, FetchError::TimedOut("total_timeout")));
    assert!(begun.elapsed() < 2000 * MS);
}

#[tokio::test]
async fn a_body_slower_than_the_minimum_is_cut_but_our_own_slowness_is_not_counted() {
    let server = serve(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        while conn.send("x") {
            conn.pause(100 * MS);
        }
    });
    let origins = origins(vec![server.url()], |conf| conf.timeouts.min_rate = Some(1000));
    let (_, mut body) = fetch(&origins).await.unwrap();
    // Nobody asks for a second: nothing is counted.
    tokio::time::sleep(1000 * MS).await;
    let begun = Instant::now();
    let (bytes, end) = drain(&mut body).await;
    let Err(FetchError::Cut(why)) = end else { panic!("{end:?}") };
    assert_eq!(why, "slower than min_rate");
    assert!(begun.elapsed() >= 4900 * MS, "{:?}", begun.elapsed());
    assert!((10..200).contains(&bytes.len()), "{}", bytes.len());
}

#[tokio::test]
async fn what_is_no_http_is_unreachable_and_not_asked_again() {
    for garbage in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "\0\0\0\0\0\0\0\0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\nPRI *",
    ] {
        let server = closing(garbage);
        assert!(matches!(refused(&one(&server)).await, FetchError::Unreachable(_)), "{garbage}");
        assert_eq!(server.requests(), 1, "{garbage}");
    }
}

#[tokio::test]
async fn a_flood_of_headers_is_an_error_and_not_a_hang() {
    let lines = serve(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\n");
        let lines: String = (0..300).map(|n| format!("X-{n}: 1\r\n")).collect();
        conn.send(lines);
        conn.send("\r\n");
        conn.closes_within(5000 * MS);
    });
    assert!(matches!(refused(&one(&lines)).await, FetchError::Unreachable(_)));
    let endless = serve(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nX-Long: ");
        while conn.send([b'x'; 65_536]) {}
    });
    assert!(matches!(refused(&one(&endless)).await, FetchError::Unreachable(_)));
    let interim = serve(|conn| {
        conn.request();
        while conn.send("HTTP/1.1 100 Continue\r\n\r\n") {}
    });
    assert!(matches!(refused(&one(&interim)).await, FetchError::Unreachable(_)));
}

/// A defect of ours.
struct Panics;

impl Tap for Panics {
    fn pass(&self, _: &[u8]) {
        panic!("the tap of a test panics");
    }
}

#[tokio::test]
async fn a_panic_in_a_phase_is_a_cut_and_the_next_request_is_served() {
    let server = always("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let origins = one(&server);
    let (_, mut body) = origins.fetch(Wanted { tap: Some(Arc::new(Panics)), ..wanted("a") }).await.unwrap();
    let (_, end) = drain(&mut body).await;
    assert!(matches!(end, Err(FetchError::Cut(_))), "{end:?}");
    assert_eq!(whole(&origins).await, (200, "hello".into()));
}
