//! The statements that change the index, inside one transaction.

use blake3::Hash;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::rows::{Named, named, totals};
use super::value::{Count, MAX_SEQ, coding_number, column};
use crate::store::cas::key::{self, KeyRange};
use crate::store::cas::stamp::Stale;
use crate::store::cas::types::{ObjectInfo, to_seconds};

/// What changes the index, inside one `BEGIN IMMEDIATE`.
pub struct Txn<'a> {
    pub(super) inner: Transaction<'a>,
    /// The generation before this transaction.
    pub generation: i64,
    /// Whether what some path answers changed.
    changed: bool,
    /// What became wrong of what is copied in RAM.
    stale: Stale,
}

impl<'a> Txn<'a> {
    /// Begin to change what `inner` holds.
    pub fn begin(inner: Transaction<'a>) -> rusqlite::Result<Self> {
        let generation = totals(&inner)?.generation;
        Ok(Self { inner, generation, changed: false, stale: Stale::default() })
    }

    /// What became wrong in RAM: told behind the commit.
    pub(super) fn take_stale(&mut self) -> Stale {
        std::mem::take(&mut self.stale)
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
        // The columns by name: a server of this version goes on where a later one adds some.
        let sql = "INSERT INTO objects (path, hash, size, pinned, content_type, coding, last_modified, stored_at, last_used, seq, extra)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?12)
                   ON CONFLICT (path) DO UPDATE SET hash = excluded.hash, size = excluded.size, pinned = excluded.pinned,
                   content_type = excluded.content_type, coding = excluded.coding, last_modified = excluded.last_modified,
                   stored_at = excluded.stored_at, last_used = excluded.last_used, seq = excluded.seq,
                   extra = excluded.extra
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
            object.extra.as_deref(),
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
        let sql = "INSERT INTO blobs (hash, size, allocated, synced) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (hash) DO UPDATE SET allocated = excluded.allocated, synced = max(synced, excluded.synced)";
        self.inner.prepare_cached(sql)?.execute(params![hash.as_bytes(), column(size), column(allocated), synced])?;
        Ok(())
    }

    /// Write what a filled object's origin said of it last, if it still has this blob; whether it had.
    pub fn refresh(&mut self, key: &str, hash: &Hash, extra: &[u8], now: i64) -> rusqlite::Result<bool> {
        let sql = "UPDATE objects SET extra = ?3, stored_at = ?4, last_used = max(last_used, ?4), seq = ?5
                   WHERE path = ?1 AND hash = ?2 AND pinned = 0";
        let params = params![key, hash.as_bytes(), extra, now, self.seq()];
        let found = self.inner.prepare_cached(sql)?.execute(params)? > 0;
        if found {
            self.stale_at(key);
        }
        Ok(found)
    }

    /// Take an object out; whether it was there. Copies of it in RAM go with it, even of one that is only evicted: nobody could tell
    /// them later that another took its place.
    pub fn delete(&mut self, path: &str) -> rusqlite::Result<bool> {
        let gone = self.inner.prepare_cached("DELETE FROM objects WHERE path = ?1")?.execute([path])? > 0;
        if gone {
            self.stale_at(path);
        }
        Ok(gone)
    }

    /// Take a blob's row out, and copies of it in RAM with it; its allocated bytes.
    pub fn delete_blob(&mut self, hash: &Hash) -> rusqlite::Result<u64> {
        let sql = "DELETE FROM blobs WHERE hash = ?1 RETURNING allocated";
        let freed: Option<Count> =
            self.inner.prepare_cached(sql)?.query_row([hash.as_bytes()], |row| row.get(0)).optional()?;
        if freed.is_some() {
            self.changed = true;
            self.stale.blob(hash);
        }
        Ok(freed.map_or(0, |count| count.0))
    }

    /// Take out an object whose blob is bad or gone; a pinned one is remembered as lost.
    pub fn lose(&mut self, path: &str) -> rusqlite::Result<()> {
        const COLUMNS: &str =
            "path, hash, size, pinned, content_type, coding, last_modified, stored_at, last_used, seq, extra";
        let sql = format!(
            "INSERT OR REPLACE INTO lost ({COLUMNS}) SELECT {COLUMNS} FROM objects WHERE path = ?1 AND pinned = 1"
        );
        self.inner.prepare_cached(&sql)?.execute([path])?;
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

    /// At most `count` objects in `range` (`None` for all) whose `seq` is at most `seq`, or of a generation that is not yet, behind
    /// `after`.
    pub fn older(&self, range: Option<&KeyRange>, after: &str, seq: i64, count: u32) -> rusqlite::Result<Vec<Named>> {
        match range {
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

    /// Copies in RAM of what the path of `key` answers became wrong.
    pub fn stale_at(&mut self, key: &str) {
        self.changed = true;
        self.stale.key(key);
    }

    /// Every copy in RAM may have become wrong.
    pub fn stale(&mut self) {
        self.changed = true;
        self.stale.all();
    }
}
