//! Damage: flipped bytes, wrong files, a broken index, what a crash leaves.

use std::fs;
use std::os::unix::fs::{FileExt as _, symlink};
use std::time::{Duration, Instant};

use super::support::*;
use svc_edge::observe::bus::{Event, subscribe};
use svc_edge::observe::metrics::{VERIFY_FAILURES, VerifyKind};
use svc_edge::store::cas::*;
use svc_edge::store::{Store, StoreError};

#[test]
fn a_blob_that_does_not_hash_to_its_name_is_quarantined_counted_told_and_never_served() {
    for size in [0, 10, 262_144, 900_000] {
        let dir = temp();
        let cas = Cas::open(&conf(dir.path())).unwrap();
        let data = bytes(size);
        let hash = blake3::hash(&data);
        put(&cas, "pinned", &data, true);
        put(&cas, "filled", &data, false);
        put(&cas, "other", b"other", true);
        if size == 0 {
            fs::remove_file(place(dir.path(), &hash)).unwrap();
            fs::write(place(dir.path(), &hash), b"not empty").unwrap();
        } else {
            flip(&place(dir.path(), &hash), size as u64 / 2);
        }
        let (mut events, failures) = (subscribe(), VERIFY_FAILURES.get(VerifyKind::Blob));
        let stamp = cas.stamp("pinned");
        assert!(matches!(try_read(&cas, "pinned"), Err(StoreError::Corrupt(_))), "{size} bytes");
        assert!(VERIFY_FAILURES.get(VerifyKind::Blob) > failures);
        let told = std::iter::from_fn(|| events.try_recv().ok())
            .any(|event| event == Event::BlobQuarantined { hash: hash.to_hex().to_string() });
        assert!(told, "{size} bytes");
        assert!(!cas.holds(&stamp));
        for path in ["pinned", "filled"] {
            assert!(cas.head(path).unwrap().is_none(), "{path} of {size} bytes");
        }
        assert!(cas.blob(&hash).unwrap().is_none());
        assert!(has(&dir.path().join("quarantine"), hash.to_hex().as_str()));
        assert_eq!(verify(&cas, false), [Fault::Lost { path: "pinned".into(), hash }], "the operator hears of it");
        assert_eq!((cas.stat().unwrap().lost, cas.stat().unwrap().quarantined), (1, 1));
        assert_eq!(read(&cas, "other").unwrap(), b"other");
        put(&cas, "pinned", &data, true);
        assert_eq!((read(&cas, "pinned").unwrap(), verify(&cas, false)), (data, vec![]));
    }
}

#[test]
fn a_lost_pinned_object_is_told_until_it_is_pinned_or_purged_even_when_a_fill_answers_in_its_place() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    put(&cas, "a", b"pinned", true);
    flip(&place(dir.path(), &blake3::hash(b"pinned")), 0);
    assert_eq!(verify(&cas, true).len(), 1);
    put(&cas, "a", b"filled", false);
    assert_eq!(read(&cas, "a").unwrap(), b"filled");
    assert_eq!(verify(&cas, true), [Fault::Lost { path: "a".into(), hash: blake3::hash(b"pinned") }]);
    put(&cas, "a", b"pinned", true);
    assert_eq!((verify(&cas, true), read(&cas, "a").unwrap()), (vec![], b"pinned".to_vec()));
}

#[test]
fn verify_finds_every_fault_and_moves_only_what_it_is_told_to() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    for number in 0..40 {
        put(&cas, &format!("good/{number}"), format!("good {number}").as_bytes(), number % 2 == 0);
    }
    let (bad, gone, link) = (blake3::hash(b"bad"), blake3::hash(b"gone"), blake3::hash(b"link"));
    put(&cas, "bad", b"bad", true);
    put(&cas, "gone", b"gone", false);
    put(&cas, "link", b"link", false);
    flip(&place(dir.path(), &bad), 1);
    fs::remove_file(place(dir.path(), &gone)).unwrap();
    fs::remove_file(place(dir.path(), &link)).unwrap();
    symlink(place(dir.path(), &blake3::hash(b"good 1")), place(dir.path(), &link)).unwrap();
    let expect = |quarantined| {
        vec![
            Fault::Corrupt { hash: bad, paths: vec!["bad".into()], quarantined },
            Fault::Corrupt { hash: link, paths: vec!["link".into()], quarantined },
            Fault::Missing { path: "gone".into(), hash: gone },
        ]
    };
    let sorted = |mut faults: Vec<Fault>| {
        faults.sort_by_key(|fault| {
            format!("{fault:?}").contains("gone").to_string() + &format!("{:?}", fault_path(fault))
        });
        faults
    };
    assert_eq!(sorted(verify(&cas, false)), expect(false));
    assert_eq!(count(&dir.path().join("quarantine")), 0);
    assert_eq!(sorted(verify(&cas, true)), expect(true));
    assert_eq!(count(&dir.path().join("quarantine")), 2);
    assert!(cas.head("gone").unwrap().is_none(), "an object without a blob is a miss");
    assert_eq!(verify(&cas, true), [Fault::Lost { path: "bad".into(), hash: bad }]);
    cas.purge(Purge::Path("bad")).unwrap();
    assert_eq!((verify(&cas, true), cas.stat().unwrap().objects), (vec![], 40));
}

fn fault_path(fault: &Fault) -> String {
    match fault {
        Fault::Corrupt { paths, .. } => paths.join(","),
        Fault::Missing { path, .. } | Fault::Lost { path, .. } => path.clone(),
        Fault::Unreadable { error, .. } => error.clone(),
    }
}

#[test]
fn what_is_no_file_at_a_blobs_place_is_refused_without_following_or_hanging() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    let begin = Instant::now();
    for kind in ["symlink", "dangling", "fifo", "directory", "socket"] {
        put(&cas, "a", b"a", false);
        let hash = blake3::hash(b"a");
        let at = place(dir.path(), &hash);
        fs::remove_file(&at).unwrap();
        let target = dir.path().join("target");
        fs::write(&target, b"a").unwrap();
        match kind {
            // Not even one whose target has the right bytes.
            "symlink" => symlink(&target, &at).unwrap(),
            "dangling" => symlink("/nowhere/at/all", &at).unwrap(),
            "fifo" => fifo(&at),
            "directory" => fs::create_dir(&at).unwrap(),
            // A socket's path is short; it is bound elsewhere and moved.
            _ => {
                let short = std::env::temp_dir().join(format!("cas-socket-{}", std::process::id()));
                let _ = std::os::unix::net::UnixListener::bind(&short).unwrap();
                fs::rename(short, &at).unwrap();
            }
        }
        assert!(matches!(cas.head("a"), Err(StoreError::Corrupt(_))), "{kind}");
        assert!(at.symlink_metadata().is_err(), "{kind} was moved away");
        assert_eq!(fs::read(&target).unwrap(), b"a", "{kind}");
        assert!(cas.blob(&hash).unwrap().is_none());
        put(&cas, "a", b"a", false);
        assert_eq!(read(&cas, "a").unwrap(), b"a", "{kind}: filled anew");
    }
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn an_import_repairs_a_corrupt_blob_instead_of_calling_it_present() {
    let (dir, source) = (temp(), temp());
    write(&source.path().join("small"), b"small");
    write(&source.path().join("big"), &bytes(600_000));
    let cas = Cas::open(&conf(dir.path())).unwrap();
    import(&cas, source.path(), "");
    flip(&place(dir.path(), &blake3::hash(b"small")), 0);
    flip(&place(dir.path(), &blake3::hash(&bytes(600_000))), 599_999);
    let report = import(&cas, source.path(), "");
    assert_eq!((report.files, report.blobs_written, report.unchanged), (2, 2, 0));
    assert_eq!((verify(&cas, false), count(&dir.path().join("quarantine"))), (vec![], 2));
    assert_eq!(read(&cas, "big").unwrap(), bytes(600_000));
}

#[test]
fn a_broken_or_lost_index_is_set_aside_and_rebuilt_with_what_was_pinned_last() {
    let garbage = |path: &std::path::Path, with: &[u8]| {
        fs::remove_file(path.with_extension("sqlite-wal")).unwrap();
        fs::write(path, with).unwrap();
    };
    for damage in ["garbage", "truncated", "empty", "gone", "directory", "header", "no tables"] {
        let (dir, source) = (temp(), temp());
        let index = dir.path().join("index.sqlite");
        {
            let cas = Cas::open(&conf(dir.path())).unwrap();
            for number in 0..300 {
                write(&source.path().join(format!("{number}")), format!("one {number}").as_bytes());
            }
            import(&cas, source.path(), "p");
            write(&source.path().join("5"), b"changed");
            import(&cas, source.path(), "p");
            put(&cas, "filled", b"filled", false);
            cas.purge(Purge::Path("p/6")).unwrap();
            cas.purge(Purge::Prefix("p/gone")).unwrap();
            put(&cas, "p/7", b"after", true);
            put(&cas, "q/1", b"q", true);
            cas.purge(Purge::Prefix("q")).unwrap();
            put(&cas, "q/2", b"q", true);
        }
        let connection = rusqlite::Connection::open(&index).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        let whole = fs::read(&index).unwrap();
        match damage {
            "garbage" => garbage(&index, &bytes(100_000)),
            "truncated" => garbage(&index, &whole[..whole.len() / 2]),
            "empty" => garbage(&index, b""),
            "gone" => fs::remove_file(&index).unwrap(),
            "directory" => {
                fs::remove_file(&index).unwrap();
                fs::create_dir(&index).unwrap();
            }
            "header" => garbage(&index, &[&[0; 100], &whole[100..]].concat()),
            _ => connection.execute_batch("DROP TABLE objects").unwrap(),
        }
        drop(connection);
        let cas = Cas::open(&conf(dir.path())).unwrap();
        assert_eq!(read(&cas, "p/5").unwrap(), b"changed", "{damage}: the later import rules");
        assert_eq!(read(&cas, "p/7").unwrap(), b"after", "{damage}");
        assert_eq!(read(&cas, "p/299").unwrap(), b"one 299", "{damage}");
        assert_eq!(read(&cas, "q/2").unwrap(), b"q", "{damage}");
        for purged in ["p/6", "q/1", "filled"] {
            assert!(cas.info(purged).unwrap().is_none(), "{damage}: {purged}");
        }
        assert_eq!((paths(&cas).len(), verify(&cas, false)), (300, vec![]), "{damage}");
        let aside = !matches!(damage, "empty" | "gone");
        assert_eq!(has(dir.path(), "index.sqlite.bad-"), aside, "{damage}");
        // And a second start finds nothing to do.
        drop(cas);
        let cas = Cas::open(&conf(dir.path())).unwrap();
        assert_eq!(paths(&cas).len(), 300, "{damage}");
        assert_eq!(count_bad(dir.path()), usize::from(aside), "{damage}: set aside once");
    }
}

#[test]
fn an_index_that_could_not_be_read_for_a_moment_is_kept_and_one_that_stays_damaged_is_not() {
    for recovers in [true, false] {
        let dir = temp();
        let index = dir.path().join("index.sqlite");
        {
            let cas = Cas::open(&conf(dir.path())).unwrap();
            put(&cas, "pinned", b"pinned", true);
            for number in 0..300 {
                fill(&cas, &format!("filled {number}"), number.to_string().as_bytes(), "x");
            }
        }
        let connection = rusqlite::Connection::open(&index).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(connection);
        let cas = Cas::open(&conf(dir.path())).unwrap();
        // In place, behind the back of connections that have read next to nothing yet: what SQLite then says is what it says of a disk that fails.
        let whole = fs::read(&index).unwrap();
        let file = fs::File::options().write(true).open(&index).unwrap();
        file.write_all_at(&vec![0xa5; whole.len() - 4096], 4096).unwrap();
        assert!(cas.info("filled 150").is_err(), "it was met");
        if recovers {
            file.write_all_at(&whole, 0).unwrap();
        }
        // The first look may meet the damage itself.
        let _ = cas.poll();
        let _ = cas.poll();
        assert_eq!(cas.info("filled 150").unwrap().is_some(), recovers);
        assert_eq!(read(&cas, "pinned").unwrap(), b"pinned");
        assert_eq!(count_bad(dir.path()), usize::from(!recovers));
        put(&cas, "new", b"new", true);
        assert_eq!(verify(&cas, false), []);
    }
}

fn count_bad(dir: &std::path::Path) -> usize {
    let bad =
        |name: String| name.starts_with("index.sqlite.bad-") && !name.ends_with("-wal") && !name.ends_with("-shm");
    fs::read_dir(dir).unwrap().filter(|entry| bad(entry.as_ref().unwrap().file_name().into_string().unwrap())).count()
}

#[test]
fn a_server_goes_on_with_the_index_that_another_process_rebuilt() {
    let dir = temp();
    let server = Cas::open(&conf(dir.path())).unwrap();
    put(&server, "pinned", b"pinned", true);
    fs::rename(dir.path().join("index.sqlite"), dir.path().join("elsewhere")).unwrap();
    let command = Cas::open(&conf(dir.path())).unwrap();
    put(&command, "new", b"new", true);
    // What it writes goes to the new file at once, and what it reads too, after its housekeeping.
    put(&server, "filled", b"filled", false);
    server.poll().unwrap();
    for cas in [&server, &command] {
        assert_eq!(paths(cas), ["filled", "new", "pinned"]);
    }
    drop(command);
    drop(server);
    assert_eq!(paths(&Cas::open(&conf(dir.path())).unwrap()).len(), 3);
}

#[test]
fn a_rebuild_that_was_cut_short_is_done_again() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    for number in 0..5 {
        put(&cas, &format!("{number}"), b"x", true);
    }
    drop(cas);
    let index = rusqlite::Connection::open(dir.path().join("index.sqlite")).unwrap();
    index.execute_batch("DELETE FROM objects WHERE path > '2'; PRAGMA user_version = 0").unwrap();
    drop(index);
    assert_eq!(paths(&Cas::open(&conf(dir.path())).unwrap()), ["0", "1", "2", "3", "4"]);
}

#[test]
fn a_pinned_object_whose_blob_is_missing_at_a_rebuild_is_told_and_not_served() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    put(&cas, "a", b"a", true);
    put(&cas, "b", b"b", true);
    drop(cas);
    fs::remove_file(place(dir.path(), &blake3::hash(b"a"))).unwrap();
    fs::remove_file(dir.path().join("index.sqlite")).unwrap();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    assert_eq!(paths(&cas), ["b"]);
    assert_eq!(verify(&cas, false), [Fault::Lost { path: "a".into(), hash: blake3::hash(b"a") }]);
}

#[test]
fn what_a_crash_leaves_at_each_step_of_a_commit_is_no_fault_and_spared_while_it_is_young() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    put(&cas, "kept", b"kept", false);
    // Written, not linked (where nameless files are missing); linked, not indexed; and something that is none of ours.
    let (unlinked, linked) = (dir.path().join("tmp/blob.0123"), place(dir.path(), &blake3::hash(b"linked")));
    write(&unlinked, b"half a bl");
    write(&linked, b"linked");
    write(&dir.path().join("b3/00/README"), b"not ours");
    assert_eq!(verify(&cas, false), []);
    let report = cas.gc(&mut |_| {}).unwrap();
    assert_eq!((report.spared, report.unknown, report.blobs), (1, 1, 0), "{report:?}");
    assert!(linked.exists() && unlinked.exists() && dir.path().join("b3/00/README").exists());
    assert_eq!(read(&cas, "kept").unwrap(), b"kept");
    // A blob that was linked and not indexed is taken as it is when it is put again.
    assert_eq!(put(&cas, "linked", b"linked", true), Stored::Added);
    assert_eq!(verify(&cas, false), []);
}
