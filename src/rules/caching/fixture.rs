//! What the tests of these rules share.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{CachingConf, Exchange, Freshness, RequestDirectives, StoredAnswer, Why, storable};

pub const CONF: CachingConf = CachingConf {
    default_ttl: Duration::from_secs(3600),
    negative_ttl: Duration::from_secs(10),
    stale_if_error: Duration::from_secs(86_400),
    store_set_cookie: false,
};

/// The fields of a message, one a line.
pub fn headers(lines: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.trim().as_bytes()).unwrap(),
        );
    }
    headers
}

/// Seconds after Sun, 06 Nov 1994 08:49:37 GMT, when every answer here comes.
pub fn after(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(784_111_777 + seconds)
}

/// An HTTP-date so many seconds after the same.
pub fn date(seconds: i64) -> String {
    crate::rules::date::format(UNIX_EPOCH + Duration::from_secs(784_111_777_u64.saturating_add_signed(seconds)))
        .unwrap()
}

pub const FORWARDED: [HeaderName; 2] = [http::header::ACCEPT, http::header::ACCEPT_LANGUAGE];

/// What is stored of a GET's answer.
pub fn store_with(conf: &CachingConf, status: u16, request: &str, response: &str) -> Result<StoredAnswer, Why> {
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
    storable(&exchange, conf)
}

pub fn store(status: u16, response: &str) -> Result<StoredAnswer, Why> {
    store_with(&CONF, status, "", response)
}

/// The freshness of an answer that is known to be stored.
pub fn fresh(response: &str) -> Freshness {
    Freshness::of(&store(200, response).unwrap(), &CONF)
}

/// Its lifetime in seconds.
pub fn lifetime(status: u16, response: &str) -> u64 {
    Freshness::of(&store(status, response).unwrap(), &CONF).lifetime().as_secs()
}
