//! Where blobs are: files below a directory, or sealed memfds. The rest of the CAS does not know which.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use blake3::Hash;

use super::dir::{CasDir, Entry};
use super::memory::Memory;
use super::segments::Segments;

/// The blobs of a CAS.
pub(super) enum Blobs {
    Disk(Arc<CasDir>),
    Memory(Memory),
}

/// What is at a blob's place.
pub(super) enum Found {
    /// Nothing.
    Absent,
    /// No regular file. It was neither followed nor waited for.
    Refused,
    /// A regular file, not verified.
    Open(Arc<File>, Metadata),
}

/// A file by the numbers that stay its own as long as it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id {
    dev: u64,
    ino: u64,
}

impl Id {
    pub fn of(meta: &Metadata) -> Self {
        Self { dev: meta.dev(), ino: meta.ino() }
    }
}

/// What is being written. Dropped, it is gone: it has no name, or loses it.
pub(super) struct Tmp {
    pub file: Arc<File>,
    pub name: Option<PathBuf>,
}

impl Drop for Tmp {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            let _ = fs::remove_file(name);
        }
    }
}

/// What linking found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Linked {
    /// The blob is in its place now.
    New,
    /// It was there before.
    Present,
}

impl Blobs {
    pub fn is_memory(&self) -> bool {
        matches!(self, Self::Memory(_))
    }

    pub fn writable(&self) -> bool {
        match self {
            Self::Disk(dir) => dir.writable(),
            Self::Memory(_) => Memory::create().is_ok(),
        }
    }

    pub fn create(&self) -> io::Result<Tmp> {
        match self {
            Self::Disk(dir) => dir.create(),
            Self::Memory(_) => Memory::create(),
        }
    }

    /// Make what was written read-only, and with `durable` wait until the disk has it.
    pub fn seal(&self, tmp: &Tmp, durable: bool) -> io::Result<()> {
        match self {
            Self::Disk(_) => {
                tmp.file.set_permissions(Permissions::from_mode(0o444))?;
                if durable { self.sync(tmp) } else { Ok(()) }
            }
            Self::Memory(_) => Memory::seal(&tmp.file),
        }
    }

    /// Put a sealed blob into its place. Call it with the index locked for writing: gc and eviction remove under that lock.
    pub fn link(&self, tmp: &Tmp, hash: &Hash) -> io::Result<Linked> {
        let new = match self {
            Self::Disk(dir) => dir.link(tmp, hash)?,
            Self::Memory(memory) => memory.link(tmp, hash),
        };
        Ok(if new { Linked::New } else { Linked::Present })
    }

    /// Wait until the disk has a sealed blob.
    pub fn sync(&self, tmp: &Tmp) -> io::Result<()> {
        match self {
            Self::Disk(_) => tmp.file.sync_all(),
            Self::Memory(_) => Ok(()),
        }
    }

    /// Wait until the disk has the names of blobs in these shards.
    pub fn sync_shards(&self, shards: &BTreeSet<u8>) -> io::Result<()> {
        match self {
            Self::Disk(dir) => dir.sync(shards),
            Self::Memory(_) => Ok(()),
        }
    }

    pub fn open(&self, hash: &Hash) -> io::Result<Found> {
        match self {
            Self::Disk(dir) => dir.open_blob(hash),
            Self::Memory(memory) => memory.open_blob(hash),
        }
    }

    /// What is at a blob's place, without opening it.
    pub fn stat(&self, hash: &Hash) -> io::Result<Option<Metadata>> {
        match self {
            Self::Disk(dir) => dir.stat(hash),
            Self::Memory(memory) => match memory.open_blob(hash)? {
                Found::Open(_, meta) => Ok(Some(meta)),
                _ => Ok(None),
            },
        }
    }

    /// Call it with the index locked for writing.
    pub fn remove(&self, hash: &Hash) -> io::Result<()> {
        match self {
            Self::Disk(dir) => dir.remove(hash),
            Self::Memory(memory) => {
                memory.remove(hash);
                Ok(())
            }
        }
    }

    pub fn remove_segments(&self, hash: &Hash) -> io::Result<bool> {
        match self {
            Self::Disk(dir) => dir.remove_segments(hash),
            Self::Memory(_) => Ok(false),
        }
    }

    /// Set a blob aside; `false` where it isn't there, or isn't the file `id` any more.
    /// Call it with the index locked for writing.
    pub fn quarantine(&self, hash: &Hash, id: Option<Id>) -> io::Result<bool> {
        match self {
            Self::Disk(dir) => dir.quarantine(hash, id),
            Self::Memory(memory) => Ok(memory.remove(hash)),
        }
    }

    pub fn segments(&self, hash: &Hash, len: u64) -> Option<Segments> {
        match self {
            Self::Disk(dir) => dir.segments(hash, len),
            Self::Memory(memory) => memory.segments(hash).filter(|segments| segments.len() == len),
        }
    }

    pub fn keep_segments(&self, hash: &Hash, segments: &Segments) -> io::Result<()> {
        match self {
            Self::Disk(dir) => dir.keep_segments(hash, segments),
            Self::Memory(memory) => {
                memory.keep_segments(hash, segments);
                Ok(())
            }
        }
    }

    pub fn shard(&self, shard: u8) -> io::Result<Vec<Entry>> {
        match self {
            Self::Disk(dir) => dir.shard(shard),
            Self::Memory(memory) => Ok(memory.shard(shard).into_iter().map(Entry::Blob).collect()),
        }
    }
}

/// Bytes that a blob takes on its disk.
pub(super) fn allocated(meta: &Metadata) -> u64 {
    meta.blocks() * 512
}
