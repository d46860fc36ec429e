//! Two requests for one target, the second some seconds after the first: what becomes of it by the rules.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use svc_edge::rules::caching::{
    CachingConf, Exchange, Freshness, RequestDirectives, Serve, StoredAnswer, Why, matches, serve, storable,
};

pub const CONF: CachingConf = CachingConf {
    default_ttl: Duration::ZERO,
    negative_ttl: Duration::from_secs(10),
    stale_if_error: Duration::from_secs(86_400),
    store_set_cookie: false,
};

pub const FORWARDED: [HeaderName; 2] = [http::header::ACCEPT, http::header::ACCEPT_LANGUAGE];

/// What the second request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was stored.
    Unstored,
    /// What was stored is for other requests.
    Unmatched,
    /// What was stored, fresh.
    Reused,
    /// What was stored, stale.
    Stale,
    /// What was stored, once the origin says that it holds.
    Validated,
    /// 504.
    Timeout,
}

/// Seconds after the first answer came.
pub fn after(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(784_111_777 + seconds)
}

/// An HTTP-date so many seconds after the same.
pub fn date(seconds: i64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(784_111_777_u64.saturating_add_signed(seconds)))
}

/// Fields, one a line. `{+n}` and `{-n}` stand for dates.
pub fn headers(lines: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        let mut value = value.trim().to_owned();
        if let Some((before, rest)) = value.clone().split_once('{') {
            let (seconds, behind) = rest.split_once('}').unwrap();
            value = format!("{before}{}{behind}", date(seconds.parse().unwrap()));
        }
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::try_from(value).unwrap());
    }
    headers
}

/// What is stored of the first answer.
pub fn stored(status: u16, request: &str, response: &str) -> Result<StoredAnswer, Why> {
    let exchange = Exchange {
        method: &Method::GET,
        request: &headers(request),
        directives: RequestDirectives::of(&headers(request)),
        forwarded: &FORWARDED,
        status,
        response: &headers(response),
        request_time: after(0),
        response_time: after(0),
    };
    storable(&exchange, &CONF)
}

/// What the second request is answered with.
pub fn second(status: u16, first: &str, response: &str, seconds: u64, second: &str) -> Outcome {
    let Ok(answer) = stored(status, first, response) else { return Outcome::Unstored };
    let request = headers(second);
    if !matches(&answer.vary, &request) {
        return Outcome::Unmatched;
    }
    match serve(&Freshness::of(&answer, &CONF), &RequestDirectives::of(&request), after(seconds)) {
        Serve::Fresh => Outcome::Reused,
        Serve::Stale | Serve::StaleWhileRevalidate => Outcome::Stale,
        Serve::Revalidate { .. } => Outcome::Validated,
        Serve::OnlyIfCached => Outcome::Timeout,
    }
}
