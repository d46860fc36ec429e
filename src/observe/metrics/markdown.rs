//! `docs/metrics.md`, made from the table.

use std::fmt::Write as _;

use super::families::{Metric, Source};
use super::series::BUCKETS_US;
use super::table::TABLE;
use super::{certificates, origins};

const PREFACE: &str = "\
<!-- Written by `svc-edge docs metrics` from src/observe/metrics/table.rs. -->
# Metrics

`GET /metrics` on the admin listener (`edge.metrics`) answers these in the text format of Prometheus, beside the process collector's
`process_*`. Every series exists at zero from the start, and labels take no value but those written here; those
of `origin` and of certificates stand in the conf. A counter starts again at zero with the process.

| name | type | labels | what |
|---|---|---|---|
";

/// `docs/metrics.md`, made from the table.
pub fn markdown() -> String {
    let mut page = PREFACE.to_owned();
    for metric in TABLE {
        let kind = match metric.source {
            Source::Counter(_) | Source::Family(_) | Source::ByOrigin(_) => "counter",
            Source::Gauge(_)
            | Source::Gauges(_)
            | Source::GaugeByOrigin(_)
            | Source::ByCertificate(_)
            | Source::BuildInfo => "gauge",
            Source::Histogram(_) => "histogram",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(page, "| `{}` | {kind} | {} | {} |", metric.name, metric.labels_text(), metric.help);
    }
    let bounds: Vec<String> = BUCKETS_US.iter().map(|bound| (*bound as f64 / 1e6).to_string()).collect();
    let _ = writeln!(page, "\nUpper bounds of the buckets of a histogram, in seconds: {}.", bounds.join(", "));
    page
}

impl Metric {
    /// Its labels with the values they can take, for the documentation. Those of a build are its own.
    fn labels_text(&self) -> String {
        match &self.source {
            Source::ByOrigin(_) | Source::GaugeByOrigin(_) => return format!("`origin`: {}", origins::VALUES),
            Source::ByCertificate(_) => return format!("`name`: {}", certificates::VALUES),
            _ => {}
        }
        let sets = self.label_values();
        let text = |(index, name): (usize, &&str)| match sets.get(index) {
            Some(values) => format!("`{name}`: {}", values.join(", ")),
            None => format!("`{name}`"),
        };
        self.labels.iter().enumerate().map(text).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_page_names_every_value_that_a_series_shows() {
        let page = markdown();
        for metric in TABLE {
            let head = format!("| `{}` |", metric.name);
            let row = page.lines().find(|line| line.starts_with(&head)).unwrap();
            let Source::Family(family) = &metric.source else { continue };
            for value in (0..family.count()).flat_map(|flat| family.series(flat).0) {
                assert!(row.contains(value), "{}: {value}", metric.name);
            }
        }
    }
}
