//! What runs beside the requests is started again when it panics, and that is counted and told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::observe::metrics::{Component, SERVICE_RESTARTS};

/// The pause after a panic, doubled for each one in a row up to 256 times.
const PAUSE: Duration = Duration::from_millis(100);

/// Count a panic and tell it.
pub fn panicked(component: Component) {
    SERVICE_RESTARTS.inc(component);
    log::error!(event = "service_restarted", component = component.as_str(); "");
}

fn pause(failures: u32) -> Duration {
    PAUSE * 2_u32.pow(failures.min(8))
}

/// Run `round` again and again on a thread of its own, until `stopping`. A round that panics is counted and the next one begins after a
/// pause, longer each time in a row.
pub fn thread(
    name: &'static str,
    component: Component,
    stopping: Arc<AtomicBool>,
    round: impl Fn() + Send + 'static,
) -> std::io::Result<()> {
    let body = move || {
        let mut failures = 0_u32;
        while !stopping.load(Relaxed) {
            // What a round leaves behind is behind locks and atomics that the stores keep whole.
            if catch_unwind(AssertUnwindSafe(&round)).is_ok() {
                failures = 0;
                continue;
            }
            panicked(component);
            thread::park_timeout(pause(failures));
            failures += 1;
        }
    };
    thread::Builder::new().name(name.into()).spawn(body).map(drop)
}

/// Run what `make` makes to its end, and anew when it panics.
pub async fn task<F>(component: Component, make: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    for failures in 0.. {
        // In a set, so that it stops with its supervisor.
        let mut running = JoinSet::new();
        running.spawn(make());
        match running.join_next().await {
            Some(Err(error)) if error.is_panic() => panicked(component),
            _ => return,
        }
        tokio::time::sleep(pause(failures)).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn a_round_that_panics_is_counted_and_the_next_one_runs() {
        let before = SERVICE_RESTARTS.get(Component::Digester);
        let stopping = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicU32::new(0));
        let (seen, stop) = (rounds.clone(), stopping.clone());
        thread("test", Component::Digester, stopping, move || {
            if seen.fetch_add(1, Relaxed) == 0 {
                panic!("the first round");
            }
            stop.store(true, Relaxed);
        })
        .unwrap();
        while rounds.load(Relaxed) < 2 {
            thread::park_timeout(Duration::from_millis(10));
        }
        assert_eq!(SERVICE_RESTARTS.get(Component::Digester), before + 1);
    }

    #[tokio::test]
    async fn a_task_that_panics_is_counted_and_made_anew() {
        let before = SERVICE_RESTARTS.get(Component::Watchdog);
        let made = Arc::new(AtomicU32::new(0));
        let seen = made.clone();
        task(Component::Watchdog, move || {
            let first = seen.fetch_add(1, Relaxed) == 0;
            async move {
                if first {
                    panic!("the first one");
                }
            }
        })
        .await;
        assert_eq!((made.load(Relaxed), SERVICE_RESTARTS.get(Component::Watchdog)), (2, before + 1));
    }
}
