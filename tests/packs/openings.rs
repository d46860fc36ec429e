//! Replacements that take long to open, and what happens beside them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use svc_edge::conf::{PackConf, Verify};
use svc_edge::store::pack::mounts::Mounts;

use crate::build::*;
use crate::mounts::{archive, rest, settle, tile};

/// Opening it takes two seconds, the deadline of the query for its metadata: an error unless its verification is off.
fn slow(path: &Path) {
    let beside = path.with_extension("slow");
    let db = rusqlite::Connection::open(&beside).unwrap();
    db.execute_batch(
        "CREATE TABLE n (i integer); INSERT INTO n VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9);
         CREATE VIEW metadata AS SELECT a.i AS name, b.i AS value FROM n a, n b, n c, n d, n e, n f, n g, n h, n j, n k, n l, n m
            WHERE a.i + b.i + c.i + d.i + e.i + f.i + g.i + h.i + j.i + k.i + l.i + m.i = 1000;
         CREATE TABLE tiles (zoom_level integer, tile_column integer, tile_row integer, tile_data blob);
         INSERT INTO tiles VALUES (0, 0, 0, x'1a736c6f77');",
    )
    .unwrap();
    db.close().unwrap();
    std::fs::rename(beside, path).unwrap();
}

fn replace(path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// Mounts of good archives by the names "0", "1", …, and their files.
fn mounts(dir: &Path, count: usize, verify: Verify) -> (Mounts, Vec<PathBuf>) {
    let paths: Vec<_> = (0..count).map(|i| dir.join(i.to_string())).collect();
    let confs: Vec<_> = paths
        .iter()
        .enumerate()
        .map(|(i, path)| {
            std::fs::write(path, archive(b"\x1aone")).unwrap();
            PackConf { name: i.to_string(), ..conf(path, verify) }
        })
        .collect();
    (Mounts::open(&confs, None).unwrap(), paths)
}

#[test]
fn a_replacement_that_takes_long_delays_no_other_pack() {
    let dir = tempfile::tempdir().unwrap();
    let (mounts, paths) = mounts(dir.path(), 3, Verify::Header);
    slow(&paths[0]);
    let start = Instant::now();
    mounts.poll();
    mounts.poll();
    assert_eq!(mounts.opening(), 1);
    replace(&paths[1], &archive(b"\x1atwo"));
    std::fs::write(&paths[2], b"rubbish").unwrap();
    mounts.poll();
    assert_eq!(mounts.lost(), ["2"]);
    mounts.poll();
    while tile(&mounts, "1").unwrap() != b"\x1atwo" {
        assert!(start.elapsed() < Duration::from_millis(1900), "it waited for the slow one");
        std::thread::park_timeout(Duration::from_millis(1));
    }
    assert!(mounts.opening() >= 1, "the slow one is still being opened");
    rest(&mounts);
    assert!(start.elapsed() >= Duration::from_millis(1900), "it was not slow: {:?}", start.elapsed());
    assert_eq!(tile(&mounts, "0").unwrap(), b"\x1aone", "a bad replacement leaves the old one in service");
    // It isn't tried again until it changes.
    for _ in 0..4 {
        mounts.poll();
        assert_eq!(mounts.opening(), 0);
    }
    replace(&paths[0], &archive(b"\x1athree"));
    settle(&mounts);
    assert_eq!(tile(&mounts, "0").unwrap(), b"\x1athree");
}

#[test]
fn four_are_opened_at_once_and_the_others_have_their_turn_after() {
    let dir = tempfile::tempdir().unwrap();
    let (mounts, paths) = mounts(dir.path(), 6, Verify::None);
    paths.iter().for_each(|path| slow(path));
    for _ in 0..4 {
        mounts.poll();
    }
    assert_eq!(mounts.opening(), 4);
    rest(&mounts);
    mounts.poll();
    assert_eq!(mounts.opening(), 2);
    rest(&mounts);
    for i in 0..6 {
        assert_eq!(tile(&mounts, &i.to_string()).unwrap(), b"\x1aslow", "{i}");
    }
}

#[test]
fn what_is_replaced_while_it_is_opened_is_never_served() {
    let dir = tempfile::tempdir().unwrap();
    let (mounts, paths) = mounts(dir.path(), 1, Verify::None);
    slow(&paths[0]);
    mounts.poll();
    mounts.poll();
    assert_eq!(mounts.opening(), 1);
    replace(&paths[0], &archive(b"\x1atwo"));
    // Seen at rest, and still it waits: one opening of a pack at a time.
    mounts.poll();
    mounts.poll();
    assert_eq!(mounts.opening(), 1);
    // A thread that begins late may find the newer file already, and may take that one up.
    while mounts.opening() > 0 {
        assert_ne!(tile(&mounts, "0").unwrap(), b"\x1aslow");
    }
    assert_ne!(tile(&mounts, "0").unwrap(), b"\x1aslow", "what was opened is no longer there");
    mounts.poll();
    rest(&mounts);
    assert_eq!(tile(&mounts, "0").unwrap(), b"\x1atwo");
}

#[test]
fn every_pack_has_sixteen_places_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (mounts, paths) = mounts(dir.path(), 2, Verify::Header);
    let (one, other) = (mounts.get("0").unwrap(), mounts.get("1").unwrap());
    let taken: Vec<_> = (0..16).map(|_| one.places().clone().try_acquire_owned().unwrap()).collect();
    assert!(one.places().try_acquire().is_err());
    assert_eq!(other.places().available_permits(), 16);
    assert!(Arc::ptr_eq(mounts.get("0").unwrap().places(), one.places()));
    // What hangs on a file that was replaced does not keep the new one.
    replace(&paths[0], &archive(b"\x1atwo"));
    settle(&mounts);
    assert_eq!(mounts.get("0").unwrap().places().available_permits(), 16);
    drop(taken);
    assert_eq!(one.places().available_permits(), 16);
}
