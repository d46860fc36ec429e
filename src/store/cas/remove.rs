//! The ways out of the store: purge, quarantine, and the release of blobs that no object names.

use blake3::Hash;

use super::blobs::Id;
use super::commit::refused;
use super::index::{self, Txn};
use super::key::{self, KeyRange};
use super::manifest::{Line, Manifest};
use super::types::{Purge, Removed};
use super::{Cas, CasError, Inner};
use crate::observe::bus::{Event, publish};
use crate::observe::metrics::{VERIFY_FAILURES, VerifyKind};
use crate::rules::asset_key;
use crate::store::StoreError;

/// Objects that one transaction of a purge removes.
const BATCH: u32 = 1000;

impl Cas {
    /// Remove objects from the index, and the blobs that no other object names. Shows in other processes at their next
    /// housekeeping, in this one at once.
    pub fn purge(&self, what: Purge<'_>) -> Result<Removed, CasError> {
        let mut manifest = Manifest::new(self.inner.dir.clone());
        let removed = match what {
            Purge::Path(path) => {
                asset_key::check(path).map_err(refused)?;
                self.inner.purge_path(path, &mut manifest)
            }
            Purge::Prefix(prefix) => self.inner.purge_below(key::prefix(prefix).map_err(refused)?, &mut manifest),
        };
        Ok(self.inner.index.leave(removed)?)
    }
}

impl Inner {
    /// Remove those of `hashes` that no object names. Fails at the first that can't be removed.
    pub(super) fn release(&self, hashes: &[Hash]) -> Result<Removed, StoreError> {
        if hashes.is_empty() {
            return Ok(Removed::default());
        }
        // Variants often share a blob, which goes once.
        let mut hashes: Vec<_> = hashes.iter().collect();
        hashes.sort_unstable_by_key(|hash| hash.as_bytes());
        hashes.dedup();
        self.index.write(false, |txn| {
            let mut removed = Removed::default();
            for &hash in &hashes {
                if !index::references(txn.read(), hash)? {
                    self.handles.remove(hash.as_bytes());
                    self.blobs.remove(hash)?;
                    removed.bytes = removed.bytes.saturating_add(txn.delete_blob(hash)?);
                    removed.blobs += 1;
                }
            }
            Ok(removed)
        })
    }

    /// Set a blob aside that is not what its name says, with the objects that name it. Never fails: if it can't be moved, it is
    /// still not served.
    pub(super) fn quarantine(&self, hash: &Hash, id: Option<Id>, why: &str) {
        VERIFY_FAILURES.inc(VerifyKind::Blob);
        self.handles.remove(hash.as_bytes());
        let moved = self.index.write(false, |txn| {
            // Somebody else was first, and what is there now may be good.
            if !self.blobs.quarantine(hash, id)? {
                return Ok(false);
            }
            drop_objects(txn, hash)?;
            Ok(true)
        });
        match moved {
            Ok(true) => {
                log::warn!("{} was quarantined: {why}", hash.to_hex());
                publish(Event::BlobQuarantined { hash: hash.to_hex().to_string() });
            }
            Ok(false) => {}
            Err(error) => log::error!("{} is bad ({why}) and could not be quarantined: {error}", hash.to_hex()),
        }
    }

    /// Take out the objects whose blob is not there.
    pub(super) fn forget(&self, hash: &Hash) -> Result<(), StoreError> {
        self.index.write(false, |txn| {
            if self.blobs.stat(hash)?.is_none() {
                log::warn!("{} is named by an object and is not there", hash.to_hex());
                drop_objects(txn, hash)?;
            }
            Ok(())
        })
    }

    /// Take out the object at a path, and what was filled there by other queries and as variants.
    fn purge_path(&self, path: &str, manifest: &mut Manifest) -> Result<Removed, StoreError> {
        let family = key::family(path);
        let (object, limit, more) = self.index.write(true, |txn| {
            let object = index::get(txn.read(), path)?;
            let was_lost = txn.unlose(path)?;
            if was_lost || object.as_ref().is_some_and(|object| object.pinned) {
                manifest.append(&[Line::Purge { path: path.to_owned(), seq: txn.generation }])?;
            }
            txn.delete(path)?;
            let more = !txn.older(Some(&family), "", txn.generation, 1)?.is_empty();
            if more {
                // The next row is written in a later generation than the purge.
                txn.stale_at(path);
            }
            Ok((object, txn.generation, more))
        })?;
        let released = self.release(&Vec::from_iter(object.iter().map(|object| object.hash)))?;
        let removed = Removed { objects: u64::from(object.is_some()), ..released };
        if more { self.purge_range(Some(&family), limit, removed) } else { Ok(removed) }
    }

    fn purge_below(&self, prefix: &str, manifest: &mut Manifest) -> Result<Removed, StoreError> {
        // What is stored while the purge runs is newer than it, and stays.
        let limit = self.index.write(true, |txn| {
            let lost = txn.unlose_below(prefix)? > 0;
            if lost || txn.pinned_below(prefix)? {
                manifest.append(&[Line::PurgeBelow { prefix: prefix.to_owned(), seq: txn.generation }])?;
            }
            // The next row is written in a later generation than the purge.
            txn.stale();
            Ok(txn.generation)
        })?;
        self.purge_range(key::below(prefix).as_ref(), limit, Removed::default())
    }

    /// Take out the objects of `range` (`None` for all) up to the generation `limit`; what that removes, and what `removed` was.
    fn purge_range(&self, range: Option<&KeyRange>, limit: i64, mut removed: Removed) -> Result<Removed, StoreError> {
        let mut after = String::new();
        loop {
            let batch = self.index.write(true, |txn| {
                let batch = txn.older(range, &after, limit, BATCH)?;
                for object in &batch {
                    txn.delete(&object.path)?;
                }
                Ok(batch)
            })?;
            let Some(last) = batch.last() else { return Ok(removed) };
            after.clone_from(&last.path);
            let freed = self.release(&batch.iter().map(|object| object.hash).collect::<Vec<_>>())?;
            removed.objects += batch.len() as u64;
            removed.blobs += freed.blobs;
            removed.bytes = removed.bytes.saturating_add(freed.bytes);
        }
    }
}

/// Take out every object of a blob, remembering the pinned ones, and the blob's row.
fn drop_objects(txn: &mut Txn<'_>, hash: &Hash) -> Result<(), StoreError> {
    for object in index::objects_of(txn.read(), hash, u32::MAX)? {
        txn.lose(&object.path)?;
    }
    txn.delete_blob(hash)?;
    txn.stale();
    Ok(())
}
