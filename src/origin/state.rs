//! What is remembered of one origin while the process runs: its circuit, its retry budget, and addresses that failed to connect.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::circuit::{Admission, Change, Circuit};
use super::conf::{OriginConf, OriginsConf};
use super::retry::random;
use crate::observe::metrics::{CIRCUIT_OPEN, OriginLabel};

/// Addresses that are remembered as failing: those of a few names with 16 addresses each.
const MAX_RESTING: usize = 64;

/// What is remembered of one origin.
pub(super) struct State {
    /// The value of `origin` in its metrics.
    pub(super) label: OriginLabel,
    /// Statuses worth another try.
    pub(super) statuses: Arc<[u16]>,
    circuit: Mutex<Circuit>,
    /// Whether the gauge counts it as open.
    shown: AtomicBool,
    budget: Mutex<Budget>,
    /// Addresses that failed to connect, and until when others are asked first.
    resting: Mutex<HashMap<SocketAddr, Instant>>,
    rest_for: Duration,
}

/// Leave to send one request; tells the circuit when it is dropped without a result.
pub(super) struct Permit<'s> {
    state: &'s State,
    admission: Option<Admission>,
}

impl State {
    pub(super) fn new(origin: &OriginConf, conf: &OriginsConf, now: Instant) -> Self {
        Self {
            label: OriginLabel::of(&origin.prefix),
            shown: AtomicBool::new(false),
            statuses: conf.retry.statuses.as_slice().into(),
            circuit: Mutex::new(Circuit::new(conf.circuit.clone())),
            budget: Mutex::new(Budget::new(conf.retry.budget, now)),
            resting: Mutex::default(),
            rest_for: conf.circuit.open_for,
        }
    }

    /// Ask the circuit. The error says how long the origin is left alone.
    pub(super) fn admit(&self, now: Instant) -> Result<Permit<'_>, Duration> {
        let admission = lock(&self.circuit).admit(now)?;
        Ok(Permit { state: self, admission: Some(admission) })
    }

    /// Whether the origin will be left alone at `when`.
    pub(super) fn is_open(&self, when: Instant) -> bool {
        lock(&self.circuit).is_open(when)
    }

    /// Count a request, for the retry budget.
    pub(super) fn count_request(&self, now: Instant) {
        lock(&self.budget).deposit(now);
    }

    /// Whether one more try is within the budget; if so it is taken from it.
    pub(super) fn may_retry(&self, now: Instant) -> bool {
        lock(&self.budget).withdraw(now)
    }

    /// Ask others before this address for a while: it failed to connect.
    pub(super) fn rest(&self, address: SocketAddr, now: Instant) {
        let mut resting = lock(&self.resting);
        resting.retain(|_, until| now < *until);
        if resting.len() < MAX_RESTING {
            resting.insert(address, now + self.rest_for);
        }
    }

    /// Whether the address failed to connect of late.
    pub(super) fn rests(&self, address: SocketAddr, now: Instant) -> bool {
        lock(&self.resting).get(&address).is_some_and(|until| now < *until)
    }

    fn show(&self, open: bool) {
        match (self.shown.swap(open, Relaxed), open) {
            (false, true) => CIRCUIT_OPEN.inc(self.label),
            (true, false) => CIRCUIT_OPEN.dec(self.label),
            _ => {}
        }
    }

    fn changed(&self, change: Change) {
        match change {
            Change::None => {}
            Change::Opened(time) => {
                self.show(true);
                let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                log::warn!(event = "origin_left_alone", origin = self.label.as_str(), for_ms = ms; "");
            }
            Change::Closed => {
                self.show(false);
                log::info!(event = "origin_asked_again", origin = self.label.as_str(); "");
            }
        }
    }
}

impl Drop for State {
    /// A conf that is gone leaves nobody alone.
    fn drop(&mut self) {
        self.show(false);
    }
}

impl Permit<'_> {
    /// The origin answered.
    pub(super) fn succeeded(mut self) {
        self.admission = None;
        let mut circuit = lock(&self.state.circuit);
        let change = circuit.succeeded();
        // Told under the lock, so that the gauge shows the last change.
        self.state.changed(change);
    }

    /// The origin didn't answer, or with an error.
    pub(super) fn failed(mut self, now: Instant) {
        if let Some(admission) = self.admission.take() {
            let mut circuit = lock(&self.state.circuit);
            let change = circuit.failed(admission, now, random());
            self.state.changed(change);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take() {
            lock(&self.state.circuit).abandoned(admission, Instant::now());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No step leaves one of these half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
