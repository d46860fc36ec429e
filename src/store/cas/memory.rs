//! Blobs in memory: each a sealed memfd, which nobody can write, shrink or grow any more.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use blake3::Hash;
use rustix::fs::{MemfdFlags, SealFlags};

use super::blobs::{Found, Tmp};
use super::segments::Segments;

/// The blobs of a store that lives as long as its process. Each holds one file descriptor.
#[derive(Default)]
pub(super) struct Memory {
    blobs: RwLock<HashMap<[u8; 32], Blob>>,
}

struct Blob {
    file: Arc<File>,
    segments: Option<Segments>,
}

impl Memory {
    /// A memfd to write a blob into.
    pub fn create() -> io::Result<Tmp> {
        let file = rustix::fs::memfd_create("blob", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        Ok(Tmp { file: Arc::new(file.into()), name: None })
    }

    /// Forbid every later change, this process's included.
    pub fn seal(file: &File) -> io::Result<()> {
        // Not `WRITE`: that one waits for whoever reads at this moment, and a blob that is being filled has readers (EBUSY). It differs only in
        // writable mappings that exist already, and there are none.
        let seals = SealFlags::FUTURE_WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        Ok(rustix::fs::fcntl_add_seals(file, seals)?)
    }

    /// Take a sealed blob in; `false` where it is there already.
    pub fn link(&self, tmp: &Tmp, hash: &Hash) -> bool {
        let mut blobs = self.write();
        let vacant = !blobs.contains_key(hash.as_bytes());
        if vacant {
            blobs.insert(*hash.as_bytes(), Blob { file: tmp.file.clone(), segments: None });
        }
        vacant
    }

    pub fn open_blob(&self, hash: &Hash) -> io::Result<Found> {
        match self.read().get(hash.as_bytes()) {
            Some(blob) => Ok(Found::Open(blob.file.clone(), blob.file.metadata()?)),
            None => Ok(Found::Absent),
        }
    }

    /// Take a blob out; whether it was there. Whoever reads it holds its descriptor.
    pub fn remove(&self, hash: &Hash) -> bool {
        self.write().remove(hash.as_bytes()).is_some()
    }

    pub fn segments(&self, hash: &Hash) -> Option<Segments> {
        self.read().get(hash.as_bytes())?.segments.clone()
    }

    pub fn keep_segments(&self, hash: &Hash, segments: &Segments) {
        if let Some(blob) = self.write().get_mut(hash.as_bytes()) {
            blob.segments = Some(segments.clone());
        }
    }

    /// The blobs whose hash begins with `shard`.
    pub fn shard(&self, shard: u8) -> Vec<Hash> {
        self.read().keys().filter(|hash| hash[0] == shard).map(|hash| Hash::from_bytes(*hash)).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<[u8; 32], Blob>> {
        self.blobs.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<[u8; 32], Blob>> {
        self.blobs.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_sealed_blob_can_be_neither_written_nor_cut_nor_grown() {
        let tmp = Memory::create().unwrap();
        tmp.file.write_all_at(b"abc", 0).unwrap();
        Memory::seal(&tmp.file).unwrap();
        assert!(tmp.file.write_all_at(b"x", 0).is_err());
        assert!(tmp.file.write_all_at(b"x", 3).is_err());
        assert!(tmp.file.set_len(1).is_err());
        assert_eq!(tmp.file.metadata().unwrap().len(), 3);
    }
}
