//! The text of `/metrics`, made from the table.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::Collector as _;
use prometheus::proto;

use super::families::{Metric, Source};
use super::series::BUCKETS_US;
use super::table::{CLOCK, TABLE};

/// The text format of Prometheus 0.0.4.
pub fn text(version: &str, commit: &str) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    CLOCK.set(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    let mut families: Vec<proto::MetricFamily> = TABLE.iter().map(|metric| metric.family(version, commit)).collect();
    // Offline no origin is counted, and in clear text no certificate, and the encoder takes no family without a series.
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
                    // Whether, and not how often: two confs that overlap count one each.
                    gauge_metric(self.pairs(&[name]), i64::from(n > 0))
                };
                (proto::MetricType::GAUGE, series.map(metric).collect())
            }
            Source::ByCertificate(certificates) => {
                let series = certificates.series();
                let series = series.iter().map(|(name, end)| gauge_metric(self.pairs(&[name]), *end));
                (proto::MetricType::GAUGE, series.collect())
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

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(page.contains("edge_ready_condition{condition=\"cas_writable\"} "), "{page}");
    }
}
