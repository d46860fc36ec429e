//! A write that waits: does its client take anything of what was sent?
//!
//! That no further byte can be written is no sign of it. The kernel takes megabytes for a fast client, and says that there is room when a third of them is
//! gone: at a modest pace that takes minutes. So the kernel is asked how much the client has acknowledged, once in each span of `write_timeout`.

use std::time::Duration;

use tokio::time::Instant;

use crate::edge::front::bounds::Times;

/// A write that waits.
#[derive(Debug)]
pub struct Stall {
    /// What was acknowledged when the span began. None before the first look: most writes wait for less than that.
    acked: Option<u64>,
    due: Instant,
}

impl Stall {
    pub fn begin(now: Instant, times: &Times) -> Self {
        Self { acked: None, due: now + times.write / 4 }
    }

    /// When to look.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Whether enough was acknowledged since the last look; `acked` in all, none where that can't be said.
    pub fn goes_on(&mut self, now: Instant, acked: Option<u64>, times: &Times) -> bool {
        let taken = self.acked.map(|before| acked.unwrap_or(0).saturating_sub(before));
        self.due = now + times.write;
        self.acked = Some(acked.unwrap_or(0));
        taken.is_none_or(|taken| taken >= least(times.write, times.min_rate))
    }
}

/// Bytes that a client takes in `span` at least.
fn least(span: Duration, min_rate: u64) -> u64 {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    (min_rate.saturating_mul(millis) / 1000).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(min_rate: u64) -> Times {
        let second = Duration::from_secs(1);
        Times { header: second, first: second, write: 10 * second, min_rate }
    }

    /// Whether a write goes on at each look, with what the client has acknowledged by then.
    fn looks(min_rate: u64, acked: &[Option<u64>]) -> Vec<bool> {
        let times = times(min_rate);
        let mut stall = Stall::begin(Instant::now(), &times);
        acked.iter().map(|acked| stall.goes_on(stall.due(), *acked, &times)).collect()
    }

    #[test]
    fn a_client_that_takes_nothing_is_cut_within_one_and_a_quarter_of_the_time() {
        assert_eq!(looks(0, &[Some(5000), Some(5000)]), [true, false]);
        let (times, now) = (times(0), Instant::now());
        let mut stall = Stall::begin(now, &times);
        assert!(stall.goes_on(stall.due(), Some(1), &times));
        assert_eq!(stall.due() - now, times.write + times.write / 4);
    }

    #[test]
    fn a_client_that_takes_a_byte_in_each_span_is_slow_and_not_gone_unless_a_rate_is_asked_for() {
        assert_eq!(looks(0, &[Some(1), Some(2), Some(3)]), [true, true, true]);
        assert_eq!(looks(1024, &[Some(0), Some(10_240), Some(20_479)]), [true, true, false]);
    }

    #[test]
    fn where_nobody_can_say_what_was_taken_nothing_was() {
        assert_eq!(looks(0, &[None, None]), [true, false]);
    }
}
