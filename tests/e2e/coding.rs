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
