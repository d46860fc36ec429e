//! All fills of a process: those of the conf of now, and those of a conf before it, which a reload lets go on to their end.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;

use super::Fills;
use crate::store::cas;

/// Every [`Fills`] that is still there. Whoever changes what is stored at a path asks here: which conf a fill lives by is nothing to it.
#[derive(Default)]
pub struct AllFills(Mutex<Vec<Weak<Fills>>>);

impl AllFills {
    /// What is being filled of the paths that `which` picks is stored no more; for purges, which remove from the store themselves, behind this.
    pub fn detach(&self, which: impl Fn(&str) -> bool) {
        self.detach_keys(|key| which(cas::path_of(key)));
    }

    /// Fills under way: those that wait and those that move.
    pub fn under_way(&self) -> usize {
        self.alive().iter().map(|fills| fills.under_way()).sum()
    }

    pub(super) fn detach_keys(&self, which: impl Fn(&str) -> bool) {
        self.alive().iter().for_each(|fills| fills.flights.detach(&which));
    }

    pub(super) fn add(&self, fills: &Arc<Fills>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|fills| fills.strong_count() > 0);
        all.push(Arc::downgrade(fills));
    }

    fn alive(&self) -> Vec<Arc<Fills>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
    }
}

/// Fills are worked on for as long as somebody has their lease: whoever may still ask for one.
pub struct Lease(#[expect(dead_code, reason = "its being dropped is what it tells")] watch::Sender<()>);

/// Tells that a lease ended.
#[derive(Clone)]
pub struct Leased(watch::Receiver<()>);

/// A lease, and who hears of its end.
pub fn lease() -> (Lease, Leased) {
    let (lease, leased) = watch::channel(());
    (Lease(lease), Leased(leased))
}

impl Leased {
    /// Wait until the lease has ended.
    pub async fn ended(self) {
        let mut lease = self.0;
        // Nothing is ever sent.
        while lease.changed().await.is_ok() {}
    }
}
