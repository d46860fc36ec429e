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
mod cors;
mod huge;
mod lifecycle;
mod live;
mod log;
mod offline;
mod overload;
mod packs;
mod preconditions;
mod ranges;
mod readiness;
mod refusals;
mod reload;
mod resources;
mod stalled;
mod targets;
mod tiles;
mod tls;
mod validators;
mod wire;
