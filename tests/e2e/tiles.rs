//! Tiles of PMTiles and MBTiles packs, and their TileJSON.

use crate::fixtures::{gzip, mbtiles, pmtiles, png, sample, tag};
use crate::server::setup;

#[test]
fn a_tile_is_answered_by_its_address_with_the_type_of_its_pack() {
    let setup = setup();
    let dir = setup.dir.path().to_owned();
    let image = png(1);
    let vector = gzip(b"a vector tile");
    let p = pmtiles(
        &dir.join("p.pmtiles"),
        pmtiles::TileType::Png,
        pmtiles::Compression::None,
        &[(0, 0, 0, &image), (2, 3, 1, &png(2))],
    );
    let m = mbtiles(&dir.join("m.mbtiles"), "pbf", &[(0, 0, 0, &vector), (2, 3, 1, &gzip(b"another"))]);
    let server = setup.pack("p", &p, "").pack("m", &m, "").start();
    for path in ["/edge/assets/p/0/0/0", "/edge/assets/p/0/0/0.png"] {
        let answer = server.get(path, &[]);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/png")), "{path}");
        assert!(answer.body == image);
        assert_eq!(answer.header("etag"), Some(tag(&image).as_str()));
        assert_eq!(answer.header("cache-status"), Some("svc-edge; hit; detail=pack"));
    }
    assert!(server.get("/edge/assets/p/2/3/1.png", &[]).body == png(2));
    for extension in ["", ".mvt", ".pbf"] {
        let answer = server.get(&format!("/edge/assets/m/2/3/1{extension}"), &[("Accept-Encoding", "identity")]);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/vnd.mapbox-vector-tile")));
        assert_eq!(answer.body, b"another", "the row was turned from TMS to XYZ");
    }
    for wrong in [
        "/edge/assets/p/0/0/0.jpg",
        "/edge/assets/p/0/0/0.mvt",
        "/edge/assets/m/0/0/0.png",
        "/edge/assets/m/0/0/0.mvt.gz",
    ] {
        assert_eq!(server.get(wrong, &[]).status, 404, "{wrong}");
    }
}

#[test]
fn a_place_that_does_not_exist_is_404_and_what_is_no_number_is_400() {
    let server = setup().pack("tile", &sample("tile.pmtiles"), "").start();
    for path in ["0/1/0", "0/0/1", "3/8/0", "31/0/0", "99/0/0", "30/0/0", "3/4294967296/0", "3/99999999999999999999/0"]
    {
        assert_eq!(server.get(&format!("/edge/assets/tile/{path}"), &[]).status, 404, "{path}");
    }
    for path in ["a/0/0", "0/b/0", "0/0/c", "-1/0/0", "+1/0/0", "1.5/0/0", "00/0/0", "1/01/0", "0x1/0/0", "%31e0/0/0"] {
        let answer = server.get(&format!("/edge/assets/tile/{path}"), &[]);
        assert_eq!((answer.status, answer.header("x-reason")), (400, Some("bad_path")), "{path}");
    }
}

#[test]
fn an_absent_tile_is_204_for_vectors_404_for_images_or_what_the_conf_says() {
    let setup = setup();
    let dir = setup.dir.path().to_owned();
    let image =
        pmtiles(&dir.join("i.pmtiles"), pmtiles::TileType::Png, pmtiles::Compression::None, &[(1, 0, 0, &png(1))]);
    let vector =
        pmtiles(&dir.join("v.pmtiles"), pmtiles::TileType::Mvt, pmtiles::Compression::Gzip, &[(1, 0, 0, b"x")]);
    let server = setup
        .pack("image", &image, "")
        .pack("vector", &vector, "")
        .pack("image204", &image, ", missing_tile: no_content")
        .pack("vector404", &vector, ", missing_tile: not_found")
        .start();
    for (pack, status) in [("image", 404), ("vector", 204), ("image204", 204), ("vector404", 404)] {
        // Twice: from the pack, and from the hot set.
        for _ in 0..2 {
            let answer = server.get(&format!("/edge/assets/{pack}/1/1/1"), &[]);
            assert_eq!(answer.status, status, "{pack}");
            assert_eq!(answer.header("content-length").is_some(), status == 404, "{pack}");
        }
        assert_eq!(server.get(&format!("/edge/assets/{pack}/1/0/0"), &[]).status, 200);
        assert_eq!(server.get(&format!("/edge/assets/{pack}/2/0/0"), &[]).status, 404, "outside the zooms of {pack}");
    }
}

#[test]
fn the_sample_packs_say_what_they_are_and_serve_every_tile_they_promise() {
    let server = setup()
        .pack("tile", &sample("tile.pmtiles"), "")
        .pack("world", &sample("world.mbtiles"), "")
        .pack("raster", &sample("raster.pmtiles"), "")
        .start();
    for (pack, vector) in [("tile", true), ("world", true), ("raster", false)] {
        let answer = server.get(&format!("/edge/assets/{pack}.json"), &[]);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        let json = answer.json();
        assert_eq!(json["tilejson"], "3.0.0");
        let tiles = json["tiles"][0].as_str().unwrap();
        assert!(
            tiles.starts_with(&format!("http://{}/edge/assets/{pack}/{{z}}/{{x}}/{{y}}.", server.address)),
            "{tiles}"
        );
        assert_eq!(json["bounds"].as_array().unwrap().len(), 4);
        assert_eq!(json["center"].as_array().unwrap().len(), 3);
        assert!(json["attribution"].as_str().unwrap().contains("Natural Earth"));
        assert_eq!(json["vector_layers"].as_array().is_some_and(|layers| !layers.is_empty()), vector, "{pack}");
        let url = tiles.replace("{z}", "1").replace("{x}", "1").replace("{y}", "0");
        let tile = server.get(url.strip_prefix(&format!("http://{}", server.address)).unwrap(), &[]);
        assert_eq!(tile.status, 200, "{url}");
        assert!(!tile.body.is_empty());
        assert_eq!(json["minzoom"], 0);
        assert!(json["maxzoom"].as_u64().unwrap() >= 2);
    }
}

#[test]
fn absolute_urls_come_from_the_conf_or_from_a_listed_host_only() {
    let fixed = setup().pack("tile", &sample("tile.pmtiles"), "").edge("  public_url: https://maps.example/\n").start();
    let tiles = |answer: crate::http::Response| answer.json()["tiles"][0].as_str().unwrap().to_owned();
    assert!(tiles(fixed.get("/edge/assets/tile.json", &[])).starts_with("https://maps.example/edge/assets/tile/{z}"));

    let listed = setup().pack("tile", &sample("tile.pmtiles"), "").edge("  http: {hosts: [edge.test]}\n").start();
    assert!(tiles(listed.get("/edge/assets/tile.json", &[])).starts_with("http://edge.test/edge/assets/"));
    let mut client = listed.client();
    client.send(b"GET /edge/assets/tile.json HTTP/1.1\r\nHost: evil.test\r\n\r\n");
    assert!(tiles(client.response(false).unwrap()).starts_with(&format!("http://{}/", listed.address)));
}

#[test]
fn every_compression_and_tile_type_of_pmtiles_is_served() {
    use pmtiles::{Compression, TileType};
    let setup = setup();
    let dir = setup.dir.path().to_owned();
    let types = [
        (TileType::Mvt, "application/vnd.mapbox-vector-tile", "mvt"),
        (TileType::Png, "image/png", "png"),
        (TileType::Jpeg, "image/jpeg", "jpg"),
        (TileType::Webp, "image/webp", "webp"),
        (TileType::Avif, "image/avif", "avif"),
        (TileType::Mlt, "application/vnd.maplibre-vector-tile", "mlt"),
    ];
    let compressions = [Compression::None, Compression::Gzip, Compression::Brotli, Compression::Zstd];
    let body = crate::fixtures::noise(700, 5);
    let mut setup = setup;
    for (t, (tile_type, _, _)) in types.iter().enumerate() {
        for (c, compression) in compressions.iter().enumerate() {
            let path = pmtiles(&dir.join(format!("p{t}{c}.pmtiles")), *tile_type, *compression, &[(0, 0, 0, &body)]);
            setup = setup.pack(&format!("p{t}{c}"), &path, ", verify: none");
        }
    }
    let server = setup.start();
    for (t, (_, media_type, extension)) in types.iter().enumerate() {
        for c in 0..compressions.len() {
            let answer =
                server.get(&format!("/edge/assets/p{t}{c}/0/0/0.{extension}"), &[("Accept-Encoding", "identity")]);
            assert_eq!((answer.status, answer.header("content-type")), (200, Some(*media_type)), "{t} {c}");
            assert!(answer.body == body, "{t} {c}");
        }
    }
}
