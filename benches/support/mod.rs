//! How the benches measure.

use std::time::Duration;

use criterion::Criterion;

/// A few seconds for each bench: the machines that it runs on differ by more than a longer run would tell.
pub fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30)
        .configure_from_args()
}
