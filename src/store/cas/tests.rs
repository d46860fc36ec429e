//! What needs to see inside: segments on a damaged disk, recency, eviction's order, the index's replacement.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;

mod large;

fn conf(dir: &Path) -> CasConf {
    CasConf {
        dir: dir.to_owned(),
        max_bytes: 1 << 40,
        max_objects: 1_000_000,
        memory_bytes: 0,
        store: CasBacking::Disk,
        durability: Durability::Verify,
    }
}

fn meta(pinned: bool) -> Meta {
    Meta { pinned, content_type: "text/plain".into(), coding: Coding::Identity, last_modified: None, extra: None }
}

fn put(cas: &Cas, path: &str, bytes: &[u8]) -> Hash {
    cas.put(path, &mut &*bytes, meta(false)).unwrap();
    blake3::hash(bytes)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

fn place(dir: &Path, hash: &Hash) -> PathBuf {
    let hex = hash.to_hex();
    dir.join("b3").join(&hex[..2]).join(hex.as_str())
}

fn flip(path: &Path, at: u64) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn a_use_is_noted_once_a_minute_and_reaches_the_index() {
    let cas = Cas::open(&CasConf { store: CasBacking::Memory, ..conf(Path::new("/nowhere")) }).unwrap();
    put(&cas, "a", b"a");
    let recency = cas.recency("a");
    let start = cas.inner.clock.load(Ordering::Relaxed);
    for later in [0, 59, 60, 61, 119, 120] {
        cas.inner.clock.store(start + later, Ordering::Relaxed);
        cas.touch(&recency);
    }
    let noted: Vec<_> = cas.inner.uses.lock().unwrap().iter().map(|(_, at)| at - start).collect();
    assert_eq!(noted, [60, 120]);
    cas.poll().unwrap();
    assert!(cas.inner.uses.lock().unwrap().is_empty());
    assert_eq!(to_seconds(cas.info("a").unwrap().unwrap().last_used), i64::from(start) + 120);
    // A clock that jumps back notes nothing and breaks nothing.
    cas.inner.clock.store(1, Ordering::Relaxed);
    cas.touch(&recency);
    assert!(cas.inner.uses.lock().unwrap().is_empty());
}

#[test]
fn uses_that_come_too_fast_are_dropped_and_not_piled_up() {
    let cas = Cas::open(&CasConf { store: CasBacking::Memory, ..conf(Path::new("/nowhere")) }).unwrap();
    let recency = cas.recency("a");
    let start = cas.inner.clock.load(Ordering::Relaxed);
    for minute in 0..70_000 {
        cas.inner.clock.store(start + minute * 60, Ordering::Relaxed);
        cas.touch(&recency);
    }
    assert_eq!(cas.inner.uses.lock().unwrap().len(), 65_536);
}

#[test]
fn the_object_used_longest_ago_is_evicted_first() {
    let cas = Cas::open(&CasConf { store: CasBacking::Memory, max_objects: 3, ..conf(Path::new("/nowhere")) }).unwrap();
    for (path, used) in [("a", 40), ("b", 10), ("c", 30), ("d", 20), ("e", 50)] {
        put(&cas, path, path.as_bytes());
        cas.inner
            .index
            .write(false, |_| Ok(()))
            .and_then(|()| {
                cas.inner.index.read(|connection| {
                    connection.execute("UPDATE objects SET last_used = ?2 WHERE path = ?1", (path, used))
                })
            })
            .unwrap();
    }
    cas.poll().unwrap();
    let mut left = Vec::new();
    cas.list("", &mut |object| {
        left.push(object.path);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(left, ["a", "c", "e"]);
    assert!(cas.blob(&blake3::hash(b"b")).unwrap().is_none(), "its blob went with it");
}

#[test]
fn an_index_that_breaks_while_it_is_used_is_replaced_by_the_housekeeping() {
    let dir = tempfile::tempdir().unwrap();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    cas.put("pinned", &mut &b"p"[..], meta(true)).unwrap();
    for number in 0..2000 {
        put(&cas, &format!("filled/{number}"), b"f");
    }
    // Everything into the main file, then garbage over its pages.
    cas.inner.index.read(|c| c.query_row("PRAGMA query_only", [], |_| Ok(()))).unwrap();
    let path = dir.path().join("index.sqlite");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let len = path.metadata().unwrap().len();
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all(&vec![0x5a; len as usize]).unwrap();
    let stamp = cas.stamp("pinned");
    // Someone meets the damage, and the housekeeping heals it.
    let met = (0..2000).any(|number| cas.info(&format!("filled/{number}")).is_err());
    assert!(met || cas.stat().is_err(), "the damage shows");
    for _ in 0..2 {
        let _ = cas.poll();
    }
    cas.poll().unwrap();
    assert_eq!(cas.head("pinned").unwrap().unwrap().read(0..1).unwrap(), "p");
    assert!(cas.info("filled/1").unwrap().is_none(), "what can be filled again is a miss");
    assert!(!cas.holds(&stamp));
    put(&cas, "filled/1", b"f");
    assert!(cas.head("filled/1").unwrap().is_some());
}

#[test]
fn gc_and_the_housekeeping_remove_what_a_crash_left_once_it_is_old() {
    for by_command in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut cas = Cas::open(&conf(dir.path())).unwrap();
        Arc::get_mut(&mut cas.inner).unwrap().young = 0;
        put(&cas, "kept", b"kept");
        let linked = blake3::hash(b"linked");
        let left = [
            place(dir.path(), &linked),
            place(dir.path(), &linked).with_extension("seg"),
            place(dir.path(), &blake3::hash(b"no blob")).with_extension("seg"),
            dir.path().join("tmp/blob.0123"),
            dir.path().join("manifests/1.2.part"),
        ];
        for path in &left {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"linked").unwrap();
        }
        // A file that a living process writes is locked by it, and stays.
        let busy = OpenOptions::new().create(true).append(true).open(dir.path().join("tmp/blob.busy")).unwrap();
        rustix::fs::flock(&busy, rustix::fs::FlockOperation::LockExclusive).unwrap();
        // A row whose blob was unlinked before the transaction could say so.
        cas.inner.index.write(false, |txn| Ok(txn.put_blob(&blake3::hash(b"row"), 3, 4096, false)?)).unwrap();
        if by_command {
            let report = cas.gc(&mut |_| {}).unwrap();
            assert_eq!((report.blobs, report.leftovers, report.spared), (1, 3, 0), "{report:?}");
        } else {
            (0..300).for_each(|_| cas.poll().unwrap());
        }
        for path in &left {
            assert!(!path.exists(), "{}", path.display());
        }
        assert!(dir.path().join("tmp/blob.busy").exists());
        assert_eq!(cas.stat().unwrap().blobs, 1, "kept");
        assert!(cas.head("kept").unwrap().is_some());
    }
}

#[test]
fn gc_merges_many_manifests_into_one_that_rebuilds_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    for number in 0..30 {
        cas.put(&format!("a/{}", number % 20), &mut format!("{number}").as_bytes(), meta(true)).unwrap();
    }
    cas.purge(Purge::Path("a/3")).unwrap();
    // An import that is still writing keeps its manifest.
    let mut open = manifest::Manifest::new(cas.inner.dir.clone());
    let line = manifest::Line::pin(&cas.info("a/1").unwrap().unwrap(), 1);
    open.append(&[line]).unwrap();
    let count = || fs::read_dir(dir.path().join("manifests")).unwrap().count();
    assert_eq!(count(), 32);
    assert_eq!(cas.gc(&mut |_| {}).unwrap().manifests, 31);
    assert_eq!(count(), 2);
    let all = |cas: &Cas| {
        let mut all = Vec::new();
        cas.list("", &mut |object| {
            all.push((object.path, object.hash));
            ControlFlow::Continue(())
        })
        .unwrap();
        all
    };
    let before = all(&cas);
    assert_eq!(before.len(), 19);
    drop((cas, open));
    fs::remove_file(dir.path().join("index.sqlite")).unwrap();
    assert_eq!(all(&Cas::open(&conf(dir.path())).unwrap()), before);
}
