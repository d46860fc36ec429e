//! Validators (RFC 9110 §8.8) and Repr-Digest (RFC 9530).

use crate::fixtures::{noise, pmtiles, png, tag};
use crate::server::setup;

#[test]
fn the_tag_is_blake3_of_the_bytes_and_a_partial_answer_carries_the_wholes() {
    let large = noise(1_000_000, 1);
    let server = setup().asset("small.bin", b"hello").asset("large.bin", &large).start();
    assert_eq!(server.get("/edge/assets/site/small.bin", &[]).header("etag"), Some(tag(b"hello").as_str()));
    let whole = server.get("/edge/assets/site/large.bin", &[]);
    assert_eq!(whole.body, large);
    assert_eq!(whole.header("etag"), Some(tag(&large).as_str()));
    let part = server.get("/edge/assets/site/large.bin", &[("Range", "bytes=500000-500099")]);
    assert_eq!((part.status, part.header("etag")), (206, Some(tag(&large).as_str())));
    assert_eq!(part.body, large[500_000..500_100]);
}

#[test]
fn the_same_archive_has_the_same_tag_on_two_nodes_and_keeps_it_while_it_runs() {
    let one = setup();
    let path = pmtiles(
        &one.dir.path().join("p.pmtiles"),
        pmtiles::TileType::Png,
        pmtiles::Compression::None,
        &[(0, 0, 0, &png(1))],
    );
    let two = setup();
    let copy = two.dir.path().join("copy.pmtiles");
    let copied = std::process::Command::new("cp").arg("-p").args([&path, &copy]).status().unwrap();
    assert!(copied.success());
    let one = one.pack("p", &path, "").start();
    let two = two.pack("p", &copy, "").start();
    let first = one.get("/edge/assets/p.pmtiles", &[]).header("etag").map(str::to_owned);
    assert!(first.as_deref().is_some_and(|tag| tag.starts_with("\"st:")), "{first:?}");
    assert_eq!(first.as_deref(), two.get("/edge/assets/p.pmtiles", &[]).header("etag"));
    // The digest is computed behind; the tag of this mount stays.
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(first.as_deref(), one.get("/edge/assets/p.pmtiles", &[]).header("etag"));
}

#[test]
fn last_modified_is_the_files() {
    let setup = setup().asset("a.txt", b"hello");
    let file = std::fs::File::options().write(true).open(setup.dir.path().join("assets/a.txt")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_000_000_000_500)).unwrap();
    let server = setup.start();
    assert_eq!(
        server.get("/edge/assets/site/a.txt", &[]).header("last-modified"),
        Some("Sun, 09 Sep 2001 01:46:40 GMT")
    );
}

#[test]
fn a_repr_digest_is_given_to_who_wants_it_and_is_the_whole_representations() {
    let server = setup().asset("a.txt", b"hello").start();
    let expected = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
    assert_eq!(server.get("/edge/assets/site/a.txt", &[]).header("repr-digest"), None);
    for range in [None, Some(("Range", "bytes=1-2"))] {
        let headers: Vec<_> = [("Want-Repr-Digest", "sha-256=5")].into_iter().chain(range).collect();
        let answer = server.get("/edge/assets/site/a.txt", &headers);
        assert_eq!(answer.header("repr-digest"), Some(expected), "{range:?}");
    }
    for unwanted in ["sha-256=0", "sha-512=5", "sha-256=\"x\"", "{"] {
        assert_eq!(
            server.get("/edge/assets/site/a.txt", &[("Want-Repr-Digest", unwanted)]).header("repr-digest"),
            None,
            "{unwanted}"
        );
    }
}
