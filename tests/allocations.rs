//! Allocations of a hit: Pingora's own, and ours on top of them.
//!
//! Both are counted in this process, over thousands of requests of one kept-alive connection in memory: a bare `ProxyHttp` that answers the same
//! head and body is what Pingora costs, and the rest is ours. Everything that the process allocates meanwhile counts, on whichever thread.
//!
//! `ALLOCATIONS=trace` tells where ours come from, `ALLOCATIONS_JSON=FILE` writes the table to a file.

#![allow(clippy::unwrap_used, clippy::panic)]

mod in_process;

#[path = "allocations/trace.rs"]
mod trace;

use std::sync::Arc;
use std::time::Instant;

use dhat::{HeapStats, Profiler};
use in_process::bare::Bare;
use in_process::served::{Case, Served, cases};
use in_process::wire::{Answer, Client};
use pingora::apps::ServerApp;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// The most allocations of ours that each kind of hit may make. Where one makes fewer, lower it here.
const OURS: [(&str, f64); 9] = [
    ("asset_4k", 2.0),
    ("asset_64k", 2.0),
    ("range_4k", 7.0),
    ("range_64k", 9.0),
    ("not_modified", 2.0),
    ("head_4k", 2.0),
    ("tile_mvt", 2.0),
    ("tile_png", 2.0),
    ("asset_1m", 19.0),
];

/// Allocations a hit of the log's lines, one of which is written for a hundred hits.
const LOG: f64 = 0.25;
/// Allocations of a slot of Pingora's timers. Each 10 ms in which something waits have one, so they grow with the time that a machine takes.
const TIMER_SLOT: f64 = 3.0;
const SLOTS_A_SECOND: f64 = 100.0;

/// Requests before the count begins: what is made once a connection, or once a process, is made by then.
const WARM_UP: usize = 200;
/// Requests of a count.
const REQUESTS: usize = 1000;
/// Counts; the least one is taken, as nothing but this process's own background work can add to it.
const ROUNDS: usize = 2;

/// What a request allocates.
#[derive(Clone, Copy)]
struct Cost {
    blocks: f64,
    bytes: f64,
    /// How long it took, in seconds, under the counting allocator.
    seconds: f64,
}

/// A kind of hit, with what it was answered and what both servers allocated for it.
struct Line {
    name: &'static str,
    pingora: Cost,
    all: Cost,
}

#[test]
fn a_hit_allocates_no_more_of_ours_than_it_is_allowed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lines = runtime.block_on(count());
    let table = table(&lines);
    println!("{table}");
    if let Some(file) = std::env::var_os("ALLOCATIONS_JSON") {
        std::fs::write(file, json(&lines)).unwrap();
    }
    let over: Vec<&str> = lines.iter().filter(|line| line.ours() > line.allowed()).map(|line| line.name).collect();
    assert!(over.is_empty(), "more allocations than allowed in {over:?} (ALLOCATIONS=trace tells where):\n{table}");
}

impl Line {
    /// Allocations of ours.
    fn ours(&self) -> f64 {
        self.all.blocks - self.pingora.blocks
    }

    /// How many they may be.
    fn allowed(&self) -> f64 {
        let (_, most) = OURS.iter().find(|(case, _)| *case == self.name).expect("each case has its bound");
        most + LOG + self.all.seconds * SLOTS_A_SECOND * TIMER_SLOT
    }
}

/// Count both servers' allocations for each kind of hit.
async fn count() -> Vec<Line> {
    let trace = std::env::var_os("ALLOCATIONS").is_some_and(|asked| asked == "trace");
    let served = Served::new();
    let mut lines = Vec::new();
    for case in cases(&etag(&served).await) {
        let answer = answer(&served, &case).await;
        let bare = Bare::like(&answer);
        let (pingora, all) = (cost(&bare, &case, &answer).await, cost(&served.front, &case, &answer).await);
        if trace {
            let pingora = traced(&bare, &case, &answer).await;
            let all = traced(&served.front, &case, &answer).await;
            println!("{}", trace::difference(case.name, &pingora, &all, REQUESTS));
        }
        lines.push(Line { name: case.name, pingora, all });
    }
    lines
}

async fn etag(served: &Served) -> String {
    let case = cases("").remove(0);
    let fields = answer(served, &case).await.fields();
    fields.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("etag")).unwrap().1
}

/// The answer of a connection's second request: by then the object is ready in memory.
async fn answer(served: &Served, case: &Case) -> Answer {
    let mut client = Client::connect(&served.front);
    client.ask(case.request.as_bytes(), case.content).await;
    let answer = client.ask(case.request.as_bytes(), case.content).await;
    assert_eq!(answer.status(), case.status, "{}", case.name);
    assert_eq!(answer.body.is_empty(), !case.content, "{}", case.name);
    client.close().await;
    answer
}

/// What a request of a kept-alive connection to `app` allocates.
async fn cost<A: ServerApp + Send + Sync + 'static>(app: &Arc<A>, case: &Case, answer: &Answer) -> Cost {
    let mut client = warm(app, case, answer).await;
    let mut least = Cost { blocks: f64::INFINITY, bytes: f64::INFINITY, seconds: 0.0 };
    for _ in 0..ROUNDS {
        // Few frames: only the numbers are wanted.
        let profiler = Profiler::builder().testing().trim_backtraces(Some(4)).build();
        let began = Instant::now();
        ask(&mut client, case, answer).await;
        let took = began.elapsed().as_secs_f64();
        let HeapStats { total_blocks, total_bytes, .. } = HeapStats::get();
        drop(profiler);
        let each = |total: u64| total as f64 / REQUESTS as f64;
        if each(total_blocks) < least.blocks {
            let seconds = took / REQUESTS as f64;
            least = Cost { blocks: each(total_blocks), bytes: each(total_bytes), seconds };
        }
    }
    client.close().await;
    least
}

/// Where they are made: a profile in the format of DHAT.
async fn traced<A: ServerApp + Send + Sync + 'static>(app: &Arc<A>, case: &Case, answer: &Answer) -> String {
    let mut client = warm(app, case, answer).await;
    let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let profiler = Profiler::builder().file_name(file.path()).trim_backtraces(Some(200)).build();
    ask(&mut client, case, answer).await;
    drop(profiler);
    client.close().await;
    std::fs::read_to_string(file.path()).unwrap()
}

async fn warm<A: ServerApp + Send + Sync + 'static>(app: &Arc<A>, case: &Case, answer: &Answer) -> Client {
    let mut client = Client::connect(app);
    for _ in 0..WARM_UP {
        client.again(case.request.as_bytes(), answer).await;
    }
    client
}

async fn ask(client: &mut Client, case: &Case, answer: &Answer) {
    for _ in 0..REQUESTS {
        client.again(case.request.as_bytes(), answer).await;
    }
}

fn table(lines: &[Line]) -> String {
    let head = format!("{:<14}{:>9}{:>9}{:>9}{:>12}{:>12}", "a hit of", "pingora", "all", "ours", "bytes", "of ours");
    let rows = lines.iter().map(|line| {
        let Line { name, pingora, all } = line;
        let (ours, bytes) = (line.ours(), all.bytes - pingora.bytes);
        format!("{name:<14}{:>9.2}{:>9.2}{ours:>9.2}{:>12.0}{bytes:>12.0}", pingora.blocks, all.blocks, all.bytes)
    });
    std::iter::once(head).chain(rows).collect::<Vec<_>>().join("\n")
}

/// As `testing/performance/allocations.json` has it.
fn json(lines: &[Line]) -> String {
    let round = |number: f64| (number * 100.0).round() / 100.0;
    let per_hit: serde_json::Map<String, serde_json::Value> = lines
        .iter()
        .map(|line| {
            let bytes = line.all.bytes - line.pingora.bytes;
            let cost = serde_json::json!({
                "pingora": round(line.pingora.blocks),
                "ours": round(line.ours()),
                "pingora_bytes": round(line.pingora.bytes),
                "ours_bytes": round(bytes),
            });
            (line.name.to_owned(), cost)
        })
        .collect();
    let report = serde_json::json!({ "schema": 1, "kind": "svc-edge-allocations", "per_hit": per_hit });
    serde_json::to_string_pretty(&report).unwrap() + "\n"
}
