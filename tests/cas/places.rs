//! Something else at the place of a file: FIFOs, symlinks, directories, holes of gigabytes; and a lock that somebody holds.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::support::*;
use svc_edge::observe::log::{Format, init};
use svc_edge::store::cas::*;
use svc_edge::store::{Store, StoreError};

const KINDS: [&str; 5] = ["fifo", "directory", "symlink", "dangling", "device"];

/// Put something that is no regular file at `at`, in place of what is there.
fn replace(at: &Path, kind: &str) {
    let _ = fs::remove_file(at);
    match kind {
        "fifo" => fifo(at),
        "directory" => fs::create_dir(at).unwrap(),
        // To a file that could be taken for the real one.
        "symlink" => {
            let target = at.with_extension("target");
            fs::write(&target, b"").unwrap();
            symlink(target, at).unwrap();
        }
        "dangling" => symlink("/nowhere/at/all", at).unwrap(),
        _ => symlink("/dev/zero", at).unwrap(),
    }
}

/// Open a store within a time; a start that hangs fails the test.
fn open_soon(dir: &Path, what: &str) -> Result<Cas, CasError> {
    let (sender, receiver) = channel();
    let conf = conf(dir);
    std::thread::spawn(move || sender.send(Cas::open(&conf)));
    receiver.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("{what}: the start hangs"))
}

fn with_pin(dir: &Path) {
    let cas = Cas::open(&conf(dir)).unwrap();
    put(&cas, "pinned", b"pinned", true);
}

#[test]
fn what_is_no_file_at_the_place_of_the_lock_is_an_error_of_one_line() {
    for kind in KINDS {
        let dir = temp();
        with_pin(dir.path());
        replace(&dir.path().join("lock"), kind);
        let error = open_soon(dir.path(), kind).err().unwrap_or_else(|| panic!("{kind} was taken for a lock"));
        let error = error.to_string();
        assert!(error.contains("lock: not a regular file") && error.lines().count() == 1, "{kind}: {error}");
        assert!(dir.path().join("lock").symlink_metadata().is_ok(), "{kind} is left to whoever put it there");
    }
}

#[test]
fn what_is_no_file_at_the_place_of_the_index_is_set_aside_and_the_index_rebuilt() {
    for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
        for kind in KINDS {
            let dir = temp();
            with_pin(dir.path());
            replace(&dir.path().join(name), kind);
            let cas = open_soon(dir.path(), kind).unwrap_or_else(|error| panic!("{name}, {kind}: {error}"));
            assert_eq!(read(&cas, "pinned").unwrap(), b"pinned", "{name}, {kind}");
            assert!(has(dir.path(), "index.sqlite.bad-"), "{name}, {kind}");
            put(&cas, "filled", b"filled", false);
            drop(cas);
            assert_eq!(paths(&open_soon(dir.path(), kind).unwrap()), ["filled", "pinned"], "{name}, {kind}");
        }
    }
}

#[test]
fn what_is_no_file_among_the_manifests_is_neither_read_nor_waited_for() {
    for kind in KINDS {
        let dir = temp();
        with_pin(dir.path());
        replace(&dir.path().join("manifests/1.odd.manifest"), kind);
        replace(&dir.path().join("manifests/2.odd.part"), kind);
        fs::remove_file(dir.path().join("index.sqlite")).unwrap();
        let cas = open_soon(dir.path(), kind).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(paths(&cas), ["pinned"], "{kind}");
        cas.gc(&mut |_| {}).unwrap();
    }
}

#[test]
fn a_directory_of_the_store_that_is_a_symlink_is_refused() {
    for name in ["b3", "quarantine", "manifests", "tmp"] {
        let (dir, elsewhere) = (temp(), temp());
        with_pin(dir.path());
        fs::rename(dir.path().join(name), elsewhere.path().join("moved")).unwrap();
        symlink(elsewhere.path().join("moved"), dir.path().join(name)).unwrap();
        let error = open_soon(dir.path(), name).err().unwrap_or_else(|| panic!("{name} was followed")).to_string();
        assert!(error.contains(name) && error.contains("not followed"), "{error}");
    }
}

#[test]
fn a_manifest_of_gigabytes_of_nothing_costs_no_time_and_the_others_are_read() {
    let dir = temp();
    with_pin(dir.path());
    for (name, hole) in [("0.hole.manifest", 20_u64 << 30), ("9.hole.manifest", 1 << 40)] {
        let file = fs::File::create(dir.path().join("manifests").join(name)).unwrap();
        file.set_len(hole).unwrap();
    }
    fs::remove_file(dir.path().join("index.sqlite")).unwrap();
    let begin = Instant::now();
    let cas = open_soon(dir.path(), "a hole").unwrap();
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert_eq!(paths(&cas), ["pinned"]);
}

/// Move the shard of a hash to `to`, and put a symlink in its place.
fn link_shard(dir: &Path, hash: &blake3::Hash, to: &Path) -> PathBuf {
    let shard = place(dir, hash).parent().unwrap().to_owned();
    fs::rename(&shard, to).unwrap();
    symlink(to, &shard).unwrap();
    shard
}

#[test]
fn a_symlink_in_the_place_of_a_shard_is_corrupt_and_is_never_followed() {
    for size in [6, 600_000] {
        let (dir, elsewhere) = (temp(), temp());
        let target = elsewhere.path().join("shard");
        let data = bytes(size);
        let hash = blake3::hash(&data);
        put(&Cas::open(&conf(dir.path())).unwrap(), "pinned", &data, true);
        let shard = link_shard(dir.path(), &hash, &target);
        let server = Cas::open(&conf(dir.path())).unwrap();
        assert!(shard.symlink_metadata().is_err(), "{size} bytes: a start sets it aside");
        assert!(has(&dir.path().join("quarantine"), &hash.to_hex()[..2]));
        // The bytes behind the symlink are right, and still not ours.
        symlink(&target, &shard).unwrap();
        assert!(matches!(server.head("pinned"), Err(StoreError::Corrupt(_))), "{size} bytes: 502, not 500");
        assert!(shard.symlink_metadata().is_err(), "{size} bytes: set aside");
        assert!(server.head("pinned").unwrap().is_none());
        // Whatever is done, nothing is written or removed behind the symlink.
        symlink(&target, &shard).unwrap();
        let before = count(&target);
        put(&server, "pinned", &data, true);
        assert!(shard.symlink_metadata().unwrap().is_dir(), "{size} bytes: a put makes a shard of its own");
        assert_eq!((read(&server, "pinned").unwrap(), verify(&server, false)), (data, vec![]), "{size} bytes");
        server.purge(Purge::Path("pinned")).unwrap();
        assert_eq!(count(&target), before, "{size} bytes");
    }
}

#[test]
fn gc_purges_and_verify_do_not_look_behind_a_symlink_in_the_place_of_a_shard() {
    let (dir, elsewhere) = (temp(), temp());
    let target = elsewhere.path().join("shard");
    let cas = Cas::open(&conf(dir.path())).unwrap();
    let hash = blake3::hash(b"filled");
    put(&cas, "filled", b"filled", false);
    link_shard(dir.path(), &hash, &target);
    let report = cas.gc(&mut |_| {}).unwrap();
    assert_eq!((report.blobs, report.unknown), (0, 1), "{report:?}");
    assert_eq!(verify(&cas, false), [Fault::Missing { path: "filled".into(), hash }]);
    cas.purge(Purge::Path("filled")).unwrap();
    assert!(target.join(hash.to_hex().as_str()).exists(), "another's file");
    assert!(cas.head("filled").unwrap().is_none());
}

#[test]
fn a_lock_that_is_held_is_told_after_a_second_and_waited_for() {
    let (dir, logs) = (temp(), temp());
    with_pin(dir.path());
    let log = logs.path().join("log");
    init(Format::Json, log::LevelFilter::Warn, Some(&log)).unwrap();
    let told = || {
        let text = fs::read_to_string(&log).unwrap();
        let place = dir.path().file_name().unwrap().to_str().unwrap();
        text.lines().filter(|line| line.contains("\"cas_lock_wait\"") && line.contains(place)).count()
    };
    let held = fs::File::options().write(true).open(dir.path().join("lock")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let (sender, receiver) = channel();
    let conf = conf(dir.path());
    std::thread::spawn(move || sender.send(Cas::open(&conf)));
    assert!(receiver.recv_timeout(Duration::from_millis(500)).is_err());
    assert_eq!(told(), 0, "not for every little wait");
    let until = Instant::now() + Duration::from_secs(15);
    while told() == 0 {
        assert!(Instant::now() < until, "nothing was told");
        assert!(receiver.recv_timeout(Duration::from_millis(20)).is_err(), "it waits on");
    }
    assert!(receiver.recv_timeout(Duration::from_millis(300)).is_err());
    drop(held);
    let cas = receiver.recv_timeout(Duration::from_secs(15)).unwrap().unwrap();
    assert_eq!((read(&cas, "pinned").unwrap(), told()), (b"pinned".to_vec(), 1), "once");
}
