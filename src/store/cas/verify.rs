//! Hash every blob, and see that every object has one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use blake3::Hash;

use super::dir::Entry;
use super::large::{Whole, look};
use super::types::{Fault, VerifyReport};
use super::{Cas, CasError, Inner, index};
use crate::store::StoreError;

/// Threads that hash; more than the cores only if those are few, as reading waits.
const MAX_THREADS: usize = 8;

/// Paths that a fault names.
const MAX_PATHS: u32 = 16;

enum Found {
    Blob(u64),
    Fault(Fault),
    Failed(StoreError),
}

impl Cas {
    /// Hash every blob against its name; with `quarantine`, set aside the ones that fail. Then look for objects without a blob.
    /// `progress` is called after each blob; `fault` with each fault as it is found.
    pub fn verify(
        &self,
        quarantine: bool,
        progress: &mut dyn FnMut(&VerifyReport),
        fault: &mut dyn FnMut(&Fault),
    ) -> Result<VerifyReport, CasError> {
        self.inner.index.leave(self.verify_all(quarantine, progress, fault)).map_err(Into::into)
    }

    fn verify_all(
        &self,
        quarantine: bool,
        progress: &mut dyn FnMut(&VerifyReport),
        fault: &mut dyn FnMut(&Fault),
    ) -> Result<VerifyReport, StoreError> {
        let expected = self.inner.index.read(index::totals)?.blobs;
        let mut report = VerifyReport { expected, ..VerifyReport::default() };
        // Before the blobs are looked at: what this quarantines is told once, as corrupt.
        let mut faults = self.lost()?;
        let mut failed = None;
        let next = AtomicU32::new(0);
        let threads = std::thread::available_parallelism().map_or(2, |count| count.get().clamp(2, MAX_THREADS));
        std::thread::scope(|scope| {
            let (found, results) = sync_channel(threads * 4);
            for _ in 0..threads {
                let (found, next) = (found.clone(), &next);
                scope.spawn(move || self.inner.verify_shards(next, quarantine, &found));
            }
            drop(found);
            for result in &results {
                match result {
                    Found::Blob(bytes) => {
                        report.blobs += 1;
                        report.bytes += bytes;
                        progress(&report);
                    }
                    Found::Fault(one) => {
                        report.faults += 1;
                        fault(&one);
                    }
                    // Dropping the receiver at the end of this scope stops the threads.
                    Found::Failed(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            drop(results);
        });
        if let Some(error) = failed {
            return Err(error);
        }
        self.verify_objects(&mut report, &mut faults)?;
        for one in &faults {
            report.faults += 1;
            fault(one);
        }
        Ok(report)
    }

    /// The objects whose blob isn't there.
    fn verify_objects(&self, report: &mut VerifyReport, faults: &mut Vec<Fault>) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let page = self.inner.index.read(|connection| index::page(connection, "", &after))?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(&last.path);
            for object in &page {
                report.objects += 1;
                if self.inner.blobs.stat(&object.hash)?.is_some() {
                    continue;
                }
                // Replaced or evicted since the page was read?
                let still = self.info(&object.path)?.is_some_and(|now| now.hash == object.hash);
                if still && self.inner.blobs.stat(&object.hash)?.is_none() {
                    faults.push(Fault::Missing { path: object.path.clone(), hash: object.hash });
                }
            }
        }
    }

    fn lost(&self) -> Result<Vec<Fault>, StoreError> {
        let (mut faults, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.inner.index.read(|connection| index::lost(connection, &after, index::PAGE))?;
            let Some(last) = page.last() else { return Ok(faults) };
            after.clone_from(&last.path);
            faults.extend(page.into_iter().map(|object| Fault::Lost { path: object.path, hash: object.hash }));
        }
    }
}

impl Inner {
    fn verify_shards(self: &Arc<Self>, next: &AtomicU32, quarantine: bool, found: &SyncSender<Found>) {
        while let Ok(shard) = u8::try_from(next.fetch_add(1, Ordering::Relaxed)) {
            let entries = match self.blobs.shard(shard) {
                Ok(entries) => entries,
                Err(error) => {
                    let _ = found.send(Found::Failed(error.into()));
                    return;
                }
            };
            for entry in entries {
                let Entry::Blob(hash) = entry else { continue };
                let result = self.verify_one(&hash, quarantine).unwrap_or_else(|error| Some(Found::Failed(error)));
                // Nobody listens any more: another thread failed.
                if result.is_some_and(|result| found.send(result).is_err()) {
                    return;
                }
            }
        }
    }

    /// `None` for a blob that was removed meanwhile.
    fn verify_one(&self, hash: &Hash, quarantine: bool) -> Result<Option<Found>, StoreError> {
        let id = match look(self, hash) {
            Ok(Whole::Absent) => return Ok(None),
            Ok(Whole::Good(_, meta)) => return Ok(Some(Found::Blob(meta.len()))),
            Ok(Whole::Bad(id)) => id,
            // One bad sector must not hide the other faults.
            Err(error) => {
                return Ok(Some(Found::Fault(Fault::Unreadable { hash: *hash, error: error.to_string() })));
            }
        };
        let objects = self.index.read(|connection| index::objects_of(connection, hash, MAX_PATHS))?;
        if quarantine {
            self.quarantine(hash, id, "it does not hash to its name");
        }
        let gone = quarantine && self.blobs.stat(hash)?.is_none();
        let paths = objects.into_iter().map(|object| object.path).collect();
        Ok(Some(Found::Fault(Fault::Corrupt { hash: *hash, paths, quarantined: gone })))
    }
}
