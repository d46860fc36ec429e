//! svc-edge serves assets at the edge: tiles and archives from map packs, and any file from a content-addressed store,
//! each byte verified against its BLAKE3 hash, with exact HTTP semantics.
//!
//! The modules stand in one direction: a module may use those below it in this list, never those above.
//! `docs/architecture.md` is the map; `tests/arrows.rs` fails on a wrong arrow.

#[cfg(all(feature = "console", not(tokio_unstable)))]
compile_error!(
    "the feature `console` needs what tokio tells only when it is built with RUSTFLAGS=\"--cfg tokio_unstable\""
);

pub mod cli;

pub mod boot;

pub mod edge;

pub mod origin;

pub mod admin;

pub mod fill;

pub mod store;

pub mod shed;

pub mod observe;

pub mod conf;

pub mod rules;
