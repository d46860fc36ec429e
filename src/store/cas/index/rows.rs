//! The index's statements: reads on any connection, changes on a transaction.

use blake3::Hash;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::value::{Count, Flag, Key, MAX_SEQ, MediaType, Name, Seq, coding_number, coding_of, column};
use crate::store::StoreError;
use crate::store::cas::key;
use crate::store::cas::types::{ObjectInfo, Stat, from_seconds, to_seconds};

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

const COLUMNS: &str = "path, hash, size, pinned, content_type, coding, last_modified, stored_at, last_used";

fn object(row: &Row<'_>) -> rusqlite::Result<ObjectInfo> {
    let coding = row.get(5)?;
    Ok(ObjectInfo {
        path: row.get::<_, Key>(0)?.0,
        hash: row.get::<_, Name>(1)?.0,
        size: row.get::<_, Count>(2)?.0,
        pinned: row.get::<_, Flag>(3)?.0,
        content_type: row.get::<_, MediaType>(4)?.0,
        coding: coding_of(coding).ok_or(rusqlite::Error::IntegralValueOutOfRange(5, coding))?,
        last_modified: row.get::<_, Option<i64>>(6)?.map(from_seconds),
        stored_at: from_seconds(row.get(7)?),
        last_used: from_seconds(row.get(8)?),
    })
}

fn named(row: &Row<'_>) -> rusqlite::Result<Named> {
    Ok(Named { path: row.get::<_, Key>(0)?.0, hash: row.get::<_, Name>(1)?.0, pinned: row.get::<_, Flag>(2)?.0 })
}

/// The object at `path`.
pub fn get(connection: &Connection, path: &str) -> rusqlite::Result<Option<ObjectInfo>> {
    let sql = statement(0);
    connection.prepare_cached(sql)?.query_row([path], object).optional()
}

/// The statements over [`COLUMNS`], made once: the cache of statements compares them byte by byte.
fn statement(which: usize) -> &'static str {
    static SQL: std::sync::OnceLock<[String; 3]> = std::sync::OnceLock::new();
    &SQL.get_or_init(|| {
        [
            format!("SELECT {COLUMNS} FROM objects WHERE path = ?1"),
            format!("SELECT {COLUMNS} FROM objects WHERE path > ?1 ORDER BY path LIMIT ?2"),
            format!("SELECT {COLUMNS} FROM objects WHERE path > ?1 AND path < ?3 ORDER BY path LIMIT ?2"),
        ]
    })[which]
}

/// At most `count` objects behind `after` in the order of paths, below `prefix`.
pub fn page(connection: &Connection, prefix: &str, after: &str, count: u32) -> rusqlite::Result<Vec<ObjectInfo>> {
    match key::below(prefix) {
        None => connection.prepare_cached(statement(1))?.query_map(params![after, count], object)?.collect(),
        Some((from, to)) => {
            let after = if after < from.as_str() { from.as_str() } else { after };
            connection.prepare_cached(statement(2))?.query_map(params![after, count, to], object)?.collect()
        }
    }
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
        each(object(row)?, row.get::<_, Seq>(9)?.0)?;
    }
    Ok(())
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
    let sql =
        "SELECT count(*), count(*) FILTER (WHERE pinned = 1), total(size), min(stored_at), max(stored_at) FROM objects";
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
        })
    })
}

/// What changes the index, inside one `BEGIN IMMEDIATE`.
pub struct Txn<'a> {
    pub(super) inner: Transaction<'a>,
    /// The generation before this transaction.
    pub generation: i64,
    /// Whether what some path answers changed.
    pub(super) changed: bool,
    /// Whether copies in RAM became wrong.
    pub(super) stale: bool,
}

impl<'a> Txn<'a> {
    /// Begin to change what `inner` holds.
    pub fn begin(inner: Transaction<'a>) -> rusqlite::Result<Self> {
        let generation = totals(&inner)?.generation;
        Ok(Self { inner, generation, changed: false, stale: false })
    }

    /// Make it so; the generation that this leaves.
    pub fn commit(self) -> rusqlite::Result<i64> {
        // At its end, which only a mad manifest can bring about, it stands still; see `Index::keep`.
        let generation = (self.generation + i64::from(self.changed)).min(MAX_SEQ);
        if self.changed {
            self.inner.prepare_cached("UPDATE totals SET generation = ?1")?.execute([generation])?;
        }
        self.inner.commit()?;
        Ok(generation)
    }

    /// For the reads above.
    pub fn read(&self) -> &Connection {
        &self.inner
    }

    /// The generation of the rows written here.
    pub fn seq(&self) -> i64 {
        (self.generation + 1).min(MAX_SEQ)
    }

    /// Write an object, in place of what its path had. A row with a higher `seq` stays, unless it claims to be of a generation that
    /// is not yet.
    pub fn put(&mut self, object: &ObjectInfo, seq: i64) -> rusqlite::Result<()> {
        let sql = "INSERT INTO objects VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                   ON CONFLICT (path) DO UPDATE SET hash = excluded.hash, size = excluded.size, pinned = excluded.pinned,
                   content_type = excluded.content_type, coding = excluded.coding, last_modified = excluded.last_modified,
                   stored_at = excluded.stored_at, last_used = excluded.last_used, seq = excluded.seq
                   WHERE (objects.seq > excluded.seq AND objects.seq <= ?11) IS NOT TRUE";
        self.inner.prepare_cached(sql)?.execute(params![
            object.path,
            object.hash.as_bytes(),
            column(object.size),
            object.pinned,
            object.content_type,
            coding_number(object.coding),
            object.last_modified.map(to_seconds),
            to_seconds(object.stored_at),
            to_seconds(object.last_used),
            seq,
            self.seq(),
        ])?;
        // One that isn't pinned answers in its place, and does not bring it back.
        if object.pinned {
            self.unlose(&object.path)?;
        }
        self.changed = true;
        Ok(())
    }

    /// Write a blob's row. Once synced, it stays so.
    pub fn put_blob(&mut self, hash: &Hash, size: u64, allocated: u64, synced: bool) -> rusqlite::Result<()> {
        let sql = "INSERT INTO blobs VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (hash) DO UPDATE SET allocated = excluded.allocated, synced = max(synced, excluded.synced)";
        self.inner.prepare_cached(sql)?.execute(params![hash.as_bytes(), column(size), column(allocated), synced])?;
        Ok(())
    }

    /// Take an object out; whether it was there.
    pub fn delete(&mut self, path: &str) -> rusqlite::Result<bool> {
        let gone = self.inner.prepare_cached("DELETE FROM objects WHERE path = ?1")?.execute([path])? > 0;
        self.changed |= gone;
        Ok(gone)
    }

    /// Take a blob's row out; its allocated bytes.
    pub fn delete_blob(&mut self, hash: &Hash) -> rusqlite::Result<u64> {
        let sql = "DELETE FROM blobs WHERE hash = ?1 RETURNING allocated";
        let freed: Option<Count> =
            self.inner.prepare_cached(sql)?.query_row([hash.as_bytes()], |row| row.get(0)).optional()?;
        Ok(freed.map_or(0, |count| count.0))
    }

    /// Take out an object whose blob is bad or gone; a pinned one is remembered as lost.
    pub fn lose(&mut self, path: &str) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO lost SELECT * FROM objects WHERE path = ?1 AND pinned = 1";
        self.inner.prepare_cached(sql)?.execute([path])?;
        self.delete(path)?;
        Ok(())
    }

    /// Forget that a pinned object is lost.
    pub fn unlose(&mut self, path: &str) -> rusqlite::Result<bool> {
        Ok(self.inner.prepare_cached("DELETE FROM lost WHERE path = ?1")?.execute([path])? > 0)
    }

    /// Forget every lost object below `prefix`.
    pub fn unlose_below(&mut self, prefix: &str) -> rusqlite::Result<usize> {
        match key::below(prefix) {
            None => self.inner.execute("DELETE FROM lost", []),
            Some((from, to)) => self.inner.execute("DELETE FROM lost WHERE path >= ?1 AND path < ?2", [from, to]),
        }
    }

    /// Note a use, unless a later one is noted. A pinned object is never evicted: its recency is not kept.
    pub fn touch(&mut self, path: &str, seconds: i64) -> rusqlite::Result<()> {
        let sql = "UPDATE objects SET last_used = ?2 WHERE path = ?1 AND pinned = 0 AND last_used < ?2";
        self.inner.prepare_cached(sql)?.execute(params![path, seconds])?;
        Ok(())
    }

    /// The `count` objects used longest ago that aren't pinned.
    pub fn oldest(&self, count: u32) -> rusqlite::Result<Vec<Named>> {
        let sql = "SELECT path, hash, 0 FROM objects WHERE pinned = 0 ORDER BY last_used LIMIT ?1";
        self.inner.prepare_cached(sql)?.query_map([count], named)?.collect()
    }

    /// At most `count` objects below `prefix` whose `seq` is at most `seq`, or of a generation that is not yet, behind `after`.
    pub fn older(&self, prefix: &str, after: &str, seq: i64, count: u32) -> rusqlite::Result<Vec<Named>> {
        match key::below(prefix) {
            None => {
                let sql =
                    "SELECT path, hash, pinned FROM objects WHERE path > ?1 AND (seq > ?2 AND seq <= ?4) IS NOT TRUE
                           ORDER BY path LIMIT ?3";
                self.inner.prepare_cached(sql)?.query_map(params![after, seq, count, self.seq()], named)?.collect()
            }
            Some((from, to)) => {
                let after = if after < from.as_str() { from.as_str() } else { after };
                let sql = "SELECT path, hash, pinned FROM objects WHERE path > ?1 AND path < ?5
                           AND (seq > ?2 AND seq <= ?4) IS NOT TRUE ORDER BY path LIMIT ?3";
                self.inner.prepare_cached(sql)?.query_map(params![after, seq, count, self.seq(), to], named)?.collect()
            }
        }
    }

    /// Whether a pinned object stands below `prefix`.
    pub fn pinned_below(&self, prefix: &str) -> rusqlite::Result<bool> {
        let row = |row: &Row<'_>| row.get(0);
        match key::below(prefix) {
            None => self.inner.query_row("SELECT EXISTS (SELECT 1 FROM objects WHERE pinned = 1)", [], row),
            Some(range) => self.inner.query_row(
                "SELECT EXISTS (SELECT 1 FROM objects WHERE path >= ?1 AND path < ?2 AND pinned = 1)",
                [range.0, range.1],
                row,
            ),
        }
    }

    /// Count the sums of `totals` anew: a scan.
    pub fn recount(&mut self) -> rusqlite::Result<()> {
        // As floating point, the sum of mad numbers is no error either; it is exact to 2^53.
        self.inner.execute_batch(
            "UPDATE totals SET objects = (SELECT count(*) FROM objects), blobs = (SELECT count(*) FROM blobs),
             allocated = (SELECT CAST(total(allocated) AS INTEGER) FROM blobs)",
        )
    }

    /// Raise the generation to `generation`, if it is lower.
    pub fn raise(&mut self, generation: i64) {
        self.generation = self.generation.max(generation);
        self.changed = true;
    }

    /// Copies of some object in RAM became wrong.
    pub fn stale(&mut self) {
        self.changed = true;
        self.stale = true;
    }
}
