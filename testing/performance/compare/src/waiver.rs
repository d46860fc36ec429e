//! Waivers: that a gate may fail, and why. Each has a note; those of a file have a last day as well.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::compare::{Comparison, Verdict};
use crate::date::Day;
use crate::gate::Gate;
use crate::read::{self, ReadError};

/// One gate of one profile that may fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiver {
    /// The profile's name.
    pub profile: String,
    /// The gate.
    pub gate: Gate,
    /// Why it may.
    pub note: String,
    /// The last day on which it does. Those of the command line are for that run.
    pub until: Option<Day>,
}

/// What is wrong with a waiver.
#[derive(Debug, thiserror::Error)]
pub enum WaiverError {
    /// On the command line.
    #[error("--waive {0}")]
    Flag(String),
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] ReadError),
    /// In the file.
    #[error("{0}: {1}")]
    Entry(String, String),
}

/// The waivers of `--waive PROFILE:GATE`, each with its `--note`; one note does for all of them.
pub fn of_flags(waives: &[String], notes: &[String]) -> Result<Vec<Waiver>, WaiverError> {
    let flag = |waive: &str, what: &str| WaiverError::Flag(format!("{waive}: {what}"));
    if waives.is_empty() && !notes.is_empty() {
        return Err(WaiverError::Flag("is not there, and --note is for it".to_owned()));
    }
    let note_of = |place: usize| match notes {
        [one] => Some(one),
        many if many.len() == waives.len() => many.get(place),
        _ => None,
    };
    waives
        .iter()
        .enumerate()
        .map(|(place, waive)| {
            let (profile, gate) =
                waive.split_once(':').ok_or_else(|| flag(waive, "expected PROFILE:GATE, such as asset_4k:p95"))?;
            let note = note_of(place).filter(|note| !note.trim().is_empty());
            let note =
                note.ok_or_else(|| flag(waive, "a waiver needs a note: --note \"why\", one for each or one for all"))?;
            let gate = Gate::named(gate).map_err(|what| flag(waive, &what))?;
            Ok(Waiver { profile: profile.to_owned(), gate, note: note.clone(), until: None })
        })
        .collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    profile: String,
    gate: String,
    #[serde(default)]
    note: String,
    until: Option<String>,
}

/// The waivers of a file: a list of `{"profile", "gate", "note", "until"}`, of which none may have ended before `today`.
pub fn of_file(path: &Path, today: Day) -> Result<Vec<Waiver>, WaiverError> {
    let fault = |what| WaiverError::Entry(path.display().to_string(), what);
    let Value::Array(entries) = read::json(path)? else {
        return Err(fault("expected a list of waivers: [{\"profile\", \"gate\", \"note\", \"until\"}]".to_owned()));
    };
    let read = |(place, value): (usize, Value)| {
        entry(value, today).map_err(|what| fault(format!("waiver {}: {what}", place + 1)))
    };
    entries.into_iter().enumerate().map(read).collect()
}

fn entry(value: Value, today: Day) -> Result<Waiver, String> {
    let entry: Entry = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let name = format!("{}:{}", entry.profile, entry.gate);
    let gate = Gate::named(&entry.gate)?;
    if entry.note.trim().is_empty() {
        return Err(format!("{name} has no note: a waiver says why"));
    }
    let until = entry.until.ok_or_else(|| format!("{name} has no last day: \"until\": \"YYYY-MM-DD\""))?;
    let until =
        Day::parse(&until).ok_or_else(|| format!("{name} ends on {until:?}, which is no day: expected YYYY-MM-DD"))?;
    if until < today {
        return Err(format!(
            "{name} ended on {until}: renew the baseline, or the waiver with its reason, or mend what it is for"
        ));
    }
    Ok(Waiver { profile: entry.profile, gate, note: entry.note, until: Some(until) })
}

/// Let the gates that `waivers` name fail. A waiver for a gate that did not fail is said in the notes.
pub fn apply(comparison: &mut Comparison, waivers: &[Waiver]) {
    for waiver in waivers {
        let mut waived = false;
        let named = |profile: &str, gate| profile == waiver.profile && gate == waiver.gate;
        for each in comparison.judgements.iter_mut().filter(|each| named(&each.profile, each.gate)) {
            // One that a first waiver has taken is waived by the second as well.
            if matches!(each.verdict, Verdict::Failed | Verdict::Waived) {
                each.verdict = Verdict::Waived;
                let until = waiver.until.map(|day| format!(" (until {day})")).unwrap_or_default();
                each.note = Some(format!("{}{until}", waiver.note));
                waived = true;
            }
        }
        if !waived {
            let (profile, gate) = (&waiver.profile, waiver.gate.name());
            comparison.notes.push(format!("warning: the waiver of {profile}:{gate} waives nothing, and can go"));
        }
    }
}

/// Say of waivers that don't count which gates they would have let fail.
pub fn refuse(comparison: &mut Comparison, waivers: &[Waiver]) {
    for waiver in waivers {
        let (profile, gate) = (&waiver.profile, waiver.gate.name());
        comparison
            .notes
            .push(format!("warning: the waiver of {profile}:{gate} does not count without --waivers-allowed"));
    }
}
