//! The statements that read the index, on any connection.

use blake3::Hash;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::value::{Count, Extra, Flag, Key, MediaType, Name, Seq, coding_of};
use crate::store::StoreError;
use crate::store::cas::key;
use crate::store::cas::types::{MAX_VARIANTS, ObjectInfo, Stat, from_seconds};

/// Sums that triggers keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    pub objects: u64,
    pub blobs: u64,
    /// Allocated bytes.
    pub allocated: u64,
    pub generation: i64,
}

/// An object that could go, and its blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub path: String,
    pub hash: Hash,
    pub pinned: bool,
}

const COLUMNS: &str = "path, hash, size, pinned, content_type, coding, last_modified, stored_at, last_used, extra";

/// Rows of a page. Each may have [`MAX_EXTRA`](crate::store::cas::types::MAX_EXTRA) bytes beside it: 16 MiB at the worst.
pub const PAGE: u32 = 256;

fn object(row: &Row<'_>) -> rusqlite::Result<ObjectInfo> {
    let coding = row.get(5)?;
    let (path, pinned) = (row.get::<_, Key>(0)?.0, row.get::<_, Flag>(3)?.0);
    if pinned && !key::is_path(&path) {
        return Err(rusqlite::Error::IntegralValueOutOfRange(3, 1));
    }
    Ok(ObjectInfo {
        path,
        hash: row.get::<_, Name>(1)?.0,
        size: row.get::<_, Count>(2)?.0,
        pinned,
        content_type: row.get::<_, MediaType>(4)?.0,
        coding: coding_of(coding).ok_or(rusqlite::Error::IntegralValueOutOfRange(5, coding))?,
        last_modified: row.get::<_, Option<i64>>(6)?.map(from_seconds),
        stored_at: from_seconds(row.get(7)?),
        last_used: from_seconds(row.get(8)?),
        extra: row.get::<_, Extra>(9)?.0,
    })
}

pub(super) fn named(row: &Row<'_>) -> rusqlite::Result<Named> {
    Ok(Named { path: row.get::<_, Key>(0)?.0, hash: row.get::<_, Name>(1)?.0, pinned: row.get::<_, Flag>(2)?.0 })
}

/// The object at `path`.
pub fn get(connection: &Connection, path: &str) -> rusqlite::Result<Option<ObjectInfo>> {
    let sql = statement(0);
    connection.prepare_cached(sql)?.query_row([path], object).optional()
}

/// The statements over [`COLUMNS`], made once: the cache of statements compares them byte by byte.
fn statement(which: usize) -> &'static str {
    static SQL: std::sync::OnceLock<[String; 4]> = std::sync::OnceLock::new();
    &SQL.get_or_init(|| {
        [
            format!("SELECT {COLUMNS} FROM objects WHERE path = ?1"),
            format!("SELECT {COLUMNS} FROM objects WHERE path > ?1 ORDER BY path LIMIT ?2"),
            format!("SELECT {COLUMNS} FROM objects WHERE path > ?1 AND path < ?3 ORDER BY path LIMIT ?2"),
            // Of the variants no more are sorted than are told; their order is that of their storing, and `seq` parts those of a second.
            format!(
                "SELECT {COLUMNS} FROM (
                     SELECT {COLUMNS}, seq FROM objects WHERE path = ?1
                     UNION ALL SELECT {COLUMNS}, seq FROM objects WHERE path = ?2 AND ?2 <> ?1 AND pinned = 1
                     UNION ALL SELECT * FROM (SELECT {COLUMNS}, seq FROM objects WHERE path > ?3 AND path < ?4
                                              ORDER BY stored_at DESC, seq DESC LIMIT {MAX_VARIANTS}))
                 ORDER BY pinned DESC, stored_at DESC, seq DESC"
            ),
        ]
    })[which]
}

/// At most [`PAGE`] objects behind `after` in the order of keys, below `prefix`.
pub fn page(connection: &Connection, prefix: &str, after: &str) -> rusqlite::Result<Vec<ObjectInfo>> {
    match key::below(prefix) {
        None => connection.prepare_cached(statement(1))?.query_map(params![after, PAGE], object)?.collect(),
        Some((from, to)) => {
            let after = if after < from.as_str() { from.as_str() } else { after };
            connection.prepare_cached(statement(2))?.query_map(params![after, PAGE, to], object)?.collect()
        }
    }
}

/// The object at `key` and its variants, newest first; the pinned one of its path before them.
pub fn candidates(connection: &Connection, key: &str) -> rusqlite::Result<Vec<ObjectInfo>> {
    let (from, to) = key::variants(key);
    let params = params![key, key::path_of(key), from, to];
    connection.prepare_cached(statement(3))?.query_map(params, object)?.collect()
}

/// The variants of `key`, the one stored first first; of a number that no index of ours has, the first thousand.
pub fn variants(connection: &Connection, key: &str) -> rusqlite::Result<Vec<Named>> {
    let (from, to) = key::variants(key);
    let sql = "SELECT path, hash, pinned FROM objects WHERE path > ?1 AND path < ?2 ORDER BY stored_at, seq LIMIT 1000";
    connection.prepare_cached(sql)?.query_map([from, to], named)?.collect()
}

/// Call `each` with every pinned object and its `seq`, the lost ones included.
pub fn each_pinned(
    connection: &Connection,
    each: &mut dyn FnMut(ObjectInfo, i64) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let sql = format!("SELECT {COLUMNS}, seq FROM objects WHERE pinned = 1 UNION ALL SELECT {COLUMNS}, seq FROM lost");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        each(object(row)?, row.get::<_, Seq>(10)?.0)?;
    }
    Ok(())
}

/// Whether a pinned object stands at `path`.
pub fn is_pinned(connection: &Connection, path: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM objects WHERE path = ?1 AND pinned = 1)";
    connection.prepare_cached(sql)?.query_row([path], |row| row.get(0))
}

/// The object at `key`, by its blob.
pub fn named_at(connection: &Connection, key: &str) -> rusqlite::Result<Option<Named>> {
    let sql = "SELECT path, hash, pinned FROM objects WHERE path = ?1";
    connection.prepare_cached(sql)?.query_row([key], named).optional()
}

/// Whether some object's blob is `hash`.
pub fn references(connection: &Connection, hash: &Hash) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM objects WHERE hash = ?1)";
    connection.prepare_cached(sql)?.query_row([hash.as_bytes()], |row| row.get(0))
}

/// At most `count` objects whose blob is `hash`.
pub fn objects_of(connection: &Connection, hash: &Hash, count: u32) -> rusqlite::Result<Vec<Named>> {
    let sql = "SELECT path, hash, pinned FROM objects WHERE hash = ?1 LIMIT ?2";
    connection.prepare_cached(sql)?.query_map(params![hash.as_bytes(), count], named)?.collect()
}

/// Whether the blob is known to be on the disk, not only in its cache.
pub fn synced(connection: &Connection, hash: &Hash) -> rusqlite::Result<bool> {
    let sql = "SELECT synced FROM blobs WHERE hash = ?1";
    let found = connection.prepare_cached(sql)?.query_row([hash.as_bytes()], |row| row.get::<_, Flag>(0)).optional()?;
    Ok(found.is_some_and(|flag| flag.0))
}

/// Allocated bytes of a blob; 0 where the index does not know it.
pub fn allocated(connection: &Connection, hash: &Hash) -> rusqlite::Result<u64> {
    let sql = "SELECT allocated FROM blobs WHERE hash = ?1";
    let found: Option<Count> =
        connection.prepare_cached(sql)?.query_row([hash.as_bytes()], |row| row.get(0)).optional()?;
    Ok(found.map_or(0, |count| count.0))
}

/// Blobs of a shard that no object names.
pub fn orphans(connection: &Connection, shard: u8) -> rusqlite::Result<Vec<Hash>> {
    let (mut from, mut to) = ([0; 32], [0xff; 32]);
    (from[0], to[0]) = (shard, shard);
    let sql = "SELECT hash FROM blobs WHERE hash BETWEEN ?1 AND ?2
               AND NOT EXISTS (SELECT 1 FROM objects WHERE objects.hash = blobs.hash)";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map([from, to], |row| Ok(row.get::<_, Name>(0)?.0))?.collect()
}

/// At most `count` lost objects behind `after`.
pub fn lost(connection: &Connection, after: &str, count: u32) -> rusqlite::Result<Vec<Named>> {
    let sql = "SELECT path, hash, 1 FROM lost WHERE path > ?1 ORDER BY path LIMIT ?2";
    connection.prepare_cached(sql)?.query_map(params![after, count], named)?.collect()
}

/// Whether the pinned object at `path` is lost: its blob was corrupt or gone, and nobody pinned or purged it since.
pub fn is_lost(connection: &Connection, path: &str) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM lost WHERE path = ?1)")?.query_row([path], |row| row.get(0))
}

pub fn totals(connection: &Connection) -> rusqlite::Result<Totals> {
    let sql = "SELECT objects, blobs, allocated, generation FROM totals WHERE id = 0";
    connection.prepare_cached(sql)?.query_row([], |row| {
        let count = |at| row.get::<_, Count>(at).map(|count| count.0);
        Ok(Totals { objects: count(0)?, blobs: count(1)?, allocated: count(2)?, generation: row.get::<_, Seq>(3)?.0 })
    })
}

/// Sums over every row: a scan.
pub fn stat(connection: &Connection) -> rusqlite::Result<Stat> {
    let totals = totals(connection)?;
    let lost = connection.query_row("SELECT count(*) FROM lost", [], |row| row.get::<_, Count>(0))?.0;
    let sql = "SELECT count(*), count(*) FILTER (WHERE pinned = 1), total(size), min(stored_at), max(stored_at),
               count(*) FILTER (WHERE instr(path, char(0) || 'v') > 0) FROM objects";
    connection.query_row(sql, [], |row| {
        Ok(Stat {
            objects: row.get::<_, Count>(0)?.0,
            pinned: row.get::<_, Count>(1)?.0,
            // A sum as floating point: it cannot overflow, and is exact to 2^53.
            object_bytes: row.get::<_, f64>(2)? as u64,
            blobs: totals.blobs,
            allocated_bytes: totals.allocated,
            lost,
            quarantined: 0,
            oldest: row.get::<_, Option<i64>>(3)?.map(from_seconds),
            newest: row.get::<_, Option<i64>>(4)?.map(from_seconds),
            variants: row.get::<_, Count>(5)?.0,
        })
    })
}
