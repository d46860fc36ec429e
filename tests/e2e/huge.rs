//! An archive of more than four gibibytes, most of it a hole.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use svc_edge::rules::encoding::Coding;
use svc_edge::rules::tile::TileType;
use svc_edge::store::pack::pmtiles::directory::{Directory, Entry};
use svc_edge::store::pack::pmtiles::header::{Header, LEN, Section};

use crate::fixtures::{noise, png, tag};
use crate::server::setup;

/// Where the far tile is, from the start of the tile data: a number that 32 bits can't hold.
const FAR: u64 = (1 << 32) + 123_456;

/// Bytes behind the far tile, so that it is not the last of the file.
const BEHIND: u64 = 100_000;

/// Write it: the tile of zoom 0 at the start of the tile data, that of 1/0/0 beyond four gibibytes. Where the tile data starts.
fn write(path: &Path, near: &[u8], far: &[u8]) -> u64 {
    let root = Directory::encode(&[
        Entry { id: 0, offset: 0, length: near.len() as u32, run: 1 },
        Entry { id: 1, offset: FAR, length: far.len() as u32, run: 1 },
    ]);
    let metadata = br#"{"name":"mostly a hole"}"#;
    let after = |section: Section, length: u64| Section { offset: section.offset + section.length, length };
    let root_section = Section { offset: LEN as u64, length: root.len() as u64 };
    let metadata_section = after(root_section, metadata.len() as u64);
    let leaves = after(metadata_section, 0);
    let tiles = after(leaves, FAR + far.len() as u64 + BEHIND);
    let header = Header {
        root: root_section,
        metadata: metadata_section,
        leaves,
        tiles,
        addressed_tiles: 2,
        tile_entries: 2,
        tile_contents: 2,
        clustered: true,
        internal_compression: Coding::Identity,
        tile_compression: Some(Coding::Identity),
        tile_type: TileType::Png,
        min_zoom: 0,
        max_zoom: 1,
        bounds: [-1_800_000_000, -850_000_000, 1_800_000_000, 850_000_000],
        center_zoom: 0,
        center: [0; 2],
    };
    let file = File::create(path).unwrap();
    file.set_len(tiles.offset + tiles.length).unwrap();
    file.write_all_at(&[&header.encode()[..], &root, metadata].concat(), 0).unwrap();
    file.write_all_at(near, tiles.offset).unwrap();
    file.write_all_at(far, tiles.offset + FAR).unwrap();
    tiles.offset
}

#[test]
fn a_tile_and_a_range_beyond_four_gibibytes_are_right() {
    let setup = setup();
    let path = setup.dir.path().join("huge.pmtiles");
    let (near, far) = (png(1), [png(2), noise(9000, 3)].concat());
    let start = write(&path, &near, &far);
    let server = setup.pack("huge", &path, ", verify: header").start();
    let (tile, archive) = ("/edge/assets/huge/1/0/0.png", "/edge/assets/huge.pmtiles");
    for (path, bytes) in [("/edge/assets/huge/0/0/0.png", &near), (tile, &far)] {
        let answer = server.get(path, &[]);
        assert_eq!((answer.status, answer.header("etag")), (200, Some(tag(bytes).as_str())), "{path}");
        assert!(answer.body == *bytes, "{path}");
    }
    let length = start + FAR + far.len() as u64 + BEHIND;
    assert!(length > 1 << 32);
    let head = server.client().request("HEAD", archive, &[]);
    assert_eq!((head.status, head.header("content-length")), (200, Some(length.to_string().as_str())));
    let at = start + FAR;
    let file = File::open(&path).unwrap();
    let etag = head.header("etag").unwrap();
    let ranges = [
        (at, at + far.len() as u64 - 1),
        (at + 10, at + 19),
        (at - 50_000, at + 200_000),
        // Across the place where 32 bits end, and a hole of zeros before the tile.
        ((1 << 32) - 5, (1 << 32) + 5),
        (1 << 32, (1 << 32) + 99),
        (length - 1, length - 1),
        (length - BEHIND - 100, u64::MAX),
        (0, 126),
    ];
    for (first, last) in ranges {
        let range = format!("bytes={first}-{last}");
        let answer = server.get(archive, &[("Range", &range), ("If-Range", etag)]);
        let last = last.min(length - 1);
        let whole = format!("bytes {first}-{last}/{length}");
        assert_eq!((answer.status, answer.header("content-range")), (206, Some(whole.as_str())), "{range}");
        let mut expected = vec![0; (last - first + 1) as usize];
        file.read_exact_at(&mut expected, first).unwrap();
        assert!(answer.body == expected, "{range}");
    }
    let suffix = server.get(archive, &[("Range", "bytes=-100001")]);
    assert_eq!((suffix.status, suffix.body.len(), suffix.body[0]), (206, 100_001, *far.last().unwrap()));
    let past = server.get(archive, &[("Range", &format!("bytes={length}-"))]);
    assert_eq!((past.status, past.header("content-range")), (416, Some(format!("bytes */{length}").as_str())));
    assert_eq!(server.get("/edge/assets/huge.json", &[]).json()["maxzoom"], 1);
}
