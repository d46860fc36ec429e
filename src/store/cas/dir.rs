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
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::blobs::{Found, Id, Tmp};
use super::error::CasError;
use super::segments::Segments;

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
        self.create().is_ok_and(|tmp| tmp.file.write_all_at(&[0; 4096], 0).is_ok())
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
        let name = place(hash);
        let attempt = || match &tmp.name {
            None => link_nameless(&tmp.file, self.b3.as_fd(), Path::new(&name)),
            Some(path) => rustix::fs::linkat(CWD, path, &self.b3, &name, AtFlags::empty()),
        };
        match attempt() {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(&self.b3, &name[..2], Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                attempt().map(|()| true).map_err(Into::into)
            }
            Err(Errno::EXIST) => Ok(false),
            result => result.map(|()| true).map_err(Into::into),
        }
    }

    /// Sync the shards' directories, and the one above them: what was linked before survives a power cut.
    pub fn sync(&self, shards: &BTreeSet<u8>) -> io::Result<()> {
        for shard in shards {
            self.shard_dir(*shard)?.sync_all()?;
        }
        self.b3.sync_all()
    }

    /// Open what is at a blob's place, if it is a regular file.
    pub fn open_blob(&self, hash: &Hash) -> io::Result<Found> {
        let name = place(hash);
        let shard = match self.shard_dir(hash.as_bytes()[0]) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Absent),
            shard => shard?,
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&shard, &name[3..], flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(Found::Absent),
            // A symlink; a socket or a device without a driver.
            Err(Errno::LOOP | Errno::NXIO | Errno::NODEV) => return Ok(Found::Refused),
            Err(error) => return Err(error.into()),
        };
        let meta = file.metadata()?;
        Ok(if meta.is_file() { Found::Open(Arc::new(file), meta) } else { Found::Refused })
    }

    /// What is at a blob's place, without opening it.
    pub fn stat(&self, hash: &Hash) -> io::Result<Option<Metadata>> {
        match rustix::fs::openat(
            &self.b3,
            place(hash),
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        ) {
            Ok(file) => File::from(file).metadata().map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Remove a blob and its segments. That it is gone already is no error.
    pub fn remove(&self, hash: &Hash) -> io::Result<()> {
        let _ = self.remove_name(&beside(hash));
        self.remove_name(&place(hash)).map(drop)
    }

    /// Remove the segments of a blob that isn't there; whether there were any.
    pub fn remove_segments(&self, hash: &Hash) -> io::Result<bool> {
        self.remove_name(&beside(hash))
    }

    fn remove_name(&self, name: &str) -> io::Result<bool> {
        match rustix::fs::unlinkat(&self.b3, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Move what is at a blob's place to `quarantine/`. `false` where it is gone, or is not the inode `id` any more.
    pub fn quarantine(&self, hash: &Hash, id: Option<Id>) -> io::Result<bool> {
        match self.stat(hash)? {
            Some(meta) if id.is_none_or(|id| id == Id::of(&meta)) => {}
            _ => return Ok(false),
        }
        let target = self.path("quarantine").join(unique(&hash.to_hex()));
        rustix::fs::renameat_with(&self.b3, place(hash), CWD, target, RenameFlags::NOREPLACE)?;
        let _ = self.remove_name(&beside(hash));
        Ok(true)
    }

    /// The segments kept beside a blob of `len` bytes; `None` where there are none, or they aren't this blob's.
    pub fn segments(&self, hash: &Hash, len: u64) -> Option<Segments> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.b3, beside(hash), flags, Mode::empty()).ok()?);
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
        let name = beside(hash);
        let tmp = self.path("tmp").join(unique("segments"));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(CWD, &tmp, flags, Mode::RUSR)?);
        let renamed = file.write_all(&segments.encode()).and_then(|()| {
            match rustix::fs::mkdirat(&self.b3, &name[..2], Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            Ok(rustix::fs::renameat(CWD, &tmp, &self.b3, &name)?)
        });
        if renamed.is_err() {
            let _ = fs::remove_file(&tmp);
        }
        renamed
    }

    /// Every name in a shard.
    pub fn shard(&self, shard: u8) -> io::Result<Vec<Entry>> {
        let dir = match self.shard_dir(shard) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
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

    fn shard_dir(&self, shard: u8) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.b3, format!("{shard:02x}"), flags, Mode::empty())?.into())
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

/// `xx/<64 hex>`, below `b3`.
fn place(hash: &Hash) -> String {
    let hex = hash.to_hex();
    format!("{}/{hex}", &hex[..2])
}

fn beside(hash: &Hash) -> String {
    place(hash) + ".seg"
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
