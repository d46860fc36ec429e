//! A large blob: an open file, read by windows, each segment verified before its first byte is handed out.
//!
//! What was verified is remembered with the file's ctime, and each read compares that with one `fstat` behind it: a ctime that
//! moved says that somebody touched the file, and everything is verified again; a length that moved says that it is broken.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, IoSliceMut};
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use blake3::Hash;
use rustix::io::ReadWriteFlags;

use super::Inner;
use super::blobs::{Found, Id};
use super::segments::{SEGMENT, Segments, TreeHasher};
use super::types::from_timestamp;
use crate::store::{Mark, Sendable, StoreError, Window, is_at_hand};

/// Two changes of a file closer together than a tick of the kernel's clock (10 ms at the most) may leave one and the same ctime.
const TICK: Duration = Duration::from_millis(20);

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

    /// Whether every later change of the file will have another ctime than this one.
    fn is_settled(&self) -> bool {
        is_settled(self.ctime)
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

/// Whether `ctime` is so far from now that no change from now on can have it too. One that lies ahead is of a clock that was set
/// back.
fn is_settled((seconds, nanos): (i64, i64)) -> bool {
    let (then, now) = (from_timestamp(seconds, nanos), SystemTime::now());
    now.duration_since(then).unwrap_or_else(|ahead| ahead.duration()) > TICK
}

impl LargeBlob {
    /// Take a file of more than one segment that claims to be `name`. Where its segments aren't kept, or aren't its own, the
    /// whole file is hashed and they are kept anew. `Ok(None)` where it is another blob than it claims.
    pub fn open(owner: &Arc<Inner>, name: &Hash, file: Arc<File>, meta: &Metadata) -> Result<Option<Self>, StoreError> {
        let (segments, all) = match owner.blobs.segments(name, meta.len()) {
            Some(segments) => (segments, false),
            None => {
                let settled = is_settled(ctime(meta));
                let (hash, segments) = hash_file(&file, meta.len())?;
                let Some(segments) = segments.filter(|_| hash == *name) else { return Ok(None) };
                if let Err(error) = owner.blobs.keep_segments(name, &segments) {
                    log::debug!("the segments of {} were not kept: {error}", name.to_hex());
                }
                // Verified only if nobody touched it meanwhile.
                let same = ctime(&file.metadata()?) == ctime(meta);
                (segments, same && (settled || owner.blobs.is_memory()))
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

    /// Verify the segment that `bytes` are all of; they were read just now. With `keep` it counts as verified from now on.
    fn judge(&self, index: usize, bytes: &[u8], keep: Option<&Verified>) -> Result<(), StoreError> {
        if !self.segments.holds(index, bytes) {
            return Err(self.fail("a segment of the blob does not hash to its value"));
        }
        keep.inspect(|verified| verified.set(index));
        Ok(())
    }

    /// Fill `buf` from `offset`: from the segments that `trusted` has as they are, from every other one by hashing the very bytes
    /// that are handed out. Returns whether some were taken as they are.
    fn gather(
        &self,
        buf: &mut [u8],
        offset: u64,
        trusted: Option<&Verified>,
        keep: Option<&Verified>,
    ) -> Result<bool, StoreError> {
        let (mut rest, mut at, mut relied) = (buf, offset, false);
        let mut scratch = Vec::new();
        while !rest.is_empty() {
            // A segment index of an open file fits a usize, and what is left of a segment too.
            let index = (at / SEGMENT) as usize;
            let range = self.segments.range(index);
            let take = rest.len().min((range.end - at) as usize);
            let (part, behind) = rest.split_at_mut(take);
            if trusted.is_some_and(|verified| verified.has(index)) {
                self.fill(part, at)?;
                relied = true;
            } else if part.len() as u64 == range.end - range.start {
                self.fill(part, at)?;
                self.judge(index, part, keep)?;
            } else {
                // The very bytes that are hashed are the ones handed out, not those of a second read.
                scratch.resize((range.end - range.start) as usize, 0);
                self.fill(&mut scratch, range.start)?;
                self.judge(index, &scratch, keep)?;
                let from = (at - range.start) as usize;
                part.copy_from_slice(&scratch[from..from + take]);
            }
            at += take as u64;
            rest = behind;
        }
        Ok(relied)
    }

    /// Whether the file is still the one that `verified` speaks of, by one `fstat`. Where it isn't, what was verified is forgotten;
    /// a length that moved is the error `fail` makes.
    fn is_untouched(
        &self,
        verified: &Verified,
        fail: impl FnOnce(&'static str) -> StoreError,
    ) -> Result<bool, StoreError> {
        // A sealed memfd changes no more.
        if self.memory {
            return Ok(true);
        }
        let meta = self.file.metadata()?;
        if meta.len() != self.segments.len() {
            return Err(fail("the length of the blob changed"));
        }
        if verified.ctime == ctime(&meta) {
            return Ok(true);
        }
        // Whoever reads meanwhile marks what it verified in the old set, where it counts no more.
        self.verified.store(Arc::new(Verified::new(&meta, self.segments.count(), false)));
        Ok(false)
    }
}

impl Window for LargeBlob {
    fn len(&self) -> u64 {
        self.segments.len()
    }

    fn check(&self) -> Result<(), StoreError> {
        self.bounds(0, 0)?;
        self.is_untouched(&self.verified.load(), |why| self.fail_aside(why)).map(drop)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), StoreError> {
        self.bounds(buf.len(), offset)?;
        let verified = self.verified.load();
        // Asked before the bytes are read: what changes behind the answer must show in the ctime.
        let keep = (self.memory || verified.is_settled()).then_some(&**verified);
        let relied = self.gather(buf, offset, Some(&verified), keep)?;
        if !self.is_untouched(&verified, |why| self.fail(why))? && relied {
            // What was taken as it is may have changed before it was read.
            self.gather(buf, offset, None, None)?;
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
        if !read.is_ok_and(|read| read == wanted) {
            return Ok(false);
        }
        // Behind the read: what it saw was verified only if nobody touched the file until now.
        self.is_untouched(&verified, |why| self.fail_aside(why))
    }

    fn ready_to_send(&self, range: Range<u64>) -> Result<Option<Sendable<'_>>, StoreError> {
        let (Some(last), Ok(length)) = (range.end.checked_sub(1), usize::try_from(range.end - range.start)) else {
            return Ok(None);
        };
        self.bounds(length, range.start)?;
        let verified = self.verified.load();
        if !(range.start / SEGMENT..=last / SEGMENT).all(|index| verified.has(index as usize)) {
            return Ok(None);
        }
        if !self.memory && !is_at_hand(&self.file, range)
            || !self.is_untouched(&verified, |why| self.fail_aside(why))?
        {
            return Ok(None);
        }
        let (seconds, nanos) = verified.ctime;
        Ok(Some(Sendable { file: self.file.as_fd(), mark: Mark(seconds, nanos) }))
    }

    fn still(&self, mark: Mark) -> Result<bool, StoreError> {
        // Every read looks at the file, and what it was is forgotten when it moved.
        let (seconds, nanos) = self.verified.load().ctime;
        Ok(mark == Mark(seconds, nanos))
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
