//! Each gate of one profile.

use super::{Basis, Judgement, Settings, Verdict, peer_order};
use crate::gate::{Gate, change, is_over};
use crate::report::{Figures, Profile, Ratios, Report};

/// What the gates of every profile have in common.
pub(super) struct Judge<'a> {
    pub(super) report: &'a Report,
    pub(super) basis: Basis,
    pub(super) settings: &'a Settings,
}

/// Two values of one figure, and the peer where they are ratios.
struct Pair<'a> {
    figure: &'static str,
    peer: Option<&'a str>,
    before: f64,
    now: f64,
}

type Of<T> = fn(&T) -> Option<f64>;

/// The figure of a speed gate, in itself and as a ratio. Of latency there are two: the second serves where a side lacks the first.
fn speed(gate: Gate) -> &'static [(&'static str, Of<Figures>, Of<Ratios>)] {
    match gate {
        Gate::P95 => &[("p95_ms", |f| f.p95_ms, |r| r.p95_ms), ("p99_ms", |f| f.p99_ms, |r| r.p99_ms)],
        Gate::Rps => &[("rps", |f| f.rps, |r| r.rps)],
        Gate::Cpu => &[("cpu_us", |f| f.cpu_us, |r| r.cpu_us)],
        _ => &[],
    }
}

/// A figure that is compared as it is on every machine: memory doesn't grow with the speed of the machine, and a peer's says nothing of ours; shares have no unit.
fn plain(gate: Gate) -> Option<(&'static str, Of<Figures>)> {
    match gate {
        Gate::Memory => Some(("rss_mib", |f| f.rss_mib)),
        Gate::Shed => Some(("shed_rate", |f| f.shed_rate)),
        Gate::Errors => Some(("error_rate", |f| f.error_rate)),
        _ => None,
    }
}

impl Judge<'_> {
    /// All gates of the profile `name`, of which the baseline has `before`.
    pub(super) fn profile(&self, name: &str, before: &Profile, now: Option<&Profile>) -> Vec<Judgement> {
        let Some(now) = now else {
            let note = "the baseline has this profile, the report has no figures of svc-edge under it".to_owned();
            return vec![self.without_figures(name, Gate::Profile, Verdict::Failed, Some(note))];
        };
        let gates = [Gate::P95, Gate::Rps, Gate::Cpu, Gate::Memory, Gate::Shed, Gate::Errors];
        gates.into_iter().filter_map(|gate| self.gate(name, gate, before, now)).collect()
    }

    /// One gate, or none where the baseline has nothing to hold the report to.
    fn gate(&self, name: &str, gate: Gate, before: &Profile, now: &Profile) -> Option<Judgement> {
        if let Some((figure, of)) = plain(gate) {
            let was = of(&before.figures)?;
            return Some(match of(&now.figures) {
                Some(is) => self.judged(name, gate, now, Pair { figure, peer: None, before: was, now: is }),
                None => self.missing(name, gate),
            });
        }
        let figures = speed(gate);
        let had = figures.iter().any(|(_, own, _)| own(&before.figures).is_some());
        let has = figures.iter().any(|(_, own, _)| own(&now.figures).is_some());
        match self.pair(gate, before, now) {
            Some(pair) => Some(self.judged(name, gate, now, pair)),
            None if had && !has => Some(self.missing(name, gate)),
            None if had => Some(self.without_figures(name, gate, Verdict::NotComparable, Some(self.no_pair()))),
            None => None,
        }
    }

    /// The two values of a speed gate, if both sides have them.
    fn pair<'a>(&'a self, gate: Gate, before: &'a Profile, now: &'a Profile) -> Option<Pair<'a>> {
        speed(gate).iter().find_map(|&(figure, own, ratio)| match self.basis {
            Basis::Absolute => {
                Some(Pair { figure, peer: None, before: own(&before.figures)?, now: own(&now.figures)? })
            }
            Basis::Ratios => peer_order(before, self.settings).into_iter().find_map(|peer| {
                let before = ratio(before.ratios.get(peer)?)?;
                Some(Pair { figure, peer: Some(peer), before, now: ratio(now.ratios.get(peer)?)? })
            }),
        })
    }

    fn no_pair(&self) -> String {
        match self.basis {
            Basis::Absolute => "the two files have no such figure in common".to_owned(),
            Basis::Ratios => "no peer has this figure in both runs".to_owned(),
        }
    }

    fn judged(&self, name: &str, gate: Gate, now: &Profile, pair: Pair<'_>) -> Judgement {
        let is_share = matches!(gate, Gate::Shed | Gate::Errors);
        let change = if is_share { pair.now - pair.before } else { change(pair.before, pair.now) };
        let worse = if gate == Gate::Rps { -change } else { change };
        let bound = self.settings.bounds.of(gate);
        let (verdict, note) = match is_over(worse, bound) {
            false => (Verdict::Held, None),
            true => self.noise(gate, now, &pair).map_or((Verdict::Failed, None), |note| (Verdict::Noise, Some(note))),
        };
        let note = note.or_else(|| (pair.figure == "p99_ms").then(|| "p99, as a file has no p95".to_owned()));
        Judgement {
            profile: name.to_owned(),
            gate,
            figure: pair.figure,
            peer: pair.peer.map(str::to_owned),
            baseline: Some(pair.before),
            now: Some(pair.now),
            change: Some(change),
            bound,
            verdict,
            note,
        }
    }

    /// That a latency is over its bound by so few milliseconds that nothing is judged by it. A ratio's are those above what the peer of this run,
    /// times the baseline's ratio, lets expect.
    fn noise(&self, gate: Gate, now: &Profile, pair: &Pair<'_>) -> Option<String> {
        if gate != Gate::P95 {
            return None;
        }
        let excess = match pair.peer {
            None => pair.now - pair.before,
            Some(_) => {
                let own = if pair.figure == "p99_ms" { now.figures.p99_ms? } else { now.figures.p95_ms? };
                own * (1.0 - pair.before / pair.now)
            }
        };
        let bound = self.settings.bounds.noise_ms;
        (!is_over(excess, bound)).then(|| format!("{excess:.2} ms more, which is within the noise of {bound} ms"))
    }

    /// A figure that the baseline has and the report lacks. A report of the harness should have it; a single run can't.
    fn missing(&self, name: &str, gate: Gate) -> Judgement {
        let (verdict, note) = match self.report.source.is_one_run() {
            true => (Verdict::NotComparable, "this kind of file does not have it"),
            false => (Verdict::Failed, "the baseline has this figure, the report has not"),
        };
        self.without_figures(name, gate, verdict, Some(note.to_owned()))
    }

    fn without_figures(&self, name: &str, gate: Gate, verdict: Verdict, note: Option<String>) -> Judgement {
        Judgement {
            profile: name.to_owned(),
            gate,
            figure: speed(gate).first().map(|each| each.0).or(plain(gate).map(|each| each.0)).unwrap_or("profile"),
            peer: None,
            baseline: None,
            now: None,
            change: None,
            bound: self.settings.bounds.of(gate),
            verdict,
            note,
        }
    }
}
