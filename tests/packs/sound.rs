//! Sound archives: every compression, every layout, with another implementation as oracle.

use svc_edge::conf::Verify;
use svc_edge::rules::encoding::Coding;
use svc_edge::rules::tile::TileType;
use svc_edge::store::decode::{Caps, decode};
use svc_edge::store::pack::inspect::inspect;
use svc_edge::store::pack::pmtiles::directory::Entry;
use svc_edge::store::pack::verify::verify;
use svc_edge::store::pack::{Archive, Pack, Tile};
use svc_edge::store::{Object, StoreError};

use crate::build::*;

fn found(pack: &Pack, z: u8, x: u32, y: u32) -> Object {
    match pack.tile(address(z, x, y)) {
        Ok(Tile::Found(object)) => object,
        Ok(_) => panic!("{z}/{x}/{y} is absent"),
        Err(error) => panic!("{z}/{x}/{y}: {error}"),
    }
}

fn content(object: &Object) -> Vec<u8> {
    let bytes = object.read(0..object.len()).unwrap();
    decode(object.coding, &bytes, Caps { ratio: u32::MAX, bytes: 1 << 30 }).unwrap().to_vec()
}

#[test]
fn what_another_writer_wrote_in_any_compression_is_read_back() {
    use pmtiles::Compression::{Brotli, Gzip, None, Zstd};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pack.pmtiles");
    let tiles = pyramid(3);
    for (internal, tile, coding) in [
        (None, None, Coding::Identity),
        (Gzip, Gzip, Coding::Gzip),
        (Brotli, Brotli, Coding::Brotli),
        (Zstd, Zstd, Coding::Zstd),
        (Zstd, Gzip, Coding::Gzip),
    ] {
        write_pmtiles(&path, &tiles, internal, tile, pmtiles::TileType::Mvt);
        let pack = Pack::open(&conf(&path, Verify::Full)).unwrap();
        for ((z, x, y), data) in &tiles {
            let object = found(&pack, *z, *x, *y);
            assert_eq!((content(&object), object.coding), (data.clone(), coding), "{internal:?} {z}/{x}/{y}");
            assert_eq!(&*object.content_type, "application/vnd.mapbox-vector-tile");
            assert!(object.last_modified.is_some());
        }
        assert!(matches!(pack.tile(address(4, 0, 0)), Ok(Tile::OutsideZoom)));
        let facts = pack.facts();
        assert_eq!((facts.name.as_deref(), facts.min_zoom, facts.max_zoom), (Some("Test"), 0, 3));
        assert_eq!(facts.bounds, Some([-10.0, -20.0, 30.0, 40.0]));
        assert_eq!(facts.vector_layers.as_ref().unwrap()[0]["id"], "water");
    }
}

#[test]
fn an_archive_with_leaf_directories_is_read_as_its_oracle_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pack.pmtiles");
    // Two of three tiles, so that runs are short, and lengths that don't compress: too many for a root of 16 KiB.
    let mut tiles = pyramid(7);
    tiles.retain(|((z, x, y), _)| *z == 0 || (x + 2 * y) % 3 != 0);
    for (_, data) in &mut tiles {
        let length = u16::from_le_bytes([blake3::hash(data).as_bytes()[0], blake3::hash(data).as_bytes()[1]]) % 2048;
        data.resize(data.len() + usize::from(length), 0);
    }
    let (gzip, none) = (pmtiles::Compression::Gzip, pmtiles::Compression::None);
    write_pmtiles(&path, &tiles, gzip, none, pmtiles::TileType::Mvt);
    let pack = Pack::open(&conf(&path, Verify::Header)).unwrap();
    let Archive::PmTiles(archive) = pack.inner() else { panic!("by its magic it is PMTiles") };
    assert!(archive.root().entries().iter().all(Entry::is_leaf), "the archive is too small for this test");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let oracle = runtime.block_on(pmtiles::AsyncPmTilesReader::new_with_path(&path)).unwrap();
    for z in 0..=7 {
        for x in 0..1 << z {
            for y in 0..1 << z {
                // The oracle decodes a leaf directory for each tile: every seventh does.
                if (x + 3 * y) % 7 != 0 {
                    continue;
                }
                let coord = pmtiles::TileCoord::new(z, x, y).unwrap();
                let expected = runtime.block_on(oracle.get_tile(coord)).unwrap();
                let ours = match pack.tile(address(z, x, y)).unwrap() {
                    Tile::Found(object) => Some(object.read(0..object.len()).unwrap()),
                    Tile::Absent => None,
                    Tile::OutsideZoom => panic!("{z} is a zoom of the archive"),
                };
                assert_eq!(ours, expected, "{z}/{x}/{y}");
            }
        }
    }
    let report = verify(&pack, &|_| {}).unwrap();
    assert!(report.is_sound() && report.directories > 2, "{report:?}");
    assert_eq!(report.addressed_tiles, tiles.len() as u64);
}

#[test]
fn a_run_of_equal_tiles_answers_for_each_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pack.pmtiles");
    let mut tiles = pyramid(4);
    tiles.iter_mut().filter(|((z, ..), _)| *z == 4).for_each(|(_, data)| *data = b"\x1a\x02sea".to_vec());
    simple_pmtiles(&path, &tiles);
    let pack = Pack::open(&conf(&path, Verify::Full)).unwrap();
    for ((z, x, y), data) in &tiles {
        assert_eq!(&content(&found(&pack, *z, *x, *y)), data);
    }
    let report = verify(&pack, &|_| {}).unwrap();
    assert!(report.entries < report.addressed_tiles);
}

#[test]
fn every_tile_type_has_its_media_type_and_images_carry_no_coding() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pack.pmtiles");
    for (kind, media) in [
        (TileType::Mvt, "application/vnd.mapbox-vector-tile"),
        (TileType::Mlt, "application/vnd.maplibre-vector-tile"),
        (TileType::Png, "image/png"),
        (TileType::Jpeg, "image/jpeg"),
        (TileType::Webp, "image/webp"),
        (TileType::Avif, "image/avif"),
        (TileType::Unknown, "application/octet-stream"),
    ] {
        let tile = gzip(b"the tile");
        let mut raw = Raw::of(&[Entry { id: 0, offset: 0, length: tile.len() as u32, run: 1 }], &tile);
        (raw.kind, raw.tile) = (kind, Some(Coding::Gzip));
        std::fs::write(&path, raw.bytes()).unwrap();
        let object = found(&Pack::open(&conf(&path, Verify::Full)).unwrap(), 0, 0, 0);
        assert_eq!(&*object.content_type, media);
        assert_eq!(content(&object), b"the tile");
        let coded = kind.is_vector() || kind == TileType::Unknown;
        assert_eq!(object.coding, if coded { Coding::Gzip } else { Coding::Identity }, "{kind:?}");
    }
}

#[test]
fn a_tile_beyond_4_gib_is_found_and_touches_only_its_own_pages() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.pmtiles");
    let far = 6u64 << 30;
    let mut raw = Raw::of(&[Entry { id: 0, offset: far, length: 5, run: 1 }], b"");
    raw.zooms = (0, 0);
    let mut header = raw.header();
    header.tiles.length = far + 5;
    header.tile_entries = 1;
    std::fs::write(&path, raw.with_header(header)).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let start = header.tiles.offset + far;
    file.set_len(start + 5).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"\x1afar!", start).unwrap();
    let pack = Pack::open(&conf(&path, Verify::Full)).unwrap();
    assert_eq!(content(&found(&pack, 0, 0, 0)), b"\x1afar!");
    let archive = pack.archive().unwrap();
    assert_eq!(&archive.read(archive.len() - 4..archive.len()).unwrap()[..], b"far!");
}

#[test]
fn an_mbtiles_row_counts_from_the_south() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pack.mbtiles");
    write_mbtiles(&path, &[], Schema::Flat, &[("maxzoom", "2")]);
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute("INSERT INTO tiles VALUES (2, 1, 0, ?1)", [b"\x1asouth".as_slice()]).unwrap();
    drop(db);
    let pack = Pack::open(&conf(&path, Verify::Full)).unwrap();
    assert_eq!(content(&found(&pack, 2, 1, 3)), b"\x1asouth");
    assert!(matches!(pack.tile(address(2, 1, 0)), Ok(Tile::Absent)));
    assert!(matches!(pack.tile(address(3, 1, 0)), Ok(Tile::OutsideZoom)));
    assert!(pack.archive().is_none());
}

#[test]
fn codings_of_mbtiles_tiles_are_told_from_their_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pack.mbtiles");
    let raw = b"\x1a\x04tile".to_vec();
    let zstd = zstd::stream::encode_all(&raw[..], 1).unwrap();
    let stored = [
        ((1, 0, 0), raw.clone(), Coding::Identity),
        ((1, 0, 1), gzip(&raw), Coding::Gzip),
        ((1, 1, 0), zlib(&raw), Coding::Identity),
        ((1, 1, 1), zstd, Coding::Zstd),
    ];
    let tiles: Vec<_> = stored.iter().map(|(address, data, _)| (*address, data.clone())).collect();
    write_mbtiles(&path, &tiles, Schema::Flat, &[]);
    let pack = Pack::open(&conf(&path, Verify::Full)).unwrap();
    for ((z, x, y), _, coding) in &stored {
        let object = found(&pack, *z, *x, *y);
        assert_eq!((content(&object), object.coding), (raw.clone(), *coding));
    }
}

#[test]
fn what_metadata_leaves_out_is_told_from_the_tiles() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pack.mbtiles");
    let image = b"\x89PNG\r\n\x1a\nimage".to_vec();
    write_mbtiles(
        &path,
        &[((3, 1, 1), image.clone()), ((5, 1, 1), image)],
        Schema::View,
        &[
            ("format", "tiff"),
            ("minzoom", "?"),
            ("bounds", "-1,-2,3,4"),
            ("center", "0,0,3"),
            ("json", r#"{"vector_layers":[{"id":"roads"}]}"#),
        ],
    );
    let pack = Pack::open(&conf(&path, Verify::Full)).unwrap();
    let facts = pack.facts();
    assert_eq!((facts.min_zoom, facts.max_zoom, facts.tile_type), (3, 5, TileType::Png));
    assert_eq!((facts.bounds, facts.center), (Some([-1.0, -2.0, 3.0, 4.0]), Some((0.0, 0.0, 3))));
    assert_eq!(facts.vector_layers.as_ref().unwrap()[0]["id"], "roads");
}

#[test]
fn a_pack_is_told_by_its_first_bytes_and_not_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let (swapped, other) = (dir.path().join("a.mbtiles"), dir.path().join("a ?#%.pmtiles"));
    simple_pmtiles(&swapped, &pyramid(1));
    write_mbtiles(&other, &pyramid(1), Schema::Flat, &[]);
    assert!(matches!(Pack::open(&conf(&swapped, Verify::Full)).unwrap().inner(), Archive::PmTiles(_)));
    assert!(matches!(Pack::open(&conf(&other, Verify::Full)).unwrap().inner(), Archive::MbTiles(_)));
}

#[test]
fn a_wal_database_without_a_log_opens_where_nothing_can_be_written_and_leaves_no_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pack.mbtiles");
    write_mbtiles(&path, &pyramid(2), Schema::Flat, &[]);
    let db = rusqlite::Connection::open(&path).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    db.close().unwrap();
    assert_eq!(std::fs::read(&path).unwrap()[18..20], [2, 2]);
    let pack = Pack::open(&conf(&path, Verify::Full)).unwrap();
    found(&pack, 2, 1, 1);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "only the database itself");
}

#[test]
fn what_stands_in_the_log_of_a_wal_database_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pack.mbtiles");
    write_mbtiles(&path, &pyramid(1), Schema::Flat, &[]);
    let writer = rusqlite::Connection::open(&path).unwrap();
    writer.pragma_update(None, "journal_mode", "WAL").unwrap();
    writer.execute("UPDATE tiles SET tile_data = ?1 WHERE zoom_level = 0", [b"\x1anew".as_slice()]).unwrap();
    let pack = Pack::open(&conf(&path, Verify::Full)).unwrap();
    assert_eq!(content(&found(&pack, 0, 0, 0)), b"\x1anew");
}

#[test]
fn inspection_tells_of_both_formats_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (dir.path().join("a"), dir.path().join("b"));
    simple_pmtiles(&one, &pyramid(2));
    write_mbtiles(&other, &pyramid(2), Schema::Flat, &[("name", "evil\x1b[2Jname")]);
    let told = inspect(&one, &|_, _| true).unwrap();
    assert_eq!((told.format, told.tile_type, told.zooms), ("pmtiles", "mvt", (0, 2)));
    assert_eq!(told.digest, blake3::hash(&std::fs::read(&one).unwrap()).to_hex().to_string());
    let header = told.header.as_ref().unwrap();
    assert_eq!((header.addressed_tiles, header.tile_compression, header.sections.len()), (21, "gzip", 4));
    assert_eq!(told.vector_layers, ["water"]);
    let told = inspect(&other, &|_, _| true).unwrap();
    assert_eq!((told.format, told.rows), ("mbtiles", Some(21)));
    assert!(!told.to_string().contains('\x1b'), "a name must not drive the terminal");
    assert!(inspect(&one, &|_, _| false).is_err());
}

#[test]
fn without_verification_only_the_tiles_that_are_missing_fail() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.pmtiles");
    let entries = [Entry { id: 0, offset: 0, length: 3, run: 1 }, Entry { id: 1, offset: 3, length: 3, run: 1 }];
    let whole = Raw::of(&entries, b"\x1aab\x1acd").bytes();
    std::fs::write(&path, &whole[..whole.len() - 2]).unwrap();
    assert!(Pack::open(&conf(&path, Verify::Header)).is_err());
    let pack = Pack::open(&conf(&path, Verify::None)).unwrap();
    assert_eq!(content(&found(&pack, 0, 0, 0)), b"\x1aab");
    assert!(matches!(pack.tile(address(1, 0, 0)), Err(StoreError::Corrupt(_))));
}
