//! How old an answer is and how long it is fresh (RFC 9111 §4.2).

use std::time::{Duration, SystemTime};

use http::header::{AGE, DATE, EXPIRES, HeaderMap, LAST_MODIFIED};

use super::directives::{ResponseDirectives, Scope, delta_seconds};
use super::stored::StoredAnswer;
use super::{CachingConf, HEURISTIC_CAP};
use crate::rules::date;
use crate::rules::header::elements;

/// When an answer gets stale, and what may be done with it then: computed once, asked for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    response_time: SystemTime,
    /// `corrected_initial_age` (§4.2.3).
    initial_age: Duration,
    lifetime: Duration,
    /// How long it may be answered while it is validated (RFC 5861 §3).
    pub(super) while_revalidate: Duration,
    /// How long it may stand in for an origin that fails (RFC 5861 §4), by its own word or by conf.
    pub(super) if_error: Duration,
    /// It must not be answered stale, whoever would permit it (§4.2.4).
    pub(super) forbids_stale: bool,
    /// It must not be answered without being validated (§5.2.2.4).
    pub(super) no_cache: bool,
    /// As long as it is fresh it does not change (RFC 8246).
    pub(super) immutable: bool,
}

impl Freshness {
    /// What follows from a stored answer. An answer that says nothing about freshness follows `conf` as it is now.
    pub fn of(answer: &StoredAnswer, conf: &CachingConf) -> Self {
        let directives = ResponseDirectives::of(&answer.headers);
        let seconds = |number: Option<u32>| number.map(|seconds| Duration::from_secs(seconds.into()));
        Self {
            response_time: answer.response_time,
            initial_age: initial_age(answer),
            lifetime: lifetime(&directives, answer.status, &answer.headers, answer.response_time, conf),
            while_revalidate: seconds(directives.stale_while_revalidate).unwrap_or_default(),
            if_error: seconds(directives.stale_if_error).unwrap_or(conf.stale_if_error),
            forbids_stale: directives.forbids_stale(),
            // The fields that a qualified form lists were never stored.
            no_cache: directives.no_cache == Scope::Whole,
            immutable: directives.immutable,
        }
    }

    /// Whether it may be served where no origin can be reached: fresh, or stale where the answer does not forbid that (§4.2.4, §5.2.2.2), and
    /// never where it asks for validation each time (§5.2.2.4).
    pub fn usable_disconnected(&self, now: SystemTime) -> bool {
        !self.no_cache && (self.is_fresh(now) || !self.forbids_stale)
    }

    /// `current_age` (§4.2.3), for the `Age` field in whole seconds. A clock that was set back makes it stand still, never
    /// negative.
    pub fn age(&self, now: SystemTime) -> Duration {
        self.initial_age.saturating_add(since(self.response_time, now))
    }

    /// `freshness_lifetime` (§4.2.1).
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Whether its age is below its lifetime (§4.2). Whether that is enough for a request, [`super::serve`] says.
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        self.age(now) < self.lifetime
    }

    /// How long it has been stale; zero while it is fresh.
    pub fn staleness(&self, now: SystemTime) -> Duration {
        self.age(now).saturating_sub(self.lifetime)
    }

    /// What is left of the lifetime in seconds, rounded down, negative when it is stale: `ttl` of `Cache-Status`
    /// (RFC 9211 §2.4).
    pub fn ttl(&self, now: SystemTime) -> i64 {
        let age = self.age(now);
        let (left, sign) = match self.lifetime.checked_sub(age) {
            Some(left) => (left.as_secs(), 1),
            None => {
                let over = age - self.lifetime;
                (over.as_secs() + u64::from(over.subsec_nanos() > 0), -1)
            }
        };
        i64::try_from(left).unwrap_or(i64::MAX) * sign
    }
}

/// The freshness lifetime of an answer (§4.2.1): the first of `s-maxage`, `max-age` and `Expires` that is there, from
/// `CDN-Cache-Control` if that counts; else a heuristic one (§4.2.2), where the status or `public` allows it.
///
/// An explicit lifetime that makes no sense is none at all, rather than a reason to guess.
pub(super) fn lifetime(
    directives: &ResponseDirectives,
    status: u16,
    headers: &HeaderMap,
    response_time: SystemTime,
    conf: &CachingConf,
) -> Duration {
    if let Some(seconds) = directives.s_maxage.or(directives.max_age) {
        return Duration::from_secs(seconds.into());
    }
    let date = date_of(headers, response_time);
    if !directives.targeted && headers.contains_key(EXPIRES) {
        let mut lines = headers.get_all(EXPIRES).iter();
        let first = lines.next();
        // Two that differ contradict each other.
        let agreed = first.filter(|first| lines.all(|other| other == *first));
        return agreed.and_then(date::parse).map_or(Duration::ZERO, |expires| since(date, expires));
    }
    if !directives.public && !is_heuristically_cacheable(status) {
        return Duration::ZERO;
    }
    if status >= 400 {
        return conf.negative_ttl;
    }
    let modified = headers.get(LAST_MODIFIED).and_then(date::parse);
    match modified.and_then(|modified| date.duration_since(modified).ok()) {
        Some(unchanged_for) => (unchanged_for / 10).min(HEURISTIC_CAP),
        None => conf.default_ttl,
    }
}

/// Statuses of which an answer without explicit freshness may be reused (RFC 9110 §15.1), but for 206, which is not
/// stored.
pub(super) fn is_heuristically_cacheable(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// `Date`, or when the answer came, where it has none (RFC 9110 §6.6.1) or one that is no date.
fn date_of(headers: &HeaderMap, response_time: SystemTime) -> SystemTime {
    headers.get(DATE).and_then(date::parse).unwrap_or(response_time)
}

/// `corrected_initial_age` (§4.2.3). All of the time that the answer took counts, since a cache upstream may have
/// computed its `Age` at the start of it.
fn initial_age(answer: &StoredAnswer) -> Duration {
    let apparent = since(date_of(&answer.headers, answer.response_time), answer.response_time);
    let delay = since(answer.request_time, answer.response_time);
    apparent.max(age_value(&answer.headers).saturating_add(delay))
}

/// What `Age` says: its first member, if that is a number of seconds and nothing else (§5.1).
fn age_value(headers: &HeaderMap) -> Duration {
    let mut members = headers.get_all(AGE).iter().flat_map(|line| elements(line.as_bytes()));
    let first = members.find(|member| !member.is_empty());
    let seconds = first.and_then(|member| delta_seconds(member.iter().copied()));
    Duration::from_secs(seconds.unwrap_or(0).into())
}

/// From `earlier` to `later`; nothing if they are the other way round.
fn since(earlier: SystemTime, later: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}

#[cfg(test)]
mod tests;
