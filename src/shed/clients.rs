//! The rate of each client, by the count-min sketch of pingora-limits: bounded memory however many clients there are, and nothing to sweep.
//!
//! Two sketches count the admitted requests of this second and of the one before, which weighs less the longer this one lasts. That is the estimate of
//! pingora-limits' own `Rate`, with a turn of the second that is told the time; see `rate` for what happens otherwise.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};
use std::time::Duration;

use pingora_limits::estimator::Estimator;

use super::nanoseconds;
use crate::rules::client::ClientKey;

/// Rows and columns of a sketch. With fewer, clients that have nothing to do with each other are counted together: the 4 × 1024 of pingora-limits
/// limit most of 5,000 clients wrongly.
const ROWS: usize = 4;
const COLUMNS: usize = 65_536;

const SECOND: u64 = 1_000_000_000;

/// At most so many requests a second of each client.
#[derive(Default)]
pub struct Clients {
    /// Requests a second; 0 is no limit.
    limit: AtomicU64,
    /// 4 MiB, for those who want the limit.
    counts: OnceLock<Counts>,
}

struct Counts {
    /// The second that is being counted, from the start.
    second: AtomicU64,
    /// Those of even and of odd seconds.
    sketches: [Estimator; 2],
}

impl Clients {
    /// Change the limit, in requests a second; `None` is none.
    pub fn set(&self, limit: Option<u64>) {
        if limit.is_some() {
            self.counts.get_or_init(Counts::new);
        }
        self.limit.store(limit.unwrap_or(0), Relaxed);
    }

    /// Whether `client` may have one more at `since`.
    pub fn has_room(&self, since: Duration, client: ClientKey) -> bool {
        let limit = self.limit.load(Relaxed);
        match self.counts.get().filter(|_| limit > 0) {
            Some(counts) => counts.a_second(nanoseconds(since), client) < limit,
            None => true,
        }
    }

    /// Count one of `client` at `since`.
    pub fn count(&self, since: Duration, client: ClientKey) {
        if self.limit.load(Relaxed) > 0
            && let Some(counts) = self.counts.get()
        {
            let (second, _) = counts.turn(nanoseconds(since));
            counts.sketch(second).incr(client, 1);
        }
    }
}

impl Counts {
    fn new() -> Self {
        let sketch = || Estimator::new(ROWS, COLUMNS);
        Self { second: AtomicU64::new(0), sketches: [sketch(), sketch()] }
    }

    fn sketch(&self, second: u64) -> &Estimator {
        &self.sketches[usize::from(second % 2 == 1)]
    }

    /// The second that `now` counts in, and how much of it has passed, in nanoseconds. The first one to come in a second clears what was counted
    /// two seconds ago: 61 µs; who counts meanwhile may be forgotten.
    fn turn(&self, now: u64) -> (u64, u64) {
        let (second, passed) = (now / SECOND, now % SECOND);
        let held = self.second.load(Acquire);
        if second < held {
            // Another thread has come from a later time.
            return (held, 0);
        }
        if second > held && self.second.compare_exchange(held, second, AcqRel, Relaxed).is_ok() {
            self.sketch(second).reset();
            if second - held > 1 {
                self.sketch(second + 1).reset();
            }
        }
        (second, passed)
    }

    /// Requests of `client` in the second that ends at `now`. Collisions make it more, never less.
    fn a_second(&self, now: u64, client: ClientKey) -> u64 {
        let (second, passed) = self.turn(now);
        let count = |second| u64::try_from(self.sketch(second).get(client)).unwrap_or(0);
        // Before the first second there was none; its sketch is empty.
        count(second + 1).saturating_mul(SECOND - passed) / SECOND + count(second)
    }
}
