//! PMTiles archives that were made to hurt.

use std::io::Read;
use std::path::Path;

use proptest::prelude::*;
use svc_edge::conf::Verify;
use svc_edge::rules::encoding::Coding;
use svc_edge::rules::tile::TileType;
use svc_edge::store::StoreError;
use svc_edge::store::pack::pmtiles::directory::{Directory, Entry};
use svc_edge::store::pack::verify::verify;
use svc_edge::store::pack::{Pack, PackError, Tile};

use crate::alone::{alone, peak_of};
use crate::build::*;

const ALL: [Verify; 3] = [Verify::None, Verify::Header, Verify::Full];

/// Open the bytes as an archive at every level, and where that works ask for tiles. Nothing may panic.
fn exercise(path: &Path, bytes: &[u8]) -> Vec<Result<(), String>> {
    std::fs::write(path, bytes).unwrap();
    let mut results = Vec::new();
    for level in ALL {
        results.push(match Pack::open(&conf(path, level)) {
            Err(error) => Err(error.to_string()),
            Ok(pack) => {
                for (z, x, y) in [(0, 0, 0), (1, 0, 0), (1, 1, 1), (3, 4, 5), (30, 7, 7)] {
                    if let Ok(Tile::Found(object)) = pack.tile(address(z, x, y)) {
                        object.read(0..object.len()).unwrap();
                    }
                }
                Ok(())
            }
        });
    }
    results
}

fn refused(path: &Path, bytes: &[u8]) -> String {
    std::fs::write(path, bytes).unwrap();
    Pack::open(&conf(path, Verify::Header)).err().expect("it must not open").to_string()
}

#[test]
fn what_is_no_archive_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pack");
    let good = Raw::one_tile().bytes();
    assert!(refused(&path, b"").contains("neither"));
    assert!(refused(&path, b"PK\x03\x04 a zip").contains("neither"));
    assert!(refused(&path, &good[..100]).contains("shorter"));
    let mut old = good.clone();
    old[7] = 2;
    assert!(refused(&path, &old).contains("version 2"));
    assert!(refused(&path, &good[..good.len() - 1]).contains("truncated"));
    let mut raw = Raw::one_tile();
    raw.metadata = b"[1,2]".to_vec();
    assert!(refused(&path, &raw.bytes()).contains("metadata"));
    assert!(Pack::open(&conf(dir.path(), Verify::None)).is_err(), "a directory");
    assert!(Pack::open(&conf(&dir.path().join("none"), Verify::None)).is_err(), "no file");
}

#[test]
fn an_archive_truncated_anywhere_is_refused_or_told_by_verification() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, cut) = (dir.path().join("whole"), dir.path().join("cut"));
    simple_pmtiles(&whole, &pyramid(4));
    let bytes = std::fs::read(&whole).unwrap();
    for length in (0..bytes.len()).step_by(100) {
        let results = exercise(&cut, &bytes[..length]);
        assert!(results[1].is_err() && results[2].is_err(), "cut at {length}");
    }
}

#[test]
fn leaf_directories_that_contain_themselves_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cycle");
    // The leaf's one entry points to the leaf.
    let leaf = Directory::encode(&[Entry { id: 0, offset: 0, length: 5, run: 0 }]);
    assert_eq!(leaf.len(), 5);
    let mut raw = Raw::of(&[Entry { id: 0, offset: 0, length: 5, run: 0 }], b"x");
    raw.leaves = leaf;
    std::fs::write(&path, raw.bytes()).unwrap();
    let pack = Pack::open(&conf(&path, Verify::Header)).unwrap();
    for _ in 0..3 {
        assert!(matches!(pack.tile(address(0, 0, 0)), Err(StoreError::Corrupt(_))));
    }
    assert!(matches!(Pack::open(&conf(&path, Verify::Full)), Err(PackError::Faulty { .. })));
}

#[test]
fn four_levels_of_leaves_are_read_and_five_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep");
    for (depth, sound) in [(4, true), (5, false)] {
        // Laid from the innermost to the outermost; each points to the one before it.
        let mut leaves = Directory::encode(&[Entry { id: 0, offset: 0, length: 3, run: 1 }]);
        let mut last = Entry { id: 0, offset: 0, length: leaves.len() as u32, run: 0 };
        for _ in 1..depth {
            let leaf = Directory::encode(&[last]);
            last = Entry { id: 0, offset: leaves.len() as u64, length: leaf.len() as u32, run: 0 };
            leaves.extend(leaf);
        }
        let mut raw = Raw::of(&[last], b"\x1aok");
        raw.leaves = leaves;
        std::fs::write(&path, raw.bytes()).unwrap();
        let pack = Pack::open(&conf(&path, Verify::Header)).unwrap();
        assert_eq!(matches!(pack.tile(address(0, 0, 0)), Ok(Tile::Found(_))), sound, "{depth}");
        assert_eq!(verify(&pack, &|_| {}).unwrap().is_sound(), sound, "{depth}");
    }
}

#[test]
fn a_leaf_that_very_many_entries_share_is_not_verified_for_each() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fan");
    let leaf = gzip(&Directory::encode(&[Entry { id: 0, offset: 0, length: 1, run: 1 }]));
    let fan: Vec<_> = (0..1 << 18).map(|id| Entry { id, offset: 0, length: leaf.len() as u32, run: 0 }).collect();
    let fan = gzip(&Directory::encode(&fan));
    let mut leaves = leaf;
    let root = Entry { id: 0, offset: leaves.len() as u64, length: fan.len() as u32, run: 0 };
    leaves.extend(fan);
    let mut raw = Raw::of(&[root], b"x");
    (raw.root, raw.leaves, raw.internal, raw.metadata) = (gzip(&raw.root), leaves, Coding::Gzip, gzip(b"{}"));
    std::fs::write(&path, raw.bytes()).unwrap();
    let pack = Pack::open(&conf(&path, Verify::Header)).unwrap();
    let report = verify(&pack, &|_| {}).unwrap();
    assert!(report.gave_up && report.faults == 1000 && report.first.len() == 20, "{report:?}");
}

#[test]
fn bombs_are_stopped_at_their_caps() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bomb");
    let bomb = |bytes: u64| {
        let mut out = Vec::new();
        let zeros = std::io::repeat(0).take(bytes);
        flate2::read::GzEncoder::new(zeros, flate2::Compression::best()).read_to_end(&mut out).unwrap();
        out
    };
    let mut raw = Raw::one_tile();
    raw.internal = Coding::Gzip;
    // The root must end within 16 KiB: the largest bomb that fits there.
    (raw.root, raw.metadata) = (bomb(3 << 20), gzip(b"{}"));
    assert!(refused(&path, &raw.bytes()).contains("without entries"));
    raw.root = bomb(5 << 20);
    assert!(refused(&path, &raw.bytes()).contains("too large"));
    (raw.root, raw.metadata) = (gzip(&Raw::one_tile().root), bomb(5 << 20));
    assert!(refused(&path, &raw.bytes()).contains("too large"));
    // A leaf of 5 MiB, and an image of 20 MiB.
    let leaf = bomb(5 << 20);
    let mut raw = Raw::of(&[Entry { id: 0, offset: 0, length: leaf.len() as u32, run: 0 }], b"x");
    (raw.root, raw.metadata, raw.leaves, raw.internal) = (gzip(&raw.root), gzip(b"{}"), leaf, Coding::Gzip);
    std::fs::write(&path, raw.bytes()).unwrap();
    let pack = Pack::open(&conf(&path, Verify::Header)).unwrap();
    assert!(matches!(pack.tile(address(0, 0, 0)), Err(StoreError::TooLarge(_))));
    let image = bomb(20 << 20);
    let mut raw = Raw::of(&[Entry { id: 0, offset: 0, length: image.len() as u32, run: 1 }], &image);
    (raw.kind, raw.tile) = (TileType::Png, Some(Coding::Gzip));
    std::fs::write(&path, raw.bytes()).unwrap();
    let pack = Pack::open(&conf(&path, Verify::Header)).unwrap();
    assert!(matches!(pack.tile(address(0, 0, 0)), Err(StoreError::TooLarge(_))));
}

#[test]
fn large_metadata_are_an_error_or_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metadata");
    for (length, fits) in [(650_000, true), (750_000, false)] {
        let mut raw = Raw::one_tile();
        (raw.root, raw.internal) = (gzip(&raw.root), Coding::Gzip);
        // Six bytes each in JSON, next to nothing in the file.
        raw.metadata = gzip(format!(r#"{{"name":"{}"}}"#, "\\u0001".repeat(length)).as_bytes());
        assert!(raw.metadata.len() < 50_000);
        std::fs::write(&path, raw.bytes()).unwrap();
        for level in [Verify::Header, Verify::Full] {
            let error = Pack::open(&conf(&path, level)).err();
            assert_eq!(error.is_none(), fits, "{length} {error:?}");
            assert!(error.is_none_or(|error| error.to_string().contains("metadata of more than 4 MiB")));
        }
        let pack = Pack::open(&conf(&path, Verify::None)).unwrap();
        assert_eq!(pack.facts().name.is_some(), fits);
        assert!(matches!(pack.tile(address(0, 0, 0)), Ok(Tile::Found(_))));
    }
}

#[test]
fn leaves_of_as_many_entries_as_may_be_take_little_memory_however_many_ask() {
    alone("hostile_pmtiles::leaves_of_as_many_entries_as_may_be_take_little_memory_however_many_ask", || {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("leaves");
        const ENTRIES: u64 = 1 << 18;
        let (mut leaves, mut root) = (Vec::new(), Vec::new());
        for i in 0..96 {
            let first = 100_000_000 + i * ENTRIES;
            let entries: Vec<_> = (0..ENTRIES).map(|j| Entry { id: first + j, offset: j, length: 1, run: 1 }).collect();
            let leaf = gzip(&Directory::encode(&entries));
            root.push(Entry { id: first, offset: leaves.len() as u64, length: leaf.len() as u32, run: 0 });
            leaves.extend(leaf);
        }
        let mut raw = Raw::of(&root, &vec![0x1a; ENTRIES as usize]);
        (raw.root, raw.metadata, raw.leaves, raw.internal) = (gzip(&raw.root), gzip(b"{}"), leaves, Coding::Gzip);
        std::fs::write(&path, raw.bytes()).unwrap();
        drop(raw);
        let pack = Pack::open(&conf(&path, Verify::Header)).unwrap();
        let peak = peak_of(|| {
            std::thread::scope(|scope| {
                for thread in 0..256 {
                    let (pack, root) = (&pack, &root);
                    scope.spawn(move || {
                        let tile = svc_edge::store::pack::pmtiles::id::decode(root[thread % root.len()].id).unwrap();
                        assert!(matches!(pack.tile(tile), Ok(Tile::Found(_))));
                    });
                }
            });
        });
        assert!(peak < 300 << 20, "{} MiB", peak >> 20);
    });
}

#[test]
fn a_leaf_of_too_many_entries_is_too_large() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("leaf");
    for (count, fits) in [(1 << 18, true), ((1 << 18) + 1, false)] {
        let entries: Vec<_> = (0..count).map(|id| Entry { id, offset: 0, length: 1, run: 1 }).collect();
        let leaf = Directory::encode(&entries);
        let mut raw = Raw::of(&[Entry { id: 0, offset: 0, length: leaf.len() as u32, run: 0 }], b"\x1a");
        raw.leaves = leaf;
        std::fs::write(&path, raw.bytes()).unwrap();
        let tile = Pack::open(&conf(&path, Verify::Header)).unwrap().tile(address(0, 0, 0));
        assert_eq!(matches!(tile, Ok(Tile::Found(_))), fits);
        assert_eq!(matches!(tile, Err(StoreError::TooLarge(_))), !fits);
    }
}

#[test]
fn a_tile_of_more_than_16_mib_is_too_large() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tile");
    for (length, fits) in [(16 << 20, true), ((16 << 20) + 1, false)] {
        std::fs::write(
            &path,
            Raw::of(&[Entry { id: 0, offset: 0, length, run: 1 }], &vec![0x1a; length as usize]).bytes(),
        )
        .unwrap();
        let tile = Pack::open(&conf(&path, Verify::Header)).unwrap().tile(address(0, 0, 0));
        assert_eq!(matches!(tile, Ok(Tile::Found(_))), fits);
        assert_eq!(matches!(tile, Err(StoreError::TooLarge(_))), !fits);
    }
}

#[test]
fn a_tile_of_4_gib_in_a_sparse_file_is_refused_before_memory_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sparse");
    let mut raw = Raw::of(&[Entry { id: 0, offset: 0, length: u32::MAX, run: 1 }], b"");
    raw.zooms = (0, 0);
    let mut header = raw.header();
    header.tiles.length = u64::from(u32::MAX);
    std::fs::write(&path, raw.with_header(header)).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(header.tiles.offset + header.tiles.length).unwrap();
    let pack = Pack::open(&conf(&path, Verify::Header)).unwrap();
    assert!(matches!(pack.tile(address(0, 0, 0)), Err(StoreError::TooLarge(_))));
    // A leaf directory and metadata of that size are refused as well.
    let mut raw = Raw::of(&[Entry { id: 0, offset: 0, length: u32::MAX, run: 0 }], b"");
    let mut header = raw.header();
    header.leaves.length = u64::from(u32::MAX);
    (header.tiles.offset, header.tiles.length) = (header.leaves.offset, 0);
    std::fs::write(&path, raw.with_header(header)).unwrap();
    file.set_len(header.leaves.offset + header.leaves.length).unwrap();
    let pack = Pack::open(&conf(&path, Verify::Header)).unwrap();
    assert!(matches!(pack.tile(address(0, 0, 0)), Err(StoreError::TooLarge(_))));
    raw.root = Raw::one_tile().root;
    header.root.length = raw.root.len() as u64;
    header.metadata.length = 1 << 32;
    std::fs::write(&path, raw.with_header(header)).unwrap();
    file.set_len(1 << 33).unwrap();
    assert!(matches!(
        Pack::open(&conf(&path, Verify::Header)),
        Err(PackError::Unreadable { source: StoreError::TooLarge(_), .. })
    ));
}

#[test]
fn verification_names_what_it_finds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("faults");
    let faults = |raw: &Raw, change: &dyn Fn(&mut svc_edge::store::pack::pmtiles::header::Header)| {
        let mut header = raw.header();
        change(&mut header);
        std::fs::write(&path, raw.with_header(header)).unwrap();
        let pack = Pack::open(&conf(&path, Verify::Header)).unwrap();
        let report = verify(&pack, &|_| {}).unwrap();
        report.first.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    let one = Entry { id: 0, offset: 0, length: 3, run: 1 };
    assert_eq!(faults(&Raw::of(&[one], b"\x1aab"), &|_| {}), "");
    let past = Raw::of(&[Entry { offset: 1, ..one }], b"\x1aab");
    assert!(faults(&past, &|_| {}).contains("tile 0/0/0: corrupt: an entry points past its section"));
    assert!(
        faults(&Raw::of(&[one], b"\x1aab"), &|h| h.tile_compression = Some(Coding::Gzip)).contains("malformed gzip")
    );
    assert!(faults(&Raw::of(&[one], b"\x1aab"), &|h| h.addressed_tiles = 7).contains("says 7, found 1"));
    assert!(faults(&Raw::of(&[one], b"\x1aab"), &|h| h.min_zoom = 1).contains("outside the zooms"));
    let mut stray = Raw::of(&[Entry { id: 0, run: 0, length: 5, ..one }, Entry { id: 5, ..one }], b"\x1aab");
    stray.leaves = Directory::encode(&[Entry { id: 9, offset: 0, length: 3, run: 1 }]);
    assert!(faults(&stray, &|_| {}).contains("ids that its entry doesn't answer for"));
    stray.leaves = Directory::encode(&[Entry { id: 3, offset: 0, length: 3, run: 4 }]);
    assert!(faults(&stray, &|_| {}).contains("reaches into the next directory"));
}

fn sound() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pack");
    simple_pmtiles(&path, &pyramid(3));
    std::fs::read(&path).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_archives_never_panic(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        early in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = sound();
        // Half of the damage goes to header and directories, where it matters most.
        let reach = if early { 400 } else { bytes.len() };
        for (at, value) in flips {
            bytes[at.index(reach)] = value;
        }
        exercise(&dir.path().join("damaged"), &bytes);
    }

    #[test]
    fn uncompressed_directories_of_random_bytes_never_panic(root in proptest::collection::vec(any::<u8>(), 1..200), leaves in proptest::collection::vec(0u8..8, 0..200)) {
        let dir = tempfile::tempdir().unwrap();
        let mut raw = Raw::one_tile();
        (raw.root, raw.leaves) = (root, leaves);
        exercise(&dir.path().join("random"), &raw.bytes());
    }
}
