//! Conf: raw YAML (strict) → checked once. A component takes its own small struct from here, not the whole.

use std::path::PathBuf;

/// How much of a pack is read before it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Nothing beyond opening it.
    None,
    /// Header, metadata and root directory.
    Header,
    /// Every directory, entry and tile.
    Full,
}

/// What a tile that is absent answers; the default follows the tile type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingTile {
    /// 204 for vector, 404 for raster.
    Auto,
    /// 204 No Content.
    NoContent,
    /// 404 Not Found.
    NotFound,
}

/// One pack to mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackConf {
    /// The archive: `.pmtiles` or `.mbtiles`.
    pub path: PathBuf,
    /// Its name in URLs: 1–64 of `[A-Za-z0-9._-]`, no leading dot.
    pub name: String,
    /// What is verified at mount.
    pub verify: Verify,
    /// What an absent tile answers.
    pub missing_tile: MissingTile,
}

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
    /// Bound on the hot set in RAM, in bytes.
    pub memory_bytes: u64,
    /// Disk or memory.
    pub store: CasBacking,
    /// When writes are synced.
    pub durability: Durability,
}
