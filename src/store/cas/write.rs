//! Writing a blob: bytes in, hashed as they come; then a sealed file without a name, ready to be linked.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use blake3::Hash;

use super::blobs::{Tmp, allocated};
use super::segments::{Segments, TreeHasher};
use super::{Cas, Inner};
use crate::observe::metrics::{CAS_WRITES, WriteStatus};
use crate::store::StoreError;

/// A blob being written. Dropped before [`BlobWriter::finish`], or before its [`Staged`] is committed, it leaves nothing.
pub struct BlobWriter {
    inner: Arc<Inner>,
    tmp: Tmp,
    hasher: TreeHasher,
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
}

impl BlobWriter {
    pub(super) fn new(inner: &Arc<Inner>) -> Result<Self, StoreError> {
        let tmp = inner.blobs.create().inspect_err(|_| failed())?;
        Ok(Self { inner: inner.clone(), tmp, hasher: TreeHasher::new() })
    }

    /// Append bytes. May block on the disk. After an error the blob cannot be finished as if nothing were: drop it.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tmp.file.write_all_at(bytes, self.hasher.len()).inspect_err(|_| failed())?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.hasher.len()
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
    pub fn finish(self, durable: bool) -> Result<Staged, StoreError> {
        let len = self.hasher.len();
        let (hash, segments) = self.hasher.finish();
        let staged = self.inner.blobs.seal(&self.tmp, durable).and_then(|()| self.tmp.file.metadata());
        let meta = staged.inspect_err(|_| failed())?;
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
