//! An index that version 1 of the schema made: nothing of it is lost, and a program of version 1 would refuse what this one leaves.

use std::path::Path;

use super::support::*;
use svc_edge::store::cas::*;

/// The index of version 1, as its program made it.
const V1: &str = include_str!("version1.sql");

fn version(dir: &Path) -> i64 {
    let index = rusqlite::Connection::open(dir.join("index.sqlite")).unwrap();
    index.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

/// A store whose index is of version 1, finished or cut short in its making: two pinned objects, a filled and a lost one.
fn version_1(dir: &Path, finished: bool) -> Vec<ObjectInfo> {
    let cas = Cas::open(&conf(dir)).unwrap();
    put(&cas, "pinned", b"pinned", true);
    put(&cas, "deep/big", &bytes(700_000), true);
    put(&cas, "filled", b"filled", false);
    put(&cas, "lost", b"lost", true);
    std::fs::remove_file(place(dir, &blake3::hash(b"lost"))).unwrap();
    assert!(read(&cas, "lost").is_none());
    let objects = list(&cas);
    drop(cas);
    let old = dir.join("old.sqlite");
    let index = rusqlite::Connection::open(&old).unwrap();
    index.execute_batch(V1).unwrap();
    index.execute("ATTACH ?1 AS new", [dir.join("index.sqlite").to_str().unwrap()]).unwrap();
    let columns = "path, hash, size, pinned, content_type, coding, last_modified, stored_at, last_used, seq";
    for table in ["objects", "lost"] {
        index.execute_batch(&format!("INSERT INTO main.{table} SELECT {columns} FROM new.{table}")).unwrap();
    }
    index
        .execute_batch(
            "INSERT INTO main.blobs SELECT * FROM new.blobs;
             UPDATE main.totals SET generation = (SELECT generation FROM new.totals);
             DETACH new;",
        )
        .unwrap();
    index
        .execute_batch(&format!("PRAGMA journal_mode = DELETE; PRAGMA user_version = {}", u8::from(finished)))
        .unwrap();
    drop(index);
    for part in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(dir.join(format!("index.sqlite{part}")));
    }
    std::fs::rename(old, dir.join("index.sqlite")).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir.join("index.sqlite"), std::fs::Permissions::from_mode(0o600)).unwrap();
    objects
}

#[test]
fn an_index_of_version_1_is_taken_over_with_every_object_and_works_from_then_on() {
    let dir = temp();
    let objects = version_1(dir.path(), true);
    assert_eq!((version(dir.path()), objects.len()), (1, 3));
    for _ in 0..2 {
        let cas = Cas::open(&conf(dir.path())).unwrap();
        assert_eq!((version(dir.path()), list(&cas)), (2, objects.clone()));
        assert!(!has(dir.path(), "index.sqlite.bad-"), "not rebuilt: the filled object is there");
        assert_eq!(read(&cas, "deep/big").unwrap(), bytes(700_000));
        assert_eq!(verify(&cas, false), [Fault::Lost { path: "lost".into(), hash: blake3::hash(b"lost") }]);
    }
    let cas = Cas::open(&conf(dir.path())).unwrap();
    assert_eq!(fill(&cas, &variant("filled", 1), b"varied", "1"), Stored::Added);
    assert_eq!(put(&cas, "lost", b"lost", true), Stored::Added);
    std::fs::remove_file(place(dir.path(), &blake3::hash(b"pinned"))).unwrap();
    assert!(read(&cas, "pinned").is_none());
    let stat = cas.stat().unwrap();
    assert_eq!((stat.objects, stat.pinned, stat.variants, stat.lost, stat.blobs), (3, 2, 1, 1, 3));
}

#[test]
fn an_index_of_version_1_that_was_cut_short_is_made_and_rebuilt_to_its_end() {
    let dir = temp();
    let objects = version_1(dir.path(), false);
    let cas = Cas::open(&conf(dir.path())).unwrap();
    assert_eq!((version(dir.path()), list(&cas)), (2, objects));
    assert!(!has(dir.path(), "index.sqlite.bad-"));
}

#[test]
fn a_migration_that_was_cut_short_before_its_version_was_written_is_done_again() {
    let dir = temp();
    let objects = version_1(dir.path(), true);
    drop(Cas::open(&conf(dir.path())).unwrap());
    let index = rusqlite::Connection::open(dir.path().join("index.sqlite")).unwrap();
    index.execute_batch("PRAGMA user_version = 1").unwrap();
    drop(index);
    let cas = Cas::open(&conf(dir.path())).unwrap();
    assert_eq!((version(dir.path()), list(&cas)), (2, objects));
}

#[test]
fn an_index_of_version_1_with_damage_in_its_rows_is_set_aside_and_rebuilt() {
    let dir = temp();
    version_1(dir.path(), true);
    let index = rusqlite::Connection::open(dir.path().join("index.sqlite")).unwrap();
    index.execute_batch("PRAGMA ignore_check_constraints = ON; UPDATE objects SET hash = x'00'").unwrap();
    drop(index);
    let cas = Cas::open(&conf(dir.path())).unwrap();
    assert_eq!((version(dir.path()), paths(&cas)), (2, vec!["deep/big".to_owned(), "pinned".to_owned()]));
    assert!(has(dir.path(), "index.sqlite.bad-"));
}
