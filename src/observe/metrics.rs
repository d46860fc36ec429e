//! The metrics: one table (`TABLE`) is the source of names, labels, help and `docs/metrics.md`.
//!
//! A counter is a row of cache-line-sized shards, one picked per thread: two workers that count hits never touch the same line.
//! Labels take their values from closed sets written here, so that every series exists at zero from the start and
//! no client can make a new one.

mod certificates;
mod encoding;
mod families;
mod markdown;
mod origins;
mod series;
mod table;

pub use certificates::ByCertificate;
pub use encoding::text;
pub use families::{Levels, Metric, Source};
pub use markdown::markdown;
pub use origins::{ByOrigin, MAX_ORIGINS, OriginLabel};
pub use series::{BUCKETS_US, Counter, Counters, Gauge, Gauges, Histograms, Label, SHARDS, shard};
pub use table::*;
