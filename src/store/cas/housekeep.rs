//! What one thread does about once a second: look for changes of other processes, write recency, evict, remove leftovers, tell
//! sizes. And recency itself, which costs a hit two loads.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};

use super::types::{ObjectInfo, Removed, now, to_seconds};
use super::{Cas, Inner, index};
use crate::observe::bus::{Event, publish};
use crate::observe::metrics::{CAS_BYTES, CAS_EVICTIONS, CAS_MAX_BYTES, CAS_MAX_OBJECTS, CAS_OBJECTS};
use crate::store::StoreError;

/// A use is noted again after this many seconds, not before.
const GRAIN: u32 = 60;

/// Uses waiting for the index. More of them in one second are dropped: recency is a guess anyway.
const MAX_USES: usize = 65_536;

/// Uses, or evictions, of one transaction.
const BATCH: usize = 512;

/// Transactions of evictions in one housekeeping, so that the rest of it is not late.
const MAX_ROUNDS: usize = 64;

/// When an object was last used, for one that is answered from RAM. Keep it with the prepared answer.
pub struct Recency {
    path: Arc<str>,
    /// Seconds since 1970 of the last noted use.
    noted: AtomicU32,
}

impl Cas {
    /// The recency of the object at `path`, used just now.
    pub fn recency(&self, path: &str) -> Recency {
        Recency { path: path.into(), noted: AtomicU32::new(self.inner.clock.load(Ordering::Relaxed)) }
    }

    /// Note a use: two loads, and once a minute for each object a push into a bounded batch. Never waits.
    pub fn touch(&self, recency: &Recency) {
        let now = self.inner.clock.load(Ordering::Relaxed);
        let noted = recency.noted.load(Ordering::Relaxed);
        if now.saturating_sub(noted) >= GRAIN
            // Of the threads that see it at once, one notes it.
            && recency.noted.compare_exchange(noted, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.inner.note_use(&recency.path, now);
        }
    }

    /// Do the housekeeping; call it about once a second, from one thread. Each part is done even if another fails; the first
    /// error is returned.
    pub fn poll(&self) -> Result<(), StoreError> {
        let inner = &self.inner;
        inner.tick();
        let results =
            [inner.index.keep(), inner.write_uses(), inner.evict(), inner.sweep_next_shard(), inner.tell_sizes()];
        inner.writable.store(inner.blobs.writable(), Ordering::Relaxed);
        results.into_iter().collect()
    }
}

impl Inner {
    /// Set the coarse clock. It reaches to the year 2106.
    pub(super) fn tick(&self) {
        self.clock.store(u32::try_from(now()).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Note a use that went through the index.
    pub(super) fn used(&self, info: &ObjectInfo) {
        let now = self.clock.load(Ordering::Relaxed);
        if !info.pinned && i64::from(now).saturating_sub(to_seconds(info.last_used)) >= i64::from(GRAIN) {
            self.note_use(&Arc::from(info.path.as_str()), now);
        }
    }

    fn note_use(&self, path: &Arc<str>, now: u32) {
        // Somebody else is noting, or the housekeeper is taking: not worth a wait.
        if let Ok(mut uses) = self.uses.try_lock()
            && uses.len() < MAX_USES
        {
            uses.push((path.clone(), now));
        }
    }

    fn write_uses(&self) -> Result<(), StoreError> {
        let uses = std::mem::take(&mut *self.uses.lock().unwrap_or_else(PoisonError::into_inner));
        for batch in uses.chunks(BATCH) {
            self.index.write(false, |txn| {
                for (path, seconds) in batch {
                    txn.touch(path, i64::from(*seconds))?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Bring the store below its bounds: the objects used longest ago go first, pinned ones never.
    fn evict(&self) -> Result<(), StoreError> {
        let mut evicted = Removed::default();
        let mut result = Ok(());
        for _ in 0..MAX_ROUNDS {
            match self.evict_some() {
                Ok(Some(some)) => {
                    evicted.objects += some.objects;
                    evicted.bytes = evicted.bytes.saturating_add(some.bytes);
                }
                Ok(None) => break,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        if evicted.objects > 0 {
            CAS_EVICTIONS.add(evicted.objects);
            publish(Event::ObjectsEvicted { objects: evicted.objects, bytes: evicted.bytes });
        }
        result
    }

    /// Evict as many of the oldest as the bounds ask for, at most a batch; `None` where nothing is to do, or can be done.
    fn evict_some(&self) -> Result<Option<Removed>, StoreError> {
        let over = |totals: &index::Totals| totals.allocated > self.max_bytes() || totals.objects > self.max_objects();
        if !over(&self.index.read(index::totals)?) {
            self.full.store(false, Ordering::Relaxed);
            return Ok(None);
        }
        let hashes = self.index.write(false, |txn| {
            // Rechecked under the lock: another process may have evicted meanwhile.
            let totals = index::totals(txn.read())?;
            let mut objects = totals.objects.saturating_sub(self.max_objects());
            let mut bytes = totals.allocated.saturating_sub(self.max_bytes());
            let mut hashes = Vec::new();
            for old in txn.oldest(BATCH as u32)? {
                if objects == 0 && bytes == 0 {
                    break;
                }
                txn.delete(&old.path)?;
                objects = objects.saturating_sub(1);
                if !index::references(txn.read(), &old.hash)? {
                    bytes = bytes.saturating_sub(index::allocated(txn.read(), &old.hash)?);
                }
                hashes.push(old.hash);
            }
            Ok(hashes)
        })?;
        if hashes.is_empty() {
            if !self.full.swap(true, Ordering::Relaxed) {
                // Or the sums are wrong: then everything that is stored would be evicted at once from now on.
                self.index.write(false, |txn| Ok(txn.recount()?))?;
                log::warn!("the CAS is above its bounds and holds nothing that may be evicted: only pinned objects");
            }
            return Ok(None);
        }
        // An error here ends the eviction: rows must not go on leaving while their bytes stay.
        let released = self.release(&hashes)?;
        Ok(Some(Removed { objects: hashes.len() as u64, ..released }))
    }

    fn tell_sizes(&self) -> Result<(), StoreError> {
        let totals = self.index.read(index::totals)?;
        CAS_BYTES.set(i64::try_from(totals.allocated).unwrap_or(i64::MAX));
        CAS_OBJECTS.set(i64::try_from(totals.objects).unwrap_or(i64::MAX));
        CAS_MAX_BYTES.set(i64::try_from(self.max_bytes()).unwrap_or(i64::MAX));
        CAS_MAX_OBJECTS.set(i64::try_from(self.max_objects()).unwrap_or(i64::MAX));
        Ok(())
    }
}
