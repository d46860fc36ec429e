//! The gates file: fixed bounds on the ratios to a peer of one run, for machines of which no baseline exists. Times are judged as ratios alone.

use std::path::Path;

use serde_json::{Map, Value};

use crate::gate::{is_over, nearest};
use crate::read::{self, ReadError};
use crate::report::{Figures, Ratios, Report};

/// One bound of one profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// The profile's name.
    pub profile: String,
    /// The peer; none for what is judged as it is.
    pub peer: Option<String>,
    /// As the gates file names it.
    pub key: &'static str,
    /// The most, or of `rps_min` the least, that holds.
    pub value: f64,
}

/// A bound, and how a run stands to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The bound.
    pub bound: Bound,
    /// What the run has: the best one of several runs.
    pub now: f64,
    /// Whether it holds.
    pub held: bool,
    /// The run that held, counted from 1, where several were given and an earlier one did.
    pub earlier: Option<usize>,
}

/// What is wrong with a gates file, or with a report that it should judge.
#[derive(Debug, thiserror::Error)]
pub enum BoundsError {
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] ReadError),
    /// Something in it is not as gates files have it.
    #[error("{0}: {1}")]
    Malformed(String, String),
    /// A bound can't be judged by the report.
    #[error("{profile} {key}: {what}")]
    Absent {
        /// The profile.
        profile: String,
        /// The bound.
        key: &'static str,
        /// What is absent.
        what: String,
    },
}

enum Read {
    Ratio(fn(&Ratios) -> Option<f64>),
    Own(fn(&Figures) -> Option<f64>),
}

/// The bounds that a gates file may have: name, what it reads, and whether it is a least.
const KEYS: [(&str, Read, bool); 7] = [
    ("cpu_us_max", Read::Ratio(|r| r.cpu_us), false),
    ("rps_min", Read::Ratio(|r| r.rps), true),
    ("p95_ms_max", Read::Ratio(|r| r.p95_ms), false),
    ("p99_ms_max", Read::Ratio(|r| r.p99_ms), false),
    ("rss_mib_max", Read::Own(|f| f.rss_mib), false),
    ("shed_rate_max", Read::Own(|f| f.shed_rate), false),
    ("error_rate_max", Read::Own(|f| f.error_rate), false),
];

/// Read a gates file: `{PROFILE: {"peer": NAME, "cpu_us_max": 1.25, …, "note": "why so"}}`, or a list of such for several peers.
pub fn of_file(path: &Path) -> Result<Vec<Bound>, BoundsError> {
    let fault = |what| BoundsError::Malformed(path.display().to_string(), what);
    let Value::Object(profiles) = read::json(path)? else {
        return Err(fault("expected an object: {PROFILE: {\"peer\": NAME, \"cpu_us_max\": NUMBER}}".to_owned()));
    };
    let mut bounds = Vec::new();
    for (profile, value) in profiles {
        let entries = match value {
            Value::Array(entries) => entries,
            one => vec![one],
        };
        for entry in entries {
            let Value::Object(fields) = entry else {
                return Err(fault(format!("{profile}: expected an object with bounds, or a list of such")));
            };
            bounds.extend(of_entry(&profile, &fields).map_err(|what| fault(format!("{profile}: {what}")))?);
        }
    }
    match bounds.is_empty() {
        true => Err(fault("it has no bound, so that nothing could fail".to_owned())),
        false => Ok(bounds),
    }
}

fn of_entry(profile: &str, fields: &Map<String, Value>) -> Result<Vec<Bound>, String> {
    let peer = match fields.get("peer") {
        Some(Value::String(peer)) => Some(peer.clone()),
        Some(_) => return Err("peer is not a string".to_owned()),
        None => None,
    };
    let mut bounds = Vec::new();
    for (name, value) in fields.iter().filter(|(name, _)| !matches!(name.as_str(), "peer" | "note")) {
        let Some((key, read, _)) = KEYS.iter().find(|(key, ..)| key == name) else {
            let known = KEYS.map(|(key, ..)| key);
            return Err(format!("there is no bound `{name}`{}; there are {}", nearest(name, &known), known.join(", ")));
        };
        let value = value.as_f64().filter(|value| value.is_finite() && *value >= 0.0);
        let value = value.ok_or_else(|| format!("{name}: expected a number from 0 up"))?;
        let peer = match read {
            Read::Ratio(_) => Some(peer.clone().ok_or_else(|| format!("{name} is a ratio, and no peer is named"))?),
            Read::Own(_) => None,
        };
        bounds.push(Bound { profile: profile.to_owned(), peer, key, value });
    }
    if bounds.is_empty() {
        return Err("it has no bound".to_owned());
    }
    Ok(bounds)
}

/// Judge `runs`, the last of which is the newest: a bound holds that held in one of them, as only what did not hold was a reason to run again.
/// Every bound must be measured in every run.
pub fn judge(bounds: &[Bound], runs: &[Report]) -> Result<Vec<Measured>, BoundsError> {
    bounds.iter().map(|bound| measured(bound, runs)).collect()
}

fn measured(bound: &Bound, runs: &[Report]) -> Result<Measured, BoundsError> {
    let mut best: Option<(usize, f64)> = None;
    for (place, run) in runs.iter().enumerate() {
        let now = value(bound, run).map_err(|what| absent(bound, what))?;
        // Of equals the newest.
        if best.is_none_or(|(_, best)| is_at_least(bound) == (now > best) || now == best) {
            best = Some((place, now));
        }
    }
    let (place, now) = best.ok_or_else(|| absent(bound, "there is no run".to_owned()))?;
    let held = match is_at_least(bound) {
        true => !is_over(bound.value, now),
        false => !is_over(now, bound.value),
    };
    let earlier = (held && place + 1 < runs.len()).then_some(place + 1);
    Ok(Measured { bound: bound.clone(), now, held, earlier })
}

fn absent(bound: &Bound, what: String) -> BoundsError {
    BoundsError::Absent { profile: bound.profile.clone(), key: bound.key, what }
}

fn is_at_least(bound: &Bound) -> bool {
    KEYS.iter().any(|(key, _, least)| *key == bound.key && *least)
}

/// What the run has for the bound, or why it has nothing.
fn value(bound: &Bound, run: &Report) -> Result<f64, String> {
    let Some(profile) = run.profiles.get(&bound.profile) else {
        let names: Vec<&str> = run.profiles.keys().map(String::as_str).collect();
        return Err(format!("the report has no such profile; it has {}", names.join(", ")));
    };
    let read = KEYS.iter().find(|(key, ..)| *key == bound.key).map(|(_, read, _)| read);
    match (read, &bound.peer) {
        (Some(Read::Own(of)), _) => of(&profile.figures).ok_or_else(|| "the report has no such figure".to_owned()),
        (Some(Read::Ratio(of)), Some(peer)) => match profile.ratios.get(peer) {
            Some(ratios) => of(ratios).ok_or_else(|| format!("the report has no such ratio to {peer}")),
            None => Err(format!("the peer {peer} took no part in the run")),
        },
        _ => Err("the bound names no peer".to_owned()),
    }
}
