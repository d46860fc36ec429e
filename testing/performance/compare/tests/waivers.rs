//! Waivers: what they need, what they do, and when they end.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use perf_compare::compare::{Comparison, Settings, Verdict, compare};
use perf_compare::date::Day;
use perf_compare::read;
use perf_compare::waiver::{self, Waiver};

/// asset_4k is slower and larger than before.
fn comparison() -> Comparison {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/perf.json");
    let (mut report, baseline) = (read::report(&path).unwrap(), read::report(&path).unwrap());
    let figures = &mut report.profiles.get_mut("asset_4k").unwrap().figures;
    (figures.rps, figures.rss_mib) = (Some(50_000.0), Some(40.0));
    let comparison = compare(&report, &baseline, &Settings::default()).unwrap();
    assert!(!comparison.held());
    comparison
}

fn flags(waives: &[&str], notes: &[&str]) -> Result<Vec<Waiver>, String> {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    waiver::of_flags(&owned(waives), &owned(notes)).map_err(|error| error.to_string())
}

fn filed(text: &str) -> Result<Vec<Waiver>, String> {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("waivers.json");
    std::fs::write(&path, text).unwrap();
    waiver::of_file(&path, Day::parse("2026-11-23").unwrap()).map_err(|error| error.to_string())
}

#[test]
fn a_waived_gate_does_not_fail_and_an_unwaived_one_does() {
    let mut one = comparison();
    waiver::apply(&mut one, &flags(&["asset_4k:rps"], &["verified now"]).unwrap());
    assert!(!one.held());
    let mut both = comparison();
    waiver::apply(&mut both, &flags(&["asset_4k:rps", "asset_4k:memory"], &["verified now"]).unwrap());
    assert!(both.held());
    let waived: Vec<_> = both.judgements.iter().filter(|each| each.verdict == Verdict::Waived).collect();
    assert_eq!(waived.len(), 2);
    assert!(waived.iter().all(|each| each.note.as_deref() == Some("verified now")));
}

#[test]
fn a_waiver_needs_a_note() {
    for (waives, notes) in
        [(&["asset_4k:rps"][..], &[][..]), (&["asset_4k:rps"], &["  "]), (&["a:rps", "b:rps"], &["x", ""])]
    {
        assert!(flags(waives, notes).is_err_and(|error| error.contains("a waiver needs a note")), "{notes:?}");
    }
    assert!(flags(&["a:rps", "b:rps", "c:rps"], &["x", "y"]).is_err());
    assert!(flags(&[], &["x"]).is_err_and(|error| error.contains("--note is for it")));
}

#[test]
fn each_waiver_has_its_own_note_where_there_are_as_many() {
    let waivers = flags(&["a:rps", "b:cpu"], &["x", "y"]).unwrap();
    assert_eq!(waivers.iter().map(|each| each.note.as_str()).collect::<Vec<_>>(), ["x", "y"]);
}

#[test]
fn a_waiver_that_is_not_written_as_one_is_told_how() {
    assert!(flags(&["asset_4k"], &["x"]).is_err_and(|error| error.contains("expected PROFILE:GATE")));
    assert!(flags(&["asset_4k:rsp"], &["x"]).is_err_and(|error| error.contains("did you mean `rps`?")));
}

#[test]
fn a_waiver_that_waives_nothing_is_a_warning() {
    let mut comparison = comparison();
    let waivers = flags(&["asset_4k:rps", "asset_4k:memory", "asset_4k:p95", "nowhere:rps"], &["x"]).unwrap();
    waiver::apply(&mut comparison, &waivers);
    assert!(comparison.held());
    let warnings: Vec<_> = comparison.notes.iter().filter(|note| note.starts_with("warning: ")).collect();
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].contains("asset_4k:p95 waives nothing") && warnings[1].contains("nowhere:rps waives nothing"));
}

#[test]
fn a_waiver_of_a_file_counts_to_the_end_of_its_last_day() {
    let text = |until: &str| format!(r#"[{{"profile":"asset_4k","gate":"rps","note":"x","until":"{until}"}}]"#);
    assert_eq!(filed(&text("2026-11-23")).unwrap()[0].until, Day::parse("2026-11-23"));
    assert!(filed(&text("2026-11-22")).is_err_and(|error| error.contains("asset_4k:rps ended on 2026-11-22")));
    assert!(filed(&text("soon")).is_err_and(|error| error.contains("\"soon\", which is no day")));
    assert_eq!(filed("[]").unwrap(), []);
}

#[test]
fn a_waiver_of_a_file_needs_note_and_last_day_and_no_key_that_waivers_have_not() {
    for (text, what) in [
        (r#"[{"profile":"a","gate":"rps","until":"2027-01-01"}]"#, "waiver 1: a:rps has no note"),
        (r#"[{"profile":"a","gate":"rps","note":" ","until":"2027-01-01"}]"#, "a:rps has no note"),
        (r#"[{"profile":"a","gate":"rps","note":"x"}]"#, "a:rps has no last day"),
        (r#"[{"profile":"a","gate":"speed","note":"x","until":"2027-01-01"}]"#, "there is no gate `speed`"),
        (r#"[{"profile":"a","gate":"rps","note":"x","untill":"2027-01-01"}]"#, "unknown field `untill`"),
        (r#"[{"profile":"a","gate":"rps","note":"x","until":"2027-01-01"},3]"#, "waiver 2: "),
        (r#"{"profile":"a"}"#, "expected a list of waivers"),
        ("[", "not JSON"),
    ] {
        let error = filed(text).unwrap_err();
        assert!(error.contains("waivers.json") && error.contains(what), "{error}");
    }
}

#[test]
fn a_waiver_that_does_not_count_is_named_and_changes_nothing() {
    let mut comparison = comparison();
    waiver::refuse(&mut comparison, &flags(&["asset_4k:rps"], &["x"]).unwrap());
    assert!(!comparison.held());
    assert!(comparison.notes.iter().any(|note| note.contains("asset_4k:rps does not count without --waivers-allowed")));
}
