//! The header of a PMTiles archive (v3 §3): 127 bytes, little-endian, and the checks of its sections.

use std::borrow::Cow;
use std::ops::Range;

use crate::rules::encoding::Coding;
use crate::rules::tile::{TileId, TileType};
use crate::store::StoreError;

/// Length of a header in bytes.
pub const LEN: usize = 127;

/// The root directory ends within this many bytes of the archive's start, so that one read fetches it with the header.
pub const ROOT_END: u64 = 16 << 10;

/// What every PMTiles archive begins with, whatever its version.
pub const MAGIC: &[u8; 7] = b"PMTiles";

/// The one version that is read.
const VERSION: u8 = 3;

/// A parsed header. Its sections are checked against each other and against overflow, and by [`Header::check_length`]
/// against the length of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The root directory.
    pub root: Section,
    /// The JSON metadata.
    pub metadata: Section,
    /// All leaf directories; entries point into it by offsets from its start.
    pub leaves: Section,
    /// All tiles; entries point into it by offsets from its start.
    pub tiles: Section,
    /// Tiles that have an answer, each of a run counted; 0 where unknown.
    pub addressed_tiles: u64,
    /// Entries of all directories that point to tiles; 0 where unknown.
    pub tile_entries: u64,
    /// Different places that entries point to; 0 where unknown.
    pub tile_contents: u64,
    /// Whether tile data stands in the order of tile ids.
    pub clustered: bool,
    /// Coding of directories and metadata.
    pub internal_compression: Coding,
    /// Coding of tiles; `None` where the archive doesn't know.
    pub tile_compression: Option<Coding>,
    /// Type of the tiles; a number we don't know is [`TileType::Unknown`].
    pub tile_type: TileType,
    /// Lowest zoom, at most `max_zoom`.
    pub min_zoom: u8,
    /// Highest zoom, at most 30.
    pub max_zoom: u8,
    /// West, south, east, north in 10^-7 degrees, as they stand in the file.
    pub bounds: [i32; 4],
    /// Zoom to start at.
    pub center_zoom: u8,
    /// Longitude, latitude to start at in 10^-7 degrees.
    pub center: [i32; 2],
}

/// A part of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Where it starts, in bytes from the start of the file.
    pub offset: u64,
    /// Its length in bytes; `offset + length` doesn't overflow in a parsed header.
    pub length: u64,
}

impl Section {
    /// The place in the file of `length` bytes at `offset` of this section; an error where they don't lie within it.
    pub fn place(self, offset: u64, length: u64) -> Result<Range<u64>, StoreError> {
        match offset.checked_add(length) {
            Some(end) if end <= self.length => Ok(self.offset + offset..self.offset + end),
            _ => Err(corrupt("an entry points past its section")),
        }
    }

    /// Where the section ends; only called on sections whose sum was checked.
    fn end(self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

impl Header {
    /// Read a header from the first bytes of an archive.
    ///
    /// Errors ([`StoreError::Corrupt`]) name what is wrong: too short, another format or version, a section that overflows, a
    /// root directory outside the first 16 KiB, an unknown compression, zooms in disorder or above 30.
    pub fn parse(bytes: &[u8]) -> Result<Self, StoreError> {
        let Some(bytes) = bytes.first_chunk::<LEN>() else {
            return Err(corrupt("shorter than a PMTiles header"));
        };
        if !bytes.starts_with(MAGIC) {
            return Err(corrupt("not a PMTiles archive: no magic number"));
        }
        if bytes[7] != VERSION {
            return Err(StoreError::Corrupt(format!("PMTiles version {}, only version 3 is read", bytes[7]).into()));
        }
        let header = Self {
            root: section(bytes, 8)?,
            metadata: section(bytes, 24)?,
            leaves: section(bytes, 40)?,
            tiles: section(bytes, 56)?,
            addressed_tiles: u64_at(bytes, 72),
            tile_entries: u64_at(bytes, 80),
            tile_contents: u64_at(bytes, 88),
            clustered: bytes[96] == 1,
            internal_compression: compression(bytes[97])?
                .ok_or_else(|| corrupt("the compression of the directories is unknown (0)"))?,
            tile_compression: compression(bytes[98])?,
            tile_type: tile_type(bytes[99]),
            min_zoom: bytes[100],
            max_zoom: bytes[101],
            bounds: [i32_at(bytes, 102), i32_at(bytes, 106), i32_at(bytes, 110), i32_at(bytes, 114)],
            center_zoom: bytes[118],
            center: [i32_at(bytes, 119), i32_at(bytes, 123)],
        };
        if header.root.offset < LEN as u64 || header.root.end() > ROOT_END {
            return Err(corrupt("the root directory is not within the first 16 KiB"));
        }
        if header.min_zoom > header.max_zoom || header.max_zoom > TileId::MAX_ZOOM {
            return Err(StoreError::Corrupt(
                format!("zooms {} to {} are no range within 0 to 30", header.min_zoom, header.max_zoom).into(),
            ));
        }
        Ok(header)
    }

    /// Check that every section ends within a file of `length` bytes: what a truncated copy fails.
    pub fn check_length(&self, length: u64) -> Result<(), StoreError> {
        for (name, section) in self.sections() {
            if section.end() > length {
                return Err(StoreError::Corrupt(
                    format!("{name} end at byte {}, the file at {length}: it is truncated", section.end()).into(),
                ));
            }
        }
        Ok(())
    }

    /// The four sections with their names, in the order of the header.
    pub fn sections(&self) -> [(&'static str, Section); 4] {
        [
            ("root directory", self.root),
            ("metadata", self.metadata),
            ("leaf directories", self.leaves),
            ("tile data", self.tiles),
        ]
    }

    /// West, south, east, north in degrees; `None` where they are no place on earth.
    pub fn bounds_degrees(&self) -> Option<[f64; 4]> {
        let [west, south, east, north] = self.bounds.map(degrees);
        let valid = valid_position(west, south) && valid_position(east, north) && west <= east && south <= north;
        // All zeros is how writers leave out what they don't know.
        (valid && self.bounds != [0; 4]).then_some([west, south, east, north])
    }

    /// Longitude, latitude in degrees and zoom to start at; `None` where that is no place on earth.
    pub fn center_degrees(&self) -> Option<(f64, f64, u8)> {
        let [lon, lat] = self.center.map(degrees);
        (valid_position(lon, lat) && self.center_zoom <= TileId::MAX_ZOOM).then_some((lon, lat, self.center_zoom))
    }

    /// The header as it stands in a file: the reverse of [`Header::parse`].
    pub fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..7].copy_from_slice(MAGIC);
        bytes[7] = VERSION;
        let words = self.sections().map(|(_, section)| [section.offset, section.length]);
        let counts = [self.addressed_tiles, self.tile_entries, self.tile_contents];
        for (i, word) in words.iter().flatten().chain(&counts).enumerate() {
            bytes[8 + 8 * i..16 + 8 * i].copy_from_slice(&word.to_le_bytes());
        }
        bytes[96] = u8::from(self.clustered);
        bytes[97] = compression_number(Some(self.internal_compression));
        bytes[98] = compression_number(self.tile_compression);
        bytes[99] = tile_type_number(self.tile_type);
        (bytes[100], bytes[101], bytes[118]) = (self.min_zoom, self.max_zoom, self.center_zoom);
        for (i, degrees) in self.bounds.iter().enumerate() {
            bytes[102 + 4 * i..106 + 4 * i].copy_from_slice(&degrees.to_le_bytes());
        }
        for (i, degrees) in self.center.iter().enumerate() {
            bytes[119 + 4 * i..123 + 4 * i].copy_from_slice(&degrees.to_le_bytes());
        }
        bytes
    }
}

fn u64_at(bytes: &[u8; LEN], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

fn i32_at(bytes: &[u8; LEN], at: usize) -> i32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    i32::from_le_bytes(word)
}

fn section(bytes: &[u8; LEN], at: usize) -> Result<Section, StoreError> {
    let section = Section { offset: u64_at(bytes, at), length: u64_at(bytes, at + 8) };
    match section.offset.checked_add(section.length) {
        Some(_) => Ok(section),
        None => Err(corrupt("a section of the header overflows")),
    }
}

fn degrees(e7: i32) -> f64 {
    f64::from(e7) / 1e7
}

fn valid_position(lon: f64, lat: f64) -> bool {
    lon.abs() <= 180.0 && lat.abs() <= 90.0
}

/// The compression with a number (§3.1, "Internal Compression"); `None` for 0, which stands for unknown.
fn compression(number: u8) -> Result<Option<Coding>, StoreError> {
    match number {
        0 => Ok(None),
        1 => Ok(Some(Coding::Identity)),
        2 => Ok(Some(Coding::Gzip)),
        3 => Ok(Some(Coding::Brotli)),
        4 => Ok(Some(Coding::Zstd)),
        _ => Err(StoreError::Corrupt(
            format!("compression {number} is none of 1 (none), 2 (gzip), 3 (brotli), 4 (zstd)").into(),
        )),
    }
}

fn compression_number(coding: Option<Coding>) -> u8 {
    match coding {
        None => 0,
        Some(Coding::Identity) => 1,
        Some(Coding::Gzip) => 2,
        Some(Coding::Brotli) => 3,
        Some(Coding::Zstd) => 4,
    }
}

/// The tile type with a number (§3.1, "Tile Type"). A later one than we know must not keep the archive from being served.
fn tile_type(number: u8) -> TileType {
    match number {
        1 => TileType::Mvt,
        2 => TileType::Png,
        3 => TileType::Jpeg,
        4 => TileType::Webp,
        5 => TileType::Avif,
        6 => TileType::Mlt,
        _ => TileType::Unknown,
    }
}

fn tile_type_number(tile_type: TileType) -> u8 {
    match tile_type {
        TileType::Unknown => 0,
        TileType::Mvt => 1,
        TileType::Png => 2,
        TileType::Jpeg => 3,
        TileType::Webp => 4,
        TileType::Avif => 5,
        TileType::Mlt => 6,
    }
}

fn corrupt(what: &'static str) -> StoreError {
    StoreError::Corrupt(Cow::Borrowed(what))
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
