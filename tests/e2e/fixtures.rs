//! Packs made for a test, by the second implementations.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use pmtiles::{Compression, PmTilesWriter, TileCoord, TileType};

/// One tile: z, x, y and its bytes before compression.
pub type Tile<'a> = (u8, u32, u32, &'a [u8]);

/// The repository's sample data.
pub fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testing/data").join(name)
}

/// Write a PMTiles archive.
pub fn pmtiles(path: &Path, tile_type: TileType, compression: Compression, tiles: &[Tile]) -> PathBuf {
    let mut tiles = tiles.to_vec();
    let id = |tile: &Tile| pmtiles::TileId::from(TileCoord::new(tile.0, tile.1, tile.2).unwrap()).value();
    tiles.sort_by_key(id);
    let (low, high) = (tiles.iter().map(|t| t.0).min().unwrap_or(0), tiles.iter().map(|t| t.0).max().unwrap_or(0));
    let mut writer = PmTilesWriter::new(tile_type)
        .tile_compression(compression)
        .min_zoom(low)
        .max_zoom(high)
        .metadata(r#"{"name":"made for a test","vector_layers":[{"id":"land","fields":{}}]}"#)
        .create(File::create(path).unwrap())
        .unwrap();
    for (z, x, y, bytes) in tiles {
        writer.add_tile(TileCoord::new(z, x, y).unwrap(), bytes).unwrap();
    }
    writer.finalize().unwrap();
    path.to_owned()
}

/// Write an MBTiles archive; `tiles` are in the XYZ scheme and stored as they are.
pub fn mbtiles(path: &Path, format: &str, tiles: &[Tile]) -> PathBuf {
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch(
        "CREATE TABLE metadata (name text, value text);
         CREATE TABLE tiles (zoom_level integer, tile_column integer, tile_row integer, tile_data blob);
         CREATE UNIQUE INDEX tile_index ON tiles (zoom_level, tile_column, tile_row);",
    )
    .unwrap();
    for (name, value) in [("name", "made for a test"), ("format", format)] {
        db.execute("INSERT INTO metadata VALUES (?1, ?2)", [name, value]).unwrap();
    }
    for (z, x, y, bytes) in tiles {
        let row = (1_u32 << z) - 1 - y;
        db.execute("INSERT INTO tiles VALUES (?1, ?2, ?3, ?4)", rusqlite::params![z, x, row, bytes]).unwrap();
    }
    path.to_owned()
}

/// Bytes that don't compress and don't repeat.
pub fn noise(len: usize, seed: u8) -> Vec<u8> {
    let mut reader = blake3::Hasher::new().update(&[seed]).finalize_xof();
    let mut bytes = vec![0; len];
    reader.fill(&mut bytes);
    bytes
}

/// The entity tag of bytes.
pub fn tag(bytes: &[u8]) -> String {
    format!("\"b3:{}\"", blake3::hash(bytes).to_hex())
}

/// gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Undo gzip.
pub fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut decoder = flate2::write::MultiGzDecoder::new(Vec::new());
    decoder.write_all(bytes).unwrap();
    decoder.finish().unwrap()
}

/// brotli.
pub fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut coded = Vec::new();
    // The best quality takes minutes for what a bomb decodes to.
    let params = brotli::enc::BrotliEncoderParams { quality: 5, ..Default::default() };
    brotli::BrotliCompress(&mut &bytes[..], &mut coded, &params).unwrap();
    coded
}

/// Undo brotli.
pub fn unbrotli(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    brotli::BrotliDecompress(&mut &bytes[..], &mut plain).unwrap();
    plain
}

/// zstd.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// Undo zstd.
pub fn unzstd(bytes: &[u8]) -> Vec<u8> {
    zstd::decode_all(bytes).unwrap()
}

/// A PNG by its magic alone: the edge never decodes one.
pub fn png(seed: u8) -> Vec<u8> {
    [b"\x89PNG\r\n\x1a\n".as_slice(), &noise(300, seed)].concat()
}
