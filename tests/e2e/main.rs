//! End to end: every test starts the real binary on ports of its own, and an unclaimed WARN or ERROR in its log fails the test.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, clippy::type_complexity)]

mod authority;
mod fixtures;
mod http;
mod server;

mod admin;
mod assets;
mod audit;
mod coding;
mod concurrency;
mod connections;
mod cors;
mod draining;
mod h2;
mod huge;
mod lifecycle;
mod lifecycle_daemon;
mod lifecycle_failures;
mod lifecycle_notify;
mod lifecycle_upgrade;
mod live;
mod log;
mod offline;
mod overload;
mod packs;
mod preconditions;
mod proxied;
mod ranges;
mod readiness;
mod refusals;
mod reload;
mod resources;
mod slow;
mod stalled;
mod targets;
mod tiles;
mod tls;
mod validators;
mod ways;
mod wire;
