//! A row of the table, and where its values are: counters, gauges and histograms whose labels' types are erased, so that rows of all kinds
//! stand in one table.

use super::certificates::ByCertificate;
use super::origins::ByOrigin;
use super::series::{Counter, Counters, Gauge, Gauges, Histograms, Label, Labels};

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
    /// A gauge for each certificate in use.
    ByCertificate(&'static ByCertificate),
    /// A histogram for each label value.
    Histogram(&'static (dyn Buckets + Sync)),
    /// Always 1; its labels are the version and the commit.
    BuildInfo,
}

impl Metric {
    /// For each label, every value it can take. Nothing for those whose values stand in the conf or come from the build.
    pub fn label_values(&self) -> Vec<&'static [&'static str]> {
        match &self.source {
            Source::Family(family) => family.label_values(),
            Source::Gauges(gauges) => gauges.label_values(),
            Source::Histogram(histograms) => vec![histograms.values()],
            Source::Counter(_)
            | Source::Gauge(_)
            | Source::ByOrigin(_)
            | Source::GaugeByOrigin(_)
            | Source::ByCertificate(_)
            | Source::BuildInfo => Vec::new(),
        }
    }
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
