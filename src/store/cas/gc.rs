//! Garbage: blobs that no object names, leftovers of a crash, many manifests.
//!
//! The housekeeping looks at one shard a second after a start, until it has seen all; `cas gc` looks at all at once.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;

use blake3::Hash;
use rustix::fs::{FlockOperation, OFlags};

use super::dir::Entry;
use super::types::{GcReport, now};
use super::{Cas, CasError, Inner, index, manifest, regular};
use crate::store::StoreError;

/// Seconds that an unreferenced blob is left alone: somebody may be about to name it.
pub(super) const YOUNG: i64 = 60;

/// Blobs of one transaction.
const BATCH: usize = 256;

/// Shards of the tree: the first byte of a hash.
const SHARDS: u32 = 256;

impl Cas {
    /// Remove unreferenced blobs older than a minute and what a crash left, and merge manifests. Safe beside a running server.
    /// `progress` is called after each of the 256 shards.
    pub fn gc(&self, progress: &mut dyn FnMut(&GcReport)) -> Result<GcReport, CasError> {
        let mut report = GcReport::default();
        self.inner.index.leave(self.inner.gc(&mut report, progress))?;
        Ok(report)
    }
}

impl Inner {
    fn gc(&self, report: &mut GcReport, progress: &mut dyn FnMut(&GcReport)) -> Result<(), StoreError> {
        for shard in 0..=u8::MAX {
            self.sweep(shard, report)?;
            progress(report);
        }
        if let Some(dir) = &self.dir {
            self.sweep_unfinished(report)?;
            report.manifests = manifest::merge(dir, &self.index)?;
        }
        Ok(())
    }

    /// The housekeeping's share: one shard a call, once around.
    pub(super) fn sweep_next_shard(&self) -> Result<(), StoreError> {
        let shard = self.gc_next.load(Ordering::Relaxed);
        if shard >= SHARDS {
            return Ok(());
        }
        self.gc_next.store(shard + 1, Ordering::Relaxed);
        let mut report = GcReport::default();
        // Below 256, as was checked above.
        self.sweep(shard as u8, &mut report)?;
        if shard + 1 == SHARDS {
            self.sweep_unfinished(&mut report)?;
        }
        Ok(())
    }

    fn sweep(&self, shard: u8, report: &mut GcReport) -> Result<(), StoreError> {
        let (mut blobs, mut segments) = (Vec::new(), Vec::new());
        for entry in self.blobs.shard(shard)? {
            match entry {
                Entry::Blob(hash) => blobs.push(hash),
                Entry::Segments(hash) => segments.push(hash),
                Entry::Unknown => report.unknown += 1,
            }
        }
        // Rows of blobs whose file is gone already.
        blobs.extend(self.index.read(|connection| index::orphans(connection, shard))?);
        blobs.sort_by_key(|hash| *hash.as_bytes());
        blobs.dedup();
        for batch in blobs.chunks(BATCH) {
            let unnamed = self.index.read(|connection| {
                let mut unnamed = Vec::new();
                for hash in batch {
                    if !index::references(connection, hash)? {
                        unnamed.push(*hash);
                    }
                }
                Ok(unnamed)
            })?;
            self.sweep_blobs(&unnamed, report)?;
        }
        for hash in segments {
            if self.blobs.stat(&hash)?.is_none() {
                self.index.write(false, |_| {
                    // Rechecked under the lock: the blob may have been linked just now.
                    if self.blobs.stat(&hash)?.is_none() {
                        report.leftovers += u64::from(self.blobs.remove_segments(&hash)?);
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    fn sweep_blobs(&self, unnamed: &[Hash], report: &mut GcReport) -> Result<(), StoreError> {
        if unnamed.is_empty() {
            return Ok(());
        }
        let now = now();
        self.index.write(false, |txn| {
            for hash in unnamed {
                if index::references(txn.read(), hash)? {
                    continue;
                }
                let meta = self.blobs.stat(hash)?;
                // A time in the future is a clock that jumped: not young.
                if meta.as_ref().is_some_and(|meta| (0..self.young).contains(&now.saturating_sub(meta.ctime()))) {
                    report.spared += 1;
                    continue;
                }
                // A directory at a blob's place can't be unlinked, and is no blob: it waits for quarantine.
                if meta.as_ref().is_some_and(|meta| meta.is_dir()) {
                    report.unknown += 1;
                    continue;
                }
                self.handles.remove(hash.as_bytes());
                self.blobs.remove(hash)?;
                txn.delete_blob(hash)?;
                if let Some(meta) = meta {
                    report.blobs += 1;
                    report.bytes += super::blobs::allocated(&meta);
                }
            }
            Ok(())
        })
    }

    /// Remove from `tmp/` what no living process writes: its writer would hold the lock. And manifests without their name.
    fn sweep_unfinished(&self, report: &mut GcReport) -> Result<(), StoreError> {
        let Some(dir) = &self.dir else { return Ok(()) };
        for name in ["tmp", "manifests"] {
            for entry in fs::read_dir(dir.path(name))? {
                let entry = entry?;
                let path = entry.path();
                let part = name == "tmp" || path.extension().is_some_and(|suffix| suffix == "part");
                if !part || !entry.file_type()?.is_file() {
                    continue;
                }
                let Ok(meta) = entry.metadata() else { continue };
                let young = (0..self.young).contains(&now().saturating_sub(meta.ctime()));
                // Unreadable or gone meanwhile: nothing to lock, nothing to remove.
                let Ok(file) = regular::open(&path, OFlags::RDONLY) else { continue };
                if !young && rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                    fs::remove_file(&path)?;
                    report.leftovers += 1;
                }
            }
        }
        Ok(())
    }
}
