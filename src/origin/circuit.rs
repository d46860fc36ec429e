//! Leaving an origin alone that fails again and again: it is not hammered, and whoever waits for it gets a stale object or an
//! error at once instead of after a timeout. Pure: the time and what chance brings are passed in.

use std::time::{Duration, Instant};

use super::conf::CircuitConf;
use super::retry::share;

/// How often the time doubles while probes fail: up to eightfold.
const DOUBLINGS: u32 = 3;

/// What those are told who come while a probe is under way: it is over soon, whichever way.
const WHILE_PROBING: Duration = Duration::from_secs(1);

/// The circuit of one origin.
pub(super) struct Circuit {
    conf: CircuitConf,
    state: State,
    /// Probes let through so far: the number of the latest.
    probes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Asked as always; the failures since the last success.
    Closed { failures: u32 },
    /// Left alone; how often in a row before.
    Open { until: Instant, round: u32 },
    /// One request is let through, to see: the one of this number.
    Probing { round: u32, probe: u64 },
}

/// Leave to send one request. What became of it is told to the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// One of many.
    Plain,
    /// The one on which it depends whether the circuit closes, with its number: a probe of long ago decides nothing.
    Probe(u64),
}

/// What a result changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing that others see.
    None,
    /// The origin is left alone for this long.
    Opened(Duration),
    /// The origin is asked again.
    Closed,
}

impl Circuit {
    /// A closed circuit.
    pub(super) fn new(conf: CircuitConf) -> Self {
        Self { conf, state: State::Closed { failures: 0 }, probes: 0 }
    }

    /// Whether a request may be sent; if not, how long to leave the origin alone.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Admission, Duration> {
        match self.state {
            State::Closed { .. } => Ok(Admission::Plain),
            State::Open { until, .. } if now < until => Err(until - now),
            State::Open { round, .. } => {
                self.probes += 1;
                self.state = State::Probing { round, probe: self.probes };
                Ok(Admission::Probe(self.probes))
            }
            State::Probing { .. } => Err(WHILE_PROBING),
        }
    }

    /// Whether a request would be refused at `when`, as far as is known now.
    pub(super) fn is_open(&self, when: Instant) -> bool {
        match self.state {
            State::Closed { .. } => false,
            State::Open { until, .. } => when < until,
            State::Probing { .. } => true,
        }
    }

    /// A request was answered. Also one that was sent before the circuit opened shows that the origin is well.
    pub(super) fn succeeded(&mut self) -> Change {
        let closes = !matches!(self.state, State::Closed { .. });
        self.state = State::Closed { failures: 0 };
        if closes { Change::Closed } else { Change::None }
    }

    /// A request was not answered, or with an error.
    pub(super) fn failed(&mut self, admission: Admission, now: Instant, random: u64) -> Change {
        match (self.state, admission) {
            (State::Closed { failures }, _) => {
                let failures = failures.saturating_add(1);
                if self.conf.failures == 0 || failures < self.conf.failures {
                    self.state = State::Closed { failures };
                    return Change::None;
                }
                self.open(0, now, random)
            }
            (State::Probing { round, probe }, Admission::Probe(number)) if probe == number => {
                self.open((round + 1).min(DOUBLINGS), now, random)
            }
            // It was sent before the circuit opened: its failure is no news.
            _ => Change::None,
        }
    }

    /// A request ended without telling anything of the origin: nobody waited for it any more. The next one may probe.
    pub(super) fn abandoned(&mut self, admission: Admission, now: Instant) {
        if let (State::Probing { round, probe }, Admission::Probe(number)) = (self.state, admission)
            && probe == number
        {
            self.state = State::Open { until: now, round };
        }
    }

    fn open(&mut self, round: u32, now: Instant, random: u64) -> Change {
        let time = self.conf.open_for.saturating_mul(1 << round);
        // A tenth by chance, so that edges that gave up together don't come back together.
        let time = time.saturating_add(share(time / 10, random));
        self.state = State::Open { until: now + time, round };
        Change::Opened(time)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPEN: Duration = Duration::from_secs(10);

    fn circuit(failures: u32) -> Circuit {
        Circuit::new(CircuitConf { failures, open_for: OPEN })
    }

    fn opened(now: Instant) -> Circuit {
        let mut circuit = circuit(1);
        assert_eq!(circuit.failed(Admission::Plain, now, 0), Change::Opened(OPEN));
        circuit
    }

    fn probe(circuit: &mut Circuit, now: Instant) -> Admission {
        let admission = circuit.admit(now);
        assert!(matches!(admission, Ok(Admission::Probe(_))), "{admission:?}");
        admission.unwrap_or(Admission::Plain)
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let now = Instant::now();
        let mut circuit = circuit(3);
        for _ in 0..10 {
            assert_eq!(circuit.failed(Admission::Plain, now, 0), Change::None);
            assert_eq!(circuit.failed(Admission::Plain, now, 0), Change::None);
            assert_eq!(circuit.succeeded(), Change::None);
        }
        assert_eq!(circuit.failed(Admission::Plain, now, 0), Change::None);
        assert_eq!(circuit.failed(Admission::Plain, now, 0), Change::None);
        assert_eq!(circuit.failed(Admission::Plain, now, 0), Change::Opened(OPEN));
        assert_eq!(circuit.admit(now + OPEN / 4), Err(OPEN * 3 / 4));
    }

    #[test]
    fn after_its_time_one_probe_is_let_through_and_its_success_closes_it() {
        let now = Instant::now();
        let mut circuit = opened(now);
        probe(&mut circuit, now + OPEN);
        assert_eq!(circuit.admit(now + OPEN), Err(WHILE_PROBING));
        assert_eq!(circuit.succeeded(), Change::Closed);
        assert_eq!(circuit.admit(now + OPEN), Ok(Admission::Plain));
    }

    #[test]
    fn a_probe_that_fails_doubles_the_time_up_to_eightfold() {
        let mut now = Instant::now();
        let mut circuit = opened(now);
        let mut time = OPEN;
        for factor in [2, 4, 8, 8, 8] {
            now += time;
            let admission = probe(&mut circuit, now);
            time = OPEN * factor;
            assert_eq!(circuit.failed(admission, now, 0), Change::Opened(time));
        }
        now += time;
        probe(&mut circuit, now);
        circuit.succeeded();
        assert_eq!(circuit.failed(Admission::Plain, now, 0), Change::Opened(OPEN), "it starts again from the first");
    }

    #[test]
    fn a_probe_that_nobody_waits_for_is_followed_by_another() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let first = probe(&mut circuit, now + OPEN);
        circuit.abandoned(Admission::Plain, now + OPEN);
        assert_eq!(circuit.admit(now + OPEN), Err(WHILE_PROBING), "one sent before is not the probe");
        circuit.abandoned(first, now + OPEN);
        probe(&mut circuit, now + OPEN);
        assert_eq!(circuit.failed(first, now + OPEN, 0), Change::None, "a probe of before decides nothing");
        assert_eq!(circuit.admit(now + OPEN), Err(WHILE_PROBING));
    }

    #[test]
    fn a_late_failure_neither_prolongs_nor_reopens() {
        let now = Instant::now();
        let mut circuit = opened(now);
        assert_eq!(circuit.failed(Admission::Plain, now + OPEN / 2, 0), Change::None);
        probe(&mut circuit, now + OPEN);
        assert_eq!(circuit.failed(Admission::Plain, now + OPEN, 0), Change::None);
        assert_eq!(circuit.admit(now + OPEN), Err(WHILE_PROBING));
    }

    #[test]
    fn with_zero_failures_in_the_conf_it_never_opens() {
        let now = Instant::now();
        let mut circuit = circuit(0);
        assert!((0..100).all(|_| circuit.failed(Admission::Plain, now, 0) == Change::None));
        assert_eq!(circuit.admit(now), Ok(Admission::Plain));
    }

    proptest! {
        #[test]
        fn there_is_never_more_than_one_probe_and_never_a_wait_beyond_the_bound(
            steps in proptest::collection::vec((0..4_u8, 0..20_000_u64, any::<u64>()), 1..200),
        ) {
            let mut circuit = circuit(2);
            let (mut now, mut out) = (Instant::now(), Vec::new());
            for (step, ms, random) in steps {
                now += Duration::from_millis(ms);
                match (step, out.pop()) {
                    (0, Some(admission)) => { circuit.failed(admission, now, random); }
                    (1, Some(_)) => { circuit.succeeded(); }
                    (2, Some(admission)) => circuit.abandoned(admission, now),
                    (_, back) => {
                        out.extend(back);
                        match circuit.admit(now) {
                            Ok(admission) => out.push(admission),
                            Err(left) => prop_assert!(left <= OPEN * 8 + OPEN * 8 / 10),
                        }
                    }
                }
                if let State::Probing { probe, .. } = circuit.state {
                    prop_assert_eq!(out.iter().filter(|admission| **admission == Admission::Probe(probe)).count(), 1);
                }
            }
        }
    }
}
