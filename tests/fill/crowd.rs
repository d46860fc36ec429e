//! Many clients, keys, failures and departures at once: whatever happens, everybody gets the right bytes or an error, and nothing is left.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use svc_edge::fill::{Ask, FillError, FillsConf, Headed};
use tokio::time::timeout;

use super::support::*;

const KEYS: u64 = 12;
const CLIENTS: u64 = 600;

/// A number that looks random and is the same each time.
fn draw(seed: u64) -> u64 {
    let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32
}

fn body_of(key: u64) -> Bytes {
    let mut body = bytes(20_000 + key as usize * 9_000).to_vec();
    body[0] = key as u8;
    body.into()
}

/// Every third answer breaks off in its middle.
fn script(asked: &Asked, number: usize) -> Answer {
    let body = body_of(asked.rest.parse().unwrap());
    let (half, rest) = body.split_at(body.len() / 2);
    let [half, rest] = [half, rest].map(|part| Step::Bytes(Bytes::copy_from_slice(part)));
    let last = if number.is_multiple_of(3) { Step::Cut } else { rest };
    Answer::ok(body.clone()).steps(vec![half, last])
}

enum Got {
    Hit,
    Filled,
    Left,
    Cut,
}

async fn client(bench: &Bench, number: u64) -> Got {
    let key = draw(number) % KEYS;
    let path = format!("live/{key}");
    loop {
        let seen = Some(bench.fills.seen(&path));
        if let Some(hit) = bench.stored(&path) {
            assert!(hit == body_of(key));
            return Got::Hit;
        }
        let mut reader = match bench.fills.join(Ask { seen, ..bench.ask(&path) }) {
            Ok(reader) => reader,
            Err(error) => panic!("{error}"),
        };
        match timeout(SOON, reader.head()).await.expect("no head") {
            Ok(Headed::LookAgain) => continue,
            Ok(Headed::Stream(_)) => {}
            Ok(other) => panic!("{}", word(&other)),
            Err(FillError::Fetch(_)) => return Got::Cut,
            Err(error) => panic!("{error}"),
        }
        if draw(number + 1).is_multiple_of(4) {
            return Got::Left;
        }
        return match drain(&mut reader).await {
            Ok(body) => {
                assert!(body == body_of(key), "a wrong body");
                Got::Filled
            }
            Err(error) => {
                assert_eq!(error.cause(), "cut");
                Got::Cut
            }
        };
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_crowd_everybody_gets_the_right_bytes_or_an_error_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let conf = FillsConf { queue: 64, workers: 6, ..conf() };
    let bench = Arc::new(Bench::with(conf, &disk_store(dir.path()), script));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let bench = bench.clone();
            tokio::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_micros(draw(number + 2) % 50_000)).await;
                client(&bench, number).await
            })
        })
        .collect();
    let mut counts = [0; 4];
    for client in clients {
        counts[client.await.unwrap() as usize] += 1;
    }
    assert!(counts.iter().all(|count| *count > 0), "hits, fills, departures, cuts: {counts:?}");
    bench.until(|bench| bench.fills.under_way() == 0 && bench.fake.open.load(SeqCst) == 0).await;
    // A key is fetched again only behind a cut.
    let whole = bench.fetches() - bench.fetches().div_ceil(3);
    assert!(whole as u64 <= KEYS, "{whole} whole fetches of {KEYS} keys");
}
