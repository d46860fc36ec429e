//! From a blob to an object: what is staged is linked into its place, and then named by the index.
//!
//! Blobs are linked, moved and removed only with the index locked for writing. So no process removes a blob that another is
//! about to name.

use std::collections::{BTreeSet, HashSet};
use std::io;

use blake3::Hash;

use super::blobs::{Found, Linked, allocated};
use super::index::{self, Txn};
use super::large::{self, Whole};
use super::manifest::{Line, Manifest};
use super::segments::SEGMENT;
use super::together::together;
use super::types::{MAX_EXTRA, MAX_VARIANTS, Meta, ObjectInfo, Stored};
use super::types::{from_seconds, media_type_or_default, now, to_seconds};
use super::write::{Staged, failed};
use super::{Cas, CasError, Inner, key};
use crate::observe::bus::{Event, publish};
use crate::observe::faults;
use crate::observe::metrics::{CAS_WRITES, VERIFY_FAILURES, VerifyKind, WriteStatus};
use crate::rules::asset_key::{self, KeyError};
use crate::store::StoreError;

/// A staged blob and the object it becomes.
pub struct Put {
    /// The key: a path, by the rules of asset keys; behind it a query and a variant of a filled object, see [`KeyParts`](super::KeyParts).
    pub path: String,
    /// What the object is besides its bytes.
    pub meta: Meta,
    /// The bytes.
    pub staged: Staged,
}

impl Put {
    /// Whether the store takes it. One that it doesn't take fails the commit it is in, with all others: ask before they are grouped.
    pub fn check(&self) -> Result<(), StoreError> {
        key::check(&self.path).map_err(invalid)?;
        if self.meta.pinned && (self.meta.extra.is_some() || !key::is_path(&self.path)) {
            return Err(invalid("a pinned object has a path and no metadata of an origin").into());
        }
        self.meta.extra.as_deref().map_or(Ok(()), bounded)
    }
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
        let staged = writer.finish(meta.pinned || self.inner.durable())?;
        let stored = self.commit(vec![Put { path: path.to_owned(), meta, staged }])?;
        // One put gives one answer.
        Ok(stored.first().copied().unwrap_or(Stored::Kept))
    }

    /// Commit staged blobs as objects, in one transaction: the answers stand in the order of `puts`. Group what comes together.
    ///
    /// A key has either one object that Vary doesn't touch, or at most [`MAX_VARIANTS`] variants: each puts an end to the other. Both
    /// give way to a pinned object at their path.
    pub fn commit(&self, mut puts: Vec<Put>) -> Result<Vec<Stored>, StoreError> {
        puts.iter().try_for_each(Put::check)?;
        for put in puts.iter().filter(|put| put.meta.pinned) {
            // What stands in the place of a blob that we would keep for good must be that blob.
            self.inner.present(&put.staged.hash, true)?;
        }
        self.inner.sync(&mut puts)?;
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
}

/// Metadata of a filled object, within its bound.
pub(super) fn bounded(extra: &[u8]) -> Result<(), StoreError> {
    match extra.len() {
        ..=MAX_EXTRA => Ok(()),
        length => Err(invalid(format!("{length} bytes of metadata; at most {MAX_EXTRA}")).into()),
    }
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// A path or a prefix that no client could ask for.
pub(super) fn refused(why: KeyError) -> CasError {
    CasError::Refused(why.to_string().into())
}

impl Inner {
    /// Sync the blobs that must be on the disk before they are named.
    fn sync(&self, puts: &mut [Put]) -> io::Result<()> {
        let unsynced = puts.iter_mut().filter(|put| put.meta.pinned || self.durable()).map(|put| &mut put.staged);
        let mut waiting: Vec<_> = unsynced.filter(|staged| staged.tmp.is_some() && !staged.synced).collect();
        let synced = together(&mut waiting, |staged| {
            staged.tmp.as_ref().map_or(Ok(()), |tmp| self.blobs.sync(tmp))?;
            staged.synced = true;
            Ok(())
        });
        synced.inspect_err(|_| failed())
    }

    /// Link every blob, write every row, and let go of the blobs that the replaced rows named.
    pub(super) fn commit(&self, puts: &[Put], manifest: &mut Manifest) -> Result<Vec<Outcome>, StoreError> {
        let durable = self.durable() || puts.iter().any(|put| put.meta.pinned);
        let committed = self.index.write(durable, |txn| {
            faults::stall("cas.commit");
            faults::panic_here("cas.commit");
            faults::hit("cas.commit")?;
            let linked = self.link_all(txn, puts, durable)?;
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
    fn link_all(&self, txn: &Txn<'_>, puts: &[Put], durable: bool) -> Result<Vec<Option<Linked>>, StoreError> {
        let (mut shards, mut fresh) = (BTreeSet::new(), HashSet::new());
        let mut all = Vec::with_capacity(puts.len());
        for Put { staged, .. } in puts {
            let hash = &staged.hash;
            all.push(match &staged.tmp {
                None => self.is_there(hash, staged.len)?.then_some(Linked::Present),
                Some(tmp) => {
                    let mut linked = self.blobs.link(tmp, hash)?;
                    if linked == Linked::Present && !fresh.contains(hash.as_bytes()) {
                        let sync = durable && !index::synced(txn.read(), hash)?;
                        linked = self.settle(staged, sync)?;
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
            self.blobs.sync_shards(&shards)?;
        }
        Ok(all)
    }

    /// Something is at the place of a blob that we hold in our hands. Where it can't be that blob, ours takes its place.
    fn settle(&self, staged: &Staged, sync: bool) -> Result<Linked, StoreError> {
        let (Some(tmp), hash) = (&staged.tmp, &staged.hash) else { return Ok(Linked::Present) };
        if self.is_there(hash, staged.len)? {
            if sync && let Found::Open(file, _) = self.blobs.open(hash)? {
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
}

/// Write the row of a linked blob, the line that pins it, and note the blobs that nothing may name any more.
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
        extra: meta.extra.clone(),
    };
    if !meta.pinned && index::is_pinned(txn.read(), key::path_of(path))? {
        freed.push(staged.hash);
        return Ok(Stored::Kept);
    }
    let before = index::get(txn.read(), path)?;
    if before.as_ref().is_some_and(|before| same(before, &object)) {
        return Ok(Stored::Unchanged);
    }
    let seq = txn.seq();
    txn.put(&object, seq)?;
    if object.pinned {
        lines.push(Line::pin(&object, seq));
    }
    make_way(txn, path, freed)?;
    // A pinned object answers for all queries of its path from now on, and of several variants the newest is chosen.
    if before.is_some() || object.pinned || key::unvaried(path) != path {
        txn.stale_at(path);
    }
    Ok(match before {
        None => Stored::Added,
        Some(before) => {
            if before.hash != object.hash {
                freed.push(before.hash);
            }
            Stored::Replaced
        }
    })
}

/// Take out the rows that the new one at `path` puts an end to.
fn make_way(txn: &mut Txn<'_>, path: &str, freed: &mut Vec<Hash>) -> Result<(), StoreError> {
    let key = key::unvaried(path);
    let mut gone = index::variants(txn.read(), key)?;
    if key != path {
        let excess = gone.len().saturating_sub(MAX_VARIANTS);
        // The clock may have jumped back: the new one is not the oldest.
        gone.retain(|variant| variant.path != path);
        gone.truncate(excess);
        // A pinned one isn't there: the new row would have given way to it.
        gone.extend(index::named_at(txn.read(), key)?);
    }
    for object in gone {
        txn.delete(&object.path)?;
        freed.push(object.hash);
    }
    Ok(())
}

/// Whether two objects answer the same.
pub(super) fn same(a: &ObjectInfo, b: &ObjectInfo) -> bool {
    let key = |object: &ObjectInfo| (object.hash, object.size, object.pinned, object.coding, object.last_modified);
    key(a) == key(b) && (&a.content_type, &a.extra) == (&b.content_type, &b.extra)
}
