//! Counters, gauges and histograms that cost a hit one uncontended atomic add.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// More shards than this buy nothing: a thread picks one and keeps it.
pub const SHARDS: usize = 16;

/// A shard alone on its cache lines (128: adjacent lines are prefetched in pairs).
#[repr(align(128))]
struct Shard(AtomicU64);

/// The shard of this thread, below [`SHARDS`].
pub fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: usize = NEXT.fetch_add(1, Relaxed) % SHARDS;
    }
    // A thread that is being torn down has lost its locals: any shard is right.
    MINE.try_with(|mine| *mine).unwrap_or(0)
}

/// What goes up: a single series without labels.
pub struct Counter {
    shards: [Shard; SHARDS],
}

impl Counter {
    /// A counter at zero.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self { shards: [const { Shard(AtomicU64::new(0)) }; SHARDS] }
    }

    /// Count one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Count `n`.
    pub fn add(&self, n: u64) {
        self.shards[shard()].0.fetch_add(n, Relaxed);
    }

    /// The sum over all threads.
    pub fn get(&self) -> u64 {
        self.shards.iter().map(|shard| shard.0.load(Relaxed)).sum()
    }
}

/// What goes up and down: requests in flight, bytes stored.
pub struct Gauge {
    base: AtomicI64,
    /// What each thread added; sums may be negative, so they wrap.
    shards: [Shard; SHARDS],
}

impl Gauge {
    /// A gauge at zero.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self { base: AtomicI64::new(0), shards: [const { Shard(AtomicU64::new(0)) }; SHARDS] }
    }

    /// Set the value. For gauges of one writer.
    pub fn set(&self, value: i64) {
        self.base.store(value.wrapping_sub(self.added()), Relaxed);
    }

    /// Add, or with a negative number subtract.
    pub fn add(&self, n: i64) {
        self.shards[shard()].0.fetch_add(n as u64, Relaxed);
    }

    /// The value.
    pub fn get(&self) -> i64 {
        self.base.load(Relaxed).wrapping_add(self.added())
    }

    fn added(&self) -> i64 {
        self.shards.iter().fold(0_u64, |sum, shard| sum.wrapping_add(shard.0.load(Relaxed))) as i64
    }
}

/// A closed set of label values. The position of a value in `VALUES` is its index.
pub trait Label: Copy {
    /// Every value the label can take, in the order of [`Label::index`].
    const VALUES: &'static [&'static str];

    /// Which of them this is.
    fn index(self) -> usize;
}

/// Declare a label: an enum whose variants are its only values.
macro_rules! label {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vmeta])* #[doc = concat!("`", $text, "`")] $variant),+ }

        impl $crate::observe::metrics::series::Label for $name {
            const VALUES: &'static [&'static str] = &[$($text),+];
            fn index(self) -> usize { self as usize }
        }

        impl $name {
            /// The value as it stands in labels, headers and logs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}
pub(crate) use label;

/// Labels that come in a tuple form one flat index, the last one running fastest.
pub trait Labels: Copy {
    /// Number of series.
    const COUNT: usize;
    /// Which series this is.
    fn flat(self) -> usize;
    /// The label values of series `flat`.
    fn values(flat: usize) -> Vec<&'static str>;
    /// For each label, every value it can take.
    fn sets() -> Vec<&'static [&'static str]>;
}

impl<A: Label> Labels for A {
    const COUNT: usize = A::VALUES.len();
    fn flat(self) -> usize {
        self.index()
    }
    fn values(flat: usize) -> Vec<&'static str> {
        vec![A::VALUES[flat]]
    }
    fn sets() -> Vec<&'static [&'static str]> {
        vec![A::VALUES]
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    const COUNT: usize = A::VALUES.len() * B::VALUES.len();
    fn flat(self) -> usize {
        self.0.index() * B::VALUES.len() + self.1.index()
    }
    fn values(flat: usize) -> Vec<&'static str> {
        vec![A::VALUES[flat / B::VALUES.len()], B::VALUES[flat % B::VALUES.len()]]
    }
    fn sets() -> Vec<&'static [&'static str]> {
        vec![A::VALUES, B::VALUES]
    }
}

impl<A: Label, B: Label, C: Label> Labels for (A, B, C) {
    const COUNT: usize = A::VALUES.len() * B::VALUES.len() * C::VALUES.len();
    fn flat(self) -> usize {
        (self.0, self.1).flat() * C::VALUES.len() + self.2.index()
    }
    fn values(flat: usize) -> Vec<&'static str> {
        let mut values = <(A, B)>::values(flat / C::VALUES.len());
        values.push(C::VALUES[flat % C::VALUES.len()]);
        values
    }
    fn sets() -> Vec<&'static [&'static str]> {
        vec![A::VALUES, B::VALUES, C::VALUES]
    }
}

/// One counter for each combination of labels, each sharded by thread.
pub struct Counters<L> {
    /// `SHARDS` rows of `L::COUNT` cells: a thread's cells lie together, and no other thread writes to their lines.
    rows: OnceLock<Box<[Row]>>,
    label: std::marker::PhantomData<fn(L)>,
}

type Row = Box<[Line]>;

/// The cells of one pair of cache lines.
#[repr(align(128))]
struct Line([AtomicU64; LINE]);

const LINE: usize = 16;

/// Where cell `flat` of a row is.
fn cell(row: &[Line], flat: usize) -> &AtomicU64 {
    &row[flat / LINE].0[flat % LINE]
}

impl<L: Labels> Counters<L> {
    /// All of them at zero.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self { rows: OnceLock::new(), label: std::marker::PhantomData }
    }

    fn rows(&self) -> &[Row] {
        self.rows.get_or_init(|| {
            let line = || Line([const { AtomicU64::new(0) }; LINE]);
            (0..SHARDS).map(|_| (0..L::COUNT.div_ceil(LINE)).map(|_| line()).collect()).collect()
        })
    }

    /// Count one.
    pub fn inc(&self, labels: L) {
        self.add(labels, 1);
    }

    /// Count `n`.
    pub fn add(&self, labels: L, n: u64) {
        cell(&self.rows()[shard()], labels.flat()).fetch_add(n, Relaxed);
    }

    /// The sum of one series over all threads.
    pub fn get(&self, labels: L) -> u64 {
        self.sum(labels.flat())
    }

    pub(super) fn sum(&self, flat: usize) -> u64 {
        self.rows().iter().map(|row| cell(row, flat).load(Relaxed)).sum()
    }
}

/// A gauge for each combination of labels, each sharded by thread.
pub struct Gauges<L> {
    /// What each thread added, as sums that wrap.
    cells: Counters<L>,
}

impl<L: Labels> Gauges<L> {
    /// All of them at zero.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self { cells: Counters::new() }
    }

    /// Add, or with a negative number subtract.
    pub fn add(&self, labels: L, n: i64) {
        self.cells.add(labels, n as u64);
    }

    /// The value of one series.
    pub fn get(&self, labels: L) -> i64 {
        self.sum(labels.flat())
    }

    pub(super) fn sum(&self, flat: usize) -> i64 {
        let cells = self.cells.rows().iter().map(|row| cell(row, flat).load(Relaxed));
        cells.fold(0_u64, u64::wrapping_add) as i64
    }
}

/// Upper bounds of the buckets of a latency histogram, in microseconds: from a RAM hit to the longest fill.
pub const BUCKETS_US: [u64; 18] = [
    25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 40_000, 80_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 30_000_000,
];

/// A latency histogram for each value of a label.
pub struct Histograms<L> {
    /// For each label value: the buckets, one for what is above them all, and the sum in microseconds.
    cells: Counters<Cells<L>>,
}

/// The flat index of a histogram's cell; never a label of Prometheus.
pub struct Cells<L>(L, usize);

impl<L: Copy> Clone for Cells<L> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<L: Copy> Copy for Cells<L> {}

/// Cells of one histogram.
const CELLS: usize = BUCKETS_US.len() + 2;

impl<L: Label> Labels for Cells<L> {
    const COUNT: usize = L::VALUES.len() * CELLS;
    fn flat(self) -> usize {
        self.0.index() * CELLS + self.1
    }
    fn values(flat: usize) -> Vec<&'static str> {
        vec![L::VALUES[flat / CELLS]]
    }
    fn sets() -> Vec<&'static [&'static str]> {
        vec![L::VALUES]
    }
}

impl<L: Label> Histograms<L> {
    /// All of them empty.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self { cells: Counters::new() }
    }

    /// Record one observation.
    pub fn observe(&self, label: L, elapsed: std::time::Duration) {
        let us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|bound| *bound < us);
        self.cells.inc(Cells(label, bucket));
        self.cells.add(Cells(label, CELLS - 1), us);
    }

    /// Counts of each bucket (not cumulative, the last is above them all) and the sum in microseconds, of series `index`.
    pub(super) fn read(&self, index: usize) -> ([u64; CELLS - 1], u64) {
        let base = index * CELLS;
        let mut counts = [0; CELLS - 1];
        for (cell, count) in counts.iter_mut().enumerate() {
            *count = self.cells.sum(base + cell);
        }
        (counts, self.cells.sum(base + CELLS - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    label! {
        /// Colours.
        Colour { Red = "red", Green = "green", Blue = "blue" }
    }
    label! {
        /// Sizes.
        Size { Small = "small", Large = "large" }
    }

    #[test]
    fn counters_of_many_threads_add_up() {
        static COUNTER: Counter = Counter::new();
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| (0..1000).for_each(|_| COUNTER.inc()));
            }
        });
        assert_eq!(COUNTER.get(), 40_000);
    }

    #[test]
    fn a_gauge_that_many_threads_move_comes_back_to_where_it_was() {
        static GAUGE: Gauge = Gauge::new();
        GAUGE.set(5);
        std::thread::scope(|scope| {
            for n in 0..40 {
                scope.spawn(move || (0..1000).for_each(|_| GAUGE.add(if n % 2 == 0 { 1 } else { -1 })));
            }
        });
        assert_eq!(GAUGE.get(), 5);
        GAUGE.add(-7);
        assert_eq!(GAUGE.get(), -2);
        GAUGE.set(3);
        assert_eq!(GAUGE.get(), 3);
    }

    #[test]
    fn gauges_by_label_come_back_to_where_they_were_whichever_thread_moves_them() {
        static GAUGES: Gauges<Size> = Gauges::new();
        GAUGES.add(Size::Small, 2);
        std::thread::scope(|scope| {
            for n in 0..40 {
                scope.spawn(move || (0..1000).for_each(|_| GAUGES.add(Size::Large, if n % 2 == 0 { 1 } else { -1 })));
            }
        });
        GAUGES.add(Size::Large, -3);
        assert_eq!((GAUGES.get(Size::Small), GAUGES.get(Size::Large)), (2, -3));
    }

    #[test]
    fn a_label_stands_at_its_index() {
        assert_eq!([Colour::Red, Colour::Green, Colour::Blue].map(Colour::as_str), Colour::VALUES);
        assert_eq!([Size::Small, Size::Large].map(Size::as_str), Size::VALUES);
    }

    #[test]
    fn every_combination_of_labels_has_a_series_of_its_own() {
        static COUNTERS: Counters<(Colour, Size)> = Counters::new();
        COUNTERS.add((Colour::Green, Size::Large), 3);
        COUNTERS.add((Colour::Blue, Size::Small), 5);
        let all: Vec<_> =
            (0..<(Colour, Size)>::COUNT).map(|flat| (<(Colour, Size)>::values(flat), COUNTERS.sum(flat))).collect();
        assert_eq!(all.len(), 6);
        assert_eq!(all[3], (vec!["green", "large"], 3));
        assert_eq!(all[4], (vec!["blue", "small"], 5));
        assert_eq!(all.iter().map(|(_, sum)| sum).sum::<u64>(), 8);
    }

    #[test]
    fn a_histogram_puts_a_bound_in_its_own_bucket_and_what_exceeds_all_in_the_last() {
        static LATENCY: Histograms<Size> = Histograms::new();
        LATENCY.observe(Size::Large, Duration::from_micros(25));
        LATENCY.observe(Size::Large, Duration::from_micros(26));
        LATENCY.observe(Size::Large, Duration::from_secs(31));
        let (counts, sum) = LATENCY.read(Size::Large.index());
        assert_eq!((counts[0], counts[1], counts[BUCKETS_US.len()]), (1, 1, 1));
        assert_eq!(sum, 25 + 26 + 31_000_000);
        assert_eq!(LATENCY.read(Size::Small.index()).0.iter().sum::<u64>(), 0);
    }
}
