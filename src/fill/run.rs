//! The workers: supervised, each started again when it panics; and how they stop.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Release};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Fills;
use super::commit::{self, Landing};
use crate::observe::metrics::{Component, SERVICE_RESTARTS};
use crate::observe::readiness::{Condition, READINESS};

/// Pause before a worker that panicked is started again; doubled for each panic in a row, to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A worker that did so long without a panic is a sound one again.
const SOUND: Duration = Duration::from_secs(60);
/// How long the last commits may take once every worker has stopped.
const LAST_COMMITS: Duration = Duration::from_secs(5);

impl Fills {
    /// Work until the lease has ended and the last fill with it, or until `stop`: workers, supervisor and committer. Then nothing new is begun, what waits is refused as
    /// [`FillError::Draining`](super::FillError::Draining), and what moves has `grace` to end.
    pub async fn run(self: &Arc<Self>, stop: impl Future<Output = ()>, grace: Duration) {
        let (landings, mut landed) = mpsc::channel::<Landing>(self.conf.workers.max(1));
        let (committed, all_committed) = oneshot::channel::<()>();
        let cas = self.cas.clone();
        let committer = std::thread::Builder::new().name("fill-commit".into()).spawn(move || {
            commit::run(&cas, &mut landed);
            // Nobody waits where the grace is over.
            let _ = committed.send(());
        });
        if let Err(error) = committer {
            log::error!(event = "threads", cause = error.to_string().as_str(); "fills can't be committed");
        }
        let mut workers = JoinSet::new();
        for _ in 0..self.conf.workers.max(1) {
            workers.spawn(supervise(self.clone(), landings.clone()));
        }
        drop(landings);
        READINESS.set(Condition::FillWorkers, true);
        stop.await;
        self.draining.store(true, Release);
        // Their fillers, dropped, tell the readers; so do those below.
        drop(self.queue.close());
        let all = async { while workers.join_next().await.is_some() {} };
        if timeout(grace, all).await.is_err() {
            workers.shutdown().await;
        }
        let _ = timeout(LAST_COMMITS, all_committed).await;
    }
}

/// Run a worker until the queue is closed; again when it panics.
async fn supervise(fills: Arc<Fills>, landings: mpsc::Sender<Landing>) {
    let mut pause = PAUSE;
    loop {
        // In a set, so that the worker stops with its supervisor.
        let mut worker = JoinSet::new();
        let began = tokio::time::Instant::now();
        worker.spawn(work(fills.clone(), landings.clone()));
        match worker.join_next().await {
            Some(Err(error)) if error.is_panic() => {}
            _ => return,
        }
        SERVICE_RESTARTS.inc(Component::FillWorker);
        log::error!(event = "service_restarted", component = Component::FillWorker.as_str(); "");
        if began.elapsed() > SOUND {
            pause = PAUSE;
        }
        let down = Down::new();
        sleep(pause).await;
        drop(down);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A worker of this process that panicked and was not started again yet.
struct Down;

/// How many there are.
static DOWN: AtomicUsize = AtomicUsize::new(0);

impl Down {
    fn new() -> Self {
        if DOWN.fetch_add(1, AcqRel) == 0 {
            READINESS.set(Condition::FillWorkers, false);
        }
        Self
    }
}

impl Drop for Down {
    fn drop(&mut self) {
        if DOWN.fetch_sub(1, AcqRel) == 1 {
            READINESS.set(Condition::FillWorkers, true);
        }
    }
}

async fn work(fills: Arc<Fills>, landings: mpsc::Sender<Landing>) {
    while let Some((_slot, job)) = fills.queue.take().await {
        fills.work(job, &landings).await;
    }
}
