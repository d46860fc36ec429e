//! A hit from the first byte of its request to the last byte of its answer, over a socket pair in one thread: the short way, the long way through Pingora's HTTP server, and a
//! bare `ProxyHttp` that answers the same head and body, which is what Pingora costs by itself. The client's share and the kernel's are in all three: `floor` is no more than these.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Instant;

use criterion::{Bencher, Criterion, Throughput};
use in_process::bare::Pingora;
use in_process::floor::Floor;
use in_process::served::{Case, Served, Way, answer, hits};
use in_process::wire::{Answer, Client, Serves};
use tokio::runtime::{Builder, Runtime};

#[path = "../tests/in_process/mod.rs"]
mod in_process;
mod support;

fn main() {
    let mut criterion = support::criterion();
    measure(&mut criterion);
    criterion.final_summary();
}

fn measure(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (short, long) = (Served::by(Way::Short), Served::by(Way::Long));
    for case in runtime.block_on(hits(&short)) {
        let mut group = criterion.benchmark_group(case.name);
        group.throughput(Throughput::Elements(1));
        let known = runtime.block_on(answer(&short, &case));
        let floor = Floor::like(&known);
        group.bench_function("floor", |bench| asked(bench, &runtime, &floor, &case, &known));
        group.bench_function("short", |bench| asked(bench, &runtime, &short.front, &case, &known));
        let known = runtime.block_on(answer(&long, &case));
        group.bench_function("long", |bench| asked(bench, &runtime, &long.front, &case, &known));
        let bare = Pingora::like(&known);
        group.bench_function("pingora", |bench| asked(bench, &runtime, &bare, &case, &known));
        group.finish();
    }
}

/// One kept-alive connection, one request after the other.
fn asked(bench: &mut Bencher, runtime: &Runtime, server: &impl Serves, case: &Case, known: &Answer) {
    bench.iter_custom(|requests| {
        runtime.block_on(async {
            let mut client = Client::connect(server);
            client.again(case.request.as_bytes(), known).await;
            let began = Instant::now();
            for _ in 0..requests {
                client.again(case.request.as_bytes(), known).await;
            }
            let took = began.elapsed();
            client.close().await;
            took
        })
    });
}
