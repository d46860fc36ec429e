//! The index: path → object, in SQLite. Reads go to a few connections of their own and never wait for a writer (WAL);
//! writers queue, within the process and across processes, and see the index as it is (`BEGIN IMMEDIATE`).
//!
//! The file is a cache of what can be filled again or rebuilt from manifests: where it is damaged or gone, it is set aside
//! and a new one takes its place, at start and at run time.

mod doubt;
mod lock;
mod rows;
mod schema;
mod txn;
mod value;

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use arc_swap::ArcSwap;
use rusqlite::{Connection, TransactionBehavior};

use super::blobs::Id;
use super::dir::{CasDir, unique};
use super::error::CasError;
use super::manifest;
use super::stamp::Stamps;
use super::types::now;
use crate::observe::bus::{Event, publish};
use crate::store::StoreError;

use doubt::{Finding, Suspect};
use lock::lock_dir;
pub(super) use rows::*;
pub(super) use txn::Txn;
pub(super) use value::{MAX_COUNT, MAX_SEQ, coding_number, coding_of};

const FILE: &str = "index.sqlite";

/// The files of the index: what SQLite makes besides the first has the name of the first with these endings.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

/// The index of a CAS.
pub(super) struct Index {
    /// The directory; none for an index in memory.
    dir: Option<Arc<CasDir>>,
    state: ArcSwap<State>,
    /// By which copies in RAM learn that they are wrong.
    pub stamps: Stamps,
    /// The file that a statement found damaged. Held while it is replaced.
    damaged: Mutex<Option<Suspect>>,
    /// Spreads readers over the connections.
    next: AtomicUsize,
}

/// The connections to one file.
struct State {
    id: Option<Id>,
    writer: Mutex<Writer>,
    /// Empty for an index in memory: that has one connection.
    readers: Box<[Mutex<Connection>]>,
}

struct Writer {
    connection: Connection,
    full: bool,
    /// The generation that this process knows of. Behind the lock, so that no commit of our own comes between it and a look at the file.
    seen: i64,
}

impl Index {
    /// Open the index in `dir`, making or rebuilding it where needed; in memory without a directory.
    pub fn open(dir: Option<Arc<CasDir>>) -> Result<Self, CasError> {
        let state = match &dir {
            Some(dir) => State::open(dir, None)?,
            None => {
                let mut connection = schema::connect(None)?;
                schema::create(&mut connection)?;
                State::new(None, connection, Box::new([]))?
            }
        };
        Ok(Self {
            dir,
            state: ArcSwap::from_pointee(state),
            stamps: Stamps::default(),
            damaged: Mutex::new(None),
            next: AtomicUsize::new(0),
        })
    }

    /// Read on a connection of the pool.
    pub fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let state = self.state.load();
        let result = match state.readers.len() {
            0 => work(&lock(&state.writer).connection),
            count => {
                let first = self.next.fetch_add(1, Ordering::Relaxed);
                let free = (0..count).find_map(|at| state.readers[(first + at) % count].try_lock().ok());
                work(&free.unwrap_or_else(|| lock(&state.readers[first % count])))
            }
        };
        result.map_err(|error| self.note(&state, error.into()))
    }

    /// Change the index in one transaction. With `durable` the change is on the disk when this returns.
    pub fn write<T>(
        &self,
        durable: bool,
        work: impl FnOnce(&mut Txn<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        for _ in 0..3 {
            let state = self.state.load_full();
            // What is written to a file that was replaced would be lost.
            if self.moved(&state) {
                self.recover()?;
                continue;
            }
            let result = self.transact(&state, durable, work);
            return result.map_err(|error| self.note(&state, error));
        }
        Err(std::io::Error::other("the index is replaced again and again").into())
    }

    fn transact<T>(
        &self,
        state: &State,
        durable: bool,
        work: impl FnOnce(&mut Txn<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut writer = lock(&state.writer);
        if writer.full != durable {
            let level = if durable { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" };
            writer.connection.execute_batch(level)?;
            writer.full = durable;
        }
        let Writer { connection, seen, .. } = &mut *writer;
        let inner = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if self.moved(state) {
            return Err(std::io::Error::other("the index was replaced while it was being written").into());
        }
        let mut txn = Txn::begin(inner)?;
        // Nobody else commits before this transaction ends: what differs was changed by another process before it.
        if std::mem::replace(seen, txn.generation) != txn.generation {
            self.stamps.move_all();
        }
        let value = work(&mut txn)?;
        let stale = txn.take_stale();
        let committed = txn.commit();
        // Also where the commit failed: it may have come to the disk before it did.
        self.stamps.move_some(&stale);
        *seen = committed?;
        Ok(value)
    }

    /// Read for a while, from one state of the index, on a connection of its own.
    pub fn snapshot<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let state = self.state.load();
        let Some(dir) = &self.dir else { return work(&lock(&state.writer).connection) };
        let mut connection = schema::connect(Some(&dir.path(FILE)))?;
        work(&*connection.transaction_with_behavior(TransactionBehavior::Deferred)?)
    }

    /// Look whether other processes changed the index; replace it where it is damaged or gone. Called about once a second.
    pub fn keep(&self) -> Result<(), StoreError> {
        self.recover()?;
        let state = self.state.load();
        let mut writer = match state.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // A transaction of our own is at work: it looks itself, and what comes behind it shows the next time.
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        match totals(&writer.connection) {
            Ok(totals) => {
                // One that can't go up any more no longer tells of changes: each look counts as one.
                if std::mem::replace(&mut writer.seen, totals.generation) != totals.generation
                    || totals.generation == MAX_SEQ
                {
                    self.stamps.move_all();
                }
                Ok(())
            }
            Err(error) => {
                drop(writer);
                Err(self.note(&state, error.into()))
            }
        }
    }

    /// What a command came to. Where it met damage, the index is replaced before the command ends: there may be no housekeeping
    /// that would, and the next command must not meet it again.
    pub fn leave<T, E>(&self, result: Result<T, E>) -> Result<T, E> {
        let damaged = lock(&self.damaged).is_some();
        if result.is_err()
            && damaged
            && let Err(error) = self.recover()
        {
            log::error!("the damaged index could not be replaced: {error}");
        }
        result
    }

    /// Whether the file at the index's path is not the open one any more.
    fn moved(&self, state: &State) -> bool {
        let (Some(dir), Some(id)) = (&self.dir, state.id) else { return false };
        dir.path(FILE).symlink_metadata().ok().map(|meta| Id::of(&meta)) != Some(id)
    }

    /// Open the file anew where it was replaced, or proved damaged: then it is set aside before. Nothing otherwise.
    fn recover(&self) -> Result<(), StoreError> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let suspect = (*lock(&self.damaged)).filter(|_| !self.moved(&self.state.load()));
        // Not with the lock held: it may take a while, and others go on meanwhile.
        match suspect.map(|suspect| suspect.examine(&dir.path(FILE))) {
            Some(Finding::Sound) => {
                // A page that came wrong may stand in the memory of a connection.
                self.state.store(Arc::new(State::open(dir, None)?));
                *lock(&self.damaged) = None;
                log::warn!("the index is sound: it was the disk that failed");
            }
            Some(Finding::Unreadable) => return Ok(()),
            Some(Finding::Damaged) | None => {}
        }
        let mut damaged = lock(&self.damaged);
        let current = self.state.load();
        let bad = damaged.map(|suspect| suspect.id).filter(|id| current.id == Some(*id));
        if bad.is_none() && !self.moved(&current) {
            return Ok(());
        }
        self.state.store(Arc::new(State::open(dir, bad)?));
        *damaged = None;
        self.stamps.move_all();
        Ok(())
    }

    /// Remember that an error speaks of damage: the housekeeper replaces the file.
    fn note(&self, state: &State, error: StoreError) -> StoreError {
        if let (StoreError::Sqlite(cause), Some(id)) = (&error, state.id)
            && let Some(suspect) = Suspect::of(id, cause)
        {
            let mut damaged = lock(&self.damaged);
            let known = damaged.filter(|known| known.id == id);
            if known.is_none() {
                // Once for each suspicion: every request that needs the page meets it.
                log::error!("the index is damaged, or the disk fails: {error}");
            }
            *damaged = Some(known.map_or(suspect, |known| known.and(suspect)));
        }
        error
    }
}

impl State {
    fn new(id: Option<Id>, connection: Connection, readers: Box<[Mutex<Connection>]>) -> rusqlite::Result<Self> {
        let seen = totals(&connection)?.generation;
        Ok(Self { id, writer: Mutex::new(Writer { connection, full: false, seen }), readers })
    }

    /// Open the file, with every other process that opens, rebuilds or sets aside kept out. `bad` is a file known as damaged.
    fn open(dir: &CasDir, bad: Option<Id>) -> Result<Self, CasError> {
        let _lock = lock_dir(dir)?;
        let path = dir.path(FILE);
        if bad.is_some() && path.symlink_metadata().ok().map(|meta| Id::of(&meta)) == bad {
            set_aside(dir, "a statement found it damaged")?;
        }
        // A second try after the file was set aside finds none, and makes one.
        let connection = match open_file(dir, &path) {
            Err(Opening::Damaged(cause)) => {
                set_aside(dir, &cause)?;
                open_file(dir, &path).map_err(Opening::into_error)?
            }
            connection => connection.map_err(Opening::into_error)?,
        };
        let meta = path.symlink_metadata().map_err(|error| CasError::io("cannot stat", &path, error))?;
        let count = std::thread::available_parallelism().map_or(4, |count| count.get().clamp(2, 8));
        let readers = (0..count)
            .map(|_| {
                let reader = schema::connect(Some(&path))?;
                reader.execute_batch("PRAGMA query_only = ON")?;
                Ok(Mutex::new(reader))
            })
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self::new(Some(Id::of(&meta)), connection, readers)?)
    }
}

enum Opening {
    Damaged(String),
    Failed(CasError),
}

impl Opening {
    fn into_error(self) -> CasError {
        match self {
            Self::Damaged(cause) => CasError::Store(StoreError::Corrupt(format!("the new index: {cause}").into())),
            Self::Failed(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Opening {
    fn from(error: rusqlite::Error) -> Self {
        if schema::is_damage_at_start(&error) { Self::Damaged(error.to_string()) } else { Self::Failed(error.into()) }
    }
}

fn open_file(dir: &CasDir, path: &Path) -> Result<Connection, Opening> {
    for part in PARTS {
        let name = format!("{FILE}{part}");
        if dir.path(&name).symlink_metadata().is_ok_and(|meta| !meta.is_file()) {
            return Err(Opening::Damaged(format!("{name} is not a regular file")));
        }
    }
    // SQLite would make it as the umask allows; a umask of 002 would make an index that the next start refuses. The WAL takes
    // its mode from it.
    match File::options().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(Opening::Failed(CasError::io("cannot make", path, error)));
        }
        _ => {}
    }
    let mut connection = schema::connect(Some(path))?;
    match schema::version(&connection)? {
        // New, or its rebuilding was cut short.
        0 => {
            schema::create(&mut connection)?;
            schema::probe(&connection)?;
            manifest::rebuild(dir, &mut connection).map_err(|error| match error {
                StoreError::Sqlite(error) => error.into(),
                error => Opening::Failed(error.into()),
            })?;
            schema::finish(&connection)?;
        }
        found @ ..0 => return Err(Opening::Damaged(format!("version {found}"))),
        found if found > schema::VERSION => {
            return Err(Opening::Failed(CasError::Newer { path: path.to_owned(), found, known: schema::VERSION }));
        }
        found => {
            schema::migrate(&mut connection, found)?;
            schema::probe(&connection)?;
        }
    }
    Ok(connection)
}

/// Move a bad index out of the way, with its WAL.
fn set_aside(dir: &CasDir, cause: &str) -> Result<(), CasError> {
    let mut suffix = format!("bad-{}", now());
    if dir.path(&format!("{FILE}.{suffix}")).symlink_metadata().is_ok() {
        suffix = unique(&suffix);
    }
    for part in PARTS {
        let from = dir.path(&format!("{FILE}{part}"));
        match fs::rename(&from, dir.path(&format!("{FILE}.{suffix}{part}"))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(CasError::io("cannot set aside", &from, error));
            }
            _ => {}
        }
    }
    log::warn!("the index was set aside as {FILE}.{suffix}: {cause}");
    publish(Event::IndexSetAside { cause: cause.to_owned() });
    Ok(())
}

/// A lock whose holder panicked is as good as any: transactions roll back when they are dropped.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
