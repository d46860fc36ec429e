//! Asking whether a stored answer still holds, and what follows from a 304 (RFC 9111 §3.2, §4.3).

use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, VARY,
};

use super::storable::{Why, judge};
use super::stored::{StoredAnswer, remove_listed, storable_fields};
use super::vary;
use super::{CachingConf, Exchange};
use crate::rules::date;
use crate::rules::etag::EntityTag;

/// What a 304 makes of the stored answer that was asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freshened {
    /// Answer with this, and store it in the old one's place.
    Update(StoredAnswer),
    /// Answer with this, and store none of it. The old one must go too, unless the reason is the request's
    /// ([`Why::RequestNoStore`], [`Why::Authorization`]).
    Unstorable(StoredAnswer, Why),
    /// The 304 names another representation than the stored one (§4.3.4): ask again, without conditions.
    Mismatch,
}

/// The conditions to ask an origin with whether `answer` still holds (§4.3.1): its `ETag`, which must be sent if there is
/// one, and its `Last-Modified`. Empty if it has neither. What is no entity tag or no date can't be asked for.
pub fn conditional(answer: &StoredAnswer) -> Vec<(HeaderName, HeaderValue)> {
    let mut conditions = Vec::with_capacity(2);
    if let Some(tag) = answer.headers.get(ETAG).filter(|tag| EntityTag::parse(tag.as_bytes()).is_some()) {
        conditions.push((IF_NONE_MATCH, tag.clone()));
    }
    if let Some(modified) = answer.headers.get(LAST_MODIFIED).filter(|modified| date::parse(modified).is_some()) {
        conditions.push((IF_MODIFIED_SINCE, modified.clone()));
    }
    conditions
}

/// What a 304 makes of `stored` (§4.3.4). `exchange` is the one that brought the 304.
///
/// The fields of the 304 replace the stored ones (§3.2), but those that describe the stored bytes. `Age` is of the
/// answer as it is now, so that an old one does not outlive the validation.
pub fn freshen(stored: &StoredAnswer, exchange: &Exchange<'_>, conf: &CachingConf) -> Freshened {
    if !names(stored, exchange.response) {
        return Freshened::Mismatch;
    }
    let mut headers = stored.headers.clone();
    headers.remove(AGE);
    let new = storable_fields(exchange, conf);
    for name in new.keys().filter(|name| !describes_the_bytes(name)) {
        headers.remove(name);
        for value in new.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    remove_listed(&mut headers);
    let mut answer = StoredAnswer {
        status: stored.status,
        headers,
        request_time: exchange.request_time,
        response_time: exchange.response_time,
        vary: stored.vary.clone(),
    };
    if let Err(why) = judge(exchange, answer.status, &answer.headers, conf) {
        return Freshened::Unstorable(answer, why);
    }
    if exchange.response.contains_key(VARY) {
        match vary::selecting(exchange.response, exchange.request, exchange.forwarded) {
            Some(selecting) => answer.vary = selecting,
            None => return Freshened::Unstorable(answer, Why::Vary),
        }
    }
    Freshened::Update(answer)
}

/// Whether a 304 is about the stored answer (§4.3.4). A strong tag must be the stored one; a weak one must match it
/// weakly; a date must be the same. A 304 that names nothing answers what was asked: one stored answer.
fn names(stored: &StoredAnswer, not_modified: &HeaderMap) -> bool {
    if let Some(new) = tag(not_modified) {
        let old = tag(&stored.headers);
        return old.is_some_and(|old| if new.is_weak() { new.weak_eq(old) } else { new.strong_eq(old) });
    }
    let modified = |headers: &HeaderMap| headers.get(LAST_MODIFIED).and_then(date::parse);
    match (modified(not_modified), modified(&stored.headers)) {
        (Some(new), Some(old)) => new == old,
        (Some(_), None) => tag(&stored.headers).is_some(),
        (None, _) => true,
    }
}

fn tag(headers: &HeaderMap) -> Option<EntityTag<'_>> {
    headers.get(ETAG).and_then(|tag| EntityTag::parse(tag.as_bytes()))
}

/// Fields that a 304 does not change, because the stored bytes depend on them (§3.2).
fn describes_the_bytes(name: &HeaderName) -> bool {
    const NAMES: [HeaderName; 4] = [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE];
    NAMES.contains(name)
}

#[cfg(test)]
mod tests;
