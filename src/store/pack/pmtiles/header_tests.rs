#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

fn sections() -> impl Strategy<Value = Section> {
    (0..=u64::MAX / 2, 0..=u64::MAX / 2).prop_map(|(offset, length)| Section { offset, length })
}

prop_compose! {
    fn headers()(
        root in (127..8000u64, 0..8000u64),
        (metadata, leaves, tiles) in (sections(), sections(), sections()),
        counts in any::<[u64; 3]>(),
        clustered in any::<bool>(),
        codings in (1u8..5, 0u8..5),
        kind in 0u8..7,
        zooms in (0u8..31, 0u8..31),
        bounds in any::<[i32; 4]>(),
        center_zoom in any::<u8>(),
        center in any::<[i32; 2]>(),
    ) -> Header {
        Header {
            root: Section { offset: root.0, length: root.1 },
            metadata, leaves, tiles,
            addressed_tiles: counts[0], tile_entries: counts[1], tile_contents: counts[2],
            clustered,
            internal_compression: compression(codings.0).unwrap().unwrap(),
            tile_compression: compression(codings.1).unwrap(),
            tile_type: tile_type(kind),
            min_zoom: zooms.0.min(zooms.1), max_zoom: zooms.0.max(zooms.1),
            bounds, center_zoom, center,
        }
    }
}

fn minimal() -> Header {
    Header {
        root: Section { offset: 127, length: 10 },
        metadata: Section { offset: 137, length: 2 },
        leaves: Section { offset: 139, length: 0 },
        tiles: Section { offset: 139, length: 5 },
        addressed_tiles: 1,
        tile_entries: 1,
        tile_contents: 1,
        clustered: true,
        internal_compression: Coding::Identity,
        tile_compression: Some(Coding::Gzip),
        tile_type: TileType::Mvt,
        min_zoom: 0,
        max_zoom: 0,
        bounds: [-1_800_000_000, -850_000_000, 1_800_000_000, 850_000_000],
        center_zoom: 0,
        center: [0, 0],
    }
}

fn refusal(bytes: &[u8]) -> String {
    Header::parse(bytes).unwrap_err().to_string()
}

proptest! {
    #[test]
    fn a_header_survives_the_round_trip(header in headers()) {
        prop_assert_eq!(Header::parse(&header.encode()).unwrap(), header);
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), magic in any::<bool>()) {
        if magic && bytes.len() > 8 {
            bytes[..8].copy_from_slice(b"PMTiles\x03");
        }
        if let Ok(header) = Header::parse(&bytes) {
            prop_assert!(header.root.offset + header.root.length <= ROOT_END);
            let _ = (header.bounds_degrees(), header.center_degrees(), header.check_length(1 << 20));
        }
    }
}

#[test]
fn what_is_wrong_with_a_header_is_named() {
    let good = minimal().encode();
    assert!(refusal(&good[..126]).contains("shorter"));
    assert!(refusal(&[0; 127]).contains("magic"));
    let with = |at: usize, value: u8| {
        let mut bytes = good;
        bytes[at] = value;
        bytes
    };
    assert!(refusal(&with(7, 2)).contains("version 2"));
    assert!(refusal(&with(97, 0)).contains("unknown (0)"));
    assert!(refusal(&with(97, 9)).contains("compression 9"));
    assert!(refusal(&with(98, 5)).contains("compression 5"));
    assert!(refusal(&with(8, 0)).contains("16 KiB"));
    assert!(refusal(&with(17, 0xff)).contains("16 KiB"));
    assert!(refusal(&with(100, 3)).contains("zooms 3 to 0"));
    assert!(refusal(&with(101, 31)).contains("zooms 0 to 31"));
}

#[test]
fn sections_that_overflow_are_refused_wherever_they_stand() {
    for at in [8, 24, 40, 56] {
        let mut bytes = minimal().encode();
        bytes[at..at + 16].fill(0xff);
        assert!(refusal(&bytes).contains("overflows"), "{at}");
    }
}

#[test]
fn a_later_tile_type_is_unknown_and_not_an_error() {
    let mut bytes = minimal().encode();
    bytes[99] = 200;
    assert_eq!(Header::parse(&bytes).unwrap().tile_type, TileType::Unknown);
}

#[test]
fn a_file_shorter_than_its_sections_is_named_truncated() {
    let header = minimal();
    assert!(header.check_length(144).is_ok());
    let error = header.check_length(143).unwrap_err().to_string();
    assert!(error.contains("tile data end at byte 144") && error.contains("truncated"), "{error}");
}

#[test]
fn a_place_past_its_section_is_refused_even_when_it_overflows() {
    let section = Section { offset: 100, length: 50 };
    assert_eq!(section.place(10, 40).unwrap(), 110..150);
    assert!(section.place(10, 41).is_err());
    assert!(section.place(u64::MAX, 2).is_err());
}

#[test]
fn bounds_off_the_earth_are_none() {
    let mut header = minimal();
    assert_eq!(header.bounds_degrees(), Some([-180.0, -85.0, 180.0, 85.0]));
    header.bounds[0] = i32::MIN;
    assert_eq!(header.bounds_degrees(), None);
    header.center = [0, 910_000_000];
    assert_eq!(header.center_degrees(), None);
}
