//! Fills against a scripted fetcher: who shares a fetch, what is stored, who hears of a failure, and how it all stops.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "fill/bounds.rs"]
mod bounds;
#[path = "fill/confs.rs"]
mod confs;
#[path = "fill/counts.rs"]
mod counts;
#[path = "fill/crowd.rs"]
mod crowd;
#[path = "fill/failures.rs"]
mod failures;
#[path = "fill/fake.rs"]
mod fake;
#[path = "fill/pins.rs"]
mod pins;
#[path = "fill/sharing.rs"]
mod sharing;
#[path = "fill/stale.rs"]
mod stale;
#[path = "fill/support.rs"]
mod support;
#[path = "fill/unstored.rs"]
mod unstored;
#[path = "fill/variants.rs"]
mod variants;
