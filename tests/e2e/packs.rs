//! A pack's life: replaced, truncated, damaged, hostile.

use std::path::Path;

use crate::fixtures::{mbtiles, pmtiles, png};
use crate::server::{BINARY, setup};

fn image_pack(path: &Path, seed: u8) {
    pmtiles(path, pmtiles::TileType::Png, pmtiles::Compression::None, &[(0, 0, 0, &png(seed))]);
}

#[test]
fn a_pack_replaced_by_rename_is_picked_up_by_itself() {
    let setup = setup();
    let path = setup.dir.path().join("p.pmtiles");
    image_pack(&path, 1);
    let server = setup.pack("p", &path, "").start();
    let old_tag = server.get("/edge/assets/p.pmtiles", &[]).header("etag").unwrap().to_owned();
    assert!(server.get("/edge/assets/p/0/0/0", &[]).body == png(1));
    let next = server.dir.path().join("next.pmtiles");
    image_pack(&next, 2);
    std::fs::rename(&next, &path).unwrap();
    let since = std::time::Instant::now();
    server.eventually("replaced", || server.get("/edge/assets/p/0/0/0", &[]).body == png(2));
    assert!(
        since.elapsed().as_secs() < 5,
        "a housekeeper that ticks twice a second saw it late: {:?}",
        since.elapsed()
    );
    assert_ne!(server.get("/edge/assets/p.pmtiles", &[]).header("etag"), Some(old_tag.as_str()));
    assert_eq!(server.admin("/readyz").status, 200);
    server.eventually("told", || server.logged("pack_mounted").len() == 2);
}

#[test]
fn a_bad_replacement_leaves_the_old_pack_in_service() {
    let setup = setup();
    let path = setup.dir.path().join("p.pmtiles");
    image_pack(&path, 1);
    let server = setup.pack("p", &path, "").start();
    server.claim("message");
    server.claim("pack_rejected");
    let next = server.dir.path().join("next.pmtiles");
    std::fs::write(&next, b"PMTiles\x03 and nothing more").unwrap();
    std::fs::rename(&next, &path).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(server.get("/edge/assets/p/0/0/0", &[]).body == png(1));
    assert_eq!(server.get("/edge/assets/p.pmtiles", &[("Range", "bytes=0-6")]).body, b"PMTiles");
    image_pack(&next, 3);
    std::fs::rename(&next, &path).unwrap();
    server.eventually("replaced", || server.get("/edge/assets/p/0/0/0", &[]).body == png(3));
}

#[test]
fn a_pack_truncated_in_place_goes_out_of_service_and_comes_back_whole() {
    let setup = setup();
    let path = setup.dir.path().join("p.pmtiles");
    image_pack(&path, 1);
    let whole = std::fs::read(&path).unwrap();
    let mut server = setup.pack("p", &path, "").start();
    for event in ["pack_lost", "pack_rejected", "pack_digest", "message"] {
        server.claim(event);
    }
    assert_eq!(server.get("/edge/assets/p/0/0/0", &[]).status, 200);
    std::fs::File::options().write(true).open(&path).unwrap().set_len(200).unwrap();
    // Without waiting for the housekeeper: the raw archive notices by itself.
    assert_eq!(server.get("/edge/assets/p.pmtiles", &[]).status, 503);
    server.eventually("unready", || server.admin("/readyz").status == 503);
    assert_eq!(server.admin("/readyz").json()["missing"], serde_json::json!(["packs_verified"]));
    assert!(server.get("/readyz", &[]).json().get("missing").is_none(), "the public listener doesn't say why");
    for path in ["/edge/assets/p/0/0/0", "/edge/assets/p.pmtiles"] {
        assert_eq!(server.get(path, &[]).header("x-reason"), Some("pack_changed"), "{path}");
    }
    assert!(server.alive());
    std::fs::write(&path, &whole).unwrap();
    server.eventually("ready again", || server.admin("/readyz").status == 200);
    assert!(server.get("/edge/assets/p/0/0/0", &[]).body == png(1));
}

#[test]
fn a_download_from_a_pack_that_is_truncated_meanwhile_is_cut_and_the_server_lives() {
    let setup = setup();
    let path = setup.dir.path().join("p.pmtiles");
    let large = crate::fixtures::noise(30_000_000, 9);
    pmtiles(&path, pmtiles::TileType::Png, pmtiles::Compression::None, &[(0, 0, 0, &large)]);
    let mut server = setup.pack("p", &path, "").start();
    for event in ["pack_lost", "pack_rejected", "pack_digest", "body_cut", "message"] {
        server.claim(event);
    }
    let mut client = server.client();
    client.send(b"GET /edge/assets/p.pmtiles HTTP/1.1\r\nHost: edge.test\r\n\r\n");
    // The header and the first chunks are on their way; socket buffers hold a few megabytes of the thirty.
    std::thread::sleep(std::time::Duration::from_millis(300));
    std::fs::File::options().write(true).open(&path).unwrap().set_len(1000).unwrap();
    let error = client.response(false).expect_err("the body is cut");
    assert!(error.contains("body cut"), "{error}");
    assert!(server.alive());
    assert_eq!(server.get("/healthz", &[]).status, 200);
}

#[test]
fn a_hostile_pack_is_refused_at_start_with_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.pmtiles");
    image_pack(&path, 1);
    let good = std::fs::read(&path).unwrap();
    let damage: [(&str, fn(&mut Vec<u8>)); 5] = [
        ("magic", |bytes| bytes[0] = b'X'),
        ("version", |bytes| bytes[7] = 2),
        ("root offset", |bytes| bytes[8..16].fill(0xff)),
        ("root length", |bytes| bytes[16..24].fill(0x7f)),
        ("short", |bytes| bytes.truncate(100)),
    ];
    for (what, damage) in damage {
        let mut bytes = good.clone();
        damage(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        let cas = dir.path().join("cas");
        let done = std::process::Command::new(BINARY)
            .args(["--bind", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--mode", "offline"])
            .arg("--cas-dir")
            .arg(&cas)
            .arg("--pack")
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success(), "{what}: {said}");
        assert!(said.contains("p.pmtiles"), "{what}: {said}");
        assert!(!said.contains("panicked"), "{what}: {said}");
    }
}

#[test]
fn a_broken_tile_fails_alone() {
    let setup = setup();
    let path = setup.dir.path().join("m.mbtiles");
    mbtiles(&path, "png", &[(0, 0, 0, &png(1)), (1, 0, 0, &png(2))]);
    {
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch(
            "ALTER TABLE tiles RENAME TO stored;
             CREATE VIEW tiles AS SELECT zoom_level, tile_column, tile_row, CASE WHEN zoom_level = 1 THEN
               (SELECT a.n FROM many a, many b, many c, many d, many e WHERE a.n + b.n + c.n + d.n + e.n < 0)
               ELSE tile_data END AS tile_data FROM stored;
             CREATE TABLE many (n INTEGER);
             INSERT INTO many SELECT value FROM (WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM c LIMIT 1000)
               SELECT value FROM c);",
        )
        .unwrap();
    }
    let server = setup.pack("m", &path, "").start();
    let mut slow = server.client();
    slow.send(b"GET /edge/assets/m/1/0/0 HTTP/1.1\r\nHost: edge.test\r\n\r\n");
    // While one query runs into its deadline, others are answered.
    assert!(server.get("/edge/assets/m/0/0/0", &[]).body == png(1));
    let answer = slow.response(false).unwrap();
    assert_eq!((answer.status, answer.header("x-reason")), (503, Some("timeout")));
    assert!(server.metric("io_timeouts_total{op=\"pack_read\"}") >= 1.0);
}

#[test]
fn sighup_has_a_replaced_pack_served_soon() {
    let setup = setup();
    let path = setup.dir.path().join("p.pmtiles");
    image_pack(&path, 1);
    let server = setup.pack("p", &path, "").start();
    assert!(server.get("/edge/assets/p/0/0/0", &[]).body == png(1));
    let next = server.dir.path().join("next.pmtiles");
    image_pack(&next, 2);
    std::fs::rename(&next, &path).unwrap();
    server.signal("HUP");
    let since = std::time::Instant::now();
    server.eventually("replaced", || server.get("/edge/assets/p/0/0/0", &[]).body == png(2));
    assert!(since.elapsed() < std::time::Duration::from_secs(3), "{:?} after the signal", since.elapsed());
    server.eventually("told", || server.logged("conf_reloaded").len() == 1 && server.logged("pack_mounted").len() == 2);
    assert_eq!(server.admin("/readyz").status, 200);
}
