//! What a request is answered with when something is stored for it (RFC 9111 §4, §4.2.4, §5.2.1; RFC 5861).

use std::time::{Duration, SystemTime};

use super::Freshness;
use super::directives::RequestDirectives;
use crate::rules::cache_status::Forward;

/// What to do with a stored answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serve {
    /// Answer with it.
    Fresh,
    /// Answer with it, stale as it is: the client said that it may be (`max-stale`).
    Stale,
    /// Answer with it, stale as it is, and validate it behind (RFC 5861 §3).
    StaleWhileRevalidate,
    /// Validate it first. Whether it may be answered if the origin fails, [`stale_if_error`] says then.
    Revalidate {
        /// Why, for `Cache-Status`: it is stale, or it is the request that asks for it.
        forward: Forward,
    },
    /// Nothing that is stored will do, and the client wants nothing else (§5.2.1.7): 504.
    OnlyIfCached,
}

/// What to do with a stored answer that was selected for a request (§4).
///
/// `no-store` of a request does not keep a stored answer from it (§5.2.1.5).
pub fn serve(freshness: &Freshness, request: &RequestDirectives, now: SystemTime) -> Serve {
    let fresh = freshness.is_fresh(now);
    if !freshness.no_cache && !request.no_cache {
        let age = freshness.age(now);
        // An immutable answer needs no validation while it is fresh, unless it is asked for by `no-cache`: `max-age=0` is
        // what a browser sends with any reload (RFC 8246 §2.1).
        let too_old =
            !(fresh && freshness.immutable) && request.max_age.is_some_and(|seconds| age > from_secs(seconds));
        let too_near =
            request.min_fresh.is_some_and(|seconds| age.saturating_add(from_secs(seconds)) > freshness.lifetime());
        if fresh && !too_old && !too_near {
            return Serve::Fresh;
        }
        if !fresh && !too_old && !too_near && !freshness.forbids_stale {
            let staleness = freshness.staleness(now);
            if request.max_stale.is_some_and(|seconds| staleness <= from_secs(seconds)) {
                return Serve::Stale;
            }
            // Who bounds the age does not want stale answers without saying so (§5.2.1.1).
            if request.max_age.is_none() && within(staleness, freshness.while_revalidate) {
                return Serve::StaleWhileRevalidate;
            }
        }
    }
    if request.only_if_cached {
        return Serve::OnlyIfCached;
    }
    let forward = if fresh && !freshness.no_cache { Forward::Request } else { Forward::Stale };
    Serve::Revalidate { forward }
}

/// Whether a stored answer may stand in for the origin's when that can't be reached or fails (RFC 9111 §4.2.4,
/// RFC 5861 §4): for as long as the answer says, else as long as the conf does, or as the request permits; never if the
/// answer must be validated.
///
/// A request with `no-cache` wants to know what the origin says (§5.2.1.4); it gets a stored answer only if it permits it
/// itself.
pub fn stale_if_error(freshness: &Freshness, request: &RequestDirectives, now: SystemTime) -> bool {
    if freshness.no_cache {
        return false;
    }
    let permitted =
        |seconds: Option<u32>, staleness| seconds.is_some_and(|seconds| within(staleness, from_secs(seconds)));
    let staleness = freshness.staleness(now);
    if request.no_cache && request.stale_if_error.is_none() {
        return false;
    }
    if freshness.is_fresh(now) {
        return true;
    }
    !freshness.forbids_stale
        && (within(staleness, freshness.if_error)
            || permitted(request.stale_if_error, staleness)
            || permitted(request.max_stale, staleness))
}

/// Whether an origin's status is an error that a stored answer may stand in for (RFC 5861 §4).
pub fn is_error(status: u16) -> bool {
    matches!(status, 500 | 502 | 503 | 504)
}

/// A window of nothing permits nothing, not even the moment in which an answer gets stale.
fn within(staleness: Duration, window: Duration) -> bool {
    !window.is_zero() && staleness <= window
}

fn from_secs(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

#[cfg(test)]
mod tests;
