//! What the edge tells: metrics (one table), the log and the access log, the event bus.

pub mod bus;
pub mod metrics;
