//! How many of an origin's requests may be tries after the first: without a bound, an origin that is down is asked `count + 1` times
//! as often as one that is up. Pure: the time is passed in.
//!
//! As in Finagle and linkerd, retries are counted against the requests of the last seconds, with a small number beside, so that an
//! origin that is asked once a minute may be retried too.

use std::time::Instant;

/// Seconds that are looked back on.
const SLOTS: usize = 10;

/// Retries a second that are allowed whatever the number of requests.
const FLOOR_PER_SECOND: u64 = 2;

/// The retry budget of one origin.
pub(super) struct Budget {
    /// Retries in percent of requests.
    percent: u64,
    start: Instant,
    /// A second each; slot `second % SLOTS`.
    slots: [Slot; SLOTS],
}

#[derive(Clone, Copy, Default)]
struct Slot {
    /// Which second since `start` this counts; an older one counts no more.
    second: u64,
    requests: u64,
    retries: u64,
}

impl Budget {
    /// A budget of `percent` of the requests. 0 allows no retry at all.
    pub(super) fn new(percent: u32, now: Instant) -> Self {
        Self { percent: u64::from(percent), start: now, slots: [Slot::default(); SLOTS] }
    }

    /// Count a request, its retries not among them.
    pub(super) fn deposit(&mut self, now: Instant) {
        self.slot(now).requests += 1;
    }

    /// Whether one retry is within the budget; if so it is counted.
    pub(super) fn withdraw(&mut self, now: Instant) -> bool {
        if self.percent == 0 {
            return false;
        }
        let current = self.second(now);
        let (mut requests, mut retries) = (0, 0);
        for slot in self.slots.iter().filter(|slot| slot.second + SLOTS as u64 > current) {
            requests += slot.requests;
            retries += slot.retries;
        }
        let allowed = requests.saturating_mul(self.percent) / 100 + FLOOR_PER_SECOND * SLOTS as u64;
        let within = retries < allowed;
        if within {
            self.slot(now).retries += 1;
        }
        within
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs()
    }

    fn slot(&mut self, now: Instant) -> &mut Slot {
        let second = self.second(now);
        let slot = &mut self.slots[(second % SLOTS as u64) as usize];
        // Two threads may bring their times out of order: what is late counts where it falls.
        if slot.second < second {
            *slot = Slot { second, ..Slot::default() };
        }
        slot
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const FLOOR: usize = FLOOR_PER_SECOND as usize * SLOTS;
    const WINDOW: Duration = Duration::from_secs(SLOTS as u64);

    fn retries(budget: &mut Budget, now: Instant, tries: usize) -> usize {
        (0..tries).filter(|_| budget.withdraw(now)).count()
    }

    #[test]
    fn an_origin_that_is_hardly_asked_may_be_retried_a_few_times() {
        let now = Instant::now();
        let mut budget = Budget::new(20, now);
        assert_eq!(retries(&mut budget, now, 1000), FLOOR);
        assert_eq!(retries(&mut budget, now + WINDOW / 2, 1000), 0);
        assert_eq!(retries(&mut budget, now + WINDOW, 1000), FLOOR);
    }

    #[test]
    fn a_busy_origin_is_retried_its_percentage() {
        let now = Instant::now();
        let mut budget = Budget::new(20, now);
        (0..1000).for_each(|_| budget.deposit(now));
        assert_eq!(retries(&mut budget, now, 1000), 200 + FLOOR);
        assert_eq!(retries(&mut budget, now + WINDOW, 1000), FLOOR, "old requests count no more");
    }

    #[test]
    fn a_budget_of_zero_allows_none() {
        let now = Instant::now();
        let mut budget = Budget::new(0, now);
        (0..1000).for_each(|_| budget.deposit(now));
        assert_eq!(retries(&mut budget, now, 10), 0);
    }

    #[test]
    fn a_time_from_before_the_start_does_no_harm() {
        let now = Instant::now();
        let mut budget = Budget::new(20, now + WINDOW);
        budget.deposit(now);
        assert!(budget.withdraw(now));
    }

    proptest! {
        #[test]
        fn retries_of_any_window_stay_within_the_budget(
            percent in 1..100_u32, steps in proptest::collection::vec((0..1500_u64, 0..40_usize, 0..40_usize), 1..60),
        ) {
            let start = Instant::now();
            let mut budget = Budget::new(percent, start);
            let mut now = start;
            // When each request and each allowed retry was.
            let (mut requests, mut allowed) = (Vec::new(), Vec::new());
            for (ms, asks, tries) in steps {
                now += Duration::from_millis(ms);
                for _ in 0..asks {
                    budget.deposit(now);
                    requests.push(now);
                }
                let granted = retries(&mut budget, now, tries);
                if granted == 0 {
                    // Requests grow old: what was granted before may exceed what would be granted now.
                    continue;
                }
                allowed.extend(std::iter::repeat_n(now, granted));
                // Slots are whole seconds: the window that is looked back on ends now and is 9 to 10 seconds long.
                let recent = allowed.iter().filter(|at| now - **at < WINDOW - Duration::from_secs(1)).count();
                let base = requests.iter().filter(|at| now - **at < WINDOW).count();
                prop_assert!(recent <= base * percent as usize / 100 + FLOOR);
            }
        }
    }
}
