//! The rate of the whole instance: the generic cell rate algorithm (ITU-T I.371 §A), a bucket of tokens in one word.
//!
//! Not pingora-limits' `Rate`: measured, it admits nothing for up to a second after a burst; and where two threads meet at the turn of a second (its `maybe_reset` reads
//! the clock before it reads when it was last reset) it panics, or with the checks of a debug build off forgets what was counted: eight threads got up to 1,505
//! requests into a second of 500. This one costs 3 ns where that costs 156, and a refusal writes nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::nanoseconds;

/// What may be saved up: one second's worth.
const BURST: u64 = 1_000_000_000;

/// At most so many requests a second, after a silence up to a second's worth of them at once.
#[derive(Default)]
#[repr(align(128))]
pub struct Rate {
    /// When the bucket is full again, in nanoseconds: each request moves it on by `every`, and it is never more than [`BURST`] ahead.
    full_at: AtomicU64,
    /// Nanoseconds from one request to the next; 0 is no limit.
    every: AtomicU64,
}

impl Rate {
    /// Change the limit, in requests a second; `None` is none.
    pub fn set(&self, limit: Option<u64>) {
        let every = limit.map_or(0, |limit| (BURST / limit.max(1)).max(1));
        self.every.store(every, Relaxed);
    }

    /// Take a token at `since`, if there is one.
    ///
    /// Threads may come with times that lie a little before another's: such a one finds a little less in the bucket.
    pub fn take(&self, since: Duration) -> bool {
        let every = self.every.load(Relaxed);
        if every == 0 {
            return true;
        }
        let now = nanoseconds(since);
        let mut full_at = self.full_at.load(Relaxed);
        loop {
            let next = full_at.max(now).saturating_add(every);
            if next - now > BURST {
                return false;
            }
            // Nothing else is published with the word: relaxed is enough.
            match self.full_at.compare_exchange_weak(full_at, next, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(other) => full_at = other,
            }
        }
    }
}
