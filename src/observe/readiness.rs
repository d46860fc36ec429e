//! Readiness: a set of named conditions. `/readyz` is 200 while all of them hold.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::sync::{Mutex, PoisonError};

use super::bus::{self, Event};
use super::metrics::{Levels, READY};

/// A condition of readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Every pack of the conf is mounted, verified as its conf says, and unchanged on disk.
    PacksVerified,
    /// The CAS takes writes.
    CasWritable,
    /// The listeners accept connections.
    Listener,
    /// The process was not asked to stop.
    NotDraining,
    /// Every worker of the fills works. Offline there are none, and nothing is missing.
    FillWorkers,
    /// Requests come to an end: their places are not all held by ones that never do. Refusals, however many, don't clear it.
    ShedderStable,
}

/// All conditions with their names, in the order of their bits.
const CONDITIONS: [(Condition, &str); 6] = [
    (Condition::PacksVerified, "packs_verified"),
    (Condition::CasWritable, "cas_writable"),
    (Condition::Listener, "listener"),
    (Condition::NotDraining, "not_draining"),
    (Condition::FillWorkers, "fill_workers"),
    (Condition::ShedderStable, "shedder_stable"),
];

/// The conditions that hold: one bit each.
pub struct Readiness {
    bits: AtomicU32,
    /// Another process serves in place of this one, on the same addresses: nothing is missing there.
    retiring: AtomicBool,
    /// Held while a change is told, so that gauge and events come in the order of the changes.
    telling: Mutex<()>,
}

/// The readiness of this process.
pub static READINESS: Readiness = Readiness::new();

impl Readiness {
    /// Nothing holds yet but that nobody asked us to stop, that no request is stuck, and that no worker is missing: live mode says when it starts some.
    const fn new() -> Self {
        let bits = 1 << Condition::NotDraining as u32
            | 1 << Condition::FillWorkers as u32
            | 1 << Condition::ShedderStable as u32;
        Self { bits: AtomicU32::new(bits), retiring: AtomicBool::new(false), telling: Mutex::new(()) }
    }

    /// Say whether `condition` holds; tell the bus when that changes what `/readyz` answers.
    pub fn set(&self, condition: Condition, holds: bool) {
        let bit = 1 << condition as u32;
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let before = if holds { self.bits.fetch_or(bit, AcqRel) } else { self.bits.fetch_and(!bit, AcqRel) };
        let after = if holds { before | bit } else { before & !bit };
        if before != after {
            let ready = after == ALL;
            READY.set(i64::from(ready));
            bus::publish(Event::ReadinessChanged { ready, missing: names_missing(after) });
        }
    }

    /// Whether one condition holds.
    pub fn holds(&self, condition: Condition) -> bool {
        self.bits.load(Acquire) & (1 << condition as u32) != 0
    }

    /// Whether all of them hold.
    pub fn ready(&self) -> bool {
        self.bits.load(Acquire) == ALL
    }

    /// Say that another process took this one's place. Whoever still asks this one for its readiness, on a connection from before, asks about
    /// the place: it stays ready.
    pub fn retire(&self) {
        self.retiring.store(true, Release);
    }

    /// Whether the process will end: answers then say that their connection closes.
    pub fn ending(&self) -> bool {
        !self.holds(Condition::NotDraining) || self.retiring.load(Acquire)
    }

    /// The names of those that don't.
    pub fn missing(&self) -> Vec<&'static str> {
        names_missing(self.bits.load(Acquire))
    }
}

/// The names of the conditions, as values of a label.
const NAMES: [&str; CONDITIONS.len()] = {
    let mut names = [""; CONDITIONS.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = CONDITIONS[at].1;
        at += 1;
    }
    names
};

/// 1 for each condition that holds.
impl Levels for Readiness {
    fn count(&self) -> usize {
        CONDITIONS.len()
    }

    fn series(&self, flat: usize) -> (Vec<&'static str>, i64) {
        let (condition, name) = CONDITIONS[flat];
        (vec![name], i64::from(self.holds(condition)))
    }

    fn label_values(&self) -> Vec<&'static [&'static str]> {
        vec![&NAMES]
    }
}

const ALL: u32 = (1 << CONDITIONS.len()) - 1;

fn names_missing(bits: u32) -> Vec<&'static str> {
    CONDITIONS.iter().filter(|(condition, _)| bits & (1 << *condition as u32) == 0).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_needs_every_condition_and_names_the_missing_ones() {
        let readiness = Readiness::new();
        assert_eq!(readiness.missing(), ["packs_verified", "cas_writable", "listener"]);
        for (condition, _) in CONDITIONS {
            readiness.set(condition, true);
        }
        assert!(readiness.ready());
        readiness.set(Condition::NotDraining, false);
        assert!(!readiness.ready());
        assert_eq!(readiness.missing(), ["not_draining"]);
    }

    #[test]
    fn the_metric_has_a_series_for_each_condition_under_its_name() {
        let readiness = Readiness::new();
        readiness.set(Condition::CasWritable, true);
        for (flat, (condition, name)) in CONDITIONS.iter().enumerate() {
            assert_eq!(readiness.series(flat), (vec![*name], i64::from(readiness.holds(*condition))));
            assert_eq!(readiness.label_values()[0][flat], *name);
            assert_eq!(*condition as usize, flat, "the order of the bits");
        }
        assert_eq!(readiness.count(), CONDITIONS.len());
    }

    #[test]
    fn who_was_relieved_ends_and_stays_ready() {
        let readiness = Readiness::new();
        CONDITIONS.iter().for_each(|(condition, _)| readiness.set(*condition, true));
        assert!(!readiness.ending());
        readiness.retire();
        assert!(readiness.ending() && readiness.ready());
        let stopping = Readiness::new();
        stopping.set(Condition::NotDraining, false);
        assert!(stopping.ending());
    }
}
