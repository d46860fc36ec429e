//! The file behind a pack: its identity, and reads that fail instead of crashing when someone truncates it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};

use crate::store::{Mark, Sendable, StoreError, Window, is_at_hand};

/// What a file was at one moment. Two equal stamps are taken for the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Length in bytes.
    pub size: u64,
    /// Modification time: seconds since the epoch.
    pub mtime_s: i64,
    /// And nanoseconds within them.
    pub mtime_ns: u32,
}

impl Stamp {
    /// The stamp of what stands at `path` now, symbolic links followed. Anything but a regular file is an error.
    pub fn of(path: &Path) -> io::Result<Self> {
        Self::of_stat(&rustix::fs::stat(path)?)
    }

    fn of_stat(stat: &rustix::fs::Stat) -> io::Result<Self> {
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime_s: stat.st_mtime,
            mtime_ns: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        })
    }

    /// Whether both are the same file on disk, whatever was written to it meanwhile.
    pub fn same_file(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }

    /// The modification time, in whole seconds as HTTP and entity tags tell it; `None` outside what the clock's type holds.
    pub fn modified(&self) -> Option<SystemTime> {
        let seconds = Duration::from_secs(self.mtime_s.unsigned_abs());
        match self.mtime_s >= 0 {
            true => UNIX_EPOCH.checked_add(seconds),
            false => UNIX_EPOCH.checked_sub(seconds),
        }
    }

    /// The entity tag of a file whose digest isn't known: `"st:<size>-<mtime>"`.
    ///
    /// The time is in seconds, because two nodes that hold the same file must agree, and the ways files travel between nodes
    /// (tar, zip, object stores, NFS and older file systems) keep the seconds but lose what is below them.
    pub fn etag(&self) -> Box<str> {
        format!("\"st:{}-{}\"", self.size, self.mtime_s).into()
    }

    /// As [`Stamp::etag`] with the nanoseconds, for a file that took the place of one with the same tag.
    pub fn fine_etag(&self) -> Box<str> {
        format!("\"st:{}-{}.{:09}\"", self.size, self.mtime_s, self.mtime_ns).into()
    }
}

/// An open descriptor and the stamp it had when it was opened.
#[derive(Debug)]
pub struct Anchor {
    file: File,
    stamp: Stamp,
}

impl Anchor {
    /// Hold on to the file at `path` without being able to read it. Such a descriptor takes no part in POSIX locks: closing
    /// any other one would drop the locks that SQLite holds on the same file for the whole process.
    pub fn identify(path: &Path) -> io::Result<Self> {
        Self::open(path, OFlags::PATH)
    }

    fn open(path: &Path, access: OFlags) -> io::Result<Self> {
        // Without NONBLOCK, opening a FIFO would wait for a writer for ever. On a regular file it means nothing.
        let flags = access | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        let stamp = Stamp::of_stat(&rustix::fs::fstat(&fd)?)?;
        Ok(Self { file: fd.into(), stamp })
    }

    /// The stamp at the time of opening.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// [`StoreError::Changed`] unless length and modification time are still those at the time of opening: one `fstat`.
    pub fn check(&self) -> Result<(), StoreError> {
        let stat = rustix::fs::fstat(&self.file).map_err(io::Error::from)?;
        match Stamp::of_stat(&stat)? == self.stamp {
            true => Ok(()),
            false => Err(StoreError::Changed),
        }
    }
}

/// A pack's bytes, read with `pread`: no mapping, so that a file that is cut short under us is an error and not a SIGBUS.
#[derive(Debug)]
pub struct PackFile(Anchor);

impl PackFile {
    /// Open the regular file at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        Anchor::open(path, OFlags::RDONLY).map(Self)
    }

    /// The stamp at the time of opening.
    pub fn stamp(&self) -> &Stamp {
        &self.0.stamp
    }

    /// The descriptor, for what isn't a read.
    pub fn file(&self) -> &File {
        &self.0.file
    }

    /// Read `length` bytes at `offset`. The caller has bounded `length`.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, StoreError> {
        self.within(offset, length)?;
        let mut buf = vec![0; length];
        self.read_at(&mut buf, offset)?;
        Ok(buf)
    }

    fn within(&self, offset: u64, length: usize) -> Result<(), StoreError> {
        match offset.checked_add(length as u64) {
            Some(end) if end <= self.0.stamp.size => Ok(()),
            _ => Err(StoreError::Corrupt("a read past the end of the file".into())),
        }
    }
}

impl Window for PackFile {
    fn len(&self) -> u64 {
        self.0.stamp.size
    }

    fn check(&self) -> Result<(), StoreError> {
        self.0.check()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), StoreError> {
        self.within(offset, buf.len())?;
        self.0.file.read_exact_at(buf, offset).map_err(|error| match error.kind() {
            // The bytes were there when the file was opened.
            io::ErrorKind::UnexpectedEof => StoreError::Changed,
            _ => error.into(),
        })
    }

    fn try_read_at(&self, buf: &mut [u8], offset: u64) -> Result<bool, StoreError> {
        self.within(offset, buf.len())?;
        let wanted = buf.len();
        let mut slices = [io::IoSliceMut::new(buf)];
        match rustix::io::preadv2(&self.0.file, &mut slices, offset, ReadWriteFlags::NOWAIT) {
            // A short read means that the rest isn't in memory, or gone: the blocking read will tell.
            Ok(n) => Ok(n == wanted),
            // Not in memory; or a file system, a kernel or a sandbox that doesn't know the flag.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::INTR | Errno::INVAL | Errno::NOSYS | Errno::PERM) => Ok(false),
            Err(error) => Err(StoreError::Io(error.into())),
        }
    }

    fn ready_to_send(&self, range: Range<u64>) -> Result<Option<Sendable<'_>>, StoreError> {
        self.0.check()?;
        Ok(is_at_hand(&self.0.file, range).then(|| Sendable { file: self.0.file.as_fd(), mark: Mark::default() }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::io::Write;

    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn a_file_cut_short_is_changed_and_not_a_crash() {
        let source = file(&[7; 10_000]);
        let pack = PackFile::open(source.path()).unwrap();
        assert_eq!(pack.read(9_000, 1_000).unwrap(), [7; 1_000]);
        source.as_file().set_len(100).unwrap();
        assert!(matches!(pack.read(9_000, 1_000), Err(StoreError::Changed)));
        assert!(matches!(pack.check(), Err(StoreError::Changed)));
        assert!(!pack.try_read_at(&mut [0; 1_000], 9_000).unwrap());
    }

    #[test]
    fn a_read_past_the_end_is_refused_before_memory_is_taken() {
        let source = file(b"short");
        let pack = PackFile::open(source.path()).unwrap();
        assert!(matches!(pack.read(0, usize::MAX), Err(StoreError::Corrupt(_))));
        assert!(matches!(pack.read(u64::MAX, 2), Err(StoreError::Corrupt(_))));
        assert!(pack.read(5, 0).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        for path in [dir.path(), &fifo] {
            assert!(PackFile::open(path).unwrap_err().to_string().contains("regular"), "{path:?}");
            assert!(Anchor::identify(path).is_err());
        }
    }

    #[test]
    fn what_was_just_written_is_read_without_blocking() {
        let source = file(&[3; 4096]);
        let pack = PackFile::open(source.path()).unwrap();
        pack.read(0, 4096).unwrap();
        let mut buf = [0; 100];
        // A file system that can't tell says false; then the bytes don't count.
        if pack.try_read_at(&mut buf, 50).unwrap() {
            assert_eq!(buf, [3; 100]);
        }
    }

    #[test]
    fn nodes_agree_on_the_tag_of_a_copied_file() {
        let stamp = Stamp { dev: 1, ino: 2, size: 34_728, mtime_s: 1_700_000_000, mtime_ns: 5 };
        let copy = Stamp { dev: 9, ino: 8, mtime_ns: 0, ..stamp };
        assert_eq!(&*stamp.etag(), "\"st:34728-1700000000\"");
        assert_eq!(stamp.etag(), copy.etag());
        assert!(!stamp.same_file(&copy));
    }
}
