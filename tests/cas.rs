//! The content-addressed store through its public API: every command's function, damage, crashes' leftovers, two processes.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "cas/commands.rs"]
mod commands;
#[path = "cas/damage.rs"]
mod damage;
#[path = "cas/fills.rs"]
mod fills;
#[path = "cas/migration.rs"]
mod migration;
#[path = "cas/model.rs"]
mod model;
#[path = "cas/nonsense.rs"]
mod nonsense;
#[path = "cas/places.rs"]
mod places;
#[path = "cas/processes.rs"]
mod processes;
#[path = "cas/room.rs"]
mod room;
#[path = "cas/stamps.rs"]
mod stamps;
#[path = "cas/streams.rs"]
mod streams;
#[path = "cas/support.rs"]
mod support;
#[path = "cas/variants.rs"]
mod variants;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use support::*;
use svc_edge::conf::{CasBacking, CasConf, Durability};
use svc_edge::store::cas::*;
use svc_edge::store::{Body, Store};

#[test]
fn an_import_makes_pinned_objects_that_are_read_back_with_their_metadata() {
    let (dir, source) = (temp(), temp());
    write(&source.path().join("a.json"), b"{}");
    write(&source.path().join("deep/er/b c.png"), &bytes(5000));
    write(&source.path().join("big.bin"), &bytes(1_000_000));
    write(&source.path().join("empty"), b"");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    fs::File::options().write(true).open(source.path().join("a.json")).unwrap().set_modified(time).unwrap();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    let report = import(&cas, source.path(), "maps/x/");
    assert_eq!((report.files, report.added, report.blobs_written, report.refused), (4, 4, 4, 0));
    assert_eq!((report.bytes, report.found, report.found_bytes), (1_005_002, 4, 1_005_002));

    let json = cas.head("maps/x/a.json").unwrap().unwrap();
    assert_eq!((json.content_type.as_ref(), json.last_modified), ("application/json", Some(time)));
    assert_eq!(*json.etag, *format!("\"b3:{}\"", blake3::hash(b"{}").to_hex()));
    assert_eq!(read(&cas, "maps/x/deep/er/b c.png").unwrap(), bytes(5000));
    assert_eq!(read(&cas, "maps/x/empty").unwrap(), b"");
    let big = cas.head("maps/x/big.bin").unwrap().unwrap();
    assert!(matches!(big.body, Body::Windowed(_)));
    assert_eq!(big.read(300_000..700_000).unwrap(), bytes(1_000_000)[300_000..700_000]);
    assert!(big.read(0..1_000_001).is_err());
    assert!(list(&cas).iter().all(|object| object.pinned));
    assert!(cas.head("maps/x/A.json").unwrap().is_none());
    assert_eq!(verify(&cas, false), []);
}

#[test]
fn blobs_are_0444_in_their_place_and_nothing_else_is_left() {
    let (dir, source) = (temp(), temp());
    write(&source.path().join("a"), b"same");
    write(&source.path().join("b"), b"same");
    write(&source.path().join("c"), &bytes(600_000));
    let cas = Cas::open(&conf(dir.path())).unwrap();
    assert_eq!(import(&cas, source.path(), "").blobs_written, 2, "the same contents are one blob");
    let blob = place(dir.path(), &blake3::hash(b"same"));
    assert_eq!(blob.metadata().unwrap().mode() & 0o7777, 0o444);
    assert_eq!(blob.parent().unwrap().metadata().unwrap().mode() & 0o7777, 0o700);
    for name in ["index.sqlite", "index.sqlite-wal", "lock"] {
        assert_eq!(dir.path().join(name).metadata().unwrap().mode() & 0o7777, 0o600, "{name}, whatever the umask");
    }
    for name in ["tmp", "quarantine"] {
        assert_eq!(fs::read_dir(dir.path().join(name)).unwrap().count(), 0, "{name}");
    }
    let stat = cas.stat().unwrap();
    assert_eq!((stat.objects, stat.pinned, stat.blobs, stat.object_bytes), (3, 3, 2, 600_008));
    let allocated = [blob, place(dir.path(), &blake3::hash(&bytes(600_000)))];
    let allocated: u64 = allocated.iter().map(|path| path.metadata().unwrap().blocks() * 512).sum();
    assert_eq!(stat.allocated_bytes, allocated, "counted in blocks, each blob once");
}

#[test]
fn importing_again_changes_nothing_and_a_changed_file_takes_its_place() {
    let (dir, source) = (temp(), temp());
    for number in 0..50 {
        write(&source.path().join(format!("{number}")), format!("file {number}").as_bytes());
    }
    write(&source.path().join("big"), &bytes(400_000));
    let cas = Cas::open(&conf(dir.path())).unwrap();
    import(&cas, source.path(), "p");
    let (before, manifests) = (list(&cas), count(&dir.path().join("manifests")));
    let again = import(&cas, source.path(), "p");
    assert_eq!((again.files, again.unchanged, again.blobs_written), (51, 51, 0));
    assert_eq!((list(&cas), count(&dir.path().join("manifests"))), (before, manifests));

    let stamps = ["p/7", "p/big", "p/8"].map(|path| cas.stamp(path));
    write(&source.path().join("7"), b"changed");
    let mut big = bytes(400_000);
    big[1] ^= 1;
    write(&source.path().join("big"), &big);
    let again = import(&cas, source.path(), "p");
    assert_eq!((again.replaced, again.unchanged), (2, 49));
    assert_eq!(stamps.map(|stamp| cas.holds(&stamp)), [false, false, true], "copies of what changed are wrong now");
    assert_eq!(read(&cas, "p/7").unwrap(), b"changed");
    assert_eq!(read(&cas, "p/big").unwrap(), big);
    assert!(!place(dir.path(), &blake3::hash(b"file 7")).exists(), "nothing names the old blob");
    assert_eq!(cas.stat().unwrap().blobs, 51);
}

#[test]
fn what_is_no_plain_file_is_refused_with_its_reason_and_the_rest_is_imported() {
    use std::os::unix::ffi::OsStrExt;
    let (dir, source) = (temp(), temp());
    write(&source.path().join("good"), b"good");
    write(&source.path().join("back\\slash"), b"x");
    write(&source.path().join("line\nbreak"), b"x");
    write(&source.path().join(std::ffi::OsStr::from_bytes(b"latin\xe9")), b"x");
    symlink("/etc/passwd", source.path().join("link")).unwrap();
    symlink("/etc", source.path().join("linkdir")).unwrap();
    fifo(&source.path().join("fifo"));
    let cas = Cas::open(&conf(&source.path().join("cas"))).unwrap();
    drop(dir);
    let report = import(&cas, source.path(), "");
    assert_eq!((report.files, report.refused), (1, 7));
    let why = |name: &str| {
        let found = report.refusals.iter().find(|one| one.path.to_string_lossy().ends_with(name));
        found.unwrap_or_else(|| panic!("{name} was not refused")).why.to_string()
    };
    assert!(why("link").contains("symlink") && why("linkdir").contains("symlink"));
    assert!(why("fifo").contains("regular") && why("latin\u{fffd}").contains("UTF-8"));
    assert!(why("slash").contains("backslash") && why("break").contains("control") && why("cas").contains("CAS"));
    assert_eq!(list(&cas).into_iter().map(|object| object.path).collect::<Vec<_>>(), ["good"]);

    for (from, prefix) in [("good", ""), ("absent", ""), (".", "a//b"), (".", "/a"), (".", "../a"), ("cas", "")] {
        let result = cas.import(&source.path().join(from), prefix, &ImportOptions::default(), &mut |_| {});
        assert!(result.is_err(), "{from} at {prefix}");
    }
}

#[test]
fn a_purge_removes_a_path_or_what_is_below_a_prefix_and_spares_shared_blobs() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    for path in ["fonts", "fonts/a", "fonts/b/c", "fonts2/a", "x"] {
        put(&cas, path, path.as_bytes(), path.len() % 2 == 0);
    }
    put(&cas, "fonts/shared", b"x", false);
    let stamp = cas.stamp("fonts/b/c");
    let removed = cas.purge(Purge::Prefix("fonts/")).unwrap();
    assert_eq!((removed.objects, removed.blobs), (3, 2));
    assert!(removed.bytes > 0);
    assert!(!cas.holds(&stamp));
    assert_eq!(paths(&cas), ["fonts", "fonts2/a", "x"]);
    assert_eq!(read(&cas, "x").unwrap(), b"x", "the blob had another name");
    assert_eq!(cas.purge(Purge::Path("x")).unwrap().blobs, 1);
    assert_eq!(cas.purge(Purge::Path("x")).unwrap(), Removed::default());
    assert!(cas.purge(Purge::Path("../x")).is_err() && cas.purge(Purge::Prefix("//")).is_err());
    assert_eq!(cas.purge(Purge::Prefix("")).unwrap().objects, 2);
    assert_eq!((cas.stat().unwrap().allocated_bytes, cas.stat().unwrap().blobs), (0, 0));
}

#[test]
fn an_unpinned_object_never_takes_the_place_of_a_pinned_one() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    assert_eq!(put(&cas, "a", b"one", false), Stored::Added);
    assert_eq!(put(&cas, "a", b"two", false), Stored::Replaced);
    assert_eq!(put(&cas, "a", b"two", true), Stored::Replaced, "pinning is a change");
    assert_eq!(put(&cas, "a", b"three", false), Stored::Kept);
    assert_eq!(put(&cas, "a", b"two", true), Stored::Unchanged);
    assert_eq!(read(&cas, "a").unwrap(), b"two");
    assert!(!place(dir.path(), &blake3::hash(b"three")).exists());
}

#[test]
fn eviction_brings_the_store_below_its_bounds_and_never_takes_a_pinned_object() {
    for backing in [CasBacking::Disk, CasBacking::Memory] {
        let dir = temp();
        let conf = CasConf { max_bytes: 20 * 4096, store: backing, ..conf(dir.path()) };
        let cas = Cas::open(&conf).unwrap();
        for number in 0..10 {
            put(&cas, &format!("pinned/{number}"), format!("p{number}").as_bytes(), true);
        }
        for number in 0..2000 {
            put(&cas, &format!("filled/{number}"), format!("f{number}").as_bytes(), false);
        }
        cas.poll().unwrap();
        let stat = cas.stat().unwrap();
        assert!(stat.allocated_bytes <= 20 * 4096, "{stat:?}");
        assert_eq!((stat.pinned, stat.objects), (10, 20), "and no more than it must");
        assert_eq!(verify(&cas, false), []);
    }
    // With pinned objects alone above the bounds, everything else goes, and they stay.
    let dir = temp();
    let cas = Cas::open(&CasConf { max_bytes: 1, max_objects: 1, ..conf(dir.path()) }).unwrap();
    put(&cas, "pinned/1", b"1", true);
    put(&cas, "pinned/2", b"2", true);
    put(&cas, "filled", b"3", false);
    cas.poll().unwrap();
    cas.poll().unwrap();
    assert_eq!(paths(&cas), ["pinned/1", "pinned/2"]);
}

#[test]
fn what_one_handle_imports_and_purges_shows_in_the_other_after_its_housekeeping() {
    let (dir, source) = (temp(), temp());
    write(&source.path().join("a"), b"a");
    let (server, command) = (Cas::open(&conf(dir.path())).unwrap(), Cas::open(&conf(dir.path())).unwrap());
    assert!(server.head("a").unwrap().is_none());
    server.poll().unwrap();
    let stamp = server.stamp("a");
    server.poll().unwrap();
    assert!(server.holds(&stamp), "nothing happened");
    import(&command, source.path(), "");
    server.poll().unwrap();
    assert_eq!(read(&server, "a").unwrap(), b"a");
    assert!(!server.holds(&stamp));
    let stamp = server.stamp("a");
    command.purge(Purge::Path("a")).unwrap();
    server.poll().unwrap();
    assert!(!server.holds(&stamp));
    assert!(server.head("a").unwrap().is_none());
}

#[test]
fn gc_and_purges_beside_imports_never_take_a_blob_that_is_named() {
    let (dir, source) = (temp(), temp());
    for number in 0..200 {
        write(&source.path().join(format!("{number}")), format!("contents {}", number % 50).as_bytes());
    }
    let busy = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let cas = Cas::open(&conf(dir.path())).unwrap();
            while busy.load(std::sync::atomic::Ordering::Relaxed) {
                cas.purge(Purge::Prefix("other")).unwrap();
                cas.gc(&mut |_| {}).unwrap();
                cas.poll().unwrap();
            }
        });
        let cas = Cas::open(&conf(dir.path())).unwrap();
        for round in 0..6 {
            // The same contents under a prefix that is being purged, and under one that stays.
            import(&cas, source.path(), "other");
            let report = import(&cas, source.path(), &format!("kept/{round}"));
            assert_eq!((report.files, report.refused), (200, 0));
            assert_eq!(verify(&cas, false).into_iter().filter(|fault| !is_other(fault)).collect::<Vec<_>>(), []);
        }
        busy.store(false, std::sync::atomic::Ordering::Relaxed);
    });
    let cas = Cas::open(&conf(dir.path())).unwrap();
    assert_eq!(verify(&cas, false), []);
    assert_eq!(paths(&cas).iter().filter(|path| path.starts_with("kept/")).count(), 1200);
}

/// A missing blob of the prefix that is purged meanwhile: the row goes first, as the look at it comes between.
fn is_other(fault: &Fault) -> bool {
    matches!(fault, Fault::Missing { path, .. } if path.starts_with("other/"))
}

#[test]
fn a_store_in_memory_leaves_its_directory_alone_and_forgets_everything() {
    let dir = temp();
    let conf = CasConf { store: CasBacking::Memory, ..conf(&dir.path().join("absent")) };
    let cas = Cas::open(&conf).unwrap();
    put(&cas, "small", b"small", true);
    put(&cas, "big", &bytes(700_001), false);
    assert_eq!(read(&cas, "small").unwrap(), b"small");
    assert_eq!(read(&cas, "big").unwrap(), bytes(700_001));
    assert_eq!(cas.blob(&blake3::hash(b"small")).unwrap().unwrap().len(), 5);
    assert_eq!((verify(&cas, true), cas.stat().unwrap().objects), (vec![], 2));
    cas.poll().unwrap();
    cas.gc(&mut |_| {}).unwrap();
    let body = cas.head("big").unwrap().unwrap();
    assert_eq!(cas.purge(Purge::Prefix("")).unwrap().blobs, 2);
    assert_eq!(body.read(0..700_001).unwrap(), bytes(700_001), "who reads it may end");
    assert!(cas.head("big").unwrap().is_none() && cas.blob(&blake3::hash(b"small")).unwrap().is_none());
    assert!(cas.writable() && !dir.path().join("absent").exists());
    assert!(Cas::open(&conf).unwrap().head("small").unwrap().is_none());
}

#[test]
fn a_blob_that_is_written_can_be_read_while_it_grows_and_vanishes_when_it_is_dropped() {
    use std::os::unix::fs::FileExt;
    let dir = temp();
    let cas = Cas::open(&CasConf { durability: Durability::Fsync, ..conf(dir.path()) }).unwrap();
    let mut writer = cas.writer().unwrap();
    writer.write(b"hello ").unwrap();
    let reader = writer.reader();
    let mut buf = [0; 5];
    reader.read_exact_at(&mut buf, 0).unwrap();
    assert_eq!((&buf, writer.len()), (b"hello", 6));
    writer.write(b"world").unwrap();
    let staged = writer.finish(false).unwrap();
    assert_eq!((staged.hash(), staged.len()), (blake3::hash(b"hello world"), 11));
    assert!(cas.blob(&staged.hash()).unwrap().is_none(), "not before it is committed");
    let stored = cas.commit(vec![Put { path: "hello".into(), meta: meta(false), staged }]).unwrap();
    assert_eq!(stored, [Stored::Added]);
    assert_eq!(read(&cas, "hello").unwrap(), b"hello world");

    let mut writer = cas.writer().unwrap();
    writer.write(b"half").unwrap();
    drop(writer);
    drop(cas.writer().unwrap().finish(true).unwrap());
    assert!(cas.blob(&blake3::hash(b"half")).unwrap().is_none());
    assert_eq!(count(&dir.path().join("tmp")), 0);
}

#[test]
fn a_directory_that_others_may_write_and_an_index_of_a_newer_version_are_errors_of_one_line() {
    let dir = temp();
    drop(Cas::open(&conf(dir.path())).unwrap());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = Cas::open(&conf(dir.path())).err().unwrap().to_string();
    assert!(error.contains("other users may write") && error.lines().count() == 1, "{error}");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let index = rusqlite::Connection::open(dir.path().join("index.sqlite")).unwrap();
    index.execute_batch("PRAGMA user_version = 99").unwrap();
    let error = Cas::open(&conf(dir.path())).err().unwrap();
    assert!(matches!(error, CasError::Newer { found: 99, .. }), "{error}");
    assert!(dir.path().join("index.sqlite").exists(), "left as it is");
}

#[test]
fn a_file_that_grows_while_it_is_imported_is_refused() {
    let (dir, source) = (temp(), temp());
    let path = source.path().join("log");
    write(&path, &bytes(3_000_000));
    let cas = Cas::open(&conf(dir.path())).unwrap();
    let busy = std::sync::atomic::AtomicBool::new(true);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::File::options().append(true).open(&path).unwrap();
            while busy.load(std::sync::atomic::Ordering::Relaxed) {
                file.write_all(b"more").unwrap();
            }
        });
        // On a busy disk the file may stand still as long as one import takes, and is imported then.
        let refused = (0..100).map(|_| import(&cas, source.path(), "")).find(|report| report.refused > 0);
        busy.store(false, std::sync::atomic::Ordering::Relaxed);
        refused.unwrap_or_else(|| panic!("a file that grows all the time was imported every time"))
    });
    assert_eq!((report.files, report.refused), (0, 1), "{report:?}");
    assert!(report.refusals[0].why.contains("changed"), "{report:?}");
    assert!(Path::new(&report.refusals[0].path).ends_with("log"));
    assert_eq!(import(&cas, source.path(), "").files, 1, "once it stands still");
}
