//! The table of metrics, and its three readings: the text of `/metrics`, `docs/metrics.md`, and the tests that keep both true.

use std::fmt::Write as _;

use prometheus::core::Collector as _;
use prometheus::proto;

use super::origins::{self, ByOrigin};
use super::series::{BUCKETS_US, Counter, Counters, Gauge, Gauges, Histograms, Label, Labels};
use super::table;

/// One row of the table.
pub struct Metric {
    /// The name as it stands in Prometheus.
    pub name: &'static str,
    /// What it counts, one sentence.
    pub help: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// Where its values are.
    pub source: Source,
}

/// Where the values of a metric are.
pub enum Source {
    /// One counter.
    Counter(&'static Counter),
    /// One gauge.
    Gauge(&'static Gauge),
    /// A counter for each combination of labels.
    Family(&'static (dyn Family + Sync)),
    /// A gauge for each combination of labels.
    Gauges(&'static (dyn Levels + Sync)),
    /// A counter for each origin of the conf.
    ByOrigin(&'static ByOrigin),
    /// A gauge for each origin of the conf.
    GaugeByOrigin(&'static ByOrigin),
    /// A histogram for each label value.
    Histogram(&'static (dyn Buckets + Sync)),
    /// Always 1; its labels are the version and the commit.
    BuildInfo,
}

/// Counters by label, with the labels' type erased.
pub trait Family {
    /// Number of series.
    fn count(&self) -> usize;
    /// Label values and count of one series.
    fn series(&self, flat: usize) -> (Vec<&'static str>, u64);
    /// For each label, every value it can take.
    fn label_values(&self) -> Vec<&'static [&'static str]>;
}

impl<L: Labels> Family for Counters<L> {
    fn count(&self) -> usize {
        L::COUNT
    }
    fn series(&self, flat: usize) -> (Vec<&'static str>, u64) {
        (L::values(flat), self.sum(flat))
    }
    fn label_values(&self) -> Vec<&'static [&'static str]> {
        L::sets()
    }
}

/// Gauges by label, with the labels' type erased.
pub trait Levels {
    /// Number of series.
    fn count(&self) -> usize;
    /// Label values and level of one series.
    fn series(&self, flat: usize) -> (Vec<&'static str>, i64);
    /// For each label, every value it can take.
    fn label_values(&self) -> Vec<&'static [&'static str]>;
}

impl<L: Labels> Levels for Gauges<L> {
    fn count(&self) -> usize {
        L::COUNT
    }
    fn series(&self, flat: usize) -> (Vec<&'static str>, i64) {
        (L::values(flat), self.sum(flat))
    }
    fn label_values(&self) -> Vec<&'static [&'static str]> {
        L::sets()
    }
}

/// Histograms by label, with the label's type erased.
pub trait Buckets {
    /// The label's values.
    fn values(&self) -> &'static [&'static str];
    /// Counts of each bucket, not cumulative, the last above all bounds; and the sum in microseconds.
    fn read(&self, index: usize) -> (Vec<u64>, u64);
}

impl<L: Label> Buckets for Histograms<L> {
    fn values(&self) -> &'static [&'static str] {
        L::VALUES
    }
    fn read(&self, index: usize) -> (Vec<u64>, u64) {
        let (counts, sum) = Histograms::read(self, index);
        (counts.to_vec(), sum)
    }
}

macro_rules! row {
    ($name:literal, [$($label:literal),*], $source:expr, $help:literal) => {
        Metric { name: $name, help: $help, labels: &[$($label),*], source: $source }
    };
}

/// Every metric of ours; the process collector's (`process_*`) come beside them.
pub static TABLE: &[Metric] = &[
    row!(
        "http_requests_total",
        ["route", "method", "status"],
        Source::Family(&table::HTTP_REQUESTS),
        "Requests answered, by route, method and status."
    ),
    row!(
        "request_latency_seconds",
        ["route"],
        Source::Histogram(&table::REQUEST_LATENCY),
        "Time from the end of the request's header to the end of the answer."
    ),
    row!("edge_inflight", [], Source::Gauge(&table::INFLIGHT), "Requests being answered now."),
    row!(
        "rejected_total",
        ["reason"],
        Source::Family(&table::REJECTED),
        "Requests refused; the reason is the one in X-Reason and in the log."
    ),
    row!(
        "edge_cache_hits_total",
        ["kind"],
        Source::Family(&table::CACHE_HITS),
        "Requests answered from a pack or from the CAS."
    ),
    row!(
        "edge_cache_misses_total",
        ["cause"],
        Source::Family(&table::CACHE_MISSES),
        "Requests that no store could answer."
    ),
    row!(
        "edge_range_requests_total",
        ["result"],
        Source::Family(&table::RANGE_REQUESTS),
        "Requests with a Range, by what became of it."
    ),
    row!("edge_bytes_out_total", [], Source::Counter(&table::BYTES_OUT), "Body bytes sent."),
    row!(
        "edge_cas_writes_total",
        ["status"],
        Source::Family(&table::CAS_WRITES),
        "Blobs written to the CAS by this process."
    ),
    row!("edge_cas_bytes", [], Source::Gauge(&table::CAS_BYTES), "Allocated bytes of the blobs in the CAS."),
    row!("edge_cas_objects", [], Source::Gauge(&table::CAS_OBJECTS), "Objects in the index of the CAS."),
    row!(
        "edge_cas_evictions_total",
        [],
        Source::Counter(&table::CAS_EVICTIONS),
        "Objects evicted to keep the CAS below its bounds."
    ),
    row!(
        "edge_verify_failures_total",
        ["kind"],
        Source::Family(&table::VERIFY_FAILURES),
        "Bytes that contradicted their hash, their directory or their format."
    ),
    row!("io_timeouts_total", ["op"], Source::Family(&table::IO_TIMEOUTS), "Work given up at its deadline."),
    row!(
        "edge_live_fill_attempts_total",
        ["origin"],
        Source::ByOrigin(&table::FILL_ATTEMPTS),
        "Requests sent to an origin, each try of a fill counted."
    ),
    row!(
        "edge_live_fill_success_total",
        ["origin"],
        Source::ByOrigin(&table::FILL_SUCCESS),
        "Answers of an origin received whole, whatever their status."
    ),
    row!(
        "edge_origin_circuit_open",
        ["origin"],
        Source::GaugeByOrigin(&table::CIRCUIT_OPEN),
        "1 while an origin is left alone after repeated failures, else 0."
    ),
    row!(
        "backoff_retries_total",
        ["op"],
        Source::Family(&table::BACKOFF_RETRIES),
        "Requests to origins tried again, by what made the try before fail."
    ),
    row!(
        "bus_lagged_total",
        ["bus"],
        Source::Family(&table::BUS_LAGGED),
        "Events and log lines lost because their reader could not keep up."
    ),
    row!(
        "service_restarts_total",
        ["component"],
        Source::Family(&table::SERVICE_RESTARTS),
        "Restarts of a supervised component after a panic."
    ),
    row!("edge_queue_depth", ["queue"], Source::Gauges(&table::QUEUE_DEPTH), "What waits in a bounded queue now."),
    row!(
        "edge_queue_dropped_total",
        ["queue"],
        Source::Family(&table::QUEUE_DROPPED),
        "What was refused because its queue was full."
    ),
    row!(
        "busy_rejections_total",
        ["endpoint"],
        Source::Family(&table::BUSY_REJECTIONS),
        "Requests that found every place taken: in the queue of fills, or among the answers that pass through."
    ),
    row!(
        "fill_latency_seconds",
        [],
        Source::Histogram(&table::FILL_LATENCY),
        "Time from the first wish for an object to the commit of its fill."
    ),
    row!("edge_ready", [], Source::Gauge(&table::READY), "1 while every readiness condition holds, else 0."),
    row!("edge_build_info", ["version", "commit"], Source::BuildInfo, "Always 1; the labels say what runs."),
];

/// The text format of Prometheus 0.0.4.
pub fn text(version: &str, commit: &str) -> String {
    let mut families: Vec<proto::MetricFamily> = TABLE.iter().map(|metric| metric.family(version, commit)).collect();
    // Offline no origin is counted, and the encoder takes no family without a series.
    families.retain(|family| !family.get_metric().is_empty());
    families.extend(prometheus::process_collector::ProcessCollector::for_self().collect());
    // A family that cannot be encoded would be a defect of the table, which a test would have shown.
    prometheus::TextEncoder::new().encode_to_string(&families).unwrap_or_default()
}

impl Metric {
    fn family(&self, version: &str, commit: &str) -> proto::MetricFamily {
        let mut family = proto::MetricFamily::default();
        family.set_name(self.name.into());
        family.set_help(self.help.into());
        let (kind, metrics) = match &self.source {
            Source::Counter(counter) => (proto::MetricType::COUNTER, vec![counter_metric(vec![], counter.get())]),
            Source::Gauge(gauge) => (proto::MetricType::GAUGE, vec![gauge_metric(vec![], gauge.get())]),
            Source::BuildInfo => (proto::MetricType::GAUGE, vec![gauge_metric(self.pairs(&[version, commit]), 1)]),
            Source::Family(family) => {
                let series = (0..family.count()).map(|flat| family.series(flat));
                (proto::MetricType::COUNTER, series.map(|(values, n)| counter_metric(self.pairs(&values), n)).collect())
            }
            Source::Gauges(gauges) => {
                let series = (0..gauges.count()).map(|flat| gauges.series(flat));
                (proto::MetricType::GAUGE, series.map(|(values, n)| gauge_metric(self.pairs(&values), n)).collect())
            }
            Source::ByOrigin(origins) => {
                let series = origins.series().into_iter();
                (proto::MetricType::COUNTER, series.map(|(name, n)| counter_metric(self.pairs(&[name]), n)).collect())
            }
            Source::GaugeByOrigin(origins) => {
                let series = origins.series().into_iter();
                let metric = |(name, n): (&'static str, u64)| {
                    gauge_metric(self.pairs(&[name]), i64::try_from(n).unwrap_or(i64::MAX))
                };
                (proto::MetricType::GAUGE, series.map(metric).collect())
            }
            Source::Histogram(histograms) => {
                let series = histograms.values().iter().enumerate();
                let metric = |(index, value): (usize, &&'static str)| {
                    let mut metric = proto::Metric::from_label(self.pairs(&[value]));
                    metric.set_histogram(histogram(histograms.read(index)));
                    metric
                };
                (proto::MetricType::HISTOGRAM, series.map(metric).collect())
            }
        };
        family.set_field_type(kind);
        family.set_metric(metrics);
        family
    }

    fn pairs(&self, values: &[&str]) -> Vec<proto::LabelPair> {
        self.labels
            .iter()
            .zip(values)
            .map(|(name, value)| {
                let mut pair = proto::LabelPair::default();
                pair.set_name((*name).into());
                pair.set_value((*value).into());
                pair
            })
            .collect()
    }

    /// Its labels with the values they can take, for the documentation. Those of a build are its own.
    fn labels_text(&self) -> String {
        let sets = match &self.source {
            Source::ByOrigin(_) | Source::GaugeByOrigin(_) => return format!("`origin`: {}", origins::VALUES),
            Source::Family(family) => family.label_values(),
            Source::Gauges(gauges) => gauges.label_values(),
            Source::Histogram(histograms) => vec![histograms.values()],
            Source::Counter(_) | Source::Gauge(_) | Source::BuildInfo => Vec::new(),
        };
        let text = |(index, name): (usize, &&str)| match sets.get(index) {
            Some(values) => format!("`{name}`: {}", values.join(", ")),
            None => format!("`{name}`"),
        };
        self.labels.iter().enumerate().map(text).collect::<Vec<_>>().join("; ")
    }
}

fn counter_metric(pairs: Vec<proto::LabelPair>, value: u64) -> proto::Metric {
    let mut counter = proto::Counter::default();
    counter.set_value(value as f64);
    let mut metric = proto::Metric::from_label(pairs);
    metric.set_counter(counter);
    metric
}

fn gauge_metric(pairs: Vec<proto::LabelPair>, value: i64) -> proto::Metric {
    let mut gauge = proto::Gauge::default();
    gauge.set_value(value as f64);
    let mut metric = proto::Metric::from_label(pairs);
    metric.set_gauge(gauge);
    metric
}

fn histogram((counts, sum_us): (Vec<u64>, u64)) -> proto::Histogram {
    let mut cumulative = 0;
    let mut buckets = Vec::with_capacity(BUCKETS_US.len());
    for (bound, count) in BUCKETS_US.iter().zip(&counts) {
        cumulative += count;
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(*bound as f64 / 1e6);
        bucket.set_cumulative_count(cumulative);
        buckets.push(bucket);
    }
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(buckets);
    histogram.set_sample_count(counts.iter().sum());
    histogram.set_sample_sum(sum_us as f64 / 1e6);
    histogram
}

const PREFACE: &str = "\
<!-- Written by `svc-edge docs metrics` from src/observe/metrics/render.rs. -->
# Metrics

`GET /metrics` on the admin listener (`edge.metrics`) answers these in the text format of Prometheus, beside the process collector's
`process_*`. Every series exists at zero from the start, and labels take no value but those written here; those
of `origin` stand in the conf. A counter starts again at zero with the process.

| name | type | labels | what |
|---|---|---|---|
";

/// `docs/metrics.md`, made from the table.
pub fn markdown() -> String {
    let mut page = PREFACE.to_owned();
    for metric in TABLE {
        let kind = match metric.source {
            Source::Counter(_) | Source::Family(_) | Source::ByOrigin(_) => "counter",
            Source::Gauge(_) | Source::Gauges(_) | Source::GaugeByOrigin(_) | Source::BuildInfo => "gauge",
            Source::Histogram(_) => "histogram",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(page, "| `{}` | {kind} | {} | {} |", metric.name, metric.labels_text(), metric.help);
    }
    let bounds: Vec<String> = BUCKETS_US.iter().map(|bound| (*bound as f64 / 1e6).to_string()).collect();
    let _ = writeln!(page, "\nUpper bounds of the buckets of a histogram, in seconds: {}.", bounds.join(", "));
    page
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn every_metric_is_named_once_and_explained_in_a_sentence() {
        let mut names: Vec<_> = TABLE.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
        for metric in TABLE {
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            assert!(metric.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", metric.name);
        }
    }

    #[test]
    fn every_series_stands_at_zero_from_the_start_with_the_labels_of_its_row() {
        let page = text("1.2.3", "abc");
        assert!(page.contains("rejected_total{reason=\"decompress_cap\"} 0"), "{page}");
        assert!(page.contains("http_requests_total{route=\"tile\",method=\"GET\",status=\"200\"} "), "{page}");
        assert!(page.contains("edge_build_info{version=\"1.2.3\",commit=\"abc\"} 1"), "{page}");
        assert!(page.contains("edge_queue_depth{queue=\"fill\"} "), "{page}");
        assert!(page.contains("fill_latency_seconds_bucket{le=\"+Inf\"} "), "{page}");
        assert!(page.contains("request_latency_seconds_bucket{route=\"asset\",le=\"+Inf\"} "), "{page}");
        assert!(page.contains("process_open_fds "), "{page}");
    }

    #[test]
    fn a_family_has_as_many_labels_as_its_row_names() {
        for metric in TABLE {
            if let Source::Family(family) = &metric.source {
                assert_eq!(family.series(0).0.len(), metric.labels.len(), "{}", metric.name);
                assert_eq!(family.label_values().len(), metric.labels.len(), "{}", metric.name);
            }
            if let Source::Gauges(gauges) = &metric.source {
                assert_eq!(gauges.series(0).0.len(), metric.labels.len(), "{}", metric.name);
                assert_eq!(gauges.label_values().len(), metric.labels.len(), "{}", metric.name);
            }
        }
    }

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
