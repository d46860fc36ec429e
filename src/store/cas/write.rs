//! Writing a blob: bytes in, hashed as they come; then a sealed file without a name, ready to be linked.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use blake3::Hash;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::blobs::{Tmp, allocated};
use super::segments::{SEGMENT, Segments, TreeHasher};
use super::{Cas, Inner};
use crate::observe::faults;
use crate::observe::metrics::{CAS_WRITES, WriteStatus};
use crate::store::StoreError;

/// Hashes a blob's bytes where they pass, apart from where they are written. Never blocks.
#[derive(Default)]
pub struct BlobHasher {
    tree: TreeHasher,
}

impl BlobHasher {
    /// Nothing hashed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hash the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.tree.update(bytes);
    }

    /// Bytes hashed so far.
    pub fn len(&self) -> u64 {
        self.tree.len()
    }

    /// Whether nothing was hashed yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A blob being written. Dropped before it is finished, or before its [`Staged`] is committed, it leaves nothing.
///
/// Either each piece goes through [`BlobWriter::write`] and the end is [`BlobWriter::finish`], or, where the hash is computed elsewhere,
/// through [`BlobWriter::append`] and [`BlobWriter::finish_with`].
pub struct BlobWriter {
    inner: Arc<Inner>,
    tmp: Tmp,
    hasher: BlobHasher,
    /// Bytes written.
    len: u64,
    /// Bytes that the disk keeps free for it from the beginning.
    reserved: u64,
    /// A write failed: what the file holds is unknown.
    broken: bool,
}

/// A blob that is whole, hashed and sealed, and has no name yet.
pub struct Staged {
    /// What was written; `None` where the blob was found in its place already.
    pub(super) tmp: Option<Tmp>,
    pub(super) hash: Hash,
    pub(super) len: u64,
    pub(super) allocated: u64,
    pub(super) segments: Option<Segments>,
    /// The disk has it.
    pub(super) synced: bool,
}

impl Cas {
    /// Begin a blob.
    pub fn writer(&self) -> Result<BlobWriter, StoreError> {
        BlobWriter::new(&self.inner)
    }

    /// Whether what is filled must be on the disk before it is named: what to finish its blob with, so that the many who write wait
    /// for the disk together. What was finished without is synced by the commit.
    pub fn durable(&self) -> bool {
        self.inner.durable()
    }
}

impl BlobWriter {
    pub(super) fn new(inner: &Arc<Inner>) -> Result<Self, StoreError> {
        let tmp = inner.blobs.create().inspect_err(|_| failed())?;
        Ok(Self { inner: inner.clone(), tmp, hasher: BlobHasher::new(), len: 0, reserved: 0, broken: false })
    }

    /// Say that the blob will have `len` bytes. [`StoreError::TooLarge`] where the store could not hold it were it empty, and the
    /// disk's error where that has no room; its visible length stays as it is.
    pub fn reserve(&mut self, len: u64) -> Result<(), StoreError> {
        if len > self.inner.max_bytes() {
            return Err(StoreError::TooLarge("a blob larger than max_bytes".into()));
        }
        // A small one meets a full disk with its first bytes.
        if len <= SEGMENT {
            return Ok(());
        }
        let reserved = loop {
            match rustix::fs::fallocate(&self.tmp.file, FallocateFlags::KEEP_SIZE, 0, len) {
                Err(Errno::INTR) => {}
                result => break result,
            }
        };
        match reserved {
            Ok(()) => {
                self.reserved = len;
                Ok(())
            }
            // The file system knows no such thing: nothing is promised.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => {
                failed();
                Err(io::Error::from(error).into())
            }
        }
    }

    /// Append bytes and hash them. May block on the disk. After an error the blob cannot be finished any more.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.append(bytes)?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// Append bytes that a [`BlobHasher`] of the caller's hashes. May block on the disk. After an error the blob cannot be finished any
    /// more.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        faults::stall("cas.write");
        let written = faults::hit("cas.write").and_then(|()| self.tmp.file.write_all_at(bytes, self.len));
        if let Err(error) = written {
            failed();
            self.broken = true;
            return Err(error);
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file, for those who read the blob while it grows: everything below [`BlobWriter::len`] is there to `pread`.
    pub fn reader(&self) -> Arc<File> {
        self.tmp.file.clone()
    }

    /// Close the blob: hash, seal, and with `durable` wait until the disk has it.
    pub fn finish(mut self, durable: bool) -> Result<Staged, StoreError> {
        let hasher = std::mem::take(&mut self.hasher);
        self.finish_with(hasher, durable)
    }

    /// Close the blob whose bytes `hasher` has seen. [`StoreError::Corrupt`] where it has seen more or fewer than were written, or
    /// a write failed.
    pub fn finish_with(self, hasher: BlobHasher, durable: bool) -> Result<Staged, StoreError> {
        let len = hasher.len();
        let sealed = || {
            if self.broken || len != self.len || len != self.tmp.file.metadata()?.len() {
                return Ok(None);
            }
            if len < self.reserved {
                // What was reserved behind the end would count as the blob's.
                self.tmp.file.set_len(len)?;
            }
            self.inner.blobs.seal(&self.tmp, durable)?;
            self.tmp.file.metadata().map(Some)
        };
        let Some(meta) = sealed().inspect_err(|_: &io::Error| failed())? else {
            failed();
            return Err(StoreError::Corrupt("the bytes that were hashed are not those that were written".into()));
        };
        let (hash, segments) = hasher.tree.finish();
        Ok(Staged { tmp: Some(self.tmp), hash, len, allocated: allocated(&meta), segments, synced: durable })
    }
}

impl Staged {
    /// BLAKE3 of the bytes: the blob's name.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the blob is the empty one.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Count a write that came to nothing.
pub(super) fn failed() {
    CAS_WRITES.inc(WriteStatus::Failed);
}
