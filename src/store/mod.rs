//! Where assets come from: packs (read-only archives) and the CAS (content-addressed blobs).
//!
//! A [`Store`] has few verbs: find an object by its key, read a window of it, say its name. Writing belongs to the CAS alone,
//! so a pack is read-only by type. Nothing here knows what HTTP is, beyond the words of its metadata.

pub mod cas;
pub mod decode;
pub mod hot;
pub mod pack;

use std::borrow::Cow;
use std::io::IoSliceMut;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use rustix::io::ReadWriteFlags;

use crate::rules::encoding::Coding;

/// A read-only source of objects. One contract suite (`tests/store_contract.rs`) runs against every implementation.
///
/// The verbs may block on a disk or on hashing: call them off a worker thread.
pub trait Store: Send + Sync {
    /// What the store is called in logs and in `Cache-Status` details.
    fn name(&self) -> &str;

    /// Find the object at `key`; `None` where there is none. Opens and verifies as much as answering needs, no more.
    fn head(&self, key: &str) -> Result<Option<Object>, StoreError>;

    /// Read a window of an object this store found: exactly `window.end - window.start` verified bytes.
    /// A window past the object's end is [`StoreError::Corrupt`].
    fn read(&self, object: &Object, window: Range<u64>) -> Result<Bytes, StoreError> {
        object.read(window)
    }
}

/// One representation of an asset: its metadata, and where its bytes are.
#[derive(Clone)]
pub struct Object {
    /// The bytes, after content coding, exactly as they go over the wire.
    pub body: Body,
    /// The entity tag with its quotes, e.g. `"b3:<64 hex>"`. Always strong.
    pub etag: Box<str>,
    /// BLAKE3 of the bytes, where it is known.
    pub hash: Option<blake3::Hash>,
    /// Modification time of the source, where it has one.
    pub last_modified: Option<SystemTime>,
    /// The media type.
    pub content_type: Cow<'static, str>,
    /// The coding the bytes are stored in.
    pub coding: Coding,
}

/// Where an object's bytes are.
#[derive(Clone)]
pub enum Body {
    /// All of it, in memory, verified.
    Whole(Bytes),
    /// Read piece by piece, each piece verified before it is handed out.
    Windowed(Arc<dyn Window>),
}

/// A file that the kernel may send from.
pub struct Sendable<'a> {
    /// Open for reading.
    pub file: BorrowedFd<'a>,
    /// What it looked like.
    pub mark: Mark,
}

/// What a file looked like at a moment: its ctime, in seconds and nanoseconds; the same each time where that says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark(i64, i64);

/// A body that is too large to hold: a raw archive or a large blob.
pub trait Window: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether there is no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the bytes are still those that the object promised: one `fstat`. Call it before an answer starts.
    fn check(&self) -> Result<(), StoreError>;

    /// Fill `buf` from `offset`, verified. May block on the disk and on hashing.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), StoreError>;

    /// As [`Window::read_at`], without blocking: `Ok(false)` where the bytes aren't in the page cache or weren't verified yet,
    /// and `buf` is then unspecified.
    fn try_read_at(&self, buf: &mut [u8], offset: u64) -> Result<bool, StoreError>;

    /// The file from which the kernel may send `range` of it by itself, without waiting for a disk: its bytes are verified, in the page cache as far as that can
    /// be told cheaply, and the file is untouched until now. `None`: read them. Whoever sends so reads behind it, and asks then whether the file [still](Window::still) is what it was.
    fn ready_to_send(&self, range: Range<u64>) -> Result<Option<Sendable<'_>>, StoreError> {
        let _ = range;
        Ok(None)
    }

    /// Whether what the kernel sent since the file had `mark` was what was verified: nobody had touched the file at the last read behind it. Where somebody had, whatever is read
    /// from then on is verified again.
    fn still(&self, mark: Mark) -> Result<bool, StoreError> {
        let _ = mark;
        self.check().map(|()| true)
    }
}

/// Bytes of a file that are taken to be in the page cache if the last of them is.
const TOGETHER: u64 = 256 * 1024;

/// Whether `range` of a file is in the page cache, as far as a byte of it here and there tells. The kernel reads ahead, and forgets, in stretches.
fn is_at_hand(file: &impl AsFd, range: Range<u64>) -> bool {
    let mut end = range.end;
    while end > range.start {
        let mut byte = [0];
        let read = rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], end - 1, ReadWriteFlags::NOWAIT);
        if read != Ok(1) {
            return false;
        }
        end = end.saturating_sub(TOGETHER);
    }
    !range.is_empty()
}

impl Object {
    /// Length of the body in bytes.
    pub fn len(&self) -> u64 {
        match &self.body {
            Body::Whole(bytes) => bytes.len() as u64,
            Body::Windowed(window) => window.len(),
        }
    }

    /// Whether the body is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Read a window of the body, blocking where it must.
    pub fn read(&self, window: Range<u64>) -> Result<Bytes, StoreError> {
        if window.start > window.end || window.end > self.len() {
            return Err(StoreError::Corrupt("a window past the end of the object".into()));
        }
        match &self.body {
            // The bounds were checked above, and the length of `Bytes` fits a usize.
            Body::Whole(bytes) => Ok(bytes.slice(window.start as usize..window.end as usize)),
            Body::Windowed(source) => {
                let length = usize::try_from(window.end - window.start)
                    .map_err(|_| StoreError::TooLarge("a window larger than the address space".into()))?;
                let mut buf = vec![0; length];
                source.read_at(&mut buf, window.start)?;
                Ok(buf.into())
            }
        }
    }
}

/// Why a store could not answer. That there is no such object is not an error.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The bytes contradict their hash, their directory or their format.
    #[error("corrupt: {0}")]
    Corrupt(Cow<'static, str>),
    /// The file behind the store changed while it was in use.
    #[error("the file changed under the store")]
    Changed,
    /// Larger than a bound allows: a decoded body, a directory.
    #[error("too large: {0}")]
    TooLarge(Cow<'static, str>),
    /// The work took longer than its deadline.
    #[error("took longer than {0:?}")]
    Deadline(std::time::Duration),
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The database of a pack or of the index failed.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}
