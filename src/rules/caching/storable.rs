//! What may be stored (RFC 9111 §3).

use http::Method;
use http::header::{AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, VARY};
use http::header::{AUTHORIZATION, CACHE_CONTROL, ETAG, EXPIRES, HeaderMap, HeaderName, LAST_MODIFIED, SET_COOKIE};

use super::directives::{ResponseDirectives, Scope};
use super::freshness::{is_heuristically_cacheable, lifetime};
use super::stored::StoredAnswer;
use super::{CachingConf, Exchange, vary};
use crate::rules::date;
use crate::rules::etag::EntityTag;
use crate::rules::header::nominated;

/// Why an answer is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// It answers another method than GET.
    Method,
    /// Its status is never stored: an interim one, 304, or one whose definition forbids it (RFC 6585).
    Status,
    /// It is a part (206).
    Partial,
    /// `must-understand`, and we do not (§5.2.2.3).
    StatusNotUnderstood,
    /// `no-store` of the answer.
    NoStore,
    /// `no-store` of the request. Nothing is wrong with what may be stored already.
    RequestNoStore,
    /// `private`.
    Private,
    /// It answers a request with `Authorization`, and does not say that others may have it (§3.5).
    Authorization,
    /// `Set-Cookie`, and the conf does not allow it.
    SetCookie,
    /// `Vary: *`, or a `Vary` that can't be followed.
    Vary,
    /// It is stale from the start, and can't be validated: it would never be used.
    NoFreshness,
    /// Its `Cache-Control` can't be read, or its `Connection` takes away what caching depends on.
    Malformed,
    /// What must be remembered of it is too large.
    TooLarge,
}

impl Why {
    /// A token for logs and for the detail of `Cache-Status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Status => "status",
            Self::Partial => "partial",
            Self::StatusNotUnderstood => "status_not_understood",
            Self::NoStore => "no_store",
            Self::RequestNoStore => "request_no_store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::SetCookie => "set_cookie",
            Self::Vary => "vary",
            Self::NoFreshness => "no_freshness",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
        }
    }
}

/// What to store of an answer, or why nothing (§3). Whether all of its body came is for the caller to see (§3.3).
///
/// A 304 is not stored: see [`super::freshen`].
pub fn storable(exchange: &Exchange<'_>, conf: &CachingConf) -> Result<StoredAnswer, Why> {
    if *exchange.method != Method::GET {
        return Err(Why::Method);
    }
    match exchange.status {
        206 => return Err(Why::Partial),
        // 1xx are not final; what else is no status is none. RFC 6585 forbids to store 428, 429, 431 and 511.
        ..200 | 304 | 428 | 429 | 431 | 511 | 600.. => return Err(Why::Status),
        _ => {}
    }
    if nominates_what_counts(exchange.response) {
        return Err(Why::Malformed);
    }
    if exchange.response.contains_key(SET_COOKIE) && !conf.store_set_cookie {
        return Err(Why::SetCookie);
    }
    judge(exchange, exchange.status, exchange.response, conf)?;
    let selecting = vary::selecting(exchange.response, exchange.request, exchange.forwarded).ok_or(Why::Vary)?;
    Ok(StoredAnswer::new(exchange, selecting, conf))
}

/// The rules that a validated answer must keep as well as a new one: what the fields allow.
pub(super) fn judge(exchange: &Exchange<'_>, status: u16, fields: &HeaderMap, conf: &CachingConf) -> Result<(), Why> {
    let directives = ResponseDirectives::of(fields);
    if directives.broken {
        return Err(Why::Malformed);
    }
    // Who writes `no-store, must-understand` means the former for those who don't know the latter (§5.2.2.3).
    if directives.must_understand {
        if !is_understood(status) {
            return Err(Why::StatusNotUnderstood);
        }
    } else if directives.no_store {
        return Err(Why::NoStore);
    }
    if exchange.directives.no_store {
        return Err(Why::RequestNoStore);
    }
    if directives.private == Scope::Whole {
        return Err(Why::Private);
    }
    let for_all = directives.public || directives.must_revalidate || directives.s_maxage.is_some();
    if exchange.request.contains_key(AUTHORIZATION) && !for_all {
        return Err(Why::Authorization);
    }
    useful(&directives, status, fields, exchange, conf)
}

/// Whether an answer will ever be used: it has a lifetime, or can be validated, or says that it may be used stale.
/// §3 asks for less, which would fill the store with what every request replaces.
fn useful(
    directives: &ResponseDirectives,
    status: u16,
    fields: &HeaderMap,
    exchange: &Exchange<'_>,
    conf: &CachingConf,
) -> Result<(), Why> {
    let explicit = directives.max_age.or(directives.s_maxage).is_some()
        || (!directives.targeted && fields.contains_key(EXPIRES))
        || directives.public;
    if !explicit && !is_heuristically_cacheable(status) {
        return Err(Why::NoFreshness);
    }
    let may_be_stale = !directives.forbids_stale()
        && directives.stale_if_error.max(directives.stale_while_revalidate).is_some_and(|seconds| seconds > 0);
    let used = directives.no_cache != Scope::Whole
        && (may_be_stale || !lifetime(directives, status, fields, exchange.response_time, conf).is_zero());
    if used || can_be_validated(fields) { Ok(()) } else { Err(Why::NoFreshness) }
}

fn can_be_validated(fields: &HeaderMap) -> bool {
    fields.get(ETAG).is_some_and(|tag| EntityTag::parse(tag.as_bytes()).is_some())
        || fields.get(LAST_MODIFIED).is_some_and(|modified| date::parse(modified).is_some())
}

/// Whether `Connection` nominates a field that says how to cache or what the bytes are. No sender may do that
/// (RFC 9110 §7.6.1); taking it at its word would store an answer without its restrictions.
fn nominates_what_counts(response: &HeaderMap) -> bool {
    const COUNT: [HeaderName; 11] = [
        AGE,
        CACHE_CONTROL,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        DATE,
        ETAG,
        EXPIRES,
        LAST_MODIFIED,
        VARY,
    ];
    nominated(response).any(|name| COUNT.contains(&name) || name == "cdn-cache-control" || name == SET_COOKIE)
}

/// Statuses whose requirements on caches are kept here: all of RFC 9110 §15 that may be stored.
fn is_understood(status: u16) -> bool {
    matches!(status, 200..=205 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505)
}

#[cfg(test)]
mod tests;
