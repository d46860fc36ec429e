//! Work that may block: on a thread that may, only so much of it at once, and awaited only so long.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::fail::Refusal;
use super::settings::Settings;
use crate::observe::metrics::{IO_TIMEOUTS, Reason, TimeoutOp};
use crate::store::StoreError;

/// Pieces of blocking work at the same time: lookups, decodes, reads of what is not in the page cache. It bounds the threads that a
/// hung disk can hold up, and the memory that decoding can take.
static PLACES: Semaphore = Semaphore::const_new(64);

/// Run `work` on a thread that may block; refuse after `ingress.timeout`. Work that has begun can't be stopped: it keeps its place until it
/// ends, so that what hangs does not pile up.
pub async fn off_worker<T: Send + 'static>(
    settings: &Settings,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Refusal> {
    among(settings, None, work).await
}

/// As [`off_worker`], of a store that has places of its own: one that is slow takes no more than those of the others.
pub async fn among<T: Send + 'static>(
    settings: &Settings,
    own: Option<Arc<Semaphore>>,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Refusal> {
    let run = async {
        let own = match own {
            Some(own) => own.acquire_owned().await.ok(),
            None => None,
        };
        // The semaphore is never closed.
        let place = PLACES.acquire().await.ok();
        let worked = tokio::task::spawn_blocking(move || {
            let _places = (own, place);
            work()
        });
        worked.await
    };
    match tokio::time::timeout(settings.ingress.timeout, run).await {
        Ok(Ok(done)) => done.map_err(Refusal::from),
        // The runtime is going: the process was told not to wait.
        Ok(Err(cancelled)) if cancelled.is_cancelled() => Err(Refusal::new(Reason::Draining)),
        Ok(Err(panic)) => Err(Refusal::internal(format!("a store panicked: {panic}"))),
        Err(_) => Err(timed_out()),
    }
}

/// Something took longer than `ingress.timeout`.
pub fn timed_out() -> Refusal {
    IO_TIMEOUTS.inc(TimeoutOp::Lookup);
    Refusal::new(Reason::Timeout)
}
