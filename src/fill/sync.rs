//! The locks of [`super::flight`], named in one place: its models are compiled with those of a scheduler that tries the orders of threads.

pub use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
