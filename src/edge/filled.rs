//! What an object that came from an origin answers with: the header fields it was stored with, under ours, and what differs from request to
//! request, its age and how it was come by.

use std::io::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pingora::Result;
use pingora::http::ResponseHeader;

use super::origins::OriginRules;
use super::ready::{self, Presentation};
use super::settings::Settings;
use crate::fill::Stale;
use crate::rules::cache_status::{CacheStatus, Forward};
use crate::rules::caching::{self, Freshness, RequestDirectives, Serve, StoredAnswer};
use crate::rules::date;
use crate::rules::encoding::Coding;
use crate::rules::fields::Fields;
use crate::rules::header::elements;
use crate::store::Object;
use crate::store::cas::ObjectInfo;

/// What came with an object from its origin.
#[derive(Clone)]
pub struct Filled {
    /// Its entry in the index.
    pub info: ObjectInfo,
    /// The origin's answer.
    pub answer: Arc<StoredAnswer>,
    /// How long it is fresh.
    pub freshness: Freshness,
    /// Whether its coding must stay (RFC 9111 §5.2.2.6).
    pub no_transform: bool,
    /// What the conf says of its origin.
    pub rules: Arc<OriginRules>,
}

/// Fields of an origin's answer that are ours to write.
const OURS: [HeaderName; 19] = [
    header::AGE,
    header::ETAG,
    header::DATE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::ACCEPT_RANGES,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::X_CONTENT_TYPE_OPTIONS,
    header::REFERRER_POLICY,
    HeaderName::from_static("cross-origin-resource-policy"),
    HeaderName::from_static("x-corr-id"),
    HeaderName::from_static("x-reason"),
    // What an origin says of its own host would be believed of ours.
    header::ALT_SVC,
    header::STRICT_TRANSPORT_SECURITY,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

impl Filled {
    /// Whether this object is the one for the request: its selecting fields match, and its query is part of the key or there is none.
    pub fn matches(&self, fields: &impl Fields) -> bool {
        caching::matches(&self.answer.vary, fields)
    }

    /// What RFC 9111 lets us do with it for this request.
    pub fn serve(&self, directives: &RequestDirectives, now: SystemTime) -> Serve {
        caching::serve(&self.freshness, directives, now)
    }

    /// Whether a hit of the hot set may be answered without looking any further.
    pub fn fresh_for(&self, fields: &impl Fields, has_query: bool, now: SystemTime) -> bool {
        if self.rules.keep_query && has_query {
            return false;
        }
        self.matches(fields) && self.serve(&self.rules.directives(fields), now) == Serve::Fresh
    }

    /// What an origin is asked to validate.
    pub fn stale(&self) -> Stale {
        Stale { info: self.info.clone(), answer: (*self.answer).clone() }
    }

    /// `Date` of the origin's answer.
    pub fn date(&self) -> Option<SystemTime> {
        self.answer.headers.get(header::DATE).and_then(date::parse)
    }

    /// The prepared 200 (or whatever status it was stored with) and 304.
    pub fn headers(
        &self,
        settings: &Settings,
        object: &Object,
        presentation: &Presentation,
    ) -> Result<(ResponseHeader, ResponseHeader)> {
        let status = StatusCode::from_u16(self.answer.status).unwrap_or(StatusCode::OK);
        let mut full = ResponseHeader::build_no_case(status, Some(self.answer.headers.len() + 16))?;
        fields(settings, &mut full, &self.answer.headers, presentation.negotiable)?;
        if object.coding != Coding::Identity {
            full.insert_header(header::CONTENT_ENCODING, HeaderValue::from_static(object.coding.token()))?;
        }
        // RFC 9110 §8.6: a 204 has none.
        if status != StatusCode::NO_CONTENT {
            full.insert_header(header::CONTENT_LENGTH, HeaderValue::from(object.len()))?;
        }
        let mut not_modified = ResponseHeader::build_no_case(StatusCode::NOT_MODIFIED, Some(16))?;
        if status == StatusCode::OK {
            let ranges = HeaderValue::from_static(if presentation.ranges { "bytes" } else { "none" });
            full.insert_header(header::ACCEPT_RANGES, ranges)?;
            let etag = HeaderValue::try_from(&*object.etag).map_err(|_| ready::bad_header())?;
            full.insert_header(header::ETAG, etag.clone())?;
            not_modified.insert_header(header::ETAG, etag)?;
        }
        for name in [header::CACHE_CONTROL, header::CONTENT_LOCATION, header::EXPIRES, header::VARY] {
            for value in full.headers.get_all(&name).iter().cloned().collect::<Vec<_>>() {
                not_modified.append_header(name.clone(), value)?;
            }
        }
        ready::constant(settings, &mut not_modified)?;
        Ok((full, not_modified))
    }

    /// As [`Filled::personal`] of a hit, as bytes.
    pub fn write_personal(&self, to: &mut Vec<u8>, now: SystemTime) {
        // Writing to a Vec does not fail.
        let _ = write!(to, "Age: {}\r\n", self.freshness.age(now).as_secs());
        let ttl = Some(self.freshness.ttl(now));
        let _ = write!(to, "cache-status: {}\r\n", How::default().status(ttl, Some("cas")));
    }

    /// Write what differs from request to request: `Age` (RFC 9111 §5.1) and `Cache-Status` (RFC 9211).
    pub fn personal(&self, header: &mut ResponseHeader, how: &How, now: SystemTime) -> Result<()> {
        header.insert_header(header::AGE, HeaderValue::from(self.freshness.age(now).as_secs()))?;
        header.append_header("cache-status", how.value(Some(self.freshness.ttl(now)), Some("cas")))?;
        Ok(())
    }
}

/// Copy an origin's end-to-end fields, leave out what is ours to write, and add what every answer carries.
pub fn fields(settings: &Settings, header: &mut ResponseHeader, from: &HeaderMap, negotiable: bool) -> Result<()> {
    for (name, value) in from {
        if !OURS.contains(name) {
            header.append_header(name.clone(), value.clone())?;
        }
    }
    if negotiable && !names_accept_encoding(from) {
        header.append_header(header::VARY, HeaderValue::from_static("Accept-Encoding"))?;
    }
    header.append_header(header::VIA, settings.via.clone())?;
    ready::constant(settings, header)
}

fn names_accept_encoding(headers: &HeaderMap) -> bool {
    let names = headers.get_all(header::VARY).iter().flat_map(|line| elements(line.as_bytes()));
    names.into_iter().any(|name| name.eq_ignore_ascii_case(b"accept-encoding"))
}

/// How an answer was come by: what `Cache-Status` says of it.
#[derive(Clone, Debug, Default)]
pub struct How {
    /// Why the origin was asked; `None` for a hit.
    pub forward: Option<Forward>,
    /// The status that it answered, where it did.
    pub status: Option<u16>,
    /// Whether the answer will be stored if it completes.
    pub stored: bool,
    /// Whether somebody else's request to the origin served this one too.
    pub collapsed: bool,
    /// How long an answer is fresh that is on its way into the store.
    pub freshness: Option<Freshness>,
}

impl How {
    /// The field's value. `ttl` is in seconds, negative for what is stale.
    pub fn value(&self, ttl: Option<i64>, detail: Option<&'static str>) -> HeaderValue {
        self.status(ttl, detail).value()
    }

    /// As [`How::value`], as what it says.
    fn status(&self, ttl: Option<i64>, detail: Option<&'static str>) -> CacheStatus {
        let mut status = self.forward.map_or(CacheStatus::hit(), CacheStatus::forward);
        if let Some(answered) = self.status {
            status = status.forward_status(answered);
        }
        if let Some(ttl) = ttl {
            status = status.ttl(ttl);
        }
        if let Some(detail) = detail {
            status = status.detail(detail);
        }
        status.stored(self.stored).collapsed(self.collapsed)
    }
}
