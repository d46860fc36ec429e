//! The baseline: of a report of the harness what the gates use, with where and of what it was taken, and nothing more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::report::{Machine, Profile, Report, Source};

/// What `kind` says.
pub const KIND: &str = "svc-edge-perf-baseline";
const SCHEMA: u64 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Baseline {
    schema: u64,
    kind: String,
    date: Option<String>,
    commit: String,
    machine: Machine,
    conf: String,
    // A ratio to a peer means something only beside the peer's version.
    versions: BTreeMap<String, String>,
    profiles: BTreeMap<String, Profile>,
}

/// Why a report makes no baseline.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unfit {
    /// It is something else than a report of the harness.
    #[error("a baseline is made of a report of the harness: no other file knows its machine, commit and conf")]
    OtherSource,
    /// A field is absent without which a baseline can't be judged later.
    #[error("the report has no {0}, and a baseline without is of unknown origin")]
    Absent(&'static str),
    /// There would be nothing to compare.
    #[error("the report has no profile in which svc-edge took part")]
    Empty,
}

/// The text of a baseline file, made of `report`.
pub fn text_of(report: &Report) -> Result<String, Unfit> {
    if report.source != Source::Harness {
        return Err(Unfit::OtherSource);
    }
    if report.profiles.is_empty() {
        return Err(Unfit::Empty);
    }
    // The harness says `unknown` where it stands in no repository.
    let known = |text: &Option<String>| text.clone().filter(|text| !matches!(text.trim(), "" | "unknown"));
    let baseline = Baseline {
        schema: SCHEMA,
        kind: KIND.to_owned(),
        date: report.date.clone(),
        commit: known(&report.commit).ok_or(Unfit::Absent("commit"))?,
        machine: report.machine.clone().ok_or(Unfit::Absent("machine"))?,
        conf: known(&report.conf).ok_or(Unfit::Absent("conf"))?,
        versions: report.versions.clone(),
        profiles: report.profiles.clone(),
    };
    let mut text = serde_json::to_string_pretty(&baseline).unwrap_or_default();
    text.push('\n');
    Ok(text)
}

/// What about a report is no reason against a baseline, but one to look at it again; a line each.
pub fn doubts(report: &Report) -> Vec<String> {
    let mut doubts = Vec::new();
    if let Some(commit) = report.commit.as_ref().filter(|commit| commit.ends_with("-dirty")) {
        doubts.push(format!("the report is of {commit}: nobody can build again what was measured"));
    }
    for (name, profile) in &report.profiles {
        if let Some(share) = profile.figures.error_rate.filter(|share| *share > 0.0) {
            let percent = share * 100.0;
            doubts.push(format!("{percent:.3} % of the requests of {name} failed, and may from now on"));
        }
    }
    doubts
}

/// Read a baseline. Unknown keys are errors: the file is ours alone.
pub(crate) fn report(value: Value) -> Result<Report, String> {
    let baseline: Baseline = serde_json::from_value(value).map_err(|error| error.to_string())?;
    if baseline.schema != SCHEMA {
        return Err(format!("its schema is {}, and this perf-compare reads {SCHEMA}", baseline.schema));
    }
    for (name, profile) in &baseline.profiles {
        let figures = &profile.figures;
        let ratios = profile.ratios.values().flat_map(|r| [r.p95_ms, r.p99_ms, r.rps, r.cpu_us]);
        let own = [
            figures.p95_ms,
            figures.p99_ms,
            figures.rps,
            figures.cpu_us,
            figures.rss_mib,
            figures.shed_rate,
            figures.error_rate,
        ];
        if let Some(bad) = own.into_iter().chain(ratios).flatten().find(|value| !value.is_finite() || *value < 0.0) {
            return Err(format!("profile {name} has a figure of {bad}, where a number from 0 up was expected"));
        }
    }
    Ok(Report {
        source: Source::Baseline,
        machine: Some(baseline.machine),
        commit: Some(baseline.commit),
        date: baseline.date,
        conf: Some(baseline.conf),
        versions: baseline.versions,
        profiles: baseline.profiles,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::read;
    use crate::read::tests::recorded;

    #[test]
    fn a_baseline_reads_back_as_the_report_it_was_made_of() {
        let of = read::report(&recorded("perf.json")).unwrap();
        let back = report(serde_json::from_str(&text_of(&of).unwrap()).unwrap()).unwrap();
        assert_eq!(Report { source: Source::Harness, ..back }, of);
    }

    #[test]
    fn a_run_of_a_load_makes_no_baseline() {
        assert_eq!(text_of(&read::report(&recorded("wrk.json")).unwrap()), Err(Unfit::OtherSource));
    }

    #[test]
    fn a_report_that_does_not_say_of_what_it_is_makes_no_baseline() {
        let of = read::report(&recorded("perf.json")).unwrap();
        for commit in [" ", "unknown"] {
            assert_eq!(text_of(&Report { commit: Some(commit.into()), ..of.clone() }), Err(Unfit::Absent("commit")));
        }
        assert_eq!(text_of(&Report { conf: None, ..of.clone() }), Err(Unfit::Absent("conf")));
        assert_eq!(text_of(&Report { profiles: BTreeMap::new(), ..of }), Err(Unfit::Empty));
    }

    #[test]
    fn a_commit_with_changes_and_failed_requests_are_doubts() {
        let mut of = read::report(&recorded("perf.json")).unwrap();
        assert_eq!(doubts(&of), Vec::<String>::new());
        of.commit = Some("abc-dirty".into());
        of.profiles.get_mut("asset_4k").unwrap().figures.error_rate = Some(0.1);
        let said = doubts(&of);
        assert_eq!(said.len(), 2);
        assert!(said[0].contains("abc-dirty") && said[1].starts_with("10.000 % of the requests of asset_4k"));
    }

    #[test]
    fn a_key_that_no_baseline_has_and_a_negative_figure_are_errors() {
        let of = read::report(&recorded("perf.json")).unwrap();
        let value: Value = serde_json::from_str(&text_of(&of).unwrap()).unwrap();
        let mut unknown = value.clone();
        unknown["profiles"]["asset_4k"]["figures"]["p95"] = 1.into();
        assert!(report(unknown).is_err_and(|error| error.contains("unknown field `p95`")));
        let mut negative = value;
        negative["profiles"]["asset_4k"]["figures"]["rps"] = (-1).into();
        assert!(report(negative).is_err_and(|error| error.contains("profile asset_4k has a figure of -1")));
    }
}
