//! Judges a report against a baseline, gate by gate. Pure: reads no file, prints nothing.

mod gates;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::conf;
use crate::gate::{Bounds, Gate};
use crate::report::{Profile, Report};

/// Peers in the order in which they are taken to compare ratios with; those that are not here follow by name.
pub const PEERS: [&str; 7] = ["nginx", "h2o", "varnish", "nginx_no_nopush", "nginx_proxy_cache", "martin", "floor"];

/// What is compared, and with which bounds.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// By how much each figure may be worse.
    pub bounds: Bounds,
    /// Compare ratios to a peer also on the baseline's machine.
    pub ratios: bool,
    /// Peers before those of [`PEERS`].
    pub peers: Vec<String>,
    /// Only these profiles of the baseline; empty: all.
    pub profiles: Vec<String>,
}

/// What the speed gates compare. Memory and the shares of refused and failed requests are compared as they are on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// The figures themselves.
    Absolute,
    /// Ratios to a peer of the same run.
    Ratios,
}

/// What became of one gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It holds.
    Held,
    /// Over its bound, but by no more milliseconds than noise makes.
    Noise,
    /// It does not hold.
    Failed,
    /// It does not hold, and somebody said why that is right.
    Waived,
    /// There was nothing to compare it with.
    NotComparable,
}

/// One gate of one profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The profile's name.
    pub profile: String,
    /// The gate.
    pub gate: Gate,
    /// The figure that was compared, as reports name it.
    pub figure: &'static str,
    /// The peer, where ratios were compared.
    pub peer: Option<String>,
    /// In the baseline.
    pub baseline: Option<f64>,
    /// In the report.
    pub now: Option<f64>,
    /// From the one to the other: relative, or in points of a share.
    pub change: Option<f64>,
    /// The most that was allowed, in the direction in which it is worse.
    pub bound: f64,
    /// What became of it.
    pub verdict: Verdict,
    /// Why, where the figures don't say it.
    pub note: Option<String>,
}

/// All that was judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What the speed gates compared.
    pub basis: Basis,
    /// What a reader should know beside the table.
    pub notes: Vec<String>,
    /// In the order of profiles and gates.
    pub judgements: Vec<Judgement>,
}

impl Comparison {
    /// Whether no gate failed.
    pub fn held(&self) -> bool {
        !self.judgements.iter().any(|each| each.verdict == Verdict::Failed)
    }
}

/// Why two files could not be compared.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Incomparable {
    /// `--profile` names none of the baseline.
    #[error("the baseline has no profile `{name}`; it has {known}")]
    NoSuchProfile {
        /// What was asked for.
        name: String,
        /// What is there.
        known: String,
    },
    /// `--peer` names none of the baseline.
    #[error("no profile of the baseline has the peer `{name}`; there are {known}")]
    NoSuchPeer {
        /// What was asked for.
        name: String,
        /// What is there.
        known: String,
    },
    /// One run of a load beside many profiles.
    #[error("{0}")]
    OneRun(String),
    /// No speed gate of any profile had two figures.
    #[error("nothing was comparable:\n  {0}")]
    Nothing(String),
}

/// Judge `report` against `baseline`.
pub fn compare(report: &Report, baseline: &Report, settings: &Settings) -> Result<Comparison, Incomparable> {
    let (report, baseline) = named(report, baseline, settings)?;
    known_peers(&baseline, settings)?;
    let mut notes = Vec::new();
    let basis = basis(&report, &baseline, settings, &mut notes);
    let judge = gates::Judge { report: &report, basis, settings };
    let chosen = |name: &str| settings.profiles.is_empty() || settings.profiles.iter().any(|each| each == name);
    let mut judgements = Vec::new();
    for (name, before) in baseline.profiles.iter().filter(|(name, _)| chosen(name)) {
        judgements.extend(judge.profile(name, before, report.profiles.get(name)));
    }
    for name in report.profiles.keys().filter(|name| !baseline.profiles.contains_key(*name) && chosen(name)) {
        notes.push(format!("{name} is not in the baseline, and is not judged: a renewed baseline has it"));
    }
    if let (Some(now), Some(before)) = (&report.conf, &baseline.conf) {
        notes.extend(conf::difference(before, now));
    }
    if basis == Basis::Ratios {
        versions(&report, &baseline, &judgements, &mut notes);
    }
    // A run that has none of the baseline's profiles has failed them, whatever else is missing.
    let judged = |each: &Judgement| {
        matches!(each.gate, Gate::P95 | Gate::Rps | Gate::Cpu | Gate::Profile) && each.verdict != Verdict::NotComparable
    };
    if !judgements.iter().any(judged) {
        return Err(Incomparable::Nothing(reasons(&judgements)));
    }
    Ok(Comparison { basis, notes, judgements })
}

/// Both with the name that `--profile` gives to single runs, after it was seen that this makes sense.
fn named(report: &Report, baseline: &Report, settings: &Settings) -> Result<(Report, Report), Incomparable> {
    let one_run = report.source.is_one_run() || baseline.source.is_one_run();
    let (report, baseline) = match settings.profiles.as_slice() {
        [name] => (report.clone().named(name), baseline.clone().named(name)),
        [_, ..] if one_run => {
            let what = "a file that is one run has one profile: give --profile once";
            return Err(Incomparable::OneRun(what.to_owned()));
        }
        [] if report.source.is_one_run() != baseline.source.is_one_run() => {
            let many = if report.source.is_one_run() { baseline } else { report };
            return Err(Incomparable::OneRun(format!(
                "one file is one run, the other has profiles: say with --profile which one the run is of ({})",
                names(many)
            )));
        }
        _ => (report.clone(), baseline.clone()),
    };
    match settings.profiles.iter().find(|name| !baseline.profiles.contains_key(*name)) {
        Some(name) => Err(Incomparable::NoSuchProfile { name: name.clone(), known: names(&baseline) }),
        None => Ok((report, baseline)),
    }
}

/// That each peer of `--peer` is one: a misspelt one would be another in silence.
fn known_peers(baseline: &Report, settings: &Settings) -> Result<(), Incomparable> {
    let known: BTreeSet<&str> =
        baseline.profiles.values().flat_map(|profile| profile.ratios.keys().map(String::as_str)).collect();
    match settings.peers.iter().find(|peer| !known.contains(peer.as_str())) {
        Some(name) => {
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            Err(Incomparable::NoSuchPeer { name: name.clone(), known })
        }
        None => Ok(()),
    }
}

fn names(report: &Report) -> String {
    report.profiles.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// What is compared, with a note that says why.
fn basis(report: &Report, baseline: &Report, settings: &Settings, notes: &mut Vec<String>) -> Basis {
    let (basis, why) = match (&report.machine, &baseline.machine) {
        _ if settings.ratios => (Basis::Ratios, "--ratios".to_owned()),
        (Some(here), Some(there)) if here.is_like(there) => {
            (Basis::Absolute, format!("report and baseline are of one kind of machine ({here})"))
        }
        (Some(here), Some(there)) => {
            (Basis::Ratios, format!("the report is of another machine ({here}) than the baseline ({there})"))
        }
        _ => (
            Basis::Absolute,
            "a file does not say on which machine it was made, so that this is not known to be fair".to_owned(),
        ),
    };
    notes.push(match basis {
        Basis::Absolute => format!("Compared are absolute figures: {why}."),
        Basis::Ratios => {
            format!("Compared are ratios to a peer of the same run: {why}. Memory, refusals and errors are compared as they are.")
        }
    });
    basis
}

/// Say of each peer that was compared with whether its version is another one now.
fn versions(report: &Report, baseline: &Report, judgements: &[Judgement], notes: &mut Vec<String>) {
    let peers: BTreeSet<&str> = judgements.iter().filter_map(|each| each.peer.as_deref()).collect();
    for peer in peers {
        // nginx_no_nopush and nginx_proxy_cache are nginx.
        let version = |of: &Report| {
            of.versions.get(peer).or_else(|| of.versions.get(peer.split('_').next().unwrap_or(peer))).cloned()
        };
        if let (Some(now), Some(before)) = (version(report), version(baseline))
            && now != before
        {
            notes.push(format!("{peer} is {now} now and was {before} in the baseline: ratios to it moved with it"));
        }
    }
}

/// Why each gate could not be judged, a line each.
fn reasons(judgements: &[Judgement]) -> String {
    let lines: BTreeSet<String> = judgements
        .iter()
        .filter(|each| each.verdict == Verdict::NotComparable)
        .map(|each| format!("{} {}: {}", each.profile, each.gate.name(), each.note.as_deref().unwrap_or("no figure")))
        .collect();
    match lines.is_empty() {
        true => "the baseline has no profile".to_owned(),
        false => lines.into_iter().collect::<Vec<_>>().join("\n  "),
    }
}

/// The order in which peers are tried.
fn peer_order<'a>(profile: &'a Profile, settings: &'a Settings) -> Vec<&'a str> {
    let mut order: Vec<&str> = Vec::new();
    let wanted = settings.peers.iter().map(String::as_str).chain(PEERS);
    for peer in wanted.chain(profile.ratios.keys().map(String::as_str)) {
        if !order.contains(&peer) {
            order.push(peer);
        }
    }
    order
}
