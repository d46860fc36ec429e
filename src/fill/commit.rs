//! From a whole body to an object: one thread commits what came meanwhile in one transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::Receiver;

use super::error::FillError;
use super::reader::Done;
use super::work::Filler;
use crate::observe::bus::{Event, publish};
use crate::observe::metrics::{Component, FILL_LATENCY, SERVICE_RESTARTS, Whole};
use crate::store::StoreError;
use crate::store::cas::{Cas, Put, Stored};

/// Fills that one transaction takes at the most.
const BATCH: usize = 256;

/// A fill whose body is whole and verified.
pub(super) struct Landing {
    pub put: Put,
    pub filler: Filler,
    /// The key without its variant, which an invalidation takes with all its variants.
    pub base: String,
    /// What the log calls it.
    pub path: String,
    pub origin: String,
    pub began: Instant,
}

/// Commit what comes until nobody can send any more.
pub(super) fn run(cas: &Arc<Cas>, landings: &mut Receiver<Landing>) {
    let mut batch = Vec::new();
    while landings.blocking_recv_many(&mut batch, BATCH) > 0 {
        let landed = std::mem::take(&mut batch);
        // A panic fails the readers of these, by their fillers, and no others.
        if catch_unwind(AssertUnwindSafe(|| land(cas, landed))).is_err() {
            SERVICE_RESTARTS.inc(Component::FillCommitter);
            log::error!(event = "service_restarted", component = Component::FillCommitter.as_str(); "");
        }
    }
}

/// What is left of a landing once its blob went to the store.
struct Landed {
    filler: Filler,
    base: String,
    path: String,
    origin: String,
    began: Instant,
    done: Done,
}

fn land(cas: &Cas, landings: Vec<Landing>) {
    let (mut puts, mut landed) = (Vec::new(), Vec::new());
    for Landing { put, filler, base, path, origin, began } in landings {
        let mut done = Done { hash: put.staged.hash(), len: put.staged.len(), stored: true };
        if filler.is_detached() {
            // It was asked for before what it answers changed.
            done.stored = false;
            filler.finish(None, Ok(done));
            continue;
        }
        puts.push(put);
        landed.push(Landed { filler, base, path, origin, began, done });
    }
    if puts.is_empty() {
        return;
    }
    match cas.commit(puts) {
        Ok(stored) => landed.into_iter().zip(stored).for_each(|(landed, stored)| end(cas, landed, stored)),
        Err(error) => landed.into_iter().for_each(|landed| fail(landed, &error)),
    }
}

fn end(cas: &Cas, mut landed: Landed, stored: Stored) {
    // An import at the path stands before whatever is filled there.
    landed.done.stored = stored != Stored::Kept;
    // Detached between the look above and the commit: whoever detached it dropped what was stored before, perhaps not this.
    if landed.filler.is_detached() {
        landed.done.stored = false;
        if let Err(error) = cas.drop_object(&landed.base) {
            log::error!(event = "invalidation_failed", path = landed.path.as_str(), cause = error.to_string().as_str(); "");
        }
    }
    FILL_LATENCY.observe(Whole::All, landed.began.elapsed());
    publish(Event::FillFinished {
        path: landed.path,
        hash: landed.done.hash.to_hex().to_string(),
        bytes: landed.done.len,
        ms: millis(landed.began),
        origin: landed.origin,
    });
    landed.filler.finish(None, Ok(landed.done));
}

/// Its readers have all of it; the store has nothing.
fn fail(landed: Landed, error: &StoreError) {
    let error = FillError::Disk(error.to_string());
    let Landed { filler, path, origin, began, .. } = landed;
    publish(Event::FillFailed { path, ms: millis(began), origin, cause: error.cause(), detail: error.to_string() });
    filler.finish(None, Err(error));
}

/// Whole milliseconds since then.
pub(super) fn millis(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}
