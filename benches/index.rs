//! Look-ups in the index of the CAS, of as many objects as `BENCH_OBJECTS` says: 200,000 unless told; the figure is that of 10,000,000.
//!
//! The index is made once, below `target/tmp`, by SQL of its own: a million rows in some seconds, where commits of objects would take a minute. It stays
//! there for the next run, and takes about 230 bytes a row.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::Cell;
use std::fs::File;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use criterion::Criterion;
use rusqlite::Connection;
use rustix::fs::{Advice, fadvise};
use svc_edge::conf::{CasConf, Conf, Flags};
use svc_edge::store::cas::Cas;

mod support;

/// Objects without `BENCH_OBJECTS`.
const OBJECTS: u64 = 200_000;

fn main() {
    let objects = std::env::var("BENCH_OBJECTS").map_or(OBJECTS, |text| text.parse().expect("BENCH_OBJECTS: a number"));
    let mut criterion = support::criterion();
    look_ups(&mut criterion, objects);
    criterion.final_summary();
}

fn look_ups(criterion: &mut Criterion, objects: u64) {
    let conf = made(objects);
    let cas = Cas::open(&conf).unwrap();
    let next = numbers(objects);
    assert!(cas.info(&path(next())).unwrap().is_some());
    let mut group = criterion.benchmark_group(format!("index_{objects}"));
    group.bench_function("found", |bench| bench.iter(|| cas.info(black_box(&path(next()))).unwrap().unwrap()));
    group.bench_function("absent", |bench| {
        bench.iter(|| assert!(cas.info(black_box(&format!("{}~", path(next())))).unwrap().is_none()));
    });
    group.bench_function("the_same", |bench| {
        let one = path(objects / 2);
        bench.iter(|| cas.info(black_box(&one)).unwrap().unwrap());
    });
    let index = File::open(conf.dir.join("index.sqlite")).unwrap();
    group.bench_function("cold", |bench| bench.iter_custom(|count| cold(&cas, &index, &next, count)));
    group.finish();
}

/// Look-ups of which each finds nothing of the index in the page cache; SQLite's own cache, of 2 MiB a connection, has the tree's upper levels.
fn cold(cas: &Cas, index: &File, next: &impl Fn() -> u64, count: u64) -> Duration {
    let look_up = |path: String| {
        fadvise(index, 0, None, Advice::DontNeed).unwrap();
        let began = Instant::now();
        black_box(cas.info(&path).unwrap());
        began.elapsed()
    };
    (0..count).map(|_| look_up(path(next()))).sum()
}

/// The path of object `number`; they sort as the numbers do.
fn path(number: u64) -> String {
    format!("assets/{:04}/{:08}.bin", number / 10_000, number)
}

/// Numbers below `objects`, spread over them.
fn numbers(objects: u64) -> impl Fn() -> u64 {
    let at = Cell::new(1u64);
    move || {
        let now = at.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        at.set(now);
        ((u128::from(now) * u128::from(objects)) >> 64) as u64
    }
}

/// A store whose index has `objects` objects, made if it isn't there yet.
fn made(objects: u64) -> CasConf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("index-{objects}"));
    let yaml = format!("edge: {{cas: {{dir: {dir:?}, max_objects: {}}}}}", objects + 1);
    let conf = Conf::from_parts(Some(("index.yaml", yaml.as_bytes())), [], &Flags::default()).unwrap();
    let cas = Cas::open(&conf.edge.cas).unwrap();
    // The last one is there only when all are: they are made in one transaction.
    let whole = cas.info(&path(objects - 1)).unwrap().is_some();
    drop(cas);
    if !whole {
        let began = Instant::now();
        fill(&dir.join("index.sqlite"), objects);
        let bytes = std::fs::metadata(dir.join("index.sqlite")).unwrap().len();
        eprintln!("{objects} objects in {:.1} s, {} MiB", began.elapsed().as_secs_f64(), bytes >> 20);
    }
    conf.edge.cas
}

/// Rows as an import leaves them, each with a blob of its own that no file holds: a look-up reads none.
fn fill(index: &Path, objects: u64) {
    let mut connection = Connection::open(index).unwrap();
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -262144;").unwrap();
    let transaction = connection.transaction().unwrap();
    // Triggers and the order of an index cost more than the rows: these are made anew behind them.
    let aside: Vec<(String, String, String)> = transaction
        .prepare(
            "SELECT type, name, sql FROM sqlite_schema
             WHERE sql IS NOT NULL AND (type = 'trigger' OR type = 'index' AND tbl_name = 'objects')",
        )
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for (kind, name, _) in &aside {
        transaction.execute_batch(&format!("DROP {kind} {name}")).unwrap();
    }
    let mut insert = transaction
        .prepare(
            "INSERT INTO objects (path, hash, size, pinned, content_type, coding, last_modified, stored_at, last_used, seq)
             VALUES (?1, ?2, 4096, 1, 'application/octet-stream', 0, 1700000000, 1700000000, 1700000000, 1)",
        )
        .unwrap();
    for number in 0..objects {
        let path = path(number);
        insert.execute((&path, blake3::hash(path.as_bytes()).as_bytes())).unwrap();
    }
    drop(insert);
    transaction.execute_batch("INSERT INTO blobs SELECT hash, 4096, 4096, 1 FROM objects ORDER BY hash;").unwrap();
    for (_, _, sql) in &aside {
        transaction.execute_batch(sql).unwrap();
    }
    let sums = "UPDATE totals SET objects = ?1, blobs = ?1, allocated = 4096 * ?1, generation = generation + 1";
    transaction.execute(sums, [objects as i64]).unwrap();
    transaction.commit().unwrap();
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(connection);
    // What is not on the disk can't be dropped from memory.
    File::open(index).unwrap().sync_all().unwrap();
}
