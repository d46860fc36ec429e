//! Nonsense in every column of every table of the index: an error or healing, never a panic, never a start that fails for ever.

use std::path::Path;

use rusqlite::config::DbConfig;

use super::support::*;
use svc_edge::store::Store;
use svc_edge::store::cas::*;

/// What no count and no length is.
const COUNTS: &[&str] = &["-1", "9223372036854775807", "-9223372036854775808", "1e300", "'x'", "x'00'", "NULL"];
/// Numbers that every time and every generation must live with, and values that are none.
const NUMBERS: &[&str] = &["-1", "9223372036854775807", "9223372036854775806", "-9223372036854775808", "'x'", "NULL"];
const FLAGS: &[&str] = &["-1", "7", "9223372036854775807", "'yes'", "NULL"];
const CODINGS: &[&str] = &["-1", "4", "9223372036854775807", "'gzip'", "NULL"];
const HASHES: &[&str] = &["x''", "zeroblob(31)", "zeroblob(33)", "zeroblob(32)", "'text'", "7", "NULL"];
/// A key without a rowid cannot be NULL.
const NAMES: &[&str] = &["x''", "zeroblob(31)", "zeroblob(33)", "zeroblob(32)", "'text'", "7"];
const PATHS: &[&str] = &[
    "''",
    "'../x'",
    "'a//b'",
    "'line' || char(10) || 'break'",
    "CAST(x'ff' AS TEXT)",
    "x'ff'",
    "hex(zeroblob(9000))",
    "'a' || char(0)",
    "'p/a' || char(0) || '?pinned'",
    "'a' || char(0) || 'v12'",
];
const TYPES: &[&str] =
    &["''", "'a' || char(13, 10) || 'b: c'", "CAST(x'ff00' AS TEXT)", "hex(zeroblob(500000))", "x'00'", "NULL"];

const EXTRAS: &[&str] = &["zeroblob(65537)", "'text'", "7"];

/// Every column, and what is written into it.
const TABLE: &[(&str, &str, &[&str])] = &[
    ("totals", "objects", COUNTS),
    ("totals", "blobs", COUNTS),
    ("totals", "allocated", COUNTS),
    ("totals", "generation", NUMBERS),
    ("objects", "path", PATHS),
    ("objects", "hash", HASHES),
    ("objects", "size", COUNTS),
    ("objects", "pinned", FLAGS),
    ("objects", "content_type", TYPES),
    ("objects", "coding", CODINGS),
    ("objects", "last_modified", NUMBERS),
    ("objects", "stored_at", NUMBERS),
    ("objects", "last_used", NUMBERS),
    ("objects", "seq", NUMBERS),
    ("objects", "extra", EXTRAS),
    ("blobs", "hash", NAMES),
    ("blobs", "size", COUNTS),
    ("blobs", "allocated", COUNTS),
    ("blobs", "synced", FLAGS),
    ("lost", "path", PATHS),
    ("lost", "hash", HASHES),
    ("lost", "size", COUNTS),
    ("lost", "pinned", FLAGS),
    ("lost", "content_type", TYPES),
    ("lost", "coding", CODINGS),
    ("lost", "last_modified", NUMBERS),
    ("lost", "stored_at", NUMBERS),
    ("lost", "last_used", NUMBERS),
    ("lost", "seq", NUMBERS),
    ("lost", "extra", EXTRAS),
];

/// Write into the index past every check that its schema makes.
fn scribble(dir: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(dir.join("index.sqlite")).unwrap();
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
    let schema = |from: &str, to: &str| {
        let edit = format!("UPDATE sqlite_schema SET sql = replace(sql, '{from}', '{to}') WHERE type = 'table';");
        format!("PRAGMA writable_schema = ON; {edit} PRAGMA writable_schema = RESET;")
    };
    let free = ["INTEGER NOT NULL", "TEXT NOT NULL", "BLOB NOT NULL"].map(|column| {
        let (kind, _) = column.split_once(' ').unwrap();
        schema(column, &format!("{kind}     NULL"))
    });
    let strict = [schema(") STRICT", ") /*STR*/"), schema("/*STR*/, W", "/*STR,*/ W")];
    connection.execute_batch(&[free.concat(), strict.concat()].concat()).unwrap();
    connection.execute_batch("PRAGMA ignore_check_constraints = ON").unwrap();
    connection.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    connection.execute_batch(&[schema("     NULL", " NOT NULL"), schema("/*STR,*/ W", "/*STR*/, W")].concat()).unwrap();
    connection.execute_batch(&schema("/*STR*/", "STRICT")).unwrap();
}

/// A store with a row in every table: pinned, filled and lost objects.
fn build(dir: &Path, source: &Path) {
    let cas = Cas::open(&conf(dir)).unwrap();
    put(&cas, "filled", b"filled", false);
    put(&cas, "gone", b"gone", true);
    std::fs::remove_file(place(dir, &blake3::hash(b"gone"))).unwrap();
    assert!(cas.head("gone").unwrap().is_none());
    import(&cas, source, "p");
}

/// Do everything once. Errors are right as long as they end; a panic fails the test.
fn use_it(cas: &Cas, source: &Path, what: &str) {
    let options = ImportOptions { writers: 2 };
    for path in ["p/a", "filled", "gone", "line\nbreak", ""] {
        let _ = try_read(cas, path);
    }
    let _ = cas.list("", &mut |object| {
        assert!(object.content_type.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{what}: {object:?}");
        assert!(!object.path.contains('\n') && !object.path.contains(".."), "{what}: {object:?}");
        std::ops::ControlFlow::Continue(())
    });
    let _ = cas.stat();
    let _ = cas.verify(true, &mut |_| {}, &mut |_| {});
    let _ = cas.import(source, "p", &options, &mut |_| {});
    let _ = cas.put("filled", &mut &b"other"[..], meta(false));
    let _ = cas.gc(&mut |_| {});
    let _ = cas.purge(Purge::Path("filled"));
    let _ = cas.purge(Purge::Prefix("nothing"));
    let _ = cas.poll();
}

/// What `work` comes to. The first to meet the nonsense may fail; after the housekeeping nobody may.
fn at_last<T, E: std::fmt::Display>(cas: &Cas, what: &str, work: impl Fn() -> Result<T, E>) -> T {
    let Err(first) = work() else { return work().unwrap_or_else(|error| panic!("{what}: {error}")) };
    cas.poll().unwrap_or_else(|error| panic!("{what}: {first}; {error}"));
    work().unwrap_or_else(|error| panic!("{what}: {first}; and again: {error}"))
}

/// The store works as one that nothing ever happened to.
fn assert_whole(dir: &Path, source: &Path, what: &str) {
    let cas = Cas::open(&conf(dir)).unwrap_or_else(|error| panic!("{what}: a second start: {error}"));
    at_last(&cas, what, || cas.poll());
    at_last(&cas, what, || cas.import(source, "p", &ImportOptions::default(), &mut |_| {}));
    assert_eq!(try_read(&cas, "p/a").unwrap().as_deref(), Some(&b"a"[..]), "{what}");
    at_last(&cas, what, || cas.put("new", &mut &b"new"[..], meta(false)));
    cas.poll().unwrap();
    assert_eq!(read(&cas, "new").unwrap(), b"new", "{what}: not evicted");
    let stat = at_last(&cas, what, || cas.stat());
    assert_eq!(stat.objects as usize, list(&cas).len(), "{what}");
    for purge in [Purge::Prefix("p"), Purge::Path("gone"), Purge::Prefix("")] {
        at_last(&cas, what, || cas.purge(purge));
    }
    at_last(&cas, what, || cas.gc(&mut |_| {}));
    assert_eq!((paths(&cas), verify(&cas, false)), (vec![], vec![]), "{what}");
    let stat = cas.stat().unwrap();
    assert_eq!((stat.objects, stat.lost), (0, 0), "{what}");
    assert!(stat.allocated_bytes < 1 << 30 && stat.blobs < 10, "{what}: {stat:?}");
}

fn try_each(table: &str, commands: bool) {
    let source = temp();
    write(&source.path().join("a"), b"a");
    write(&source.path().join("b"), &bytes(300_000));
    for (_, column, values) in TABLE.iter().filter(|(name, ..)| *name == table) {
        for value in *values {
            let what = format!("{table}.{column} = {value}, commands: {commands}");
            let dir = temp();
            build(dir.path(), source.path());
            // One row: a key that all rows have is no key.
            scribble(dir.path(), &format!("UPDATE {table} SET {column} = {value} WHERE {}", one_row(table)));
            if commands {
                // Each opens the store anew, and none of them keeps house.
                for command in [0, 1, 2, 3] {
                    let cas = Cas::open(&conf(dir.path())).unwrap_or_else(|error| panic!("{what}: {error}"));
                    let _ = match command {
                        0 => cas.list("", &mut |_| std::ops::ControlFlow::Continue(())),
                        1 => cas.stat().map(drop).map_err(Into::into),
                        2 => cas.gc(&mut |_| {}).map(drop),
                        _ => cas.import(source.path(), "p", &ImportOptions::default(), &mut |_| {}).map(drop),
                    };
                }
            } else {
                let cas = Cas::open(&conf(dir.path())).unwrap_or_else(|error| panic!("{what}: {error}"));
                use_it(&cas, source.path(), &what);
                use_it(&cas, source.path(), &what);
            }
            assert_whole(dir.path(), source.path(), &what);
        }
    }
}

fn one_row(table: &str) -> &'static str {
    match table {
        "totals" => "id = 0",
        "objects" => "path = 'p/a'",
        "blobs" => "hash = (SELECT hash FROM objects WHERE path = 'p/a')",
        _ => "path = 'gone'",
    }
}

#[test]
fn nonsense_in_the_sums_heals_at_the_next_start() {
    for commands in [true, false] {
        try_each("totals", commands);
    }
}

#[test]
fn nonsense_in_an_object_ends_in_errors_or_healing() {
    for commands in [true, false] {
        try_each("objects", commands);
    }
}

#[test]
fn nonsense_in_a_blob_or_a_lost_object_ends_in_errors_or_healing() {
    for table in ["blobs", "lost"] {
        try_each(table, false);
    }
}

#[test]
fn nonsense_in_a_filled_object_is_a_miss_after_the_housekeeping_and_the_pinned_ones_stay() {
    let source = temp();
    write(&source.path().join("a"), b"a");
    for (column, value, damaged) in [
        ("last_used", "-9223372036854775808", false),
        ("content_type", "'a' || char(10)", false),
        ("coding", "9", true),
        ("pinned", "-3", true),
    ] {
        let dir = temp();
        build(dir.path(), source.path());
        scribble(dir.path(), &format!("UPDATE objects SET {column} = {value} WHERE path = 'filled'"));
        let cas = Cas::open(&conf(dir.path())).unwrap();
        assert_eq!(cas.head("filled").is_err(), damaged, "{column}");
        cas.poll().unwrap();
        match cas.head("filled").unwrap() {
            Some(object) => assert!(!damaged && !object.content_type.contains('\n'), "{column}"),
            None => assert!(damaged, "{column}"),
        }
        assert_eq!(read(&cas, "p/a").unwrap(), b"a", "{column}");
        assert_eq!(has(dir.path(), "index.sqlite.bad-"), damaged, "{column}");
    }
}

#[test]
fn sums_that_are_too_large_cost_what_can_be_filled_again_and_then_are_right() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    put(&cas, "pinned", b"pinned", true);
    put(&cas, "filled", b"filled", false);
    drop(cas);
    for column in ["objects", "allocated"] {
        scribble(dir.path(), &format!("UPDATE totals SET {column} = 1125899906842624"));
        let cas = Cas::open(&conf(dir.path())).unwrap();
        (0..3).for_each(|_| cas.poll().unwrap());
        put(&cas, "filled", b"filled", false);
        cas.poll().unwrap();
        assert_eq!(paths(&cas), ["filled", "pinned"], "{column}");
        assert!(cas.stat().unwrap().allocated_bytes < 1 << 20, "{column}");
    }
}

#[test]
fn a_generation_at_its_end_and_rows_of_one_that_is_not_yet_block_nothing() {
    let dir = temp();
    let server = Cas::open(&conf(dir.path())).unwrap();
    put(&server, "a", b"one", true);
    drop(server);
    let top = 1_i64 << 60;
    scribble(dir.path(), &format!("UPDATE totals SET generation = {top}"));
    let (server, command) = (Cas::open(&conf(dir.path())).unwrap(), Cas::open(&conf(dir.path())).unwrap());
    for contents in [&b"two"[..], b"three"] {
        let stamp = server.stamp("a");
        assert_eq!(put(&command, "a", contents, true), Stored::Replaced);
        server.poll().unwrap();
        assert!(!server.holds(&stamp), "the change shows");
        assert_eq!(read(&server, "a").unwrap(), contents);
    }
    command.purge(Purge::Prefix("")).unwrap();
    assert_eq!(paths(&server), Vec::<String>::new());
    // A row that claims a later generation than the store has reached is replaced and purged like any other.
    for purge in [true, false] {
        put(&server, "b", b"one", false);
        scribble(dir.path(), &format!("UPDATE objects SET seq = {top}; UPDATE totals SET generation = 7"));
        if purge {
            assert_eq!(server.purge(Purge::Prefix("")).unwrap().objects, 1);
        } else {
            put(&server, "b", b"two", false);
            assert_eq!(read(&server, "b").unwrap(), b"two");
        }
    }
}
