//! Models of the concurrent core of the fills, run under many schedules: `make models`.
//!
//! The file under test is the server's own, compiled with locks that let a scheduler choose who goes next. A schedule that fails is printed,
//! and `shuttle::replay` runs it again.

#![cfg(test)]
#![allow(dead_code)]

#[path = "../../../src/fill/flight.rs"]
mod flight;
mod harness;
mod models;

/// What the file under test calls its locks.
mod sync {
    pub use shuttle::sync::{Arc, Mutex, MutexGuard, PoisonError};
}
