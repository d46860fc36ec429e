//! Allocations of a hit: of the short way, which is all ours; and of the long way, beyond what Pingora makes.
//!
//! They are counted in this process, over thousands of requests of one kept-alive connection. What Pingora makes is what a bare `ProxyHttp` costs that answers the same head and
//! body. Everything that the process allocates meanwhile counts, on whichever thread.
//!
//! `ALLOCATIONS=trace` tells where they come from, `ALLOCATIONS_JSON=FILE` writes the table to a file.

#![allow(clippy::unwrap_used, clippy::panic)]

mod in_process;

#[path = "allocations/report.rs"]
mod report;
#[path = "allocations/trace.rs"]
mod trace;

use std::time::Instant;

use dhat::{HeapStats, Profiler};
use in_process::bare::Pingora;
use in_process::served::{Case, Served, Way, answer, hits};
use in_process::wire::{Answer, Client, Serves};
use report::{Cost, Line};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// The most allocations that each kind of hit may make: on the short way, and on the long way beyond Pingora's. Where one makes fewer, lower it here.
const MOST: [(&str, f64, f64); 9] = [
    ("asset_4k", 0.0, 2.0),
    ("asset_64k", 0.0, 2.0),
    ("range_4k", 0.0, 7.0),
    ("range_64k", 0.0, 9.0),
    ("not_modified", 0.0, 5.0),
    ("head_4k", 0.0, 2.0),
    ("tile_mvt", 0.0, 2.0),
    ("tile_png", 0.0, 2.0),
    ("asset_1m", 0.0, 19.0),
];

/// Allocations a hit of the log's lines, one of which is written for a hundred hits.
const LOG: f64 = 0.04;
/// Allocations of a slot of Pingora's timers. Each 10 ms in which something waits have one, so they grow with the time that a machine takes.
const TIMER_SLOT: f64 = 3.0;
const SLOTS_A_SECOND: f64 = 100.0;

/// Requests before the count begins: what is made once a connection, or once a process, is made by then.
const WARM_UP: usize = 200;
/// Requests of a count.
const REQUESTS: usize = 1000;
/// Counts; the least one is taken, as nothing but this process's own background work can add to it.
const ROUNDS: usize = 2;

#[test]
fn a_hit_allocates_no_more_than_it_is_allowed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lines = runtime.block_on(count());
    let table = report::table(&lines);
    println!("{table}");
    if let Some(file) = std::env::var_os("ALLOCATIONS_JSON") {
        std::fs::write(file, report::json(&lines)).unwrap();
    }
    let over: Vec<&str> = lines.iter().filter(|line| is_over(line)).map(|line| line.name).collect();
    assert!(over.is_empty(), "more allocations than allowed in {over:?} (ALLOCATIONS=trace tells where):\n{table}");
}

/// Whether a kind of hit allocates more than it may, on either way.
fn is_over(line: &Line) -> bool {
    let (_, short, long) = MOST.iter().find(|(name, ..)| *name == line.name).expect("each case has its bounds");
    let allowed = |most: &f64, cost: &Cost| most + LOG + cost.seconds * SLOTS_A_SECOND * TIMER_SLOT;
    line.short.blocks > allowed(short, &line.short) || line.beyond() > allowed(long, &line.long)
}

/// Count what each kind of hit allocates.
async fn count() -> Vec<Line> {
    let trace = std::env::var_os("ALLOCATIONS").is_some_and(|asked| asked == "trace");
    let (short, long) = (Served::by(Way::Short), Served::by(Way::Long));
    let mut lines = Vec::new();
    for case in hits(&short).await {
        let known = answer(&short, &case).await;
        let through = answer(&long, &case).await;
        let bare = Pingora::like(&through);
        let line = Line {
            name: case.name,
            short: cost(&short.front, &case, &known).await,
            long: cost(&long.front, &case, &through).await,
            pingora: cost(&bare, &case, &through).await,
        };
        if trace {
            let by_short = traced(&short.front, &case, &known).await;
            let (by_long, by_bare) = (traced(&long.front, &case, &through).await, traced(&bare, &case, &through).await);
            println!("== {}: allocations a hit, the short way", case.name);
            println!("{}", trace::difference(None, &by_short, REQUESTS));
            println!("== {}: allocations a hit beyond Pingora's, the long way", case.name);
            println!("{}", trace::difference(Some(&by_bare), &by_long, REQUESTS));
        }
        lines.push(line);
    }
    lines
}

/// What a request of a kept-alive connection to `server` allocates.
async fn cost(server: &impl Serves, case: &Case, known: &Answer) -> Cost {
    let mut client = warm(server, case, known).await;
    let mut least = Cost { blocks: f64::INFINITY, bytes: f64::INFINITY, seconds: 0.0 };
    for _ in 0..ROUNDS {
        // Few frames: only the numbers are wanted.
        let profiler = Profiler::builder().testing().trim_backtraces(Some(4)).build();
        let began = Instant::now();
        ask(&mut client, case, known).await;
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
async fn traced(server: &impl Serves, case: &Case, known: &Answer) -> String {
    let mut client = warm(server, case, known).await;
    let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let profiler = Profiler::builder().file_name(file.path()).trim_backtraces(Some(200)).build();
    ask(&mut client, case, known).await;
    drop(profiler);
    client.close().await;
    std::fs::read_to_string(file.path()).unwrap()
}

async fn warm(server: &impl Serves, case: &Case, known: &Answer) -> Client {
    let mut client = Client::connect(server);
    for _ in 0..WARM_UP {
        client.again(case.request.as_bytes(), known).await;
    }
    client
}

async fn ask(client: &mut Client, case: &Case, known: &Answer) {
    for _ in 0..REQUESTS {
        client.again(case.request.as_bytes(), known).await;
    }
}
