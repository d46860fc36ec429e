//! Origins from the outside: small scripted servers on loopback, every byte and delay of which is under control, asked through the
//! same door as fills ask through.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "origin/bodies.rs"]
mod bodies;
#[path = "origin/connections.rs"]
mod connections;
#[path = "origin/faults.rs"]
mod faults;
#[path = "origin/places.rs"]
mod places;
#[path = "origin/requests.rs"]
mod requests;
#[path = "origin/retries.rs"]
mod retries;
#[path = "origin/support.rs"]
mod support;
