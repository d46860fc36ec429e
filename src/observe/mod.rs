//! What the edge tells: metrics (one table), the log and the access log, the event bus, the audit file.

pub mod access;
pub mod audit;
pub mod bus;
pub mod event;
pub mod faults;
pub mod log;
pub mod metrics;
pub mod panics;
pub mod readiness;
