//! Live mode: misses are filled from a scripted origin. `/edge/assets/live/…` of the server is `/s/…` of the origin.

mod broken;
mod caching;
mod chain;
mod coding;
mod directives;
mod flight;
mod heads;
mod leaving;
mod memory;
mod nginx;
mod offline;
mod pass;
mod passing;
mod pins;
mod policy;
mod purge;
mod purging;
mod queue;
mod range;
mod retry;
mod revalidation;
mod secrets;
mod sharing;
mod stale;
mod stopping;
pub mod support;
mod uncacheable;
mod unplugged;
mod upgrade;
mod vary;

// The tests take all of it from here.
use std::time::Duration;

use crate::http::Response;
use crate::server::{Server, Setup, setup};
use support::*;
