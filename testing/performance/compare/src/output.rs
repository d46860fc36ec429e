//! Prints what was judged: a Markdown table for people and pull requests, JSON for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::bounds::Measured;
use crate::compare::{Basis, Comparison, Judgement, Verdict};
use crate::gate::Gate;

/// The comparison as Markdown.
pub fn markdown(comparison: &Comparison) -> String {
    let mut out = String::new();
    notes(&mut out, &comparison.notes);
    out.push_str("| profile | gate | baseline | now | change | verdict |\n|---|---|---|---|---|---|\n");
    for each in &comparison.judgements {
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            cell(&each.profile),
            cell(&gate_of(each)),
            value_of(each, each.baseline),
            value_of(each, each.now),
            change_of(each),
            cell(&verdict_of(each))
        );
    }
    let count = |verdict| comparison.judgements.iter().filter(|each| each.verdict == verdict).count();
    let (failed, waived, left) = (count(Verdict::Failed), count(Verdict::Waived), count(Verdict::NotComparable));
    let judged = comparison.judgements.len() - left;
    let _ = writeln!(out, "\n{judged} gates judged: {failed} failed, {waived} waived; {left} not comparable.");
    out
}

/// The comparison as JSON, with the table's rows in full.
pub fn json(comparison: &Comparison) -> String {
    let rows: Vec<Value> = comparison
        .judgements
        .iter()
        .map(|each| {
            json!({
                "profile": each.profile, "gate": each.gate.name(), "figure": each.figure, "peer": each.peer,
                "baseline": each.baseline, "now": each.now, "change": each.change, "bound": each.bound,
                "verdict": each.verdict, "note": each.note,
            })
        })
        .collect();
    pretty(&json!({
        "schema": 1, "kind": "svc-edge-perf-comparison", "held": comparison.held(), "basis": comparison.basis,
        "notes": comparison.notes, "gates": rows,
    }))
}

/// The gates file's bounds as Markdown.
pub fn bounds_markdown(measured: &[Measured], runs: usize) -> String {
    let mut out = String::from("| profile | bound | allowed | now | verdict |\n|---|---|---|---|---|\n");
    for each in measured {
        let bound = &each.bound;
        let peer = bound.peer.as_ref().map(|peer| format!(", ratio to {peer}")).unwrap_or_default();
        let verdict = match (each.held, each.earlier) {
            (true, Some(run)) => format!("held in run {run} of {runs}"),
            (true, None) => "held".to_owned(),
            (false, _) if runs > 1 => format!("**failed** in each of {runs} runs"),
            (false, _) => "**failed**".to_owned(),
        };
        let (profile, name) = (cell(&bound.profile), cell(&format!("{}{peer}", bound.key)));
        let _ = writeln!(out, "| {profile} | {name} | {} | {} | {verdict} |", number(bound.value), number(each.now));
    }
    out
}

/// The gates file's bounds as JSON.
pub fn bounds_json(measured: &[Measured]) -> String {
    let rows: Vec<Value> = measured
        .iter()
        .map(|each| {
            json!({
                "profile": each.bound.profile, "peer": each.bound.peer, "bound": each.bound.key, "allowed": each.bound.value,
                "now": each.now, "held": each.held, "earlier_run": each.earlier,
            })
        })
        .collect();
    let held = measured.iter().all(|each| each.held);
    pretty(&json!({"schema": 1, "kind": "svc-edge-perf-gates", "held": held, "gates": rows}))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn notes(out: &mut String, notes: &[String]) {
    for note in notes {
        let _ = writeln!(out, "{}\n", line(note));
    }
}

fn gate_of(each: &Judgement) -> String {
    match &each.peer {
        Some(peer) => format!("{}, ratio to {peer}", each.gate.name()),
        None => each.gate.name().to_owned(),
    }
}

fn value_of(each: &Judgement, value: Option<f64>) -> String {
    let Some(value) = value else { return "–".to_owned() };
    let unit = match each.gate {
        _ if each.peer.is_some() => "",
        Gate::P95 => " ms",
        Gate::Rps => " /s",
        Gate::Cpu => " µs",
        Gate::Memory => " MiB",
        Gate::Shed | Gate::Errors => return format!("{:.3} %", value * 100.0),
        Gate::Profile => "",
    };
    format!("{}{unit}", number(value))
}

fn change_of(each: &Judgement) -> String {
    let Some(change) = each.change else { return "–".to_owned() };
    match each.gate {
        Gate::Shed | Gate::Errors => format!("{:+.3} pp (bound {} pp)", change * 100.0, number(each.bound * 100.0)),
        _ if change.is_infinite() => "from 0".to_owned(),
        Gate::Rps => format!("{:+.1} % (bound −{} %)", change * 100.0, number(each.bound * 100.0)),
        _ => format!("{:+.1} % (bound +{} %)", change * 100.0, number(each.bound * 100.0)),
    }
}

fn verdict_of(each: &Judgement) -> String {
    let verdict = match each.verdict {
        Verdict::Held => "held",
        Verdict::Noise => "held",
        Verdict::Failed => "**failed**",
        Verdict::Waived => "waived",
        Verdict::NotComparable => "not comparable",
    };
    each.note.as_ref().map_or(verdict.to_owned(), |note| format!("{verdict}: {note}"))
}

/// Four digits or so: what a reader compares, not what a float has.
fn number(value: f64) -> String {
    let text = match value {
        _ if value >= 1000.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Text in a cell: names and notes are of files that others wrote, and end neither the cell nor the line.
fn cell(text: &str) -> String {
    line(text).replace('|', "\\|")
}

fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A line that says what was compared, for those who read the last one alone.
pub fn verdict(comparison: &Comparison) -> String {
    let basis = match comparison.basis {
        Basis::Absolute => "absolute figures",
        Basis::Ratios => "ratios to a peer",
    };
    let failed: Vec<String> = comparison
        .judgements
        .iter()
        .filter(|each| each.verdict == Verdict::Failed)
        .map(|each| format!("{}:{}", line(&each.profile), each.gate.name()))
        .collect();
    match failed.is_empty() {
        true => format!("held, by {basis}"),
        false => format!("failed, by {basis}: {}", failed.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_a_reader_compares() {
        let cases = [
            (0.25, "0.25"),
            (1.0, "1"),
            (12.34, "12.3"),
            (91_234.6, "91235"),
            (0.0, "0"),
            (1000.0, "1000"),
            (100.0, "100"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_name_from_a_file_ends_neither_its_cell_nor_its_line() {
        assert_eq!(cell("a|b\n| c"), "a\\|b \\| c");
    }
}
