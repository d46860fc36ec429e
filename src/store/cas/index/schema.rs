//! The index's tables, its versions, and how a connection is set up.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::rows::totals;

/// The version this program reads and writes (`PRAGMA user_version`).
pub const VERSION: i64 = 2;

/// How long a writer waits for another process. A batch of an import holds the lock for a few hundredths of a second.
const BUSY: Duration = Duration::from_secs(10);

/// Version 1.
///
/// `objects` is keyed by path without a rowid: a hit is one descent. `blobs` holds what `max_bytes` counts. `totals` is one row
/// that triggers keep: what the bounds compare must not cost a scan. `generation` goes up with every change of what a path
/// answers, and not with recency; a row's `seq` is the generation it was written in, which orders it against the manifests.
/// `lost` holds the rows of pinned objects whose blob went bad, until they are imported again or purged.
const V1: &str = "
CREATE TABLE objects (
    path TEXT PRIMARY KEY, hash BLOB NOT NULL CHECK (length(hash) = 32), size INTEGER NOT NULL, pinned INTEGER NOT NULL,
    content_type TEXT NOT NULL, coding INTEGER NOT NULL, last_modified INTEGER, stored_at INTEGER NOT NULL,
    last_used INTEGER NOT NULL, seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX objects_by_hash ON objects (hash);
CREATE INDEX objects_by_use ON objects (last_used) WHERE pinned = 0;
CREATE TABLE blobs (
    hash BLOB PRIMARY KEY CHECK (length(hash) = 32), size INTEGER NOT NULL, allocated INTEGER NOT NULL, synced INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE lost (
    path TEXT PRIMARY KEY, hash BLOB NOT NULL CHECK (length(hash) = 32), size INTEGER NOT NULL, pinned INTEGER NOT NULL,
    content_type TEXT NOT NULL, coding INTEGER NOT NULL, last_modified INTEGER, stored_at INTEGER NOT NULL,
    last_used INTEGER NOT NULL, seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE totals (
    id INTEGER PRIMARY KEY CHECK (id = 0), objects INTEGER NOT NULL, blobs INTEGER NOT NULL, allocated INTEGER NOT NULL,
    generation INTEGER NOT NULL
) STRICT;
INSERT INTO totals VALUES (0, 0, 0, 0, 0);
CREATE TRIGGER object_in AFTER INSERT ON objects BEGIN UPDATE totals SET objects = objects + 1; END;
CREATE TRIGGER object_out AFTER DELETE ON objects BEGIN UPDATE totals SET objects = objects - 1; END;
CREATE TRIGGER blob_in AFTER INSERT ON blobs
    BEGIN UPDATE totals SET blobs = blobs + 1, allocated = allocated + new.allocated; END;
CREATE TRIGGER blob_change AFTER UPDATE OF allocated ON blobs
    BEGIN UPDATE totals SET allocated = allocated + new.allocated - old.allocated; END;
CREATE TRIGGER blob_out AFTER DELETE ON blobs
    BEGIN UPDATE totals SET blobs = blobs - 1, allocated = allocated - old.allocated; END;
";

/// Version 2: what whoever filled an object keeps of the origin's answer (NULL for imports). `path` may be the key of a filled object.
const V2: &str = "ALTER TABLE objects ADD COLUMN extra BLOB; ALTER TABLE lost ADD COLUMN extra BLOB;";

/// A connection to the index file, made where it doesn't exist; `None` for one in memory.
pub fn connect(path: Option<&Path>) -> rusqlite::Result<Connection> {
    let connection = match path {
        Some(path) => {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
            let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
            Connection::open_with_flags(path, flags)?
        }
        None => Connection::open_in_memory()?,
    };
    connection.busy_timeout(BUSY)?;
    // The last one out would delete the WAL by its name; when the file was set aside, that is the next index's WAL.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    // mmap_size 0: a file that is cut must be an error, not a signal.
    connection.execute_batch("PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;")?;
    if path.is_some() {
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            log::warn!("the index's journal mode is {mode}, not wal: readers will wait for writers");
        }
        connection.execute_batch("PRAGMA journal_size_limit = 67108864; PRAGMA synchronous = NORMAL;")?;
    }
    Ok(connection)
}

/// The version of the index in the file: 0 where it is new, or its rebuilding was cut short.
pub fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Make the tables of a new index, or those that are missing after a start that was cut short.
pub fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let made: bool =
        transaction
            .query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'totals')", [], |row| row.get(0))?;
    if !made {
        transaction.execute_batch(V1)?;
    }
    to_version_2(&transaction)?;
    transaction.commit()
}

/// Say that the index is whole: made, and rebuilt from what manifests there are.
pub fn finish(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("PRAGMA synchronous = FULL; PRAGMA user_version = {VERSION};"))?;
    connection.execute_batch("PRAGMA synchronous = NORMAL;")
}

/// Bring an index of an older version, `from`, to [`VERSION`]. Steps stand here in order, each in a transaction of its own that ends in
/// its version: one that is cut short is done again.
pub fn migrate(connection: &mut Connection, from: i64) -> rusqlite::Result<()> {
    if from < 2 {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        to_version_2(&transaction)?;
        transaction.execute_batch("PRAGMA user_version = 2")?;
        transaction.commit()?;
    }
    if from < VERSION {
        log::info!(event = "index_migrated", from = from, to = VERSION; "");
    }
    Ok(())
}

/// Add what version 2 has and version 1 doesn't; nothing where it is there. SQLite looks at every row as it does.
fn to_version_2(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pragma_table_info('objects') WHERE name = 'extra')";
    let done: bool = transaction.query_row(sql, [], |row| row.get(0))?;
    if done { Ok(()) } else { transaction.execute_batch(V2) }
}

/// Whether the tables are there and answer, and the one row that every start reads makes sense. It does not read the whole file,
/// which may have gigabytes.
pub fn probe(connection: &Connection) -> rusqlite::Result<()> {
    totals(connection)?;
    // What stands before every text would never be met: pages of rows begin behind the empty path.
    for sql in ["SELECT count(*) FROM objects WHERE path <= ''", "SELECT count(*) FROM lost WHERE path <= ''"] {
        let odd: i64 = connection.query_row(sql, [], |row| row.get(0))?;
        if odd > 0 {
            return Err(rusqlite::Error::IntegralValueOutOfRange(0, odd));
        }
    }
    for sql in [
        "SELECT path, hash, size, pinned, content_type, coding, last_modified, stored_at, last_used, seq, extra FROM objects LIMIT 1",
        "SELECT path FROM objects INDEXED BY objects_by_hash WHERE hash > x'00' LIMIT 1",
        "SELECT path FROM objects INDEXED BY objects_by_use WHERE pinned = 0 ORDER BY last_used LIMIT 1",
        "SELECT hash, size, allocated, synced FROM blobs LIMIT 1",
        "SELECT path, hash, extra FROM lost LIMIT 1",
    ] {
        connection.prepare(sql)?.query([])?.next()?;
    }
    Ok(())
}

/// As [`is_damage`], for an error while the file is opened: a statement that can't be prepared then lacks its table.
pub fn is_damage_at_start(error: &rusqlite::Error) -> bool {
    is_damage(error) || error.sqlite_error_code() == Some(ErrorCode::Unknown)
}

/// Whether an error says that the file is no index of ours, rather than that the disk is full or somebody holds a lock.
pub fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    match error {
        // No statement of ours breaks a constraint on rows of ours: a trigger's sum does, over a number that was none.
        E::SqliteFailure(cause, _) => matches!(
            cause.code,
            ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
        ),
        // No such table or column; no row where there is always one; a value of another type.
        E::SqlInputError { .. } | E::QueryReturnedNoRows => true,
        E::FromSqlConversionFailure(..) | E::IntegralValueOutOfRange(..) | E::InvalidColumnType(..) => true,
        E::Utf8Error(..) => true,
        _ => false,
    }
}
