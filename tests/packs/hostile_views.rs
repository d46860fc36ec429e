//! MBTiles whose views were made to take all of the processor or all of the memory.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use svc_edge::conf::Verify;
use svc_edge::store::StoreError;
use svc_edge::store::pack::inspect::inspect;
use svc_edge::store::pack::{Pack, PackError, Tile};

use crate::alone::{alone, peak_of};
use crate::build::*;

const METADATA: &str = "CREATE TABLE metadata (name text, value text);
    INSERT INTO metadata VALUES ('format', 'pbf'), ('minzoom', '0'), ('maxzoom', '3');";

const TILES: &str = "CREATE TABLE tiles (zoom_level integer, tile_column integer, tile_row integer, tile_data blob);
    INSERT INTO tiles VALUES (0, 0, 0, x'1a00');";

fn database(path: &Path, sql: &[&str]) {
    Connection::open(path).unwrap().execute_batch(&sql.concat()).unwrap();
}

/// A view whose one tile is `expression`, of the columns `a` and `b` of a table.
fn view_of(expression: &str) -> String {
    format!(
        "CREATE TABLE t (a, b); INSERT INTO t VALUES (x'1a', x'00');
         CREATE VIEW tiles AS SELECT 0 AS zoom_level, 0 AS tile_column, 0 AS tile_row, {expression} AS tile_data FROM t;"
    )
}

fn refusal(result: Result<Pack, PackError>) -> String {
    result.err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn views_may_call_only_functions_that_take_no_longer_than_their_arguments_are_long() {
    let dir = tempfile::tempdir().unwrap();
    for (i, call) in [
        "instr(a, b)",
        "a LIKE b",
        "a GLOB b",
        "replace(a, b, b)",
        "printf('%s', a)",
        "format('%s', a)",
        "hex(a)",
        "unhex(a)",
        "quote(a)",
        "zeroblob(9)",
        "randomblob(9)",
        "group_concat(a)",
        "count(*)",
        "sum(a)",
        "total(a)",
        "json_array(1)",
        "json_group_array(1)",
        "'{}' -> 'a'",
        "trim(a, b)",
        "char(65)",
        "concat(a, b)",
        "soundex(b)",
        "row_number() OVER ()",
        "strftime('%s')",
        "load_extension('x')",
    ]
    .iter()
    .enumerate()
    {
        let path = dir.path().join(i.to_string());
        database(&path, &[METADATA, &view_of(call)]);
        let refused = |level, path: &Path| {
            let refusal = refusal(Pack::open(&conf(path, level)));
            // Some SQLite itself keeps from views.
            refusal.contains("not authorized") || refusal.contains("unsafe use")
        };
        assert!(refused(Verify::None, &path), "{call}");
        // The same of metadata, which are an error or left out.
        let path = dir.path().join(format!("{i}m"));
        let metadata = format!("CREATE VIEW metadata AS SELECT 'name' AS name, {call} AS value FROM t;");
        database(&path, &["CREATE TABLE t (a, b); INSERT INTO t VALUES (x'1a', x'00');", &metadata, TILES]);
        assert!(refused(Verify::Header, &path), "metadata: {call}");
        assert_eq!(Pack::open(&conf(&path, Verify::None)).unwrap().facts().name, None, "metadata: {call}");
    }
    for (i, call) in
        ["coalesce(a, b)", "substr(a, 1)", "max(a, b)", "upper(CAST(a AS text))", "ifnull(a, b)"].iter().enumerate()
    {
        let path = dir.path().join(format!("{i}+"));
        database(&path, &[METADATA, &view_of(&format!("CAST({call} AS blob)"))]);
        let tile = Pack::open(&conf(&path, Verify::Full)).unwrap().tile(address(0, 0, 0));
        assert!(matches!(tile, Ok(Tile::Found(_))), "{call}");
    }
}

#[test]
fn virtual_tables_are_not_read_but_may_stand_there() {
    let dir = tempfile::tempdir().unwrap();
    for (i, view) in [
        "SELECT 0 AS zoom_level, 0 AS tile_column, 0 AS tile_row, value AS tile_data FROM json_each('[1]')",
        "SELECT 0 AS zoom_level, 0 AS tile_column, 0 AS tile_row, x'1a' AS tile_data FROM json_each('[1]')",
        "SELECT 0 AS zoom_level, 0 AS tile_column, 0 AS tile_row, words AS tile_data FROM texts",
    ]
    .iter()
    .enumerate()
    {
        let path = dir.path().join(i.to_string());
        database(&path, &[METADATA, "CREATE VIRTUAL TABLE texts USING fts5(words); CREATE VIEW tiles AS ", view]);
        let refusal = refusal(Pack::open(&conf(&path, Verify::None)));
        assert!(refusal.contains("prohibited") || refusal.contains("not authorized"), "{view}: {refusal}");
    }
    let path = dir.path().join("beside");
    database(&path, &[METADATA, TILES, "CREATE VIRTUAL TABLE texts USING fts5(words);"]);
    let pack = Pack::open(&conf(&path, Verify::Header)).unwrap();
    assert!(matches!(pack.tile(address(0, 0, 0)), Ok(Tile::Found(_))));
}

/// A view over `levels` of subqueries with `width` columns each, every one a value of 15 MiB of its own, all alive at once.
fn hog(width: usize, levels: usize) -> String {
    let columns = |make: &dyn Fn(usize) -> String| (0..width).map(make).collect::<Vec<_>>().join(", ");
    let keys = "zoom_level, tile_column, tile_row";
    let mut from = format!(
        "SELECT 0 AS zoom_level, 0 AS tile_column, 0 AS tile_row, {} FROM t LIMIT 1 OFFSET 0",
        columns(&|i| format!("(a||a||{i}) AS c{i}"))
    );
    for _ in 1..levels {
        from = format!("SELECT {keys}, {} FROM ({from}) LIMIT 1 OFFSET 0", columns(&|i| format!("c{i}||'' AS c{i}")));
    }
    let all = (0..width).map(|i| format!("(c{i} > '')")).collect::<Vec<_>>().join(" + ");
    format!(
        "CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(15 << 19));
         CREATE VIEW tiles AS SELECT {keys}, c0 AS tile_data FROM ({from}) WHERE {all} >= 0;"
    )
}

#[test]
fn no_view_takes_more_memory_than_all_databases_together_may() {
    alone("hostile_views::no_view_takes_more_memory_than_all_databases_together_may", || {
        let dir = tempfile::tempdir().unwrap();
        let mut packs = Vec::new();
        for (i, (width, levels)) in [(29, 1), (20, 2), (14, 3), (29, 2)].into_iter().enumerate() {
            let path = dir.path().join(i.to_string());
            database(&path, &[METADATA, &hog(width, levels)]);
            packs.extend(Pack::open(&conf(&path, Verify::None)));
        }
        assert!(packs.len() >= 2, "what doesn't open is no hog");
        let good = dir.path().join("good");
        write_mbtiles(&good, &pyramid(3), Schema::View, &[]);
        let good = Pack::open(&conf(&good, Verify::Full)).unwrap();
        let peak = peak_of(|| {
            std::thread::scope(|scope| {
                for i in 0..16 {
                    let pack = &packs[i % packs.len()];
                    scope.spawn(move || assert!(matches!(pack.tile(address(0, 0, 0)), Err(StoreError::Sqlite(_)))));
                }
            });
        });
        // 192 MiB, and what the allocator keeps for the threads that had it.
        assert!(peak < 400 << 20, "{} MiB", peak >> 20);
        // What was refused is given back: the next one has room.
        assert!(matches!(good.tile(address(3, 1, 1)), Ok(Tile::Found(_))));
    });
}

#[test]
fn views_of_views_of_views_end_soon_and_small() {
    alone("hostile_views::views_of_views_of_views_end_soon_and_small", || {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("laughs");
        let keys = "zoom_level, tile_column, tile_row, tile_data";
        let mut sql =
            "CREATE VIEW v0 AS SELECT 0 AS zoom_level, 0 AS tile_column, 0 AS tile_row, x'1a' AS tile_data;".to_owned();
        for i in 1..24 {
            let half = format!("SELECT DISTINCT {keys} FROM v{}", i - 1);
            sql += &format!("CREATE VIEW v{i} AS {half} UNION ALL {half} LIMIT 9;");
        }
        database(&path, &[METADATA, &sql, "CREATE VIEW tiles AS SELECT * FROM v23;"]);
        let start = Instant::now();
        let peak = peak_of(|| assert!(Pack::open(&conf(&path, Verify::None)).is_err()));
        assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
        assert!(peak < 300 << 20, "{} MiB", peak >> 20);
    });
}

#[test]
fn metadata_that_take_too_long_are_an_error_or_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("slow");
    let endless = "CREATE TABLE n (i integer); INSERT INTO n VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9);
        CREATE VIEW metadata AS SELECT a.i AS name, b.i AS value FROM n a, n b, n c, n d, n e, n f, n g, n h, n j, n k, n l, n m
            WHERE a.i + b.i + c.i + d.i + e.i + f.i + g.i + h.i + j.i + k.i + l.i + m.i = 1000;";
    database(&path, &[endless, TILES]);
    let start = Instant::now();
    let error = Pack::open(&conf(&path, Verify::Header)).err().expect("it must not open");
    assert!(matches!(error, PackError::Unreadable { source: StoreError::Deadline(_), .. }), "{error}");
    assert!(matches!(Pack::open(&conf(&path, Verify::None)).unwrap().tile(address(0, 0, 0)), Ok(Tile::Found(_))));
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn metadata_count_as_what_they_become_in_json() {
    let dir = tempfile::tempdir().unwrap();
    for (i, (value, fits)) in
        [("x".repeat(4_100_000), true), ("x".repeat(4_300_000), false), ("\u{1}".repeat(710_000), false)]
            .iter()
            .enumerate()
    {
        let path = dir.path().join(i.to_string());
        write_mbtiles(&path, &pyramid(1), Schema::Flat, &[("description", value)]);
        let result = Pack::open(&conf(&path, Verify::Header));
        assert_eq!(result.is_ok(), *fits, "{i}: {}", refusal(result));
        let facts = Pack::open(&conf(&path, Verify::None)).unwrap().facts().clone();
        assert_eq!(facts.description.is_some(), *fits, "{i}");
    }
}

#[test]
fn rows_are_counted_in_tables_and_in_views() {
    let dir = tempfile::tempdir().unwrap();
    for schema in [Schema::Flat, Schema::View] {
        let path = dir.path().join(format!("{schema:?}"));
        write_mbtiles(&path, &pyramid(3), schema, &[]);
        assert_eq!(inspect(&path, &|_, _| true).unwrap().rows, Some(85));
    }
}
