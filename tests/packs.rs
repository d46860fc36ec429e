//! Packs from the outside: sound ones written by other implementations, hostile ones, and files that change under a server.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "packs/alone.rs"]
mod alone;
#[path = "packs/build.rs"]
mod build;
#[path = "packs/command.rs"]
mod command;
#[path = "packs/generations.rs"]
mod generations;
#[path = "packs/hostile_mbtiles.rs"]
mod hostile_mbtiles;
#[path = "packs/hostile_pmtiles.rs"]
mod hostile_pmtiles;
#[path = "packs/hostile_views.rs"]
mod hostile_views;
#[path = "packs/mounts.rs"]
mod mounts;
#[path = "packs/openings.rs"]
mod openings;
#[path = "packs/sound.rs"]
mod sound;
