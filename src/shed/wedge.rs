//! Busy or stuck: a server whose every place is held is busy as long as requests finish. When none does for a while, none will.

use std::time::{Duration, Instant};

use super::Load;

/// How long all places may be held without a request finishing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks at the load now and then.
#[derive(Default)]
pub struct Wedge {
    /// Since when every place was seen held, and how many requests had finished then.
    held: Option<(Instant, u32)>,
}

impl Wedge {
    /// Whether the server is stable at `now`. Refusals don't count: a node that sheds is doing its work.
    pub fn is_stable(&mut self, now: Instant, load: Load) -> bool {
        if load.max.is_none_or(|max| load.inflight < max) {
            self.held = None;
            return true;
        }
        match self.held {
            Some((since, finished)) if finished == load.finished => now.saturating_duration_since(since) < PATIENCE,
            _ => {
                self.held = Some((now, load.finished));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn load(inflight: u32, finished: u32) -> Load {
        Load { inflight, max: Some(4), finished }
    }

    #[test]
    fn a_server_is_stuck_when_every_place_is_held_for_long_and_no_request_finishes() {
        let (start, mut wedge) = (Instant::now(), Wedge::default());
        let mut look = |seconds: u64, load| wedge.is_stable(start + Duration::from_secs(seconds), load);
        // Full, and moving: as long as it likes.
        assert!((0..60).all(|second| look(second, load(4, second as u32))));
        // Full, and nothing moves.
        assert!((60..69).all(|second| look(second, load(4, 59))));
        assert!(!look(69, load(4, 59)));
        assert!(!look(1000, load(4, 59)));
        // More than there are places, after these were made fewer.
        assert!(!look(1001, load(5, 59)));
        // One finishes, and its place is taken again at once.
        assert!(look(1002, load(4, 60)));
        assert!(look(1011, load(4, 60)));
        assert!(!look(1012, load(4, 60)));
        // A place is free.
        assert!(look(1013, load(3, 61)));
        // It is held anew: that counts from now.
        assert!(look(1014, load(4, 61)));
        assert!(look(1023, load(4, 61)));
        assert!(!look(1024, load(4, 61)));
    }

    #[test]
    fn without_a_bound_there_is_nothing_to_be_stuck_in() {
        let (start, mut wedge) = (Instant::now(), Wedge::default());
        let load = Load { inflight: 100_000, max: None, finished: 0 };
        assert!((0..100).all(|second| wedge.is_stable(start + Duration::from_secs(second), load)));
    }
}
