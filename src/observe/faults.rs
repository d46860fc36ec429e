//! Faults on demand: a write that fails, a disk that stalls, a thread that panics, at named points of the code.
//!
//! Only with the cargo feature `faults`, which no release has: without it these functions are empty, and the variable does nothing.
//! With it, `SVC_EDGE_FAULTS` is read once, when the store is opened, and each rule in it is told as a warning:
//!
//! ```text
//! SVC_EDGE_FAULTS="cas.write=eio@2,fill.worker=panic@1,cas.write=stall:500ms@..3"
//! ```
//!
//! `point=action`, then `@2` for the second passing alone, `@..3` for the first three, nothing for all. Actions: `eio` and `enospc`
//! (errors of [`hit`]), `stall:<duration>` ([`stall`]), `panic` ([`panic_here`]). Each rule counts its own passings.
//! The points are `cas.write`, `cas.commit`, `cas.read`, `fill.worker`, `edge.request` (a request that was admitted), `edge.body` (each piece of a body),
//! `events.tell` (the log hears of an event), `audit.write`, `cas.probe` (whether the CAS takes writes), `log.writer`, and what begins with `boot.`: the
//! threads and tasks that the start makes, and `boot.listen` (the listeners accept, and nobody was told).

#[cfg(feature = "faults")]
pub use armed::{arm, hit, panic_here, stall};

/// Read the rules. An error, where they cannot be understood, is one line.
#[cfg(not(feature = "faults"))]
#[inline]
pub fn arm() -> Result<(), String> {
    Ok(())
}

/// The error that is due at `point`.
#[cfg(not(feature = "faults"))]
#[inline]
pub fn hit(_point: &str) -> std::io::Result<()> {
    Ok(())
}

/// Wait, if that is due at `point`.
#[cfg(not(feature = "faults"))]
#[inline]
pub fn stall(_point: &str) {}

/// Panic, if that is due at `point`.
#[cfg(not(feature = "faults"))]
#[inline]
pub fn panic_here(_point: &str) {}

#[cfg(feature = "faults")]
mod armed {
    use std::io;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    /// Where the rules stand.
    const VARIABLE: &str = "SVC_EDGE_FAULTS";

    /// Points that there are: a rule for another one would never do anything.
    const POINTS: &[&str] = &[
        "cas.write",
        "cas.commit",
        "cas.read",
        "cas.probe",
        "fill.worker",
        "edge.request",
        "edge.body",
        "events.tell",
        "audit.write",
        "log.writer",
        "boot.listen",
        "boot.pack_watcher",
        "boot.cas_keeper",
        "boot.digester",
        "boot.fills",
        "boot.hangup",
        "boot.upgrade",
        "boot.watchdog",
        "boot.listener",
    ];

    static RULES: OnceLock<Result<Vec<Rule>, String>> = OnceLock::new();

    struct Rule {
        point: &'static str,
        action: Action,
        /// The first and the last passing that it is due at, from 1.
        first: u64,
        last: u64,
        passed: AtomicU64,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Action {
        Fail(rustix::io::Errno),
        Stall(Duration),
        Panic,
    }

    /// Read the rules. An error, where they cannot be understood, is one line.
    pub fn arm() -> Result<(), String> {
        let read = || {
            let text = std::env::var(VARIABLE).unwrap_or_default();
            let rules = parse(&text).map_err(|why| format!("{VARIABLE}: {why}"))?;
            for rule in text.split(',').filter(|rule| !rule.is_empty()) {
                log::warn!(event = "fault_armed", rule = rule; "this program fails on purpose");
            }
            Ok(rules)
        };
        RULES.get_or_init(read).as_ref().map(drop).map_err(Clone::clone)
    }

    /// The error that is due at `point`.
    pub fn hit(point: &str) -> io::Result<()> {
        due(rules(), point, |action| match action {
            Action::Fail(errno) => Some(errno),
            Action::Stall(_) | Action::Panic => None,
        })
        .map_or(Ok(()), |errno| Err(errno.into()))
    }

    /// Wait, if that is due at `point`.
    pub fn stall(point: &str) {
        let duration = due(rules(), point, |action| match action {
            Action::Stall(duration) => Some(duration),
            Action::Fail(_) | Action::Panic => None,
        });
        let until = Instant::now() + duration.unwrap_or_default();
        while let Some(rest) = until.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
            std::thread::park_timeout(rest);
        }
    }

    /// Panic, if that is due at `point`.
    #[expect(clippy::panic, reason = "it is what the rule asks for")]
    pub fn panic_here(point: &str) {
        if due(rules(), point, |action| (action == Action::Panic).then_some(())).is_some() {
            panic!("a panic on purpose at {point}");
        }
    }

    /// The rules; none before they are read.
    fn rules() -> &'static [Rule] {
        match RULES.get() {
            Some(Ok(rules)) => rules,
            _ => &[],
        }
    }

    /// Pass `point`: what the first rule that is due there does, of those that `which` is for. All of these count the passing.
    fn due<T>(rules: &[Rule], point: &str, which: impl Fn(Action) -> Option<T>) -> Option<T> {
        let mut found = None;
        for rule in rules.iter().filter(|rule| rule.point == point) {
            let Some(action) = which(rule.action) else { continue };
            let passing = rule.passed.fetch_add(1, Ordering::Relaxed) + 1;
            if (rule.first..=rule.last).contains(&passing) {
                found.get_or_insert(action);
            }
        }
        found
    }

    fn parse(text: &str) -> Result<Vec<Rule>, String> {
        text.split(',').map(str::trim).filter(|rule| !rule.is_empty()).map(parse_rule).collect()
    }

    fn parse_rule(text: &str) -> Result<Rule, String> {
        let (point, rest) = text.split_once('=').ok_or(format!("{text}: no action"))?;
        let known = POINTS.iter().find(|known| **known == point);
        let point = *known.ok_or_else(|| format!("{point}: no such point; there are {}", POINTS.join(", ")))?;
        let (action, when) = rest.split_once('@').map_or((rest, None), |(action, when)| (action, Some(when)));
        let number = |digits: &str| {
            let number = digits.parse::<u64>().ok().filter(|number| *number > 0);
            number.ok_or(format!("{text}: {digits} is no number from 1"))
        };
        let (first, last) = match when {
            None => (1, u64::MAX),
            Some(when) => match when.strip_prefix("..") {
                Some(last) => (1, number(last)?),
                None => (number(when)?, number(when)?),
            },
        };
        let action = match action {
            "eio" => Action::Fail(rustix::io::Errno::IO),
            "enospc" => Action::Fail(rustix::io::Errno::NOSPC),
            "panic" => Action::Panic,
            _ => {
                let duration = action.strip_prefix("stall:").and_then(|text| humantime::parse_duration(text).ok());
                Action::Stall(duration.ok_or(format!("{text}: an action is eio, enospc, panic or stall:<duration>"))?)
            }
        };
        Ok(Rule { point, action, first, last, passed: AtomicU64::new(0) })
    }

    #[cfg(test)]
    mod tests {
        #![allow(clippy::unwrap_used)]
        use super::*;

        fn passings(rules: &[Rule], point: &str, action: Action) -> Vec<u64> {
            let which = |armed| (armed == action).then_some(());
            (1..=5).filter(|_| due(rules, point, which).is_some()).collect()
        }

        #[test]
        fn a_rule_is_due_at_its_passings_and_counts_no_others() {
            let rules = parse("cas.write=eio@2, fill.worker=panic,cas.write=stall:500ms@..3").unwrap();
            let stall = Action::Stall(Duration::from_millis(500));
            assert_eq!(passings(&rules, "cas.write", Action::Fail(rustix::io::Errno::IO)), [2]);
            assert_eq!(passings(&rules, "cas.write", stall), [1, 2, 3]);
            assert_eq!(passings(&rules, "fill.worker", Action::Panic), [1, 2, 3, 4, 5]);
            assert!(passings(&rules, "cas.read", Action::Panic).is_empty());
            assert!(parse("").unwrap().is_empty());
        }

        #[test]
        fn a_rule_that_would_do_nothing_is_an_error_that_names_it() {
            for bad in [
                "cas.write",
                "cas.rite=eio",
                "cas.write=oops",
                "cas.write=eio@0",
                "cas.write=eio@x",
                "cas.write=stall:",
            ] {
                let error = parse(bad).err().unwrap();
                assert!(error.contains(bad.split('=').next().unwrap()), "{bad}: {error}");
            }
        }
    }
}
