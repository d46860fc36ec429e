//! Whether the process works: each listening service has a pulse, which only beats while its runtime runs tasks.
//!
//! No connection is made for it. One that is refused under overload would have the service manager kill a server that sheds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::notify::Notifier;
use crate::observe::faults;

/// How often a pulse beats.
pub const BEAT: Duration = Duration::from_millis(500);

/// When a service last showed that it works.
pub struct Pulse {
    since: Instant,
    /// Milliseconds after `since`.
    last: AtomicU64,
}

impl Pulse {
    /// One that beats now.
    pub fn new() -> Self {
        Self { since: Instant::now(), last: AtomicU64::new(0) }
    }

    /// Beat.
    pub fn beat(&self) {
        self.last.store(self.age_of(0), Relaxed);
    }

    /// How long ago it last did.
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.age_of(self.last.load(Relaxed)))
    }

    fn age_of(&self, last: u64) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_sub(last)
    }
}

/// Tell the service manager that the process works, twice in the time that it gives, as long as every pulse beats. Never ends where there
/// is somebody to tell.
pub async fn watch(notifier: Arc<Notifier>, pulses: Vec<Arc<Pulse>>) {
    let Some(every) = notifier.watchdog() else { return };
    loop {
        tokio::time::sleep(every / 2).await;
        faults::panic_here("boot.watchdog");
        match pulses.iter().map(|pulse| pulse.age()).max() {
            Some(age) if age > every.max(BEAT * 4) => {
                log::error!(event = "no_pulse", ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX); "a listening service hangs");
            }
            _ => notifier.alive(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_pulse_ages_until_it_beats() {
        let pulse = Pulse::new();
        std::thread::park_timeout(Duration::from_millis(30));
        while pulse.age() < Duration::from_millis(20) {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let before = pulse.age();
        pulse.beat();
        assert!(pulse.age() < before);
    }
}
