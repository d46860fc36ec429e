//! The alert rules, the dashboard and the runbook: they name what there is, and each other. What Prometheus itself makes of the rules is asked by
//! testing/test.sh.

#![allow(clippy::unwrap_used, clippy::panic, clippy::type_complexity)]

mod promql;

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use svc_edge::observe::metrics::BUCKETS_US;

use promql::{faults, metrics, selectors};

const RULES: &str = "conf/prometheus/alerts.yml";
const RULES_TEST: &str = "conf/prometheus/alerts_test.yml";
const DASHBOARD: &str = "conf/grafana/svc-edge.json";
const RUNBOOK: &str = "docs/RUNBOOK.md";

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The rules: alert, expression, annotations.
struct Rule {
    alert: String,
    expression: String,
    runbook: String,
    severity: String,
    summary: String,
}

fn rules() -> Vec<Rule> {
    let text = read(RULES);
    let parsed: Value = serde_yaml::from_str(&text).unwrap();
    let groups = parsed["groups"].as_array().unwrap();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    rules
        .map(|rule| Rule {
            alert: text(&rule["alert"]),
            expression: text(&rule["expr"]),
            runbook: text(&rule["annotations"]["runbook_url"]),
            severity: text(&rule["labels"]["severity"]),
            summary: text(&rule["annotations"]["summary"]),
        })
        .collect()
}

/// Title and text of each section of the runbook, with the heading it stands below.
fn sections() -> Vec<(String, String, String)> {
    let page = read(RUNBOOK);
    let (mut part, mut found) = (String::new(), Vec::<(String, String, String)>::new());
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("# ") {
            part = title.to_owned();
        } else if let Some(title) =
            line.strip_prefix("### ").or(line.strip_prefix("## ").filter(|_| part == "Situations"))
        {
            found.push((part.clone(), title.to_owned(), String::new()));
        } else if let Some((.., text)) = found.last_mut() {
            text.push_str(line);
            text.push('\n');
        }
    }
    found
}

/// The anchor of a heading, as forges make it.
fn anchor(title: &str) -> String {
    let kept = title.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
}

#[test]
fn every_alert_names_metrics_that_there_are_and_says_what_to_do() {
    let rules = rules();
    assert!(rules.len() >= 20, "the rules were read");
    let names: BTreeSet<_> = rules.iter().map(|rule| &rule.alert).collect();
    assert_eq!(names.len(), rules.len(), "each alert once");
    for rule in &rules {
        assert_eq!(faults(&rule.expression), Vec::<String>::new(), "{}", rule.alert);
        assert!(["critical", "warning", "info"].contains(&rule.severity.as_str()), "{}: {}", rule.alert, rule.severity);
        assert!(rule.summary.starts_with("{{ $labels.instance }}: "), "{}: {}", rule.alert, rule.summary);
        assert_eq!(rule.runbook, format!("{RUNBOOK}#{}", anchor(&rule.alert)), "{}", rule.alert);
        // A bucket that is none has no series: the rule would be silent for ever.
        for (_, matchers) in selectors(&rule.expression) {
            for (_, _, bound) in matchers.iter().filter(|(label, ..)| label == "le") {
                let us = bound.parse::<f64>().unwrap() * 1e6;
                assert!(BUCKETS_US.contains(&(us.round() as u64)), "{}: {bound}", rule.alert);
            }
        }
    }
}

#[test]
fn every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() {
    let parsed: Value = serde_yaml::from_str(&read(RULES_TEST)).unwrap();
    let cases = parsed["tests"].as_array().unwrap();
    for rule in rules() {
        let case = cases.iter().find(|case| case["name"] == rule.alert.as_str());
        let case = case.unwrap_or_else(|| panic!("{} has no case", rule.alert));
        let series: Vec<_> =
            case["input_series"].as_array().unwrap().iter().filter_map(|s| s["series"].as_str()).collect();
        for node in ["a", "b"] {
            let of_node = format!("instance=\"{node}\"");
            assert!(series.iter().any(|series| series.contains(&of_node)), "{}: no node {node}", rule.alert);
        }
        series.iter().for_each(|series| assert_eq!(faults(series), Vec::<String>::new(), "{}", rule.alert));
        let asked = case["alert_rule_test"].as_array().unwrap();
        assert!(asked.iter().all(|asked| asked["alertname"] == rule.alert.as_str()), "{}", rule.alert);
        let fired = asked.iter().filter_map(|asked| asked["exp_alerts"].as_array()).find(|fired| !fired.is_empty());
        let fired = fired.unwrap_or_else(|| panic!("{} never fires", rule.alert));
        assert!(fired.iter().all(|fired| fired["exp_labels"]["instance"] == "a"), "{}", rule.alert);
    }
}

#[test]
fn every_alert_has_a_section_and_every_section_an_alert() {
    let alerts: BTreeSet<_> = rules().into_iter().map(|rule| rule.alert).collect();
    let of_alerts: BTreeSet<_> =
        sections().into_iter().filter(|(part, ..)| part == "Alerts").map(|(_, title, _)| title).collect();
    assert_eq!(alerts, of_alerts);
    for (part, title, text) in sections() {
        if part == "Alerts" {
            for what in ["\n- **Look**: ", "\n- **Do**: ", "\n- **Over**: "] {
                assert_eq!(text.matches(what).count(), 1, "{title}: {what}");
            }
        }
    }
    for situation in
        ["A node is slow", "A disk is full", "An origin is down", "A pack is corrupt", "Certificate", "Upgrade failed"]
    {
        assert!(sections().iter().any(|(part, title, _)| part == "Situations" && title == situation), "{situation}");
    }
}

#[test]
fn the_runbook_leads_to_sections_and_metrics_that_there_are() {
    let page = read(RUNBOOK);
    let mut anchors: BTreeSet<_> = sections().iter().map(|(_, title, _)| anchor(title)).collect();
    anchors.insert("situations".into());
    for link in page.split("](#").skip(1) {
        let to = link.split(')').next().unwrap();
        assert!(anchors.contains(to), "#{to}");
    }
    for link in page.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()).filter(|to| !to.is_empty())
    {
        let file = format!("{}/docs/{link}", env!("CARGO_MANIFEST_DIR"));
        assert!(std::path::Path::new(&file).exists(), "{link}");
    }
    // What ends as our metrics do, in whatever command or expression.
    let known = metrics();
    let words = page.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let mut seen = 0;
    for word in
        words.filter(|word| word.starts_with("edge_") || word.ends_with("_total") || word.ends_with("_seconds_bucket"))
    {
        let base = word.strip_suffix("_bucket").unwrap_or(word);
        assert!(known.contains_key(base), "no metric {word}");
        seen += 1;
    }
    assert!(seen > 50, "{seen} metrics were found");
}

#[test]
fn the_page_of_the_audit_file_names_every_event() {
    let (source, page) = (read("src/observe/event.rs"), read("docs/audit.md"));
    // Each event's level and name stand in one line of its table.
    let names: BTreeSet<_> = source
        .lines()
        .filter(|line| line.contains("Self::"))
        .filter_map(|line| line.split_once("(Level::")?.1.split('"').nth(1))
        .chain(["refused"])
        .collect();
    assert!(names.len() > 20, "{names:?}");
    let rows: String =
        page.lines().filter(|line| line.starts_with("| `")).map(|line| line.split('|').nth(1).unwrap()).collect();
    let told: BTreeSet<_> = rows.split('`').skip(1).step_by(2).collect();
    assert_eq!(names, told);
}

/// The dashboard, and each expression in it with its panel's title; the variables of Grafana are replaced.
fn dashboard() -> (Value, Vec<(String, String)>) {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            expressions.push((panel["title"].to_string(), target["expr"].as_str().unwrap().to_owned()));
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        expressions.push((annotation["name"].to_string(), annotation["expr"].as_str().unwrap().to_owned()));
    }
    for (_, expression) in &mut expressions {
        for (variable, value) in
            [("$__rate_interval", "5m"), ("$__interval", "1m"), ("$job", "svc-edge"), ("$instance", ".*")]
        {
            *expression = expression.replace(variable, value);
        }
        assert!(!expression.contains('$'), "an unknown variable: {expression}");
    }
    (dashboard, expressions)
}

#[test]
fn every_panel_of_the_dashboard_shows_metrics_that_there_are() {
    let (dashboard, expressions) = dashboard();
    assert!(expressions.len() > 40, "the expressions were read");
    for (title, expression) in &expressions {
        assert_eq!(faults(expression), Vec::<String>::new(), "{title}");
    }
    let panels = dashboard["panels"].as_array().unwrap();
    let rows: Vec<_> =
        panels.iter().filter(|panel| panel["type"] == "row").filter_map(|row| row["title"].as_str()).collect();
    assert_eq!(rows, ["Traffic", "Latency", "Hits", "Fills", "Shedding", "CAS", "Process"]);
    let ids: BTreeSet<_> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    let names: Vec<_> = dashboard["templating"]["list"].as_array().unwrap().iter().map(|v| v["name"].clone()).collect();
    assert_eq!(names, ["datasource", "job", "instance"]);
    let mut taken = BTreeSet::new();
    for panel in panels {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{}", panel["title"]);
        for (x, y) in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
            assert!(taken.insert((x, y)), "{} lies over another panel", panel["title"]);
        }
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        }
    }
}

#[test]
fn prometheus_understands_every_expression_of_the_dashboard() {
    if Command::new("promtool").arg("--version").output().is_err() {
        println!("skipped: promtool is not installed (Debian's package prometheus)");
        return;
    }
    let (_, expressions) = dashboard();
    let rules: Vec<_> = expressions
        .iter()
        .enumerate()
        .map(|(n, (_, expression))| serde_json::json!({"record": format!("panel:{n}"), "expr": expression}))
        .collect();
    let file = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    let dir = tempfile::tempdir().unwrap();
    // JSON is YAML.
    std::fs::write(dir.path().join("rules.yml"), file.to_string()).unwrap();
    let checked = Command::new("promtool").args(["check", "rules"]).arg(dir.path().join("rules.yml")).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
