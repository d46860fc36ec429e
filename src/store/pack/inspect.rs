//! What `pack inspect` tells of an archive.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::digest::digest;
use super::file::PackFile;
use super::pmtiles::PmTiles;
use super::pmtiles::header::Section;
use super::{Archive, Pack, PackError};
use crate::conf::{MissingTile, PackConf, Verify};
use crate::rules::encoding::Coding;
use crate::rules::tile::TileType;
use crate::rules::tilejson::Facts;
use crate::store::pack::mbtiles::MbTiles;

/// An archive, as a person or a script wants to know it. Serialized it is the output of `pack inspect --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The file.
    pub path: String,
    /// `pmtiles` or `mbtiles`.
    pub format: &'static str,
    /// Its length in bytes.
    pub size: u64,
    /// Its modification time in seconds since the epoch.
    pub modified: i64,
    /// BLAKE3 of the whole file in hex.
    pub digest: String,
    /// Type of the tiles.
    pub tile_type: &'static str,
    /// Lowest and highest zoom.
    pub zooms: (u8, u8),
    /// West, south, east, north in degrees.
    pub bounds: Option<[f64; 4]>,
    /// Longitude, latitude in degrees, and zoom.
    pub center: Option<(f64, f64, u8)>,
    /// Human-readable name.
    pub name: Option<String>,
    /// Description.
    pub description: Option<String>,
    /// Attribution.
    pub attribution: Option<String>,
    /// Version of the data.
    pub version: Option<String>,
    /// Ids of the vector layers.
    pub vector_layers: Vec<String>,
    /// What only PMTiles have.
    pub header: Option<HeaderPart>,
    /// What only MBTiles have: rows of `tiles`, where they could be counted within the deadline of a query.
    pub rows: Option<u64>,
}

/// The header of a PMTiles archive.
#[derive(Clone, Debug, Serialize)]
pub struct HeaderPart {
    /// The four sections.
    pub sections: Vec<SectionPart>,
    /// Coding of directories and metadata.
    pub internal_compression: &'static str,
    /// Coding of tiles.
    pub tile_compression: &'static str,
    /// Whether tile data stands in the order of ids.
    pub clustered: bool,
    /// Entries of the root directory.
    pub root_entries: usize,
    /// Tiles that have an answer; 0 where the archive doesn't know.
    pub addressed_tiles: u64,
    /// Entries that point to tiles; 0 where the archive doesn't know.
    pub tile_entries: u64,
    /// Different contents; 0 where the archive doesn't know.
    pub tile_contents: u64,
    /// Bytes of metadata after decompression.
    pub metadata_bytes: usize,
}

/// A section of a PMTiles archive.
#[derive(Clone, Debug, Serialize)]
pub struct SectionPart {
    /// What it holds.
    pub name: &'static str,
    /// Where it starts, in bytes from the start of the file.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// Read what there is to tell of the archive at `path`. `go_on` is told the bytes hashed of how many; false leaves.
///
/// Errors: those of [`Pack::open`]. A leave is an error as well: what is told is all or nothing.
pub fn inspect(path: &Path, go_on: &dyn Fn(u64, u64) -> bool) -> Result<Inspection, PackError> {
    let unreadable = |source| PackError::Unreadable { path: path.into(), source };
    let file = PackFile::open(path).map_err(|error| unreadable(error.into()))?;
    let stamp = *file.stamp();
    // Hashed first and closed: see `Anchor::identify` for what closing does to SQLite's locks.
    let hash = digest(&file, &|done| go_on(done, stamp.size)).map_err(unreadable)?;
    drop(file);
    let hash = hash.ok_or_else(|| unreadable(std::io::Error::from(std::io::ErrorKind::Interrupted).into()))?;
    let conf = PackConf {
        path: path.into(),
        name: "inspected".into(),
        verify: Verify::Header,
        missing_tile: MissingTile::Auto,
        cache_control: None,
    };
    let pack = Pack::open(&conf)?;
    let facts = pack.facts().clone();
    let layers = layer_ids(&facts);
    let (format, header, rows) = match pack.inner() {
        Archive::PmTiles(archive) => ("pmtiles", Some(header_part(archive).map_err(unreadable)?), None),
        Archive::MbTiles(archive) => ("mbtiles", None, count_rows(archive)),
    };
    Ok(Inspection {
        path: path.display().to_string(),
        format,
        size: stamp.size,
        modified: stamp.mtime_s,
        digest: hash.to_hex().to_string(),
        tile_type: type_name(facts.tile_type),
        zooms: (facts.min_zoom, facts.max_zoom),
        bounds: facts.bounds,
        center: facts.center,
        name: facts.name,
        description: facts.description,
        attribution: facts.attribution,
        version: facts.version,
        vector_layers: layers,
        header,
        rows,
    })
}

fn layer_ids(facts: &Facts) -> Vec<String> {
    let layers = facts.vector_layers.as_ref().and_then(serde_json::Value::as_array);
    layers.into_iter().flatten().filter_map(|layer| layer["id"].as_str().map(str::to_owned)).collect()
}

fn header_part(archive: &PmTiles) -> Result<HeaderPart, crate::store::StoreError> {
    let header = archive.header();
    let section = |(name, Section { offset, length })| SectionPart { name, offset, length };
    Ok(HeaderPart {
        sections: header.sections().map(section).to_vec(),
        internal_compression: coding_name(Some(header.internal_compression)),
        tile_compression: coding_name(header.tile_compression),
        clustered: header.clustered,
        root_entries: archive.root().entries().len(),
        addressed_tiles: header.addressed_tiles,
        tile_entries: header.tile_entries,
        tile_contents: header.tile_contents,
        metadata_bytes: archive.metadata_json()?.len(),
    })
}

/// Row by row: a count of SQLite's own would be one instruction, which no deadline ends.
fn count_rows(archive: &MbTiles) -> Option<u64> {
    let count = archive.pool().run(|connection| {
        let mut statement = connection.prepare("SELECT 1 FROM tiles")?;
        let mut rows = statement.query([])?;
        let mut count = 0;
        while rows.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    });
    count.ok()
}

fn coding_name(coding: Option<Coding>) -> &'static str {
    match coding {
        None => "unknown",
        Some(Coding::Identity) => "none",
        Some(Coding::Gzip) => "gzip",
        Some(Coding::Brotli) => "brotli",
        Some(Coding::Zstd) => "zstd",
    }
}

fn type_name(tile_type: TileType) -> &'static str {
    tile_type.extensions().first().copied().unwrap_or("unknown")
}

/// A value from a file for a terminal: control characters, which could drive it, as their escapes.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "file         {}", plain(&self.path))?;
        writeln!(f, "format       {}, {} bytes, modified {}", self.format, self.size, self.modified)?;
        writeln!(f, "digest       b3:{}", self.digest)?;
        writeln!(f, "tiles        {}, zooms {} to {}", self.tile_type, self.zooms.0, self.zooms.1)?;
        if let Some([west, south, east, north]) = self.bounds {
            writeln!(f, "bounds       {west}, {south}, {east}, {north}")?;
        }
        if let Some((lon, lat, zoom)) = self.center {
            writeln!(f, "center       {lon}, {lat}, zoom {zoom}")?;
        }
        for (label, value) in [
            ("name", &self.name),
            ("description", &self.description),
            ("attribution", &self.attribution),
            ("version", &self.version),
        ] {
            if let Some(value) = value {
                writeln!(f, "{label:<12} {}", plain(value))?;
            }
        }
        if !self.vector_layers.is_empty() {
            writeln!(f, "layers       {}", plain(&self.vector_layers.join(", ")))?;
        }
        if let Some(rows) = self.rows {
            writeln!(f, "rows         {rows}")?;
        }
        self.header.as_ref().map_or(Ok(()), |header| header.fmt(f))
    }
}

impl fmt::Display for HeaderPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clustered = if self.clustered { "clustered" } else { "not clustered" };
        writeln!(f, "compression  directories {}, tiles {}", self.internal_compression, self.tile_compression)?;
        writeln!(
            f,
            "counts       {} addressed, {} entries, {} contents, {clustered}",
            self.addressed_tiles, self.tile_entries, self.tile_contents
        )?;
        for SectionPart { name, offset, length } in &self.sections {
            writeln!(f, "section      {name}: {length} bytes at {offset}")?;
        }
        writeln!(f, "root         {} entries", self.root_entries)?;
        writeln!(f, "metadata     {} bytes decoded", self.metadata_bytes)
    }
}
