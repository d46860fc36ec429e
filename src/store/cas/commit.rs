//! From a blob to an object and back: commit, purge, quarantine, and the release of blobs that no object names.
//!
//! Blobs are linked, moved and removed only with the index locked for writing. So no process removes a blob that another is
//! about to name.

use std::collections::{BTreeSet, HashSet};
use std::io;

use blake3::Hash;

use super::blobs::Found;
use super::blobs::{Id, Linked, allocated};
use super::index::{self, Txn};
use super::large::{self, Whole};
use super::manifest::{Line, Manifest};
use super::segments::SEGMENT;
use super::types::{Meta, ObjectInfo, Purge, Removed, Stored, from_seconds, media_type_or_default, now, to_seconds};
use super::write::{Staged, failed};
use super::{Cas, CasError, Inner, key};
use crate::observe::bus::{Event, publish};
use crate::observe::metrics::{CAS_WRITES, VERIFY_FAILURES, VerifyKind, WriteStatus};
use crate::rules::asset_key::{self, KeyError};
use crate::store::StoreError;

/// Objects that one transaction of a purge removes.
const BATCH: u32 = 1000;

/// A staged blob and the object it becomes.
pub struct Put {
    /// The path, by the rules of asset keys.
    pub path: String,
    /// What the object is besides its bytes.
    pub meta: Meta,
    /// The bytes.
    pub staged: Staged,
}

/// What a commit did with one [`Put`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Done; whether its blob was written just now.
    Done(Stored, bool),
    /// The blob that was found in its place is gone again: write it.
    Gone,
}

impl Cas {
    /// Store an object: read `source` to its end, write the blob, commit. Pinned objects are durable when this returns.
    pub fn put(&self, path: &str, source: &mut dyn io::Read, meta: Meta) -> Result<Stored, CasError> {
        asset_key::check(path).map_err(refused)?;
        let mut writer = self.writer()?;
        let mut buf = vec![0; SEGMENT as usize];
        loop {
            match source.read(&mut buf) {
                Ok(0) => break,
                Ok(read) => writer.write(&buf[..read]).map_err(StoreError::from)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(StoreError::from(error).into()),
            }
        }
        let staged = writer.finish(meta.pinned || self.inner.durable)?;
        let stored = self.commit(vec![Put { path: path.to_owned(), meta, staged }])?;
        // One put gives one answer.
        Ok(stored.first().copied().unwrap_or(Stored::Kept))
    }

    /// Commit staged blobs as objects, in one transaction: the answers stand in the order of `puts`. Group what comes together.
    pub fn commit(&self, mut puts: Vec<Put>) -> Result<Vec<Stored>, StoreError> {
        for Put { path, meta, staged } in &mut puts {
            asset_key::check(path).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
            if !meta.pinned && !self.inner.durable {
                continue;
            }
            // What stands in the place of a blob that we would keep for good must be that blob.
            self.inner.present(&staged.hash, true)?;
            if let (Some(tmp), false) = (&staged.tmp, staged.synced) {
                self.inner.blobs.seal(tmp, true).inspect_err(|_| failed())?;
                staged.synced = true;
            }
        }
        let mut manifest = Manifest::new(self.inner.dir.clone());
        let outcomes = self.inner.commit(&puts, &mut manifest)?;
        outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Outcome::Done(stored, _) => Ok(stored),
                // Only a blob without a file of its own can be gone, and every public `Staged` has one.
                Outcome::Gone => Err(StoreError::Corrupt("a blob vanished before it was committed".into())),
            })
            .collect()
    }

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

/// A path or a prefix that no client could ask for.
pub(super) fn refused(why: KeyError) -> CasError {
    CasError::Refused(why.to_string().into())
}

impl Inner {
    /// Link every blob, write every row, and let go of the blobs that the replaced rows named.
    pub(super) fn commit(&self, puts: &[Put], manifest: &mut Manifest) -> Result<Vec<Outcome>, StoreError> {
        let durable = self.durable || puts.iter().any(|put| put.meta.pinned);
        let committed = self.index.write(durable, |txn| {
            let linked = self.link_all(puts, durable)?;
            let (mut outcomes, mut lines, mut freed) = (Vec::with_capacity(puts.len()), Vec::new(), Vec::new());
            for (put, linked) in puts.iter().zip(linked) {
                let Some(linked) = linked else {
                    outcomes.push(Outcome::Gone);
                    continue;
                };
                let stored = write_row(txn, put, &mut lines, &mut freed)?;
                outcomes.push(Outcome::Done(stored, linked == Linked::New));
            }
            // Before the commit, so that a pinned row never exists without its line.
            manifest.append(&lines)?;
            Ok((outcomes, freed))
        });
        let (outcomes, freed) = committed.inspect_err(|_| puts.iter().for_each(|_| failed()))?;
        for outcome in &outcomes {
            match outcome {
                Outcome::Done(_, true) => CAS_WRITES.inc(WriteStatus::Stored),
                Outcome::Done(_, false) => CAS_WRITES.inc(WriteStatus::Present),
                Outcome::Gone => {}
            }
        }
        // The objects are committed. What can't be let go now, gc finds.
        if let Err(error) = self.release(&freed) {
            log::warn!("replaced blobs were not removed: {error}");
        }
        Ok(outcomes)
    }

    /// Link the blobs into their places; `None` for one that has no file of its own and isn't there.
    fn link_all(&self, puts: &[Put], durable: bool) -> Result<Vec<Option<Linked>>, StoreError> {
        let (mut shards, mut fresh) = (BTreeSet::new(), HashSet::new());
        let mut all = Vec::with_capacity(puts.len());
        for Put { staged, .. } in puts {
            let hash = &staged.hash;
            all.push(match &staged.tmp {
                None => self.is_there(hash, staged.len)?.then_some(Linked::Present),
                Some(tmp) => {
                    let mut linked = self.blobs.link(tmp, hash)?;
                    if linked == Linked::Present && !fresh.contains(hash.as_bytes()) {
                        linked = self.settle(staged, durable)?;
                    }
                    Some(linked)
                }
            });
            if all.last() == Some(&Some(Linked::New)) {
                fresh.insert(*hash.as_bytes());
                if let Some(segments) = &staged.segments
                    && let Err(error) = self.blobs.keep_segments(hash, segments)
                {
                    log::debug!("the segments of {} were not kept: {error}", hash.to_hex());
                }
            }
            // Also of what was there: a fill may have linked it without a sync.
            shards.insert(hash.as_bytes()[0]);
        }
        if durable {
            self.blobs.sync(&shards)?;
        }
        Ok(all)
    }

    /// Something is at the place of a blob that we hold in our hands. Where it can't be that blob, ours takes its place.
    fn settle(&self, staged: &Staged, durable: bool) -> Result<Linked, StoreError> {
        let (Some(tmp), hash) = (&staged.tmp, &staged.hash) else { return Ok(Linked::Present) };
        if self.is_there(hash, staged.len)? {
            if durable && let Found::Open(file, _) = self.blobs.open(hash)? {
                file.sync_all()?;
            }
            return Ok(Linked::Present);
        }
        VERIFY_FAILURES.inc(VerifyKind::Blob);
        if self.blobs.quarantine(hash, None)? {
            log::warn!("{} was quarantined: it is not the file its name says", hash.to_hex());
            publish(Event::BlobQuarantined { hash: hash.to_hex().to_string() });
        }
        self.handles.remove(hash.as_bytes());
        Ok(self.blobs.link(tmp, hash)?)
    }

    /// Whether a regular file of the right length is at a blob's place.
    fn is_there(&self, hash: &Hash, len: u64) -> io::Result<bool> {
        Ok(self.blobs.stat(hash)?.is_some_and(|meta| meta.is_file() && meta.len() == len))
    }

    /// A blob that is in its place already, whole; `None` where it isn't. A bad one is quarantined. With `durable` the disk has
    /// it when this returns.
    pub(super) fn present(&self, hash: &Hash, durable: bool) -> Result<Option<Staged>, StoreError> {
        match large::look(self, hash)? {
            Whole::Absent => Ok(None),
            Whole::Bad(id) => {
                self.quarantine(hash, id, "the blob does not hash to its name");
                Ok(None)
            }
            Whole::Good(file, meta) => {
                if durable && !self.index.read(|connection| index::synced(connection, hash))? {
                    file.sync_all()?;
                }
                let (len, allocated) = (meta.len(), allocated(&meta));
                Ok(Some(Staged { tmp: None, hash: *hash, len, allocated, segments: None, synced: durable }))
            }
        }
    }

    /// Remove those of `hashes` that no object names. Fails at the first that can't be removed.
    pub(super) fn release(&self, hashes: &[Hash]) -> Result<Removed, StoreError> {
        if hashes.is_empty() {
            return Ok(Removed::default());
        }
        self.index.write(false, |txn| {
            let mut removed = Removed::default();
            for hash in hashes {
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

    fn purge_path(&self, path: &str, manifest: &mut Manifest) -> Result<Removed, StoreError> {
        let hashes = self.index.write(true, |txn| {
            let object = index::get(txn.read(), path)?;
            let was_lost = txn.unlose(path)?;
            if was_lost || object.as_ref().is_some_and(|object| object.pinned) {
                manifest.append(&[Line::Purge { path: path.to_owned(), seq: txn.generation }])?;
            }
            if txn.delete(path)? {
                txn.stale();
            }
            Ok(Vec::from_iter(object.map(|object| object.hash)))
        })?;
        let released = self.release(&hashes)?;
        Ok(Removed { objects: hashes.len() as u64, ..released })
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
        let (mut removed, mut after) = (Removed::default(), String::new());
        loop {
            let batch = self.index.write(true, |txn| {
                let batch = txn.older(prefix, &after, limit, BATCH)?;
                for object in &batch {
                    txn.delete(&object.path)?;
                }
                if !batch.is_empty() {
                    txn.stale();
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

/// Write the row of a linked blob, the line that pins it, and note the blob that nothing may name any more.
fn write_row(txn: &mut Txn<'_>, put: &Put, lines: &mut Vec<Line>, freed: &mut Vec<Hash>) -> Result<Stored, StoreError> {
    let Put { path, meta, staged } = put;
    txn.put_blob(&staged.hash, staged.len, staged.allocated, staged.synced)?;
    let time = from_seconds(now());
    let object = ObjectInfo {
        path: path.clone(),
        hash: staged.hash,
        size: staged.len,
        pinned: meta.pinned,
        content_type: media_type_or_default(meta.content_type.clone()).into_owned(),
        coding: meta.coding,
        last_modified: meta.last_modified.map(|time| from_seconds(to_seconds(time))),
        stored_at: time,
        last_used: time,
    };
    let before = index::get(txn.read(), path)?;
    if let Some(before) = &before {
        if before.pinned && !meta.pinned {
            freed.push(staged.hash);
            return Ok(Stored::Kept);
        }
        if same(before, &object) {
            return Ok(Stored::Unchanged);
        }
    }
    let seq = txn.seq();
    txn.put(&object, seq)?;
    if object.pinned {
        lines.push(Line::pin(&object, seq));
    }
    match before {
        None => Ok(Stored::Added),
        Some(before) => {
            if before.hash != object.hash {
                freed.push(before.hash);
            }
            txn.stale();
            Ok(Stored::Replaced)
        }
    }
}

/// Whether two objects answer the same.
pub(super) fn same(a: &ObjectInfo, b: &ObjectInfo) -> bool {
    let key = |object: &ObjectInfo| (object.hash, object.size, object.pinned, object.coding, object.last_modified);
    key(a) == key(b) && a.content_type == b.content_type
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
