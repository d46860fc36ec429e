//! Archives for tests: sound ones written by other implementations, hostile ones made byte by byte.
#![allow(dead_code)]

use std::io::Write;
use std::path::Path;

use svc_edge::conf::{MissingTile, PackConf, Verify};
use svc_edge::rules::encoding::Coding;
use svc_edge::rules::tile::{TileId, TileType};
use svc_edge::store::pack::pmtiles::directory::{Directory, Entry};
use svc_edge::store::pack::pmtiles::header::{Header, LEN, Section};

/// Address and content of a tile.
pub type Content = ((u8, u32, u32), Vec<u8>);

pub fn conf(path: &Path, verify: Verify) -> PackConf {
    PackConf { path: path.into(), name: "test".into(), verify, missing_tile: MissingTile::Auto, cache_control: None }
}

pub fn address(z: u8, x: u32, y: u32) -> TileId {
    TileId::new(z, x, y).unwrap()
}

pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

pub fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// All tiles of zooms 0 to `max`, each of its own content, that begins as a vector tile.
pub fn pyramid(max: u8) -> Vec<Content> {
    (0..=max)
        .flat_map(|z| (0..1u32 << z).flat_map(move |x| (0..1u32 << z).map(move |y| (z, x, y))))
        .map(|(z, x, y)| {
            ((z, x, y), format!("\x1a\x7ftile {z}/{x}/{y} {}", "water ".repeat(y as usize % 9)).into_bytes())
        })
        .collect()
}

/// Write an archive with the `pmtiles` crate.
pub fn write_pmtiles(
    path: &Path,
    tiles: &[Content],
    internal: pmtiles::Compression,
    tile: pmtiles::Compression,
    kind: pmtiles::TileType,
) {
    let zooms = tiles.iter().map(|((z, ..), _)| *z);
    let mut writer = pmtiles::PmTilesWriter::new(kind)
        .internal_compression(internal)
        .tile_compression(tile)
        .min_zoom(zooms.clone().min().unwrap())
        .max_zoom(zooms.max().unwrap())
        .bounds(-10.0, -20.0, 30.0, 40.0)
        .metadata(r#"{"name":"Test","vector_layers":[{"id":"water","fields":{}}]}"#)
        .create(std::fs::File::create(path).unwrap())
        .unwrap();
    let mut sorted: Vec<_> = tiles
        .iter()
        .map(|((z, x, y), data)| (pmtiles::TileCoord::new(*z, *x, *y).unwrap(), data))
        .map(|(coord, data)| (pmtiles::TileId::from(coord).value(), coord, data))
        .collect();
    sorted.sort_by_key(|(id, ..)| *id);
    for (_, coord, data) in sorted {
        writer.add_tile(coord, data).unwrap();
    }
    writer.finalize().unwrap();
}

/// A small sound archive: gzip inside and out.
pub fn simple_pmtiles(path: &Path, tiles: &[Content]) {
    let gzip = pmtiles::Compression::Gzip;
    write_pmtiles(path, tiles, gzip, gzip, pmtiles::TileType::Mvt);
}

/// Sections of a hand-made archive, laid out one after the other.
pub struct Raw {
    pub root: Vec<u8>,
    pub metadata: Vec<u8>,
    pub leaves: Vec<u8>,
    pub tiles: Vec<u8>,
    pub internal: Coding,
    pub tile: Option<Coding>,
    pub kind: TileType,
    pub zooms: (u8, u8),
}

impl Raw {
    /// One uncompressed tile at 0/0/0, `\x1a` and zeros.
    pub fn one_tile() -> Self {
        Self::of(&[Entry { id: 0, offset: 0, length: 5, run: 1 }], b"\x1a\0\0\0\0")
    }

    pub fn of(root: &[Entry], tiles: &[u8]) -> Self {
        Self {
            root: Directory::encode(root),
            metadata: b"{}".to_vec(),
            leaves: Vec::new(),
            tiles: tiles.to_vec(),
            internal: Coding::Identity,
            tile: Some(Coding::Identity),
            kind: TileType::Mvt,
            zooms: (0, 30),
        }
    }

    pub fn header(&self) -> Header {
        let mut at = LEN as u64;
        let mut section = |length: usize| {
            let section = Section { offset: at, length: length as u64 };
            at += length as u64;
            section
        };
        Header {
            root: section(self.root.len()),
            metadata: section(self.metadata.len()),
            leaves: section(self.leaves.len()),
            tiles: section(self.tiles.len()),
            addressed_tiles: 0,
            tile_entries: 0,
            tile_contents: 0,
            clustered: true,
            internal_compression: self.internal,
            tile_compression: self.tile,
            tile_type: self.kind,
            min_zoom: self.zooms.0,
            max_zoom: self.zooms.1,
            bounds: [0; 4],
            center_zoom: 0,
            center: [0; 2],
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.with_header(self.header())
    }

    pub fn with_header(&self, header: Header) -> Vec<u8> {
        [&header.encode()[..], &self.root, &self.metadata, &self.leaves, &self.tiles].concat()
    }
}

/// How the tables of an MBTiles database are laid out.
#[derive(Clone, Copy, Debug)]
pub enum Schema {
    /// `tiles` is a table.
    Flat,
    /// `tiles` is a view of `map` and `images`.
    View,
}

/// Write an MBTiles database with SQLite. `metadata` is laid over name, format, minzoom and maxzoom.
pub fn write_mbtiles(path: &Path, tiles: &[Content], schema: Schema, metadata: &[(&str, &str)]) {
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode=DELETE; PRAGMA synchronous=OFF; CREATE TABLE metadata (name text, value text); BEGIN;",
    )
    .unwrap();
    db.execute_batch(match schema {
        Schema::Flat => {
            "CREATE TABLE tiles (zoom_level integer, tile_column integer, tile_row integer, tile_data blob);
             CREATE UNIQUE INDEX tile_index ON tiles (zoom_level, tile_column, tile_row);"
        }
        Schema::View => {
            "CREATE TABLE map (zoom_level integer, tile_column integer, tile_row integer, tile_id text);
             CREATE UNIQUE INDEX map_index ON map (zoom_level, tile_column, tile_row);
             CREATE TABLE images (tile_id text PRIMARY KEY, tile_data blob);
             CREATE VIEW tiles AS SELECT map.zoom_level AS zoom_level, map.tile_column AS tile_column,
                map.tile_row AS tile_row, images.tile_data AS tile_data FROM map JOIN images ON images.tile_id = map.tile_id;"
        }
    })
    .unwrap();
    let zooms = tiles.iter().map(|((z, ..), _)| *z);
    let (min, max) = (zooms.clone().min().unwrap_or(0).to_string(), zooms.max().unwrap_or(0).to_string());
    let defaults = [("name", "Test"), ("format", "pbf"), ("minzoom", &*min), ("maxzoom", &*max)];
    for (name, value) in
        defaults.iter().filter(|(name, _)| metadata.iter().all(|(other, _)| other != name)).chain(metadata)
    {
        db.execute("INSERT INTO metadata VALUES (?1, ?2)", (name, value)).unwrap();
    }
    for ((z, x, y), data) in tiles {
        let row = (1u32 << z) - 1 - y;
        match schema {
            Schema::Flat => {
                db.execute("INSERT INTO tiles VALUES (?1, ?2, ?3, ?4)", (z, x, row, data)).unwrap();
            }
            Schema::View => {
                let id = blake3::hash(data).to_hex().to_string();
                db.execute("INSERT INTO map VALUES (?1, ?2, ?3, ?4)", (z, x, row, &id)).unwrap();
                db.execute("INSERT OR IGNORE INTO images VALUES (?1, ?2)", (&id, data)).unwrap();
            }
        }
    }
    db.execute_batch("COMMIT").unwrap();
}
