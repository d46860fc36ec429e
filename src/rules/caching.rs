//! The rules of a shared cache (RFC 9111) with stale answers (RFC 5861), `immutable` (RFC 8246) and `CDN-Cache-Control`
//! (RFC 9213): what may be stored, how long it is fresh, what a request may be answered with, how a 304 updates it.
//!
//! Nothing here knows where an answer is stored or how an origin is asked, and the time is passed in. What must be read
//! exactly is read once, when an answer comes or is made ready ([`storable`], [`Freshness::of`], [`freshen`]);
//! what is asked for each request ([`serve`], [`matches()`]) allocates nothing.

mod directives;
#[cfg(test)]
mod fixture;
mod freshness;
mod invalidate;
mod serve;
mod storable;
mod stored;
mod validate;
mod vary;

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, Method};

pub use directives::{RequestDirectives, no_transform};
pub use freshness::Freshness;
pub use invalidate::{invalidated, invalidates};
pub use serve::{Serve, is_error, serve, stale_if_error};
pub use storable::{Why, storable};
pub use stored::StoredAnswer;
pub use validate::{Freshened, conditional, freshen};
pub use vary::{Selecting, matches, selecting, variant};

/// What the conf of an origin says about caching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachingConf {
    /// How long an answer is fresh that says nothing about it, not even when it was last modified.
    pub default_ttl: Duration,
    /// How long an error (404, 410 and the like) is fresh that says nothing about it.
    pub negative_ttl: Duration,
    /// How long after it became stale an answer may stand in for an origin that fails, where the answer itself sets no
    /// limit.
    pub stale_if_error: Duration,
    /// Whether an answer with `Set-Cookie` is stored, with that field.
    pub store_set_cookie: bool,
}

/// The longest that an answer is fresh by its `Last-Modified` alone (RFC 9111 §4.2.2 leaves it to caches; a day is what
/// RFC 7234 warned above).
pub const HEURISTIC_CAP: Duration = Duration::from_secs(24 * 60 * 60);

/// A request and the head of its answer, from an origin.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The method that the origin was asked with.
    pub method: &'a Method,
    /// The fields of the client's request; empty where no client asked.
    pub request: &'a HeaderMap,
    /// What they say about caching; [`RequestDirectives::none`] where the conf does not listen.
    pub directives: RequestDirectives,
    /// Names of the client's fields that the origin was shown. No other field can have selected the answer.
    pub forwarded: &'a [HeaderName],
    /// The status of the answer.
    pub status: u16,
    /// The fields of the answer as they came, those for the connection included.
    pub response: &'a HeaderMap,
    /// When the request was sent.
    pub request_time: SystemTime,
    /// When the head of the answer came.
    pub response_time: SystemTime,
}
