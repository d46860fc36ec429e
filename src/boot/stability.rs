//! Whether requests come to an end: the condition `shedder_stable`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::observe::readiness::{Condition, READINESS};
use crate::shed::{Shed, Wedge};

/// How often the load is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Look at the load for as long as the server runs.
pub async fn watch(shed: Arc<Shed>) {
    let (mut wedge, mut stable) = (Wedge::default(), true);
    loop {
        let load = shed.load();
        let now_stable = wedge.is_stable(Instant::now(), load);
        if stable && !now_stable {
            log::error!(
                event = "shedder_wedged", inflight = load.inflight;
                "every place is held and no request finishes"
            );
        }
        stable = now_stable;
        READINESS.set(Condition::ShedderStable, stable);
        tokio::time::sleep(LOOK).await;
    }
}
