//! A large blob: an open file, read by windows, each segment verified before its first byte is handed out.
//!
//! What was verified is remembered with the file's ctime. [`Window::check`] compares that with one `fstat`: a ctime that moved
//! says that somebody touched the file, and everything is verified again; a length that moved says that it is broken.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, IoSliceMut};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use blake3::Hash;
use rustix::io::ReadWriteFlags;

use super::Inner;
use super::blobs::{Found, Id};
use super::segments::{SEGMENT, Segments, TreeHasher};
use crate::store::{StoreError, Window};

/// A blob of more than one segment, open.
pub(super) struct LargeBlob {
    name: Hash,
    file: Arc<File>,
    id: Id,
    segments: Segments,
    verified: ArcSwap<Verified>,
    /// It failed once: it is in quarantine, and nothing of it is served any more.
    bad: AtomicBool,
    /// A memfd: it is never on a disk, and knows no `RWF_NOWAIT`.
    memory: bool,
    owner: Weak<Inner>,
}

/// The segments verified since the file had this ctime.
struct Verified {
    ctime: (i64, i64),
    bits: Box<[AtomicU64]>,
}

impl Verified {
    fn new(meta: &Metadata, segments: usize, all: bool) -> Self {
        let word = if all { u64::MAX } else { 0 };
        let bits = (0..segments.div_ceil(64)).map(|_| AtomicU64::new(word)).collect();
        Self { ctime: ctime(meta), bits }
    }

    fn has(&self, index: usize) -> bool {
        self.bits.get(index / 64).is_some_and(|word| word.load(Ordering::Acquire) >> (index % 64) & 1 == 1)
    }

    fn set(&self, index: usize) {
        if let Some(word) = self.bits.get(index / 64) {
            word.fetch_or(1 << (index % 64), Ordering::Release);
        }
    }
}

fn ctime(meta: &Metadata) -> (i64, i64) {
    (meta.ctime(), meta.ctime_nsec())
}

impl LargeBlob {
    /// Take a file of more than one segment that claims to be `name`. Where its segments aren't kept, or aren't its own, the
    /// whole file is hashed and they are kept anew. `Ok(None)` where it is another blob than it claims.
    pub fn open(owner: &Arc<Inner>, name: &Hash, file: Arc<File>, meta: &Metadata) -> Result<Option<Self>, StoreError> {
        let (segments, all) = match owner.blobs.segments(name, meta.len()) {
            Some(segments) => (segments, false),
            None => {
                let (hash, segments) = hash_file(&file, meta.len())?;
                let Some(segments) = segments.filter(|_| hash == *name) else { return Ok(None) };
                if let Err(error) = owner.blobs.keep_segments(name, &segments) {
                    log::debug!("the segments of {} were not kept: {error}", name.to_hex());
                }
                // Verified only if nobody touched it meanwhile.
                let same = ctime(&file.metadata()?) == ctime(meta);
                (segments, same)
            }
        };
        let verified = ArcSwap::from_pointee(Verified::new(meta, segments.count(), all));
        let (owner, memory, id) = (Arc::downgrade(owner), owner.blobs.is_memory(), Id::of(meta));
        Ok(Some(Self { name: *name, file, id, segments, verified, bad: AtomicBool::new(false), memory, owner }))
    }

    /// Bytes of RAM that the handle takes.
    pub fn weight(&self) -> u64 {
        self.segments.count() as u64 * 33 + 256
    }

    /// Whether the file still has a name, by one `fstat`: one that was purged or evicted has none.
    pub fn is_linked(&self) -> bool {
        self.memory || self.file.metadata().is_ok_and(|meta| meta.nlink() > 0)
    }

    fn bounds(&self, length: usize, offset: u64) -> Result<(), StoreError> {
        if self.bad.load(Ordering::Acquire) {
            return Err(StoreError::Corrupt("the blob is in quarantine".into()));
        }
        match offset.checked_add(length as u64) {
            Some(end) if end <= self.segments.len() => Ok(()),
            _ => Err(StoreError::Corrupt("a window past the end of the blob".into())),
        }
    }

    fn fill(&self, buf: &mut [u8], offset: u64) -> Result<(), StoreError> {
        match self.file.read_exact_at(buf, offset) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(self.fail("the blob is shorter than it was")),
            result => Ok(result?),
        }
    }

    /// Never serve it again, and have it set aside.
    fn fail(&self, why: &'static str) -> StoreError {
        if !self.bad.swap(true, Ordering::AcqRel)
            && let Some(owner) = self.owner.upgrade()
        {
            owner.quarantine(&self.name, Some(self.id), why);
        }
        StoreError::Corrupt(why.into())
    }

    /// As [`LargeBlob::fail`], from a thread that must not wait for the disk or the index.
    fn fail_aside(&self, why: &'static str) -> StoreError {
        if !self.bad.swap(true, Ordering::AcqRel)
            && let Some(owner) = self.owner.upgrade()
        {
            let (name, id) = (self.name, self.id);
            // Without a thread it stays where it is: it is not served, and the next load finds it bad.
            let _ = std::thread::Builder::new()
                .name("quarantine".into())
                .spawn(move || owner.quarantine(&name, Some(id), why));
        }
        StoreError::Corrupt(why.into())
    }

    /// Verify the segment that `bytes` are all of; they were read just now.
    fn judge(&self, index: usize, bytes: &[u8], verified: &Verified) -> Result<(), StoreError> {
        if !self.segments.holds(index, bytes) {
            return Err(self.fail("a segment of the blob does not hash to its value"));
        }
        verified.set(index);
        Ok(())
    }
}

impl Window for LargeBlob {
    fn len(&self) -> u64 {
        self.segments.len()
    }

    fn check(&self) -> Result<(), StoreError> {
        self.bounds(0, 0)?;
        let meta = self.file.metadata()?;
        if meta.len() != self.segments.len() {
            return Err(self.fail_aside("the length of the blob changed"));
        }
        if self.verified.load().ctime != ctime(&meta) {
            // Whoever reads meanwhile marks what it verified in the old set, where it counts no more.
            self.verified.store(Arc::new(Verified::new(&meta, self.segments.count(), false)));
        }
        Ok(())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), StoreError> {
        self.bounds(buf.len(), offset)?;
        let verified = self.verified.load();
        let (mut rest, mut at) = (buf, offset);
        let mut scratch = Vec::new();
        while !rest.is_empty() {
            // A segment index of an open file fits a usize, and what is left of a segment too.
            let index = (at / SEGMENT) as usize;
            let range = self.segments.range(index);
            let take = rest.len().min((range.end - at) as usize);
            let (part, behind) = rest.split_at_mut(take);
            if verified.has(index) {
                self.fill(part, at)?;
            } else if part.len() as u64 == range.end - range.start {
                self.fill(part, at)?;
                self.judge(index, part, &verified)?;
            } else {
                // The very bytes that are hashed are the ones handed out, not those of a second read.
                scratch.resize((range.end - range.start) as usize, 0);
                self.fill(&mut scratch, range.start)?;
                self.judge(index, &scratch, &verified)?;
                let from = (at - range.start) as usize;
                part.copy_from_slice(&scratch[from..from + take]);
            }
            at += take as u64;
            rest = behind;
        }
        Ok(())
    }

    fn try_read_at(&self, buf: &mut [u8], offset: u64) -> Result<bool, StoreError> {
        self.bounds(buf.len(), offset)?;
        if buf.is_empty() {
            return Ok(true);
        }
        let verified = self.verified.load();
        let (first, last) = (offset / SEGMENT, (offset + buf.len() as u64 - 1) / SEGMENT);
        if !(first..=last).all(|index| verified.has(index as usize)) {
            return Ok(false);
        }
        if self.memory {
            return self.fill(buf, offset).map(|()| true);
        }
        let wanted = buf.len();
        // What isn't in the page cache, a file system that cannot say, and a file cut short all go the blocking way.
        let read = rustix::io::preadv2(&*self.file, &mut [IoSliceMut::new(buf)], offset, ReadWriteFlags::NOWAIT);
        Ok(read.is_ok_and(|read| read == wanted))
    }
}

/// Hash a file from its beginning; at most `len` bytes of it, should it grow meanwhile.
pub(super) fn hash_file(file: &File, len: u64) -> std::io::Result<(Hash, Option<Segments>)> {
    let mut hasher = TreeHasher::new();
    let mut buf = vec![0; SEGMENT.min(len) as usize];
    while hasher.len() < len {
        let take = (len - hasher.len()).min(SEGMENT) as usize;
        match file.read_at(&mut buf[..take], hasher.len()) {
            Ok(0) => break,
            Ok(read) => hasher.update(&buf[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hasher.finish())
}

/// Read a file of at most one segment that claims to be `name`; `None` where it is something else.
pub(super) fn read_small(file: &File, meta: &Metadata, name: &Hash) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; meta.len() as usize];
    match file.read_exact_at(&mut bytes, 0) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    Ok((blake3::hash(&bytes) == *name).then_some(bytes))
}

/// What a whole look at a blob's place finds.
pub(super) enum Whole {
    /// Nothing there.
    Absent,
    /// A file that hashes to its name.
    Good(Arc<File>, Metadata),
    /// A file that does not, or no regular file.
    Bad(Option<Id>),
}

/// Hash all of what is at a blob's place.
pub(super) fn look(owner: &Inner, name: &Hash) -> std::io::Result<Whole> {
    match owner.blobs.open(name)? {
        Found::Absent => Ok(Whole::Absent),
        Found::Refused => Ok(Whole::Bad(None)),
        Found::Open(file, meta) if hash_file(&file, meta.len())?.0 == *name => Ok(Whole::Good(file, meta)),
        Found::Open(_, meta) => Ok(Whole::Bad(Some(Id::of(&meta)))),
    }
}
