//! A hit from Pingora's reading of the request to the last byte of the answer, over a connection in memory; and the same of a bare `ProxyHttp` that
//! answers the same head and body, which is what Pingora costs.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::Instant;

use criterion::{Bencher, Criterion, Throughput};
use in_process::bare::Bare;
use in_process::served::{Case, Served, cases};
use in_process::wire::{Answer, Client};
use pingora::apps::ServerApp;
use tokio::runtime::{Builder, Runtime};

#[path = "../tests/in_process/mod.rs"]
mod in_process;
mod support;

fn main() {
    let mut criterion = support::criterion();
    hits(&mut criterion);
    criterion.final_summary();
}

fn hits(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let served = Served::new();
    let etag = {
        let case = cases("").remove(0);
        let fields = runtime.block_on(answer(&served, &case)).fields();
        fields.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("etag")).unwrap().1
    };
    for case in cases(&etag) {
        let answer = runtime.block_on(answer(&served, &case));
        assert_eq!(answer.status(), case.status, "{}", case.name);
        let bare = Bare::like(&answer);
        let mut group = criterion.benchmark_group(case.name);
        group.throughput(Throughput::Elements(1));
        group.bench_function("svc-edge", |bench| asked(bench, &runtime, &served.front, &case, &answer));
        group.bench_function("pingora", |bench| asked(bench, &runtime, &bare, &case, &answer));
        group.finish();
    }
}

/// The answer once the object is ready in memory.
async fn answer(served: &Served, case: &Case) -> Answer {
    let mut client = Client::connect(&served.front);
    client.ask(case.request.as_bytes(), case.content).await;
    let answer = client.ask(case.request.as_bytes(), case.content).await;
    client.close().await;
    answer
}

/// One kept-alive connection, one request after the other.
fn asked<A>(bench: &mut Bencher, runtime: &Runtime, app: &Arc<A>, case: &Case, answer: &Answer)
where
    A: ServerApp + Send + Sync + 'static,
{
    bench.iter_custom(|requests| {
        runtime.block_on(async {
            let mut client = Client::connect(app);
            client.again(case.request.as_bytes(), answer).await;
            let began = Instant::now();
            for _ in 0..requests {
                client.again(case.request.as_bytes(), answer).await;
            }
            let took = began.elapsed();
            client.close().await;
            took
        })
    });
}
