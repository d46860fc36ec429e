//! Packs in service: replaced, changed, cut, deleted, and what is remembered of them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use svc_edge::conf::{PackConf, Verify};
use svc_edge::observe::bus::{self, Event};
use svc_edge::store::StoreError;
use svc_edge::store::pack::mounts::Mounts;
use svc_edge::store::pack::{PackError, Tile};

use crate::build::*;

struct Bench {
    dir: tempfile::TempDir,
    pack: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pack = dir.path().join("pack.pmtiles");
        std::fs::write(&pack, archive(b"\x1aone")).unwrap();
        Self { dir, pack }
    }

    fn conf(&self, name: &str, verify: Verify) -> PackConf {
        PackConf { name: name.into(), ..conf(&self.pack, verify) }
    }

    fn mounts(&self, name: &str) -> Mounts {
        Mounts::open(&[self.conf(name, Verify::Full)], None).unwrap()
    }

    fn replace(&self, bytes: &[u8]) {
        let beside = self.dir.path().join("new");
        std::fs::write(&beside, bytes).unwrap();
        std::fs::rename(&beside, &self.pack).unwrap();
    }
}

/// An archive whose one tile is `tile`.
pub fn archive(tile: &[u8]) -> Vec<u8> {
    let entry =
        svc_edge::store::pack::pmtiles::directory::Entry { id: 0, offset: 0, length: tile.len() as u32, run: 1 };
    Raw::of(&[entry], tile).bytes()
}

pub fn tile(mounts: &Mounts, name: &str) -> Result<Vec<u8>, StoreError> {
    match mounts.get(name).unwrap().tile(address(0, 0, 0))? {
        Tile::Found(object) => object.read(0..object.len()).map(Vec::from),
        _ => panic!("the tile is absent"),
    }
}

/// Two looks, as a change is opened when it was seen twice; and until what they began is done.
pub fn settle(mounts: &Mounts) {
    mounts.poll();
    mounts.poll();
    rest(mounts);
}

/// Wait until nothing is being opened.
pub fn rest(mounts: &Mounts) {
    let start = Instant::now();
    while mounts.opening() > 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "an opening that never ends");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn lost_events(events: &mut bus::Listener, name: &str) -> usize {
    let mut lost = 0;
    while let Ok(event) = events.try_recv() {
        lost += usize::from(matches!(event, Event::PackLost { pack, .. } if pack == name));
    }
    lost
}

#[test]
fn a_pack_replaced_by_rename_is_swapped_while_held_mounts_go_on_with_the_old_file() {
    let bench = Bench::new();
    let mounts = bench.mounts("swap");
    let held = mounts.get("swap").unwrap();
    let old = held.archive().unwrap().unwrap();
    bench.replace(&archive(b"\x1athe second"));
    mounts.poll();
    assert_eq!(tile(&mounts, "swap").unwrap(), b"\x1aone", "not before it was seen at rest");
    mounts.poll();
    rest(&mounts);
    assert_eq!(tile(&mounts, "swap").unwrap(), b"\x1athe second");
    assert!(held.is_serving() && matches!(held.tile(address(0, 0, 0)), Ok(Tile::Found(_))));
    assert_eq!(&old.read(0..old.len()).unwrap()[..], archive(b"\x1aone"));
    assert_ne!(mounts.get("swap").unwrap().archive().unwrap().unwrap().etag, old.etag);
}

#[test]
fn a_bad_replacement_is_not_taken_up_and_a_later_good_one_is() {
    let bench = Bench::new();
    let mounts = bench.mounts("bad");
    for bad in [&b"rubbish"[..], &archive(b"\x1alonger tile")[..130]] {
        bench.replace(bad);
        settle(&mounts);
        settle(&mounts);
        assert_eq!(tile(&mounts, "bad").unwrap(), b"\x1aone");
        assert!(mounts.lost().is_empty());
    }
    bench.replace(&archive(b"\x1agood"));
    settle(&mounts);
    assert_eq!(tile(&mounts, "bad").unwrap(), b"\x1agood");
}

#[test]
fn a_pack_cut_in_place_is_lost_and_taken_up_when_it_is_whole_again() {
    let bench = Bench::new();
    let mounts = bench.mounts("cut");
    let mut events = bus::subscribe();
    let whole = std::fs::read(&bench.pack).unwrap();
    let held = mounts.get("cut").unwrap().archive().unwrap().unwrap();
    std::fs::OpenOptions::new().write(true).open(&bench.pack).unwrap().set_len(100).unwrap();
    assert!(matches!(held.read(0..held.len()), Err(StoreError::Changed)));
    mounts.poll();
    assert_eq!(mounts.lost(), ["cut"]);
    assert!(matches!(tile(&mounts, "cut"), Err(StoreError::Changed)));
    assert!(mounts.get("cut").unwrap().archive().is_err() && mounts.get("cut").unwrap().facts().is_none());
    settle(&mounts);
    assert_eq!(mounts.lost(), ["cut"], "what is cut does not verify");
    std::fs::write(&bench.pack, &whole).unwrap();
    settle(&mounts);
    assert!(mounts.lost().is_empty());
    assert_eq!(tile(&mounts, "cut").unwrap(), b"\x1aone");
    assert_eq!(lost_events(&mut events, "cut"), 1);
}

#[test]
fn a_read_that_meets_a_change_takes_the_pack_out_without_waiting_for_a_look() {
    let bench = Bench::new();
    let mounts = bench.mounts("met");
    let mut bytes = std::fs::read(&bench.pack).unwrap();
    *bytes.last_mut().unwrap() ^= 0xff;
    bytes.push(0);
    std::fs::write(&bench.pack, &bytes).unwrap();
    assert!(matches!(tile(&mounts, "met"), Err(StoreError::Changed)));
    assert_eq!(mounts.lost(), ["met"]);
}

#[test]
fn a_deleted_pack_goes_on_being_served_from_the_open_file() {
    let bench = Bench::new();
    let mounts = bench.mounts("gone");
    std::fs::remove_file(&bench.pack).unwrap();
    settle(&mounts);
    assert_eq!(tile(&mounts, "gone").unwrap(), b"\x1aone");
    assert!(mounts.lost().is_empty());
    std::fs::write(&bench.pack, archive(b"\x1aback")).unwrap();
    settle(&mounts);
    assert_eq!(tile(&mounts, "gone").unwrap(), b"\x1aback");
}

#[test]
fn an_unreadable_pack_is_an_error_of_start_unless_its_verification_is_off() {
    let bench = Bench::new();
    std::fs::write(&bench.pack, b"rubbish").unwrap();
    for level in [Verify::Header, Verify::Full] {
        assert!(Mounts::open(&[bench.conf("start", level)], None).is_err());
    }
    let mounts = Mounts::open(&[bench.conf("start", Verify::None)], None).unwrap();
    assert_eq!(mounts.lost(), ["start"]);
    assert!(mounts.get("start").unwrap().pack().is_none() && mounts.get("other").is_none());
    bench.replace(&archive(b"\x1awhole"));
    settle(&mounts);
    assert!(mounts.lost().is_empty());
    assert_eq!(tile(&mounts, "start").unwrap(), b"\x1awhole");
}

#[test]
fn two_packs_of_one_name_are_an_error() {
    let bench = Bench::new();
    let conf = bench.conf("twice", Verify::Header);
    assert!(matches!(Mounts::open(&[conf.clone(), conf], None), Err(PackError::Duplicate { .. })));
}

fn etag(mounts: &Mounts, name: &str) -> String {
    mounts.get(name).unwrap().archive().unwrap().unwrap().etag.into()
}

#[test]
fn the_digest_computed_behind_is_the_tag_of_the_next_mount_and_not_of_this_one() {
    let bench = Bench::new();
    let book = bench.dir.path().join("packs.json");
    let open = || Mounts::open(&[bench.conf("tag", Verify::Header)], Some(book.clone())).unwrap();
    let first = open();
    let tag = etag(&first, "tag");
    assert!(tag.starts_with("\"st:"), "{tag}");
    // Its priority is lowered for good, so it gets a thread of its own, as in the server.
    let behind = |mounts: &Mounts, cancel: bool| {
        std::thread::scope(|scope| scope.spawn(|| mounts.digest_behind(&AtomicBool::new(cancel))).join().unwrap());
    };
    behind(&first, true);
    assert!(!book.exists(), "cancelled");
    behind(&first, false);
    settle(&first);
    assert_eq!(etag(&first, "tag"), tag, "a tag stays while the file does");
    let hash = blake3::hash(&std::fs::read(&bench.pack).unwrap());
    let second = open();
    assert_eq!(etag(&second, "tag"), format!("\"b3:{}\"", hash.to_hex()));
    assert_eq!(second.get("tag").unwrap().archive().unwrap().unwrap().hash, Some(hash));
    bench.replace(&archive(b"\x1aanother"));
    settle(&second);
    assert!(etag(&second, "tag").starts_with("\"st:"), "the digest was of another file");
    std::fs::write(&book, b"{ not json").unwrap();
    assert!(etag(&open(), "tag").starts_with("\"st:"));
}

#[test]
fn a_pack_that_was_lost_and_came_back_unchanged_keeps_its_tag() {
    let bench = Bench::new();
    let book = bench.dir.path().join("packs.json");
    let mounts = Mounts::open(&[bench.conf("same", Verify::Header)], Some(book)).unwrap();
    let tag = etag(&mounts, "same");
    std::thread::scope(|scope| scope.spawn(|| mounts.digest_behind(&AtomicBool::new(false))).join().unwrap());
    let file = std::fs::OpenOptions::new().write(true).open(&bench.pack).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.set_modified(modified + Duration::from_secs(5)).unwrap();
    mounts.poll();
    assert_eq!(mounts.lost(), ["same"]);
    file.set_modified(modified).unwrap();
    settle(&mounts);
    assert!(mounts.lost().is_empty());
    assert_eq!(etag(&mounts, "same"), tag);
}

fn write(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_database_that_was_written_to_is_lost_and_taken_up_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pack.mbtiles");
    write_mbtiles(&path, &[((0, 0, 0), b"\x1aone".to_vec())], Schema::Flat, &[]);
    let mounts = Mounts::open(&[PackConf { name: "db".into(), ..conf(&path, Verify::Full) }], None).unwrap();
    assert_eq!(tile(&mounts, "db").unwrap(), b"\x1aone");
    write(&path, "UPDATE tiles SET tile_data = x'1a74776f'");
    assert!(matches!(tile(&mounts, "db"), Err(StoreError::Changed)));
    settle(&mounts);
    assert_eq!(tile(&mounts, "db").unwrap(), b"\x1atwo");
    assert!(mounts.lost().is_empty());
}

#[test]
fn a_database_whose_log_grew_is_opened_anew_without_being_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pack.mbtiles");
    write_mbtiles(&path, &[((0, 0, 0), b"\x1aone".to_vec())], Schema::Flat, &[]);
    write(&path, "PRAGMA journal_mode=WAL");
    let mounts = Mounts::open(&[PackConf { name: "wal".into(), ..conf(&path, Verify::Full) }], None).unwrap();
    let writer = rusqlite::Connection::open(&path).unwrap();
    writer.execute_batch("PRAGMA wal_autocheckpoint=0; UPDATE tiles SET tile_data = x'1a74776f'").unwrap();
    assert_eq!(tile(&mounts, "wal").unwrap(), b"\x1aone", "opened as immutable, it doesn't look for a log");
    settle(&mounts);
    assert_eq!(tile(&mounts, "wal").unwrap(), b"\x1atwo");
    assert!(mounts.lost().is_empty());
}

#[test]
fn a_replaced_database_never_mixes_with_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let (path, beside) = (dir.path().join("pack.mbtiles"), dir.path().join("new"));
    write_mbtiles(&path, &[((0, 0, 0), b"\x1aone".to_vec())], Schema::Flat, &[]);
    let mounts = Mounts::open(&[PackConf { name: "mix".into(), ..conf(&path, Verify::Header) }], None).unwrap();
    let held = mounts.get("mix").unwrap();
    write_mbtiles(&beside, &[((0, 0, 0), b"\x1atwo".to_vec())], Schema::Flat, &[]);
    std::fs::rename(&beside, &path).unwrap();
    // Every connection of the old mount, used at once, still has the old file.
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let Tile::Found(object) = held.tile(address(0, 0, 0)).unwrap() else { panic!("absent") };
                assert_eq!(&object.read(0..4).unwrap()[..], b"\x1aone");
            });
        }
    });
    settle(&mounts);
    assert_eq!(tile(&mounts, "mix").unwrap(), b"\x1atwo");
}

#[test]
fn looks_swaps_and_reads_from_many_threads_give_one_of_the_two_files_and_nothing_else() {
    let bench = Bench::new();
    let mounts = bench.mounts("race");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let bytes = tile(&mounts, "race").unwrap();
                    assert!(bytes == b"\x1aone" || bytes == b"\x1athe other");
                }
            });
        }
        for round in 0..30 {
            bench.replace(&archive(if round % 2 == 0 { b"\x1athe other" } else { b"\x1aone" }));
            settle(&mounts);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(mounts.lost().is_empty());
}
