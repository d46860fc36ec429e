//! What is remembered of an answer besides its bytes, and how it is written down.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{DATE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};

use super::directives::{ResponseDirectives, Scope};
use super::vary::Selecting;
use super::{CachingConf, Exchange, Why};
use crate::rules::{date, header};

/// What the store remembers of an answer besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// Its status.
    pub status: u16,
    /// Its end-to-end fields, `Age` and `Content-Length` among them as they came: an answer from the store has its own.
    pub headers: HeaderMap,
    /// When the request was sent that was answered with it, or that validated it last.
    pub request_time: SystemTime,
    /// When that was answered.
    pub response_time: SystemTime,
    /// The selecting header fields of that request.
    pub vary: Selecting,
}

/// The largest encoded form, in bytes.
const ENCODED_MAX: usize = 64 * 1024;

/// The first byte of an encoded form. Another one is another layout, which this program can't read.
const VERSION: u8 = 1;

impl StoredAnswer {
    /// What to store of an answer (§3.1).
    pub(super) fn new(exchange: &Exchange<'_>, vary: Selecting, conf: &CachingConf) -> Self {
        let mut headers = storable_fields(exchange, conf);
        remove_listed(&mut headers);
        Self {
            status: exchange.status,
            headers,
            request_time: exchange.request_time,
            response_time: exchange.response_time,
            vary,
        }
    }

    /// Bytes that [`Self::decode`] reads, at most 64 KiB: [`Why::TooLarge`] else. Times before 1970 become 1970.
    pub fn encode(&self) -> Result<Vec<u8>, Why> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.status.to_be_bytes());
        for time in [self.request_time, self.response_time] {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            bytes.extend(since.as_secs().to_be_bytes());
            bytes.extend(since.subsec_nanos().to_be_bytes());
        }
        push_length(&mut bytes, self.headers.len())?;
        for (name, value) in &self.headers {
            push_text(&mut bytes, name.as_ref())?;
            push_text(&mut bytes, value.as_bytes())?;
        }
        push_length(&mut bytes, self.vary.len())?;
        for (name, value) in &self.vary {
            push_text(&mut bytes, name.as_ref())?;
            bytes.push(u8::from(value.is_some()));
            push_text(&mut bytes, value.as_deref().unwrap_or_default())?;
        }
        if bytes.len() > ENCODED_MAX { Err(Why::TooLarge) } else { Ok(bytes) }
    }

    /// Read what [`Self::encode`] wrote. `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor { rest: bytes };
        if bytes.len() > ENCODED_MAX || cursor.array::<1>()? != [VERSION] {
            return None;
        }
        let status = cursor.number()?;
        let [request_time, response_time] = [cursor.time()?, cursor.time()?];
        let mut headers = HeaderMap::new();
        for _ in 0..cursor.number()? {
            let name = cursor.name()?;
            headers.try_append(name, HeaderValue::from_bytes(cursor.text()?).ok()?).ok()?;
        }
        let mut vary = Selecting::new();
        for _ in 0..cursor.number()? {
            let name = cursor.name()?;
            let value = match (cursor.array::<1>()?, cursor.text()?) {
                ([0], []) => None,
                ([1], value) => Some(value.to_vec()),
                _ => return None,
            };
            vary.push((name, value));
        }
        cursor.rest.is_empty().then_some(Self { status, headers, request_time, response_time, vary })
    }
}

/// The fields of an answer to be stored (§3.1): without those for the connection, without cookies unless the conf allows
/// them, and with a `Date` (RFC 9110 §6.6.1).
pub(super) fn storable_fields(exchange: &Exchange<'_>, conf: &CachingConf) -> HeaderMap {
    let mut fields = header::end_to_end(exchange.response);
    if !conf.store_set_cookie {
        fields.remove(SET_COOKIE);
    }
    if fields.get(DATE).and_then(date::parse).is_none()
        && let Some(Ok(date)) = date::format(exchange.response_time).map(HeaderValue::try_from)
    {
        fields.insert(DATE, date);
    }
    fields
}

/// Remove the fields that `private` or `no-cache` lists: the former are for one client, the latter may not be answered
/// again without asking (§5.2.2.4, §5.2.2.7). Without them, the rest is as if they had not been listed.
pub(super) fn remove_listed(fields: &mut HeaderMap) {
    let directives = ResponseDirectives::of(fields);
    for scope in [directives.no_cache, directives.private] {
        if let Scope::Fields(names) = scope {
            for name in names {
                fields.remove(name);
            }
        }
    }
}

fn push_length(bytes: &mut Vec<u8>, length: usize) -> Result<(), Why> {
    bytes.extend(u16::try_from(length).map_err(|_| Why::TooLarge)?.to_be_bytes());
    Ok(())
}

fn push_text(bytes: &mut Vec<u8>, text: &[u8]) -> Result<(), Why> {
    push_length(bytes, text.len())?;
    bytes.extend(text);
    Ok(())
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        let (text, rest) = self.rest.split_at_checked(length.into())?;
        self.rest = rest;
        Some(text)
    }

    /// A name of a field as it is written down, in lower case.
    fn name(&mut self) -> Option<HeaderName> {
        HeaderName::from_lowercase(self.text()?).ok()
    }

    fn time(&mut self) -> Option<SystemTime> {
        let seconds = u64::from_be_bytes(self.array()?);
        let nanos = u32::from_be_bytes(self.array()?);
        if nanos >= 1_000_000_000 {
            return None;
        }
        UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
    }
}

#[cfg(test)]
mod tests;
