//! What expressions of PromQL name, held against the table of metrics.

use std::collections::BTreeMap;

use svc_edge::observe::metrics::{Source, TABLE};

/// What Prometheus adds to each target, and what the process collector has (`tests/e2e/admin.rs` sees some of it).
const OTHERS: [&str; 8] = [
    "up",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];

/// Every metric: its labels, each with the values that it can take; none where any may come.
pub fn metrics() -> BTreeMap<&'static str, BTreeMap<&'static str, Vec<&'static str>>> {
    let table = TABLE.iter().map(|metric| {
        let sets = metric.label_values();
        let label = |(at, label): (usize, &&'static str)| (*label, sets.get(at).map_or(Vec::new(), |set| set.to_vec()));
        (metric.name, metric.labels.iter().enumerate().map(label).collect())
    });
    let others = OTHERS.iter().map(|name| (*name, BTreeMap::new()));
    // Later ones win: the table knows best.
    others.chain(table).collect()
}

/// A metric that an expression names, and what it asks of its labels: label, operator, value.
pub type Selector = (String, Vec<(String, String, String)>);

/// The metrics that an expression of PromQL names. What is a function, a keyword, or a label in parentheses is left out.
pub fn selectors(expression: &str) -> Vec<Selector> {
    const WORDS: [&str; 18] = [
        "and",
        "or",
        "unless",
        "on",
        "ignoring",
        "by",
        "without",
        "group_left",
        "group_right",
        "offset",
        "bool",
        "inf",
        "nan",
        // Where `by` stands between them and what they are of.
        "avg",
        "count",
        "max",
        "min",
        "sum",
    ];
    let mut found: Vec<Selector> = Vec::new();
    let mut rest = expression;
    let mut labels_follow = false;
    while let Some(first) = rest.chars().next() {
        let word: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':')).collect();
        if word.is_empty() {
            // The labels of `by (…)`, a duration, text: nothing of these is a metric.
            let end = match first {
                '(' if labels_follow => rest.find(')').unwrap() + 1,
                '[' => rest.find(']').unwrap() + 1,
                '"' => rest[1..].find('"').unwrap() + 2,
                '$' => 1 + rest[1..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').count(),
                _ => first.len_utf8(),
            };
            labels_follow &= first == ' ';
            rest = &rest[end..];
            continue;
        }
        rest = &rest[word.len()..];
        labels_follow = matches!(word.as_str(), "by" | "on" | "without" | "ignoring" | "group_left" | "group_right");
        let function = rest.trim_start().starts_with('(');
        if labels_follow || function || WORDS.contains(&word.as_str()) || word.starts_with(|c: char| c.is_ascii_digit())
        {
            continue;
        }
        let mut matchers = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            let end = inner.find('}').unwrap();
            matchers = inner[..end].split(", ").map(matcher).collect();
            rest = &inner[end + 1..];
        }
        found.push((word, matchers));
    }
    found
}

fn matcher(text: &str) -> (String, String, String) {
    let at = text.find(['=', '!']).unwrap_or_else(|| panic!("{text}"));
    let (label, rest) = text.split_at(at);
    let (operator, value) = rest.split_once('"').unwrap_or_else(|| panic!("{text}"));
    (label.trim().into(), operator.into(), value.trim_end_matches('"').into())
}

/// What is wrong with an expression: metrics, labels or values that there are none of.
pub fn faults(expression: &str) -> Vec<String> {
    let known = metrics();
    let histogram = |name: &str| {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix))?;
        TABLE.iter().find(|metric| metric.name == base && matches!(metric.source, Source::Histogram(_)))
    };
    let mut faults = Vec::new();
    for (name, matchers) in selectors(expression) {
        let base = histogram(&name).map_or(name.as_str(), |metric| metric.name);
        let Some(labels) = known.get(base) else {
            faults.push(format!("no metric {name}"));
            continue;
        };
        if TABLE.iter().any(|metric| metric.name == name && matches!(metric.source, Source::Histogram(_))) {
            faults.push(format!("{name} has no series of that name, but _bucket, _sum and _count"));
        }
        for (label, _, wanted) in matchers {
            if matches!(label.as_str(), "job" | "instance") || (label == "le" && name.ends_with("_bucket")) {
                continue;
            }
            let Some(values) = labels.get(label.as_str()) else {
                faults.push(format!("{name} has no label {label}"));
                continue;
            };
            let there = |wanted: &str| values.is_empty() || values.contains(&wanted);
            faults
                .extend(wanted.split('|').filter(|one| !there(one)).map(|one| format!("{name}: no {label} is {one}")));
        }
    }
    faults
}

#[test]
fn an_expression_s_metrics_labels_and_values_are_found() {
    let expression = r#"sum by (job, le) (rate(a_total{x="1", y=~"2|3"}[5m])) / on (job) b_total > 0.5 or c{z!="4"}[$__rate_interval]"#;
    let names: Vec<_> = selectors(expression).into_iter().map(|(name, matchers)| (name, matchers.len())).collect();
    assert_eq!(names, [("a_total".into(), 2), ("b_total".into(), 0), ("c".into(), 1)]);
    for (right, wrong) in [
        (r#"rate(rejected_total{reason="timeout"}[5m])"#, r#"rate(rejected_total{reason="timeuot"}[5m])"#),
        ("edge_ready == 0", "edge_raedy == 0"),
        (r#"up{job="svc-edge"}"#, r#"edge_ready{condition="listener"}"#),
        (r#"request_latency_seconds_bucket{route="tile", le="0.25"}"#, r#"request_latency_seconds{route="tile"}"#),
        (r#"edge_origin_circuit_open{origin="any/"}"#, r#"edge_origin_circuit_open{prefix="any/"}"#),
    ] {
        assert_eq!(faults(right), Vec::<String>::new());
        assert_eq!(faults(wrong).len(), 1, "{wrong}");
    }
}
