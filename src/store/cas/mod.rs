//! The content-addressed store: blobs named by the BLAKE3 of their bytes, and an index from path to blob.
//!
//! A blob is verified against its name before its first byte is served: a small one whole, a large one by segments. What fails
//! is quarantined. Blobs are written without a name, linked when they are whole, and only then indexed, so a crash leaves
//! nothing but a blob that no object names, which [`Cas::gc`] and the housekeeping remove. Several processes may share a directory.
//!
//! Everything here may block on a disk: call it off a worker thread, but for [`Cas::stamp`], [`Cas::holds`], [`Cas::touch`],
//! [`Cas::writable`] and [`BlobHasher`].

mod blobs;
mod commit;
mod dir;
mod error;
mod filled;
mod gc;
mod housekeep;
mod import;
mod index;
mod key;
mod large;
mod manifest;
mod memory;
mod regular;
mod remove;
mod segments;
mod stamp;
#[cfg(test)]
mod tests;
mod together;
mod types;
mod verify;
mod walk;
mod write;

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use blake3::Hash;
use quick_cache::Weighter;

pub use commit::Put;
pub use error::CasError;
pub use housekeep::Recency;
pub use import::ImportOptions;
pub use key::{KeyParts, filled_key, path_of, unvaried, variant_key};
pub use stamp::Stamp;
pub use types::*;
pub use write::{BlobHasher, BlobWriter, Staged};

use crate::conf::{CasBacking, CasConf, Durability};
use crate::observe::faults;
use crate::rules::encoding::Coding;
use crate::store::{Body, Object, Store, StoreError, Window};
use blobs::{Blobs, Found, Id};
use dir::CasDir;
use index::Index;
use large::LargeBlob;
use memory::Memory;
use segments::SEGMENT;

/// Bytes of RAM for the segments of open large blobs.
const HANDLES_BYTES: u64 = 64 * 1024 * 1024;

/// A content-addressed store. Clones are the same store.
#[derive(Clone)]
pub struct Cas {
    inner: Arc<Inner>,
}

struct Inner {
    blobs: Blobs,
    /// The directory; none for a store in memory.
    dir: Option<Arc<CasDir>>,
    index: Index,
    /// Open large blobs.
    handles: quick_cache::sync::Cache<[u8; 32], Arc<LargeBlob>, HandleWeight>,
    max_bytes: AtomicU64,
    max_objects: AtomicU64,
    durable: AtomicBool,
    writable: AtomicBool,
    /// Seconds since 1970, as of the last housekeeping.
    clock: AtomicU32,
    /// Uses not yet written to the index.
    uses: Mutex<Vec<(Arc<str>, u32)>>,
    /// The next shard that the housekeeping looks at for leftovers; 256 when it is through.
    gc_next: AtomicU32,
    /// Seconds that gc spares what nothing names.
    young: i64,
    /// Whether the log says already that nothing more can be evicted.
    full: AtomicBool,
}

/// A handle weighs its share of the RAM bound, and at least its share of the file descriptors.
#[derive(Clone)]
struct HandleWeight {
    least: u64,
}

impl Weighter<[u8; 32], Arc<LargeBlob>> for HandleWeight {
    fn weight(&self, _: &[u8; 32], blob: &Arc<LargeBlob>) -> u64 {
        blob.weight().max(self.least)
    }
}

impl Cas {
    /// Open the store that `conf` describes, making its directory where needed. A directory that another user may write is an
    /// error; a damaged index is not.
    pub fn open(conf: &CasConf) -> Result<Self, CasError> {
        faults::arm().map_err(|why| CasError::Refused(why.into()))?;
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20);
        let (dir, blobs) = match conf.store {
            CasBacking::Disk => {
                let dir = Arc::new(CasDir::open(&conf.dir)?);
                (Some(dir.clone()), Blobs::Disk(dir))
            }
            CasBacking::Memory => (None, Blobs::Memory(Memory::default())),
        };
        let index = Index::open(dir.clone())?;
        let handles = (files / 8).clamp(16, 4096);
        let weight = HandleWeight { least: HANDLES_BYTES / handles };
        let inner = Inner {
            writable: AtomicBool::new(blobs.writable()),
            blobs,
            dir,
            index,
            handles: quick_cache::sync::Cache::with_weighter(handles as usize, HANDLES_BYTES, weight),
            max_bytes: AtomicU64::default(),
            max_objects: AtomicU64::default(),
            durable: AtomicBool::default(),
            clock: AtomicU32::new(0),
            uses: Mutex::default(),
            gc_next: AtomicU32::new(0),
            young: gc::YOUNG,
            full: AtomicBool::new(false),
        };
        inner.tick();
        inner.set_bounds(conf);
        // They are refused where they stand; on a disk that can't be written they stay.
        if let Err(error) = inner.set_odd_shards_aside() {
            log::warn!(event = "shard_set_aside", cause = error.to_string().as_str(); "could not be done");
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// From now on, keep the bounds of `conf`, and sync fills as it says. Where blobs are is what it was when the store was opened. What is
    /// above a lower bound goes with the next housekeeping.
    pub fn set_bounds(&self, conf: &CasConf) {
        self.inner.set_bounds(conf);
    }

    /// The blob of a hash, whatever paths name it; its media type is `application/octet-stream`.
    pub fn blob(&self, hash: &Hash) -> Result<Option<Object>, StoreError> {
        let body = self.inner.body(hash)?;
        Ok(body.map(|body| object(body, *hash, None, Cow::Borrowed("application/octet-stream"), Coding::Identity)))
    }

    /// The object of a row, with its verified body. `None` where the row is gone, or names another blob by now: look for the key anew.
    pub fn object(&self, info: &ObjectInfo) -> Result<Option<Object>, StoreError> {
        // A row whose blob is gone was replaced a moment ago, or is left over: the second look tells.
        for last in [false, true] {
            if let Some(body) = self.inner.body(&info.hash)? {
                self.inner.used(info);
                let content_type = Cow::Owned(info.content_type.clone());
                return Ok(Some(object(body, info.hash, info.last_modified, content_type, info.coding)));
            }
            if self.info(&info.path)?.is_none_or(|now| now.hash != info.hash) {
                return Ok(None);
            }
            if last {
                self.inner.forget(&info.hash)?;
            }
        }
        Ok(None)
    }

    /// Whether blobs could be written when the housekeeping last looked. One load.
    pub fn writable(&self) -> bool {
        self.inner.writable.load(Ordering::Relaxed)
    }

    /// What the index says of `key`, without touching the blob.
    pub fn info(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        self.inner.index.read(|connection| index::get(connection, key))
    }

    /// Call `each` with every object below `prefix` (empty for all) in the order of paths, until it breaks. Holds a page of
    /// rows, not all of them, and no lock.
    pub fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectInfo) -> ControlFlow<()>) -> Result<(), CasError> {
        let prefix = key::prefix(prefix).map_err(commit::refused)?;
        self.inner.index.leave(self.inner.list(prefix, each)).map_err(Into::into)
    }

    /// Sizes, counts and ages. Reads every row.
    pub fn stat(&self) -> Result<Stat, StoreError> {
        let mut stat = self.inner.index.leave(self.inner.index.read(index::stat))?;
        if let Some(dir) = &self.inner.dir {
            stat.quarantined = std::fs::read_dir(dir.path("quarantine"))?.count() as u64;
        }
        Ok(stat)
    }
}

impl Store for Cas {
    fn name(&self) -> &str {
        "cas"
    }

    fn head(&self, key: &str) -> Result<Option<Object>, StoreError> {
        // Replaced between the look at the row and the look for its blob, the second row is another.
        for _ in 0..2 {
            let Some(info) = self.info(key)? else { return Ok(None) };
            if let Some(object) = self.object(&info)? {
                return Ok(Some(object));
            }
        }
        Ok(None)
    }
}

fn object(
    body: Body,
    hash: Hash,
    last_modified: Option<std::time::SystemTime>,
    content_type: Cow<'static, str>,
    coding: Coding,
) -> Object {
    let etag = format!("\"b3:{}\"", hash.to_hex()).into();
    Object { body, etag, hash: Some(hash), last_modified, content_type, coding }
}

impl Inner {
    fn set_bounds(&self, conf: &CasConf) {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20);
        // Each blob in memory holds a descriptor: half of them are for connections.
        let objects = if self.blobs.is_memory() { conf.max_objects.min(files / 2) } else { conf.max_objects };
        self.max_objects.store(objects, Ordering::Relaxed);
        self.max_bytes.store(conf.max_bytes, Ordering::Relaxed);
        self.durable.store(conf.durability == Durability::Fsync, Ordering::Relaxed);
    }

    /// Bound on allocated bytes of blobs.
    fn max_bytes(&self) -> u64 {
        self.max_bytes.load(Ordering::Relaxed)
    }

    /// Bound on objects in the index.
    fn max_objects(&self) -> u64 {
        self.max_objects.load(Ordering::Relaxed)
    }

    /// Whether fills are synced.
    fn durable(&self) -> bool {
        self.durable.load(Ordering::Relaxed)
    }

    /// What is at a shard's place and is no directory would stay in the way of its blobs for ever.
    fn set_odd_shards_aside(&self) -> Result<(), StoreError> {
        let Some(dir) = &self.dir else { return Ok(()) };
        for shard in 0..=u8::MAX {
            if dir.is_odd(shard)? {
                self.index.write(false, |_| Ok(dir.set_shard_aside(shard)?))?;
            }
        }
        Ok(())
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectInfo) -> ControlFlow<()>) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let page = self.index.read(|connection| index::page(connection, prefix, &after))?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(&last.path);
            for object in page {
                if each(object).is_break() {
                    return Ok(());
                }
            }
        }
    }

    /// The verified body of a blob; `None` where there is none. A bad one is quarantined and is [`StoreError::Corrupt`].
    fn body(self: &Arc<Self>, hash: &Hash) -> Result<Option<Body>, StoreError> {
        faults::stall("cas.read");
        faults::hit("cas.read")?;
        if let Some(blob) = self.handles.get(hash.as_bytes()) {
            if blob.is_linked() && blob.check().is_ok() {
                return Ok(Some(Body::Windowed(blob)));
            }
            self.handles.remove(hash.as_bytes());
        }
        let (file, meta) = match self.blobs.open(hash)? {
            Found::Absent => return Ok(None),
            Found::Refused => return Err(self.corrupt(hash, None, "no regular file at the blob's place")),
            Found::Open(file, meta) => (file, meta),
        };
        let id = Some(Id::of(&meta));
        if meta.len() <= SEGMENT {
            return match large::read_small(&file, &meta, hash)? {
                Some(bytes) => Ok(Some(Body::Whole(bytes.into()))),
                None => Err(self.corrupt(hash, id, "the blob does not hash to its name")),
            };
        }
        match LargeBlob::open(self, hash, file, &meta)? {
            Some(blob) => {
                let blob = Arc::new(blob);
                self.handles.insert(*hash.as_bytes(), blob.clone());
                Ok(Some(Body::Windowed(blob)))
            }
            None => Err(self.corrupt(hash, id, "the blob does not hash to its name")),
        }
    }

    fn corrupt(&self, hash: &Hash, id: Option<Id>, why: &'static str) -> StoreError {
        self.quarantine(hash, id, why);
        StoreError::Corrupt(why.into())
    }
}
