//! Connections to a database that we don't trust: read-only, limited, and interrupted at a deadline.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::trust::harden;
use crate::observe::metrics::{IO_TIMEOUTS, TimeoutOp};
use crate::store::StoreError;

/// How long one query may take: a tile with an index takes microseconds, so this only ends what would never end.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// Instructions of SQLite's machine between two looks at the clock. One instruction may compare or copy values of 16 MiB.
const OPS_PER_LOOK: i32 = 8;

/// A few connections to one file. Opened together, so that all of them have the same file whatever happens to its path.
pub struct Pool {
    idle: Mutex<Vec<Guarded>>,
    returned: Condvar,
}

impl Pool {
    /// Open the pool's connections to the database at `path`, whose first bytes are `start`.
    ///
    /// A file in WAL mode without a log beside it is opened as immutable: there is nothing to recover, and SQLite then neither
    /// needs nor leaves files beside it, so that it also opens on a read-only medium. With a log it is opened as usual; where
    /// that fails because nothing can be written there, the error says how to finish the log.
    pub fn open(path: &Path, start: &[u8]) -> Result<Self, StoreError> {
        // SQLite looks for the log beside the file itself, not beside a link to it.
        let path = path.canonicalize()?;
        // Bytes 18 and 19: the versions needed to write and to read; 2 stands for WAL (SQLite's file format §1.3.3).
        let wal_mode = matches!(start.get(18..20), Some([2, _] | [_, 2]));
        let has_log = std::fs::metadata(wal_path(&path)).is_ok_and(|wal| wal.len() > 0);
        let size = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
        let mut idle = Vec::with_capacity(size);
        for _ in 0..size {
            idle.push(Guarded::open(&path, wal_mode && !has_log).map_err(|error| explain(error, has_log))?);
        }
        Ok(Self { idle: Mutex::new(idle), returned: Condvar::new() })
    }

    /// Run a query on a connection of the pool, within [`DEADLINE`] including the wait for a connection.
    ///
    /// Errors: [`StoreError::Deadline`], counted; [`StoreError::Corrupt`] for broken pages; [`StoreError::TooLarge`] for values above
    /// 16 MiB; else [`StoreError::Sqlite`]. Whatever it is, it is the error of this query alone.
    pub fn run<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let start = Instant::now();
        let lent = self.lend(start)?;
        lent.guarded().run(start + DEADLINE, query)
    }

    /// As [`Pool::run`], for work that lasts: it may take `patience`, and as much again whenever it calls what it is given.
    pub fn scan<T>(
        &self,
        patience: Duration,
        query: impl FnOnce(&Connection, &dyn Fn()) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let lent = self.lend(Instant::now())?;
        let guarded = lent.guarded();
        let alive = || guarded.until(Instant::now() + patience);
        guarded.run(Instant::now() + patience, |connection| query(connection, &alive))
    }

    fn lend(&self, start: Instant) -> Result<Lent<'_>, StoreError> {
        // A panic while the list is locked can't leave it half-changed: pushing and popping is all that happens.
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut idle, _) = self
            .returned
            .wait_timeout_while(idle, DEADLINE.saturating_sub(start.elapsed()), |idle| idle.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        match idle.pop() {
            Some(guarded) => Ok(Lent { pool: self, guarded: Some(guarded) }),
            None => Err(deadline()),
        }
    }
}

/// Where SQLite keeps the write-ahead log of the database at `path`.
pub fn wal_path(path: &Path) -> PathBuf {
    let mut wal = OsString::from(path);
    wal.push("-wal");
    wal.into()
}

/// A connection on loan: it goes back to the pool also when the query panics.
struct Lent<'a> {
    pool: &'a Pool,
    guarded: Option<Guarded>,
}

impl Lent<'_> {
    fn guarded(&self) -> &Guarded {
        self.guarded.as_ref().expect("only `drop` takes it")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).extend(self.guarded.take());
        self.pool.returned.notify_one();
    }
}

/// A connection and the clock that interrupts it.
struct Guarded {
    connection: Connection,
    /// When the running query ends, in microseconds after `epoch`.
    until: Arc<AtomicU64>,
    epoch: Instant,
}

impl Guarded {
    fn open(path: &Path, immutable: bool) -> rusqlite::Result<Self> {
        // NOFOLLOW isn't wanted: the path is canonical. NO_MUTEX: the pool hands a connection to one thread at a time.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let mut connection = Connection::open_with_flags(uri(path, immutable), flags)?;
        // The clock runs from the start: a large schema takes its time as well.
        let until = Arc::new(AtomicU64::new(DEADLINE.as_micros() as u64));
        let epoch = Instant::now();
        let clock = until.clone();
        connection.progress_handler(
            OPS_PER_LOOK,
            Some(move || epoch.elapsed().as_micros() as u64 > clock.load(Ordering::Relaxed)),
        )?;
        harden(&mut connection)?;
        Ok(Self { connection, until, epoch })
    }

    fn until(&self, at: Instant) {
        self.until.store(at.saturating_duration_since(self.epoch).as_micros() as u64, Ordering::Relaxed);
    }

    fn run<T>(&self, until: Instant, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.until(until);
        query(&self.connection).map_err(translate)
    }
}

/// The database as a URI. Every byte that isn't plain is escaped: a `?` in a file's name must not become a parameter.
fn uri(path: &Path, immutable: bool) -> String {
    let path = percent_encoding::percent_encode(path.as_os_str().as_bytes(), percent_encoding::NON_ALPHANUMERIC);
    let path = path.to_string().replace("%2F", "/");
    format!("file://{path}?mode=ro&immutable={}", u8::from(immutable))
}

/// SQLite's errors in the words of the store.
fn translate(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => deadline(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Corrupt(Cow::Owned(format!("the database: {error}")))
        }
        Some(ErrorCode::TooBig) => StoreError::TooLarge(Cow::Borrowed("a value of more than 16 MiB")),
        _ => StoreError::Sqlite(error),
    }
}

fn deadline() -> StoreError {
    IO_TIMEOUTS.inc(TimeoutOp::PackRead);
    StoreError::Deadline(DEADLINE)
}

/// Why a database did not open, where SQLite's own words don't help.
fn explain(error: rusqlite::Error, has_log: bool) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) if has_log => StoreError::Io(std::io::Error::other(format!(
            "the database has an unfinished write-ahead log (-wal) and stands where nothing can be written; finish \
                 the log first, e.g. with `PRAGMA journal_mode=DELETE` ({error})"
        ))),
        _ => translate(error),
    }
}
