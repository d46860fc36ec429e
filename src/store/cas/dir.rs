//! The directory of a CAS: its layout, who may write it, and the few file operations on it.
//!
//! Nothing here follows a symlink below the directory, and nothing waits on a FIFO.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blake3::Hash;
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::blobs::{Found, Id, Tmp};
use super::error::CasError;
use super::segments::Segments;
use super::together::together;
use crate::observe::faults;

/// The directories below the root, each 0700.
const SUBDIRS: [&str; 4] = ["b3", "quarantine", "manifests", "tmp"];

/// An open CAS directory.
pub(super) struct CasDir {
    root: PathBuf,
    b3: File,
    /// Whether a nameless file can be made here and linked into place.
    nameless: bool,
}

/// What a name in a shard is.
pub(super) enum Entry {
    /// A blob's place.
    Blob(Hash),
    /// The segments of a blob.
    Segments(Hash),
    /// None of ours.
    Unknown,
}

impl CasDir {
    /// Open the directory at `root`, making it where it doesn't exist. Refuses one that another user may write.
    pub fn open(root: &Path) -> Result<Self, CasError> {
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| CasError::io(what, &path, error)
        };
        DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(failed("cannot make", root))?;
        let root = root.canonicalize().map_err(failed("cannot open", root))?;
        only_ours(&root)?;
        for name in SUBDIRS {
            let path = root.join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed("cannot make", &path)(error));
                }
                _ => only_ours(&path)?,
            }
            if !path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
                return Err(CasError::Unsafe { path, why: "no directory, or a symlink, which is not followed".into() });
            }
        }
        for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
            let path = root.join(name);
            if path.symlink_metadata().is_ok() {
                only_ours(&path)?;
            }
        }
        let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let b3 = rustix::fs::openat(CWD, root.join("b3"), directory, Mode::empty())
            .map_err(|error| CasError::io("cannot open", &root.join("b3"), error))?;
        File::open(&root).and_then(|dir| dir.sync_all()).map_err(failed("cannot sync", &root))?;
        let mut dir = Self { root, b3: b3.into(), nameless: true };
        dir.nameless = dir.probe();
        Ok(dir)
    }

    /// The absolute path of something in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Whether a file can be made and written now: not read-only, not full.
    pub fn writable(&self) -> bool {
        let probe = || {
            faults::hit("cas.probe")?;
            self.create()?.file.write_all_at(&[0; 4096], 0)
        };
        probe().is_ok()
    }

    /// Whether nameless files work here: both `O_TMPFILE` and linking by `/proc/self/fd` can be missing.
    fn probe(&self) -> bool {
        let name = self.path("tmp").join(unique("probe"));
        let linked = self.create().is_ok_and(|tmp| link_nameless(&tmp.file, CWD, &name).is_ok());
        linked && fs::remove_file(name).is_ok()
    }

    /// A file to write a blob into. It vanishes unless it is linked.
    pub fn create(&self) -> io::Result<Tmp> {
        if self.nameless {
            let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&self.b3, ".", flags, Mode::RUSR | Mode::WUSR)?;
            return Ok(Tmp { file: Arc::new(file.into()), name: None });
        }
        let name = self.path("tmp").join(unique("blob"));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file: File = rustix::fs::openat(CWD, &name, flags, Mode::RUSR | Mode::WUSR)?.into();
        // As long as the writer lives it holds this lock: gc removes only files it can lock.
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Tmp { file: Arc::new(file), name: Some(name) })
    }

    /// Link what was written into the blob's place; `false` where something is there already.
    pub fn link(&self, tmp: &Tmp, hash: &Hash) -> io::Result<bool> {
        let (shard, name) = (self.make_shard(hash.as_bytes()[0])?, hash.to_hex());
        let linked = match &tmp.name {
            None => link_nameless(&tmp.file, shard.as_fd(), Path::new(name.as_str())),
            Some(path) => rustix::fs::linkat(CWD, path, &shard, name.as_str(), AtFlags::empty()),
        };
        match linked {
            Err(Errno::EXIST) => Ok(false),
            result => result.map(|()| true).map_err(Into::into),
        }
    }

    /// Sync the shards' directories, and the one above them: what was linked before survives a power cut.
    pub fn sync(&self, shards: &BTreeSet<u8>) -> io::Result<()> {
        let mut shards: Vec<_> = shards.iter().collect();
        together(&mut shards, |shard| self.shard_dir(**shard)?.sync_all())?;
        self.b3.sync_all()
    }

    /// Open what is at a blob's place, if it is a regular file.
    pub fn open_blob(&self, hash: &Hash) -> io::Result<Found> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = self
            .shard_dir(hash.as_bytes()[0])
            .and_then(|shard| rustix::fs::openat(&shard, hash.to_hex().as_str(), flags, Mode::empty()));
        let file = match opened {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(Found::Absent),
            // A symlink; a socket or a device without a driver; a shard that is no directory.
            Err(Errno::LOOP | Errno::NXIO | Errno::NODEV | Errno::NOTDIR) => return Ok(Found::Refused),
            Err(error) => return Err(error.into()),
        };
        let meta = file.metadata()?;
        Ok(if meta.is_file() { Found::Open(Arc::new(file), meta) } else { Found::Refused })
    }

    /// What is at a blob's place, without opening it; nothing in a shard that is no directory.
    pub fn stat(&self, hash: &Hash) -> io::Result<Option<Metadata>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = self
            .shard_dir(hash.as_bytes()[0])
            .and_then(|shard| rustix::fs::openat(&shard, hash.to_hex().as_str(), flags, Mode::empty()));
        match opened {
            Ok(file) => File::from(file).metadata().map(Some),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Remove a blob and its segments. That it is gone already is no error.
    pub fn remove(&self, hash: &Hash) -> io::Result<()> {
        let _ = self.remove_segments(hash);
        self.remove_name(hash, hash.to_hex().as_str()).map(drop)
    }

    /// Remove the segments of a blob that isn't there; whether there were any.
    pub fn remove_segments(&self, hash: &Hash) -> io::Result<bool> {
        self.remove_name(hash, &beside(hash))
    }

    fn remove_name(&self, hash: &Hash, name: &str) -> io::Result<bool> {
        let shard = self.shard_dir(hash.as_bytes()[0]);
        match shard.and_then(|shard| rustix::fs::unlinkat(&shard, name, AtFlags::empty())) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Move what is at a blob's place to `quarantine/`, with its shard if that is no directory. `false` where it is gone, or is
    /// not the inode `id` any more.
    pub fn quarantine(&self, hash: &Hash, id: Option<Id>) -> io::Result<bool> {
        if self.set_shard_aside(hash.as_bytes()[0])? {
            return Ok(true);
        }
        match self.stat(hash)? {
            Some(meta) if id.is_none_or(|id| id == Id::of(&meta)) => {}
            _ => return Ok(false),
        }
        let target = self.path("quarantine").join(unique(&hash.to_hex()));
        let shard = self.shard_dir(hash.as_bytes()[0])?;
        rustix::fs::renameat_with(&shard, hash.to_hex().as_str(), CWD, target, RenameFlags::NOREPLACE)?;
        let _ = self.remove_segments(hash);
        Ok(true)
    }

    /// The segments kept beside a blob of `len` bytes; `None` where there are none, or they aren't this blob's.
    pub fn segments(&self, hash: &Hash, len: u64) -> Option<Segments> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let shard = self.shard_dir(hash.as_bytes()[0]).ok()?;
        let file = File::from(rustix::fs::openat(&shard, beside(hash), flags, Mode::empty()).ok()?);
        let meta = file.metadata().ok()?;
        if !meta.is_file() || meta.len() != Segments::encoded_len(len) {
            return None;
        }
        let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).ok()?);
        file.take(meta.len()).read_to_end(&mut bytes).ok()?;
        Segments::decode(&bytes, len, hash)
    }

    /// Keep the segments beside their blob. Not synced: they are checked when they are read.
    pub fn keep_segments(&self, hash: &Hash, segments: &Segments) -> io::Result<()> {
        let shard = self.shard_dir(hash.as_bytes()[0])?;
        let tmp = self.path("tmp").join(unique("segments"));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(CWD, &tmp, flags, Mode::RUSR)?);
        let renamed = file
            .write_all(&segments.encode())
            .and_then(|()| Ok(rustix::fs::renameat(CWD, &tmp, &shard, beside(hash))?));
        if renamed.is_err() {
            let _ = fs::remove_file(&tmp);
        }
        renamed
    }

    /// Every name in a shard.
    pub fn shard(&self, shard: u8) -> io::Result<Vec<Entry>> {
        let dir = match self.shard_dir(shard) {
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(vec![Entry::Unknown]),
            dir => dir?,
        };
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&dir)? {
            let entry = entry?;
            let name = entry.file_name().to_str().unwrap_or("?");
            if matches!(name, "." | "..") {
                continue;
            }
            let (stem, segments) = name.strip_suffix(".seg").map_or((name, false), |stem| (stem, true));
            entries.push(match Hash::from_hex(stem) {
                // Only the spelling we write: upper case digits would be a second name of one blob.
                Ok(hash) if hash.as_bytes()[0] == shard && hash.to_hex().as_str() == stem => {
                    if segments {
                        Entry::Segments(hash)
                    } else {
                        Entry::Blob(hash)
                    }
                }
                _ => Entry::Unknown,
            });
        }
        Ok(entries)
    }

    /// Open the directory of a shard. What is no directory is [`Errno::NOTDIR`], or [`Errno::LOOP`]: a symlink too.
    fn shard_dir(&self, shard: u8) -> rustix::io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.b3, format!("{shard:02x}"), flags, Mode::empty())?.into())
    }

    /// Open the directory of a shard, making it where there is none.
    fn make_shard(&self, shard: u8) -> io::Result<File> {
        match self.shard_dir(shard) {
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR | Errno::LOOP) => drop(self.set_shard_aside(shard)?),
            result => return Ok(result?),
        }
        match rustix::fs::mkdirat(&self.b3, format!("{shard:02x}"), Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Ok(self.shard_dir(shard)?),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether something that is no directory is at a shard's place. A symlink is none.
    pub fn is_odd(&self, shard: u8) -> io::Result<bool> {
        match rustix::fs::statat(&self.b3, format!("{shard:02x}"), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) != FileType::Directory),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Move what is at a shard's place and is no directory to `quarantine/`; whether there was such a thing. Call it with the index
    /// locked for writing, as everything that links or moves blobs: else it could take the directory that somebody made meanwhile.
    pub fn set_shard_aside(&self, shard: u8) -> io::Result<bool> {
        if !self.is_odd(shard)? {
            return Ok(false);
        }
        let name = format!("{shard:02x}");
        let target = self.path("quarantine").join(unique(&name));
        rustix::fs::renameat_with(&self.b3, &name, CWD, target, RenameFlags::NOREPLACE)?;
        log::warn!(event = "shard_set_aside", shard = name.as_str(); "it is no directory of the CAS's own");
        Ok(true)
    }
}

/// A name no other process picks.
pub(super) fn unique(stem: &str) -> String {
    let mut random = [0_u8; 8];
    // The pool is ready long before a server starts; were it not, `EXCL` and `NOREPLACE` still refuse a name in use.
    let _ = rustix::rand::getrandom(&mut random[..], rustix::rand::GetRandomFlags::empty());
    format!("{stem}.{:016x}", u64::from_ne_bytes(random))
}

/// Refuse what another user may write.
fn only_ours(path: &Path) -> Result<(), CasError> {
    let meta = path.symlink_metadata().map_err(|error| CasError::io("cannot stat", path, error))?;
    let me = rustix::process::geteuid().as_raw();
    let refuse = |why: String| Err(CasError::Unsafe { path: path.to_owned(), why });
    if meta.uid() != me && meta.uid() != 0 {
        return refuse(format!("belongs to user {}, who could change what is served; this is user {me}", meta.uid()));
    }
    if !meta.is_symlink() && meta.mode() & 0o022 != 0 {
        return refuse(format!("other users may write it (mode {:04o}); chmod go-w", meta.mode() & 0o7777));
    }
    Ok(())
}

/// The name of a blob's segments in its shard. The blob's own is its hash.
fn beside(hash: &Hash) -> String {
    format!("{}.seg", hash.to_hex())
}

fn link_nameless(file: &File, dir: impl AsFd, name: &Path) -> rustix::io::Result<()> {
    use std::os::fd::AsRawFd;
    rustix::fs::linkat(CWD, format!("/proc/self/fd/{}", file.as_raw_fd()), dir, name, AtFlags::SYMLINK_FOLLOW)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_blob_is_written_and_linked_the_same_way_where_nameless_files_are_missing() {
        let tree = tempfile::tempdir().unwrap();
        let mut dir = CasDir::open(tree.path()).unwrap();
        for nameless in [dir.nameless, false] {
            dir.nameless = nameless;
            let data = format!("nameless: {nameless}");
            let hash = blake3::hash(data.as_bytes());
            let tmp = dir.create().unwrap();
            tmp.file.write_all_at(data.as_bytes(), 0).unwrap();
            assert!(dir.link(&tmp, &hash).unwrap());
            assert!(!dir.link(&tmp, &hash).unwrap(), "there already");
            drop(tmp);
            let Found::Open(file, meta) = dir.open_blob(&hash).unwrap() else { panic!("absent") };
            assert_eq!((io::read_to_string(&*file).unwrap(), meta.nlink()), (data, 1));
            assert_eq!(fs::read_dir(dir.path("tmp")).unwrap().count(), 0, "no leftover");
        }
    }

    #[test]
    fn a_directory_that_others_may_write_is_refused_with_one_line() {
        let tree = tempfile::tempdir().unwrap();
        CasDir::open(tree.path()).unwrap();
        for (name, mode) in [("", 0o720), ("", 0o702), ("b3", 0o770), ("manifests", 0o777)] {
            let path = tree.path().join(name);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let Err(error) = CasDir::open(tree.path()) else { panic!("{name} {mode:o} was accepted") };
            assert!(matches!(error, CasError::Unsafe { .. }), "{error}");
            assert!(error.to_string().contains(&format!("{mode:04o}")) && !error.to_string().contains('\n'), "{error}");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        }
        CasDir::open(tree.path()).unwrap();
    }

    #[test]
    fn the_tree_is_0700_and_its_own() {
        let tree = tempfile::tempdir().unwrap();
        let root = tree.path().join("a/b");
        CasDir::open(&root).unwrap();
        for name in ["", "b3", "quarantine", "manifests", "tmp"] {
            assert_eq!(root.join(name).metadata().unwrap().mode() & 0o7777, 0o700, "{name}");
        }
    }
}
