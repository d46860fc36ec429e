//! MBTiles databases that were made to hurt.

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rusqlite::Connection;
use svc_edge::conf::Verify;
use svc_edge::observe::metrics::{IO_TIMEOUTS, TimeoutOp};
use svc_edge::store::StoreError;
use svc_edge::store::pack::verify::verify;
use svc_edge::store::pack::{Pack, Tile};

use crate::build::*;

/// A database with the usual metadata, zooms 0 to 3, and whatever `sql` makes of the rest.
fn database(path: &Path, sql: &str) {
    let db = Connection::open(path).unwrap();
    db.execute_batch(
        "CREATE TABLE metadata (name text, value text);
         INSERT INTO metadata VALUES ('format', 'pbf'), ('minzoom', '0'), ('maxzoom', '3');",
    )
    .unwrap();
    db.execute_batch(sql).unwrap();
}

fn open(path: &Path) -> Pack {
    Pack::open(&conf(path, Verify::Header)).unwrap()
}

#[test]
fn a_view_that_never_ends_costs_its_query_the_deadline_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("endless");
    database(
        &path,
        "CREATE TABLE n (i integer);
         INSERT INTO n VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9);
         CREATE VIEW tiles AS SELECT a.i AS zoom_level, b.i AS tile_column, c.i AS tile_row, x'1a00' AS tile_data
            FROM n a, n b, n c, n d, n e, n f, n g, n h, n j, n k, n l, n m
            WHERE a.i + b.i + c.i + d.i + e.i + f.i + g.i + h.i + j.i + k.i + l.i + m.i = 1000;",
    );
    let pack = open(&path);
    let before = IO_TIMEOUTS.get(TimeoutOp::PackRead);
    let start = Instant::now();
    assert!(matches!(pack.tile(address(1, 0, 0)), Err(StoreError::Deadline(_))));
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert!(IO_TIMEOUTS.get(TimeoutOp::PackRead) > before);
    // More threads than connections: all of them end.
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert!(matches!(pack.tile(address(1, 0, 0)), Err(StoreError::Deadline(_)))));
        }
    });
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn a_recursive_view_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recursive");
    database(
        &path,
        "CREATE VIEW tiles AS WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n)
            SELECT i AS zoom_level, i AS tile_column, i AS tile_row, x'1a00' AS tile_data FROM n;",
    );
    let error = Pack::open(&conf(&path, Verify::None)).err().expect("it must not open").to_string();
    assert!(error.contains("not authorized"), "{error}");
}

#[test]
fn views_may_not_call_what_makes_much_of_little_nor_load_code() {
    let dir = tempfile::tempdir().unwrap();
    for (i, call) in ["zeroblob(60000000)", "randomblob(60000000)", "load_extension('x')", "printf('%60000000d', 1)"]
        .iter()
        .enumerate()
    {
        let path = dir.path().join(i.to_string());
        database(
            &path,
            &format!(
                "CREATE VIEW tiles AS SELECT 0 AS zoom_level, 0 AS tile_column, 0 AS tile_row, {call} AS tile_data;"
            ),
        );
        assert!(Pack::open(&conf(&path, Verify::None)).is_err(), "{call}");
    }
}

#[test]
fn triggers_and_other_tables_are_no_concern() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("triggers");
    write_mbtiles(&path, &pyramid(1), Schema::View, &[]);
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "CREATE TRIGGER t INSTEAD OF INSERT ON tiles BEGIN DELETE FROM images; END;
         CREATE TRIGGER u AFTER INSERT ON map BEGIN DELETE FROM images; END;
         CREATE TABLE geocoder (a, b, c);
         CREATE VIEW broken AS SELECT * FROM no_such_table;",
    )
    .unwrap();
    drop(db);
    let pack = Pack::open(&conf(&path, Verify::Full)).unwrap();
    assert!(matches!(pack.tile(address(1, 1, 0)), Ok(Tile::Found(_))));
}

#[test]
fn missing_tables_and_columns_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let refusal = |name: &str, sql: &str, level: Verify| {
        let path = dir.path().join(name);
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        Pack::open(&conf(&path, level)).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(refusal("a", "CREATE TABLE other (a)", Verify::None).contains("no such table: tiles"));
    assert!(refusal("b", "CREATE TABLE tiles (a)", Verify::None).contains("no such column"));
    let tiles = "CREATE TABLE tiles (zoom_level, tile_column, tile_row, tile_data)";
    assert!(refusal("c", tiles, Verify::Header).contains("no such table: metadata"));
    assert_eq!(refusal("d", tiles, Verify::None), "", "without verification metadata may be missing");
}

#[test]
fn wrong_types_in_columns_are_errors_of_their_tiles_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("types");
    database(
        &path,
        "CREATE TABLE tiles (zoom_level, tile_column, tile_row, tile_data);
         INSERT INTO tiles VALUES (0, 0, 0, x'1a00'), (1, 0, 0, 'text'), (1, 0, 1, 7), (1, 1, 0, 1.5), (1, 1, 1, NULL),
            (2, 0, 0, x''), ('2', 'x', NULL, x'00'), (NULL, NULL, NULL, NULL), (-1, -1, -1, x'00'), (99, 0, 0, x'1a'),
            (2, 9, 9, x'1a'), (1e300, 0, 0, x'1a'), (9223372036854775807, 0, 0, x'1a');
         INSERT INTO metadata VALUES (NULL, NULL), (x'00ff', x'00ff'), (7, 8), ('bounds', x'00'), ('json', 'nonsense'),
            ('name', CAST(x'ff41' AS text));",
    );
    let pack = open(&path);
    assert!(matches!(pack.tile(address(0, 0, 0)), Ok(Tile::Found(_))));
    for (x, y) in [(0, 1), (0, 0), (1, 1)] {
        assert!(matches!(pack.tile(address(1, x, y)), Err(StoreError::Corrupt(_))), "{x} {y}");
    }
    assert!(matches!(pack.tile(address(1, 1, 0)), Ok(Tile::Absent)), "NULL");
    assert!(matches!(pack.tile(address(2, 0, 3)), Ok(Tile::Absent)), "no bytes");
    assert_eq!(pack.facts().name.as_deref(), Some("\u{fffd}A"));
    let report = verify(&pack, &|_| {}).unwrap();
    let told: Vec<_> = report.first.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|fault| fault.contains("row json")), "{told:?}");
    assert!(told.iter().any(|fault| fault == "tile 1/0/1: neither bytes nor NULL"), "{told:?}");
    assert!(told.iter().filter(|fault| fault.contains("not the address of a tile")).count() >= 6, "{told:?}");
}

#[test]
fn a_view_that_makes_up_rows_is_found_out_by_verification() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows");
    database(
        &path,
        "CREATE TABLE n (i integer);
         INSERT INTO n VALUES (0),(0),(0),(0),(0),(0),(0),(0),(0),(0);
         CREATE VIEW tiles AS SELECT a.i AS zoom_level, b.i AS tile_column, c.i AS tile_row, NULL AS tile_data
            FROM n a, n b, n c, n d, n e, n f, n g, n h;",
    );
    let report = verify(&open(&path), &|_| {}).unwrap();
    assert!(report.first.iter().any(|fault| fault.what.contains("more rows than the file has bytes")), "{report:?}");
}

#[test]
fn a_database_with_a_broken_page_still_serves_from_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broken");
    write_mbtiles(&path, &pyramid(5), Schema::Flat, &[]);
    let mut bytes = std::fs::read(&path).unwrap();
    // A page of the last third: of the table or its index, surely none of the schema.
    let page = bytes.len() / 4096 * 2 / 3 * 4096;
    bytes[page..page + 4096].fill(0xa5);
    std::fs::write(&path, &bytes).unwrap();
    let pack = open(&path);
    let results: Vec<_> = pyramid(5).iter().map(|((z, x, y), _)| pack.tile(address(*z, *x, *y))).collect();
    assert!(results.iter().any(|result| matches!(result, Err(StoreError::Corrupt(_)))));
    assert!(results.iter().any(|result| matches!(result, Ok(Tile::Found(_)))));
    assert!(Pack::open(&conf(&path, Verify::Full)).is_err());
}

#[test]
fn what_begins_as_a_database_but_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fake");
    for rest in [vec![], vec![0; 84], vec![0xff; 4080], vec![0x10; 100_000]] {
        std::fs::write(&path, [b"SQLite format 3\0".as_slice(), &rest].concat()).unwrap();
        assert!(Pack::open(&conf(&path, Verify::None)).is_err(), "{} bytes", rest.len());
    }
}

#[test]
fn a_tile_that_is_too_long_is_too_large() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long");
    database(
        &path,
        "CREATE TABLE tiles (zoom_level, tile_column, tile_row, tile_data);
         INSERT INTO tiles VALUES (0, 0, 0, zeroblob(16777217)), (1, 0, 1, x'1a00');",
    );
    let pack = open(&path);
    assert!(matches!(pack.tile(address(0, 0, 0)), Err(StoreError::TooLarge(_))));
    assert!(matches!(pack.tile(address(1, 0, 0)), Ok(Tile::Found(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn flipped_bytes_never_panic_nor_hang(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        view in any::<bool>(),
        early in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("flipped");
        write_mbtiles(&path, &pyramid(3), if view { Schema::View } else { Schema::Flat }, &[]);
        let mut bytes = std::fs::read(&path).unwrap();
        // Half of the damage goes to the first page: file header and schema.
        let reach = if early { 4096 } else { bytes.len() };
        for (at, value) in flips {
            // The magic stays, or it would be no database.
            let at = at.index(reach - 16) + 16;
            bytes[at] = value;
        }
        std::fs::write(&path, &bytes).unwrap();
        let start = Instant::now();
        for level in [Verify::None, Verify::Full] {
            if let Ok(pack) = Pack::open(&conf(&path, level)) {
                for (z, x, y) in [(0, 0, 0), (2, 1, 3), (3, 7, 0)] {
                    let _ = pack.tile(address(z, x, y));
                }
            }
        }
        prop_assert!(start.elapsed() < Duration::from_secs(20));
    }
}
