//! One tile of a pack: found in a PMTiles archive's root directory, behind a leaf directory, and in an MBTiles database; with everything at hand, by a fresh
//! handle, and with nothing of the file in memory.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::Cell;
use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion};
use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{Advice, fadvise};
use svc_edge::conf::{MissingTile, PackConf, Verify};
use svc_edge::rules::encoding::Coding;
use svc_edge::rules::tile::{TileId, TileType};
use svc_edge::store::pack::pmtiles::directory::{Directory, Entry};
use svc_edge::store::pack::pmtiles::header::{self, Header, Section};
use svc_edge::store::pack::pmtiles::id;
use svc_edge::store::pack::{Pack, Tile};

mod support;

/// Zoom of the archive: 4^10 tiles.
const ZOOM: u8 = 10;
/// Entries of a leaf, as tippecanoe writes them: the archive has 256 leaves.
const LEAF: u64 = 4096;
/// Bytes of a tile.
const TILE: u32 = 8 << 10;
/// Different tiles; the others are these again.
const TILES: u64 = 512;

fn main() {
    let mut criterion = support::criterion();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (shallow, deep) = (dir.path().join("root.pmtiles"), dir.path().join("leaves.pmtiles"));
    archive(&shallow, 5);
    archive(&deep, ZOOM);
    pack(&mut criterion, "pmtiles_root", &shallow, 5);
    pack(&mut criterion, "pmtiles_leaf", &deep, ZOOM);
    let world = dir.path().join("world.mbtiles");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("testing/data/world.mbtiles"), &world).unwrap();
    File::open(&world).unwrap().sync_all().unwrap();
    pack(&mut criterion, "mbtiles", &world, 3);
    criterion.final_summary();
}

fn open(path: &Path) -> Pack {
    let name = "bench".to_owned();
    let conf = PackConf {
        path: path.to_owned(),
        name,
        verify: Verify::Header,
        missing_tile: MissingTile::Auto,
        cache_control: None,
    };
    Pack::open(&conf).unwrap()
}

/// Tiles of one zoom of the pack at `path`, in no order.
fn pack(criterion: &mut Criterion, name: &str, path: &Path, zoom: u8) {
    let opened = open(path);
    let next = addresses(zoom);
    assert!(matches!(opened.tile(next()), Ok(Tile::Found(_))), "{name}");
    let mut group = criterion.benchmark_group(name);
    group.bench_function("warm", |bench| bench.iter(|| opened.tile(black_box(next())).unwrap()));
    group.bench_function("fresh_handle", |bench| {
        bench.iter_batched(
            || open(path),
            |pack| pack.tile(black_box(next())).map(|tile| (tile, pack)).unwrap(),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("cold", |bench| bench.iter_custom(|count| (0..count).map(|_| cold(path, next())).sum()));
    group.bench_function("open", |bench| bench.iter(|| open(black_box(path))));
    group.finish();
}

/// A tile by a fresh handle whose file has left the page cache; opening the pack brings back what that needs.
fn cold(path: &Path, address: TileId) -> Duration {
    let pack = open(path);
    forget(path);
    let began = Instant::now();
    black_box(pack.tile(address).unwrap());
    began.elapsed()
}

/// Drop what the page cache has of a file that was synced.
fn forget(path: &Path) {
    fadvise(File::open(path).unwrap(), 0, None, Advice::DontNeed).unwrap();
}

/// Addresses of a zoom, spread over it.
fn addresses(zoom: u8) -> impl Fn() -> TileId {
    let (at, side) = (Cell::new(0u32), 1 << zoom);
    move || {
        let now = at.get().wrapping_add(0x9e37_79b9);
        at.set(now);
        TileId::new(zoom, (now >> 16) % side, (now & 0xffff) % side).unwrap()
    }
}

/// An archive with every tile of `zoom`: in its root directory where they fit there, else in leaves of [`LEAF`].
fn archive(path: &Path, zoom: u8) {
    let first = id::first_of(zoom);
    let entries: Vec<Entry> = (0..1u64 << (2 * zoom))
        .map(|at| Entry { id: first + at, offset: at * 7 % TILES * u64::from(TILE), length: TILE, run: 1 })
        .collect();
    let (mut root, mut leaves) = (entries.clone(), Vec::new());
    if entries.len() as u64 > LEAF {
        root.clear();
        for leaf in entries.chunks(LEAF as usize) {
            let bytes = gzip(&Directory::encode(leaf));
            root.push(Entry { id: leaf[0].id, offset: leaves.len() as u64, length: bytes.len() as u32, run: 0 });
            leaves.extend(bytes);
        }
    }
    let root = gzip(&Directory::encode(&root));
    let mut tiles = vec![0; (TILES * u64::from(TILE)) as usize];
    blake3::Hasher::new().finalize_xof().fill(&mut tiles);
    let section = |offset: usize, length: usize| Section { offset: offset as u64, length: length as u64 };
    let (at_leaves, at_tiles) = (header::LEN + root.len(), header::LEN + root.len() + leaves.len());
    let header = Header {
        root: section(header::LEN, root.len()),
        metadata: Section::default(),
        leaves: section(at_leaves, leaves.len()),
        tiles: section(at_tiles, tiles.len()),
        addressed_tiles: entries.len() as u64,
        tile_entries: entries.len() as u64,
        tile_contents: TILES,
        clustered: false,
        internal_compression: Coding::Gzip,
        tile_compression: Some(Coding::Identity),
        tile_type: TileType::Mvt,
        min_zoom: zoom,
        max_zoom: zoom,
        bounds: [0; 4],
        center_zoom: zoom,
        center: [0; 2],
    };
    let mut file = File::create(path).unwrap();
    file.write_all(&[&header.encode()[..], &root, &leaves, &tiles].concat()).unwrap();
    // What is not on the disk can't be dropped from memory.
    file.sync_all().unwrap();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
