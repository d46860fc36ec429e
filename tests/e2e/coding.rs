//! Content coding (RFC 9110 §8.4, §12.5.3) and its guard.

use crate::fixtures::{gunzip, gzip, noise, pmtiles, tag};
use crate::server::{Server, setup};

fn vector(tile: &[u8]) -> Server {
    let setup = setup();
    let path = setup.dir.path().join("v.pmtiles");
    pmtiles(&path, pmtiles::TileType::Mvt, pmtiles::Compression::Gzip, &[(0, 0, 0, tile)]);
    setup.pack("v", &path, "").start()
}

#[test]
fn a_stored_coding_passes_through_to_who_accepts_it_and_is_decoded_for_who_does_not() {
    let tile = noise(2000, 1);
    let server = vector(&tile);
    let path = "/edge/assets/v/0/0/0.mvt";
    let table: &[(Option<&str>, bool)] = &[
        (Some("gzip"), true),
        (Some("br, gzip;q=0.5"), true),
        (Some("x-gzip"), true),
        (Some("*"), true),
        (Some("GZIP"), true),
        (None, false),
        (Some("br"), false),
        (Some("identity"), false),
        (Some(""), false),
        (Some("gzip;q=0"), false),
        (Some("gzip;q=0.000, *"), false),
    ];
    let mut tags = Vec::new();
    let mut client = server.client();
    for (accept, coded) in table {
        let headers: Vec<_> = accept.map(|value| ("Accept-Encoding", value)).into_iter().collect();
        let answer = client.request("GET", path, &headers);
        assert_eq!(answer.status, 200, "{accept:?}");
        assert_eq!(answer.header("content-encoding"), coded.then_some("gzip"), "{accept:?}");
        let body = if *coded { gunzip(&answer.body) } else { answer.body.clone() };
        assert!(body == tile, "{accept:?}");
        assert_eq!(answer.list("vary"), ["Accept-Encoding"]);
        assert_eq!(answer.header("etag"), Some(tag(&answer.body).as_str()), "the tag is of the bytes as coded");
        tags.push(answer.header("etag").unwrap().to_owned());
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 2, "two codings never share a tag");
    let not_modified = client.request("GET", path, &[("Accept-Encoding", "gzip"), ("If-None-Match", "*")]);
    assert_eq!((not_modified.status, not_modified.list("vary")), (304, vec!["Accept-Encoding".to_owned()]));
}

#[test]
fn a_range_applies_to_the_coded_bytes_and_is_ignored_on_decoded_ones() {
    let tile = noise(2000, 2);
    let server = vector(&tile);
    let path = "/edge/assets/v/0/0/0.mvt";
    let whole = server.get(path, &[("Accept-Encoding", "gzip")]);
    let part = server.get(path, &[("Accept-Encoding", "gzip"), ("Range", "bytes=10-19")]);
    assert_eq!((part.status, part.body.as_slice()), (206, &whole.body[10..20]));
    let decoded = server.get(path, &[("Accept-Encoding", "identity"), ("Range", "bytes=10-19")]);
    assert_eq!((decoded.status, decoded.header("accept-ranges")), (200, Some("none")));
    assert!(decoded.body == tile);
}

#[test]
fn a_bomb_is_not_decoded_and_does_not_grow_the_process() {
    let bomb = gzip(&vec![0; 200_000_000]);
    let setup = setup();
    let path = setup.dir.path().join("v.mbtiles");
    crate::fixtures::mbtiles(&path, "pbf", &[(0, 0, 0, &bomb), (1, 0, 0, &gzip(b"fine"))]);
    let server = setup.pack("v", &path, "").start();
    let before = server.rss();
    for _ in 0..20 {
        let answer = server.get("/edge/assets/v/0/0/0", &[("Accept-Encoding", "identity")]);
        assert_eq!((answer.status, answer.header("x-reason")), (502, Some("decompress_cap")));
    }
    assert!(server.rss() < before + 64 * 1024 * 1024, "{} -> {}", before, server.rss());
    // As it is stored it is a quarter of a megabyte: whoever accepts gzip gets it.
    assert_eq!(server.get("/edge/assets/v/0/0/0", &[("Accept-Encoding", "gzip")]).body, bomb);
    assert_eq!(server.get("/edge/assets/v/1/0/0", &[("Accept-Encoding", "identity")]).body, b"fine");
}

#[test]
fn images_and_files_are_never_coded() {
    let png = crate::fixtures::png(1);
    let server = setup().asset("a.png", &png).asset("font.woff2", &noise(500, 1)).start();
    for path in ["a.png", "font.woff2"] {
        let answer = server.get(&format!("/edge/assets/site/{path}"), &[("Accept-Encoding", "gzip, br")]);
        assert_eq!((answer.header("content-encoding"), answer.header("vary")), (None, None), "{path}");
    }
}

#[test]
fn a_refusal_of_a_negotiable_tile_varies_as_its_answer_does() {
    let bomb = gzip(&vec![0; 20_000_000]);
    let setup = setup();
    let path = setup.dir.path().join("m.mbtiles");
    crate::fixtures::mbtiles(&path, "pbf", &[(0, 0, 0, &bomb), (1, 0, 0, &gzip(&noise(2000, 1)))]);
    let server = setup.pack("m", &path, "").start();
    let (bomb, tile) = ("/edge/assets/m/0/0/0", "/edge/assets/m/1/0/0");
    let table: &[(&str, &[(&str, &str)], u16)] = &[
        (tile, &[("Accept-Encoding", "gzip")], 200),
        (tile, &[("Accept-Encoding", "gzip"), ("If-Match", "\"x\"")], 412),
        (tile, &[("Accept-Encoding", "identity"), ("If-Match", "\"x\"")], 412),
        (tile, &[("If-Unmodified-Since", "Sun, 09 Sep 2001 01:46:40 GMT"), ("If-Match", "\"x\"")], 412),
        (tile, &[("Accept-Encoding", "gzip"), ("Range", "bytes=99999-")], 416),
        (tile, &[("Accept-Encoding", "gzip"), ("Range", "bytes=-0")], 416),
        (bomb, &[("Accept-Encoding", "identity")], 502),
        (bomb, &[], 502),
    ];
    // Twice: from the pack, and from the hot set.
    for _ in 0..2 {
        for (path, headers, status) in table {
            let answer = server.get(path, headers);
            assert_eq!(answer.status, *status, "{path} {headers:?}");
            assert_eq!(answer.list("vary"), ["Accept-Encoding"], "{status} of {path} {headers:?}");
        }
    }
}

#[test]
fn a_refusal_under_a_list_of_origins_varies_by_both() {
    let setup = setup();
    let path = setup.dir.path().join("v.pmtiles");
    pmtiles(&path, pmtiles::TileType::Mvt, pmtiles::Compression::Gzip, &[(0, 0, 0, &noise(2000, 1))]);
    let server = setup.pack("v", &path, "").edge("  http: {cors: {allow_origins: [\"https://a.example\"]}}\n").start();
    for (headers, status) in [
        ([("Accept-Encoding", "gzip"), ("If-None-Match", "\"x\"")], 200),
        ([("Accept-Encoding", "gzip"), ("If-None-Match", "*")], 304),
        ([("Accept-Encoding", "gzip"), ("If-Match", "\"x\"")], 412),
        ([("Accept-Encoding", "gzip"), ("Range", "bytes=99999-")], 416),
    ] {
        let answer = server.get("/edge/assets/v/0/0/0", &headers);
        let mut vary = answer.list("vary");
        vary.sort();
        assert_eq!((answer.status, vary), (status, vec!["Accept-Encoding".to_owned(), "Origin".to_owned()]));
    }
}

#[test]
fn image_tiles_and_the_raw_archive_are_never_coded() {
    use pmtiles::{Compression, TileType};
    let mut setup = setup();
    let dir = setup.dir.path().to_owned();
    // What compresses well, so that coding it would pay.
    let image = [b"RIFF".as_slice(), &[7; 4000]].concat();
    let types = [("png", TileType::Png), ("jpg", TileType::Jpeg), ("webp", TileType::Webp), ("avif", TileType::Avif)];
    for (name, tile_type) in types {
        let path = dir.join(format!("{name}.pmtiles"));
        setup = setup.pack(name, &pmtiles(&path, tile_type, Compression::None, &[(0, 0, 0, &image)]), ", verify: none");
    }
    let server = setup.start();
    for (name, _) in types {
        let archive = std::fs::read(dir.join(format!("{name}.pmtiles"))).unwrap();
        for accept in ["gzip, br", "gzip, br, zstd, *", "identity;q=0, gzip", "*;q=0", ""] {
            for (path, bytes) in [
                (format!("/edge/assets/{name}/0/0/0.{name}"), &image),
                (format!("/edge/assets/{name}.pmtiles"), &archive),
            ] {
                let answer = server.get(&path, &[("Accept-Encoding", accept)]);
                assert_eq!(answer.status, 200, "{path} to {accept:?}: something is better than nothing");
                assert!(answer.body == *bytes, "{path} to {accept:?}");
                assert_eq!((answer.header("content-encoding"), answer.header("vary")), (None, None), "{path}");
                let part = server.get(&path, &[("Accept-Encoding", accept), ("Range", "bytes=100-199")]);
                assert_eq!((part.status, part.body.as_slice()), (206, &bytes[100..200]), "{path} to {accept:?}");
            }
        }
    }
}
