//! Full verification: every directory, entry and tile within bounds and decodable, on all cores.

mod mbtiles;
mod pmtiles;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::{Archive, Pack};
use crate::store::StoreError;

/// Faults that are told one by one; the rest is counted.
const FIRST: usize = 20;

/// After this many faults the rest of the pack is not looked at: it is bad, and a hostile one could go on for hours.
const ENOUGH: u64 = 1000;

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of tiles verified.
    pub done: u64,
    /// Bytes of tiles there are; for MBTiles the bytes of the file.
    pub total: u64,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Faults found.
    pub faults: u64,
    /// The first of them.
    pub first: Vec<Fault>,
    /// Whether it ended early because there were too many.
    pub gave_up: bool,
    /// Directories read, the root included; 0 for MBTiles.
    pub directories: u64,
    /// Entries that point to tiles, or rows of `tiles`.
    pub entries: u64,
    /// Tiles that have an answer.
    pub addressed_tiles: u64,
    /// Different contents decoded; a content beyond the four millionth may be decoded, and counted, more than once.
    pub tile_contents: u64,
    /// Bytes of tiles decoded, as they are stored.
    pub tile_bytes: u64,
}

impl Report {
    /// Whether there is no fault.
    pub fn is_sound(&self) -> bool {
        self.faults == 0
    }
}

/// Something wrong in a pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where: a tile's address, a directory, a field of the header.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Verify all of an open pack. `progress` is called from the threads that verify.
///
/// An error means that the pack could not be read to its end (the disk failed, the file changed); what is wrong with the pack
/// itself is in the report.
pub fn verify(pack: &Pack, progress: &(dyn Fn(Progress) + Sync)) -> Result<Report, StoreError> {
    let report = match pack.inner() {
        Archive::PmTiles(archive) => pmtiles::verify(archive, progress)?,
        Archive::MbTiles(archive) => mbtiles::verify(archive, progress)?,
    };
    pack.check()?;
    Ok(report)
}

/// What the threads of one verification share.
struct Shared<'a> {
    faults: AtomicU64,
    first: Mutex<Vec<Fault>>,
    fatal: Mutex<Option<StoreError>>,
    stopped: AtomicBool,
    done: AtomicU64,
    total: u64,
    progress: &'a (dyn Fn(Progress) + Sync),
}

impl<'a> Shared<'a> {
    fn new(total: u64, progress: &'a (dyn Fn(Progress) + Sync)) -> Self {
        Self {
            faults: AtomicU64::new(0),
            first: Mutex::new(Vec::new()),
            fatal: Mutex::new(None),
            stopped: AtomicBool::new(false),
            done: AtomicU64::new(0),
            total,
            progress,
        }
    }

    fn fault(&self, place: impl fmt::Display, what: impl fmt::Display) {
        let before = self.faults.fetch_add(1, Relaxed);
        if before + 1 >= ENOUGH {
            self.stopped.store(true, Relaxed);
        }
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.len() < FIRST {
            first.push(Fault { place: place.to_string(), what: what.to_string() });
        }
    }

    /// Sort an error: what the pack is to blame for is a fault, the rest ends the verification.
    fn failed(&self, place: impl fmt::Display, error: StoreError) {
        match error {
            StoreError::Changed | StoreError::Io(_) => {
                self.stopped.store(true, Relaxed);
                self.fatal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
            error => self.fault(place, error),
        }
    }

    fn stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    fn advance(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Relaxed) + bytes;
        (self.progress)(Progress { done: done.min(self.total), total: self.total });
    }

    /// The report, with the counts that the walk made.
    fn finish(self, counts: Report) -> Result<Report, StoreError> {
        if let Some(error) = self.fatal.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let first = self.first.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Report { faults: self.faults.into_inner(), first, gave_up: self.stopped.into_inner(), ..counts })
    }
}

/// Hand jobs, as `feed` makes them, to a thread per core. At most `waiting` jobs exist beside those being worked on.
fn parallel<J: Send, T>(waiting: usize, work: impl Fn(J) + Sync, feed: impl FnOnce(&dyn Fn(J)) -> T) -> T {
    let (sender, receiver) = sync_channel(waiting);
    // Owned by the workers alone: should all of them panic, sending fails instead of waiting for ever.
    let receiver = Arc::new(Mutex::new(receiver));
    let work = &work;
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 16) {
            let receiver = receiver.clone();
            scope.spawn(move || {
                while let Some(job) = next(&receiver) {
                    work(job);
                }
            });
        }
        drop(receiver);
        let result = feed(&|job| {
            // It fails only when every worker panicked, and the scope passes that on.
            let _ = sender.send(job);
        });
        drop(sender);
        result
    })
}

fn next<J>(receiver: &Mutex<Receiver<J>>) -> Option<J> {
    receiver.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}
