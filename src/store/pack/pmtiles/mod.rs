//! PMTiles v3: one file of tiles, found through a tree of directories.
//!
//! A tile costs a search of the root directory (kept), one of a leaf directory (cached, bounded), and one `pread`. Every
//! count, offset and length is checked against its section and the file before anything is allocated or read.

pub mod directory;
mod gate;
pub mod header;
pub mod id;

use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use self::directory::{Directory, Entry};
use self::gate::Gate;
use self::header::Header;
use super::file::PackFile;
use super::metadata::{self, Metadata};
use super::tile::{self, Tile};
use crate::conf::Verify;
use crate::rules::encoding::Coding;
use crate::rules::tile::TileId;
use crate::rules::tilejson::Facts;
use crate::store::decode::{self, Caps};
use crate::store::{StoreError, Window};

/// How many leaf directories may lie between the root and a tile. Writers make one level; what is deeper is a cycle.
pub const MAX_DEPTH: usize = 4;

/// Memory of decoded leaf directories, in bytes, for one archive. A planet's leaf has about 600 KiB decoded.
const LEAVES_BYTES: u64 = 64 << 20;

/// Locks that share the leaves. A directory heavier than one share isn't kept, so a share holds two of the largest.
const LEAVES_SHARDS: usize = 4;
const _: () = assert!(LEAVES_BYTES / LEAVES_SHARDS as u64 > 2 * directory::MAX_ENTRIES * size_of::<Entry>() as u64);

/// Directories that are decoded at the same time in the whole process: each takes up to 20 MiB until it is.
static DECODERS: Gate = Gate::new(8);

type Leaves = Cache<(u64, u32), Arc<Directory>, ByBytes>;

/// A PMTiles archive, open.
pub struct PmTiles {
    file: Arc<PackFile>,
    header: Header,
    root: Directory,
    facts: Facts,
    leaves: Leaves,
}

impl PmTiles {
    /// Open the archive in `file`. Header and root directory are always read, as nothing can be served without them;
    /// [`Verify::None`] skips the check that all sections lie within the file, and takes unreadable metadata for none.
    pub fn open(file: PackFile, verify: Verify) -> Result<Self, StoreError> {
        let start = file.read(0, usize::try_from(file.len()).unwrap_or(usize::MAX).min(header::LEN))?;
        let header = Header::parse(&start)?;
        if verify != Verify::None {
            header.check_length(file.len())?;
        }
        let root = read_directory(&file, header.root.place(0, header.root.length)?, header.internal_compression)?;
        let metadata = match read_metadata(&file, &header) {
            Err(error) if verify == Verify::None => {
                log::warn!("metadata of an unverified pack left out: {error}");
                Metadata::default()
            }
            result => result?,
        };
        let options = OptionsBuilder::new()
            .shards(LEAVES_SHARDS)
            .weight_capacity(LEAVES_BYTES)
            .estimated_items_capacity(256)
            .build()
            .map_err(|error| StoreError::Io(std::io::Error::other(error)))?;
        let leaves = Cache::with_options(options, ByBytes, DefaultHashBuilder::default(), DefaultLifecycle::default());
        Ok(Self { facts: facts(&header, metadata), file: Arc::new(file), header, root, leaves })
    }

    /// The tile at an address. Blocks on the disk.
    pub fn tile(&self, address: TileId) -> Result<Tile, StoreError> {
        if !(self.header.min_zoom..=self.header.max_zoom).contains(&address.z()) {
            return Ok(Tile::OutsideZoom);
        }
        let Some(entry) = self.locate(id::encode(address))? else {
            return Ok(Tile::Absent);
        };
        let bytes = self.read_tile(&entry)?;
        // After the read, so that what was written before it shows.
        self.file.check()?;
        let modified = self.file.stamp().modified();
        tile::object(bytes, self.header.tile_compression, self.header.tile_type, modified).map(Tile::Found)
    }

    /// The file, for the raw archive.
    pub fn file(&self) -> &Arc<PackFile> {
        &self.file
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The root directory.
    pub fn root(&self) -> &Directory {
        &self.root
    }

    /// What the archive says of itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The JSON metadata as it stands in the archive, decoded; empty where there is none.
    pub fn metadata_json(&self) -> Result<bytes::Bytes, StoreError> {
        metadata_json(&self.file, &self.header)
    }

    /// Read the leaf directory that an entry points to, past the cache.
    pub fn read_leaf(&self, entry: &Entry) -> Result<Directory, StoreError> {
        let place = self.header.leaves.place(entry.offset, u64::from(entry.length))?;
        read_directory(&self.file, place, self.header.internal_compression)
    }

    /// Read the bytes that an entry points to, as they are stored.
    pub fn read_tile(&self, entry: &Entry) -> Result<Vec<u8>, StoreError> {
        if u64::from(entry.length) > tile::MAX_LEN {
            return Err(StoreError::TooLarge("a tile of more than 16 MiB".into()));
        }
        let place = self.header.tiles.place(entry.offset, u64::from(entry.length))?;
        self.file.read(place.start, entry.length as usize)
    }

    /// The entry of a tile, through at most [`MAX_DEPTH`] leaf directories: one that points to itself ends there.
    fn locate(&self, id: u64) -> Result<Option<Entry>, StoreError> {
        let mut found = self.root.find(id).copied();
        for _ in 0..MAX_DEPTH {
            match found {
                Some(entry) if entry.is_leaf() => found = self.leaf(&entry)?.find(id).copied(),
                other => return Ok(other),
            }
        }
        match found {
            Some(entry) if entry.is_leaf() => Err(StoreError::Corrupt("leaf directories more than 4 deep".into())),
            other => Ok(other),
        }
    }

    /// A leaf directory, decoded once however many ask for it at the same time.
    fn leaf(&self, entry: &Entry) -> Result<Arc<Directory>, StoreError> {
        self.leaves.get_or_insert_with(&(entry.offset, entry.length), || self.read_leaf(entry).map(Arc::new))
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<(u64, u32), Arc<Directory>> for ByBytes {
    fn weight(&self, _: &(u64, u32), directory: &Arc<Directory>) -> u64 {
        directory.weight()
    }
}

fn read_directory(file: &PackFile, place: std::ops::Range<u64>, compression: Coding) -> Result<Directory, StoreError> {
    let length = place.end - place.start;
    if length > directory::MAX_BYTES {
        return Err(StoreError::TooLarge("a directory of more than 4 MiB".into()));
    }
    let _pass = DECODERS.enter();
    let bytes = file.read(place.start, length as usize)?;
    let caps = Caps { ratio: u32::MAX, bytes: directory::MAX_BYTES };
    Directory::parse(&decode::decode(compression, &bytes, caps)?)
}

fn metadata_json(file: &PackFile, header: &Header) -> Result<bytes::Bytes, StoreError> {
    let section = header.metadata;
    if section.length == 0 {
        return Ok(bytes::Bytes::new());
    }
    let too_large = || StoreError::TooLarge("metadata of more than 4 MiB".into());
    if section.length > metadata::MAX_BYTES {
        return Err(too_large());
    }
    let bytes = file.read(section.offset, section.length as usize)?;
    let caps = Caps { ratio: u32::MAX, bytes: metadata::MAX_BYTES };
    decode::decode(header.internal_compression, &bytes, caps).map_err(|error| match error {
        StoreError::TooLarge(_) => too_large(),
        error => error,
    })
}

fn read_metadata(file: &PackFile, header: &Header) -> Result<Metadata, StoreError> {
    match metadata_json(file, header)? {
        // The specification asks for an object; writers that have nothing to say leave it out.
        json if json.is_empty() => Ok(Metadata::default()),
        json => Metadata::parse(&json),
    }
}

fn facts(header: &Header, metadata: Metadata) -> Facts {
    Facts {
        name: metadata.name,
        description: metadata.description,
        attribution: metadata.attribution,
        version: metadata.version,
        bounds: header.bounds_degrees(),
        center: header.center_degrees(),
        min_zoom: header.min_zoom,
        max_zoom: header.max_zoom,
        tile_type: header.tile_type,
        vector_layers: metadata.vector_layers,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::io::Write;
    use std::sync::Barrier;

    use super::*;
    use crate::rules::tile::TileType;
    use header::Section;

    /// An archive whose one leaf directory is as large as a directory may be.
    fn archive_of_a_large_leaf(path: &std::path::Path) {
        let entries: Vec<_> =
            (0..directory::MAX_ENTRIES).map(|id| Entry { id: id * 2, offset: 0, length: 5, run: 1 }).collect();
        let leaf = Directory::encode(&entries);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&leaf).unwrap();
        let leaf = encoder.finish().unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder
            .write_all(&Directory::encode(&[Entry { id: 0, offset: 0, length: leaf.len() as u32, run: 0 }]))
            .unwrap();
        let root = encoder.finish().unwrap();
        let at = header::LEN as u64 + root.len() as u64;
        let header = Header {
            root: Section { offset: header::LEN as u64, length: root.len() as u64 },
            metadata: Section::default(),
            leaves: Section { offset: at, length: leaf.len() as u64 },
            tiles: Section { offset: at + leaf.len() as u64, length: 5 },
            addressed_tiles: 0,
            tile_entries: 0,
            tile_contents: 0,
            clustered: true,
            internal_compression: Coding::Gzip,
            tile_compression: Some(Coding::Identity),
            tile_type: TileType::Mvt,
            min_zoom: 0,
            max_zoom: 30,
            bounds: [0; 4],
            center_zoom: 0,
            center: [0; 2],
        };
        std::fs::write(path, [&header.encode()[..], &root, &leaf, b"\x1atile"].concat()).unwrap();
    }

    #[test]
    fn the_largest_leaf_is_decoded_once_for_all_who_ask_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pack");
        archive_of_a_large_leaf(&path);
        let archive = PmTiles::open(PackFile::open(&path).unwrap(), Verify::Header).unwrap();
        let entry = *archive.root().find(0).unwrap();
        let barrier = Barrier::new(16);
        let leaves: Vec<_> = std::thread::scope(|scope| {
            let ask = || {
                barrier.wait();
                archive.leaf(&entry).unwrap()
            };
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(leaves.iter().all(|leaf| Arc::ptr_eq(leaf, &leaves[0])), "decoded more than once");
        assert!(Arc::ptr_eq(&archive.leaf(&entry).unwrap(), &leaves[0]), "not kept");
        assert!(matches!(archive.tile(TileId::new(0, 0, 0).unwrap()), Ok(Tile::Found(_))));
    }
}
