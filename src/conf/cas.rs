//! `edge.cas`: the content-addressed store.

use std::path::PathBuf;

use super::read::Reader;
use super::value::{Choice, number, size};

/// Where blobs live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CasBacking {
    /// Files below `dir`.
    Disk,
    /// Sealed memfds: nothing survives the process.
    Memory,
}

/// When a written blob is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Not synced: a torn blob fails its hash when it is loaded.
    Verify,
    /// fsync of file and directory before the index names it.
    Fsync,
}

/// The content-addressed store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CasConf {
    /// Directory of blobs, quarantine and index.
    pub dir: PathBuf,
    /// Bound on allocated bytes of blobs.
    pub max_bytes: u64,
    /// Bound on objects in the index.
    pub max_objects: u64,
    /// Bound on the hot set in RAM (tiles, small blobs, decoded bodies), in bytes.
    pub memory_bytes: u64,
    /// Disk or memory.
    pub store: CasBacking,
    /// When writes other than imports are synced; imports always are.
    pub durability: Durability,
}

impl Choice for CasBacking {
    const ALL: &'static [(&'static str, CasBacking)] = &[("disk", CasBacking::Disk), ("memory", CasBacking::Memory)];
}

impl Choice for Durability {
    const ALL: &'static [(&'static str, Durability)] = &[("verify", Durability::Verify), ("fsync", Durability::Fsync)];
}

/// Read the section, but for the lock file, which is no business of the store's.
pub(super) fn parse(r: &mut Reader) -> Option<CasConf> {
    let dir = r.path("edge.cas.dir");
    let max_bytes = r.get("edge.cas.max_bytes", size);
    let max_objects = r.get("edge.cas.max_objects", number);
    let memory_bytes = r.get("edge.cas.memory_bytes", size);
    let store = r.choice("edge.cas.store");
    let durability = r.choice("edge.cas.durability");
    if (store, durability) == (Some(CasBacking::Memory), Some(Durability::Fsync)) {
        let what = "is `fsync`, and `edge.cas.store` is `memory`, which has nothing to sync; allowed: `verify`";
        r.contradiction("edge.cas.durability", what);
    }
    Some(CasConf {
        dir: dir?,
        max_bytes: max_bytes?,
        max_objects: max_objects?,
        memory_bytes: memory_bytes?,
        store: store?,
        durability: durability?,
    })
}
