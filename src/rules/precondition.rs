//! Preconditions (RFC 9110 §13): whether a request's validators let it proceed, and whether `If-Range` lets its `Range`
//! count. They are asked about a representation that exists; a miss has none to hold them against.

use std::time::SystemTime;

use http::header::{HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};

use super::date;
use super::etag::{EntityTag, List};
use super::fields::Fields;

/// What is known of the selected representation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validators<'a> {
    /// The entity tag with its quotes; `None` while a fill has no digest yet.
    pub etag: Option<&'a str>,
    /// The last modification; its fraction of a second is ignored, as no client ever saw it.
    pub last_modified: Option<SystemTime>,
    /// `Date` of the origin's answer that brought `last_modified`; `None` for packs and imported objects, which have
    /// none.
    pub origin_date: Option<SystemTime>,
}

/// What the preconditions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on as if they were not there.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// Evaluate the preconditions in the order of RFC 9110 §13.2.2. `get_or_head` is whether the method is one of the two.
///
/// Several lines of `If-Match` or `If-None-Match` are one list. A list that stops making sense matches by what stood
/// before: 200 and 412 are the safe answers to what can't be read. A date that is none, that is repeated, or that meets
/// a representation without a date is ignored (§13.1.3, §13.1.4).
pub fn evaluate(headers: &impl Fields, get_or_head: bool, validators: &Validators<'_>) -> Verdict {
    match lists(headers, IF_MATCH, validators, |tag, current| tag.strong_eq(current)) {
        Some(true) => {}
        Some(false) => return Verdict::Failed,
        None => {
            if modified_since(headers, IF_UNMODIFIED_SINCE, validators) == Some(true) {
                return Verdict::Failed;
            }
        }
    }
    match lists(headers, IF_NONE_MATCH, validators, |tag, current| tag.weak_eq(current)) {
        Some(true) if get_or_head => Verdict::NotModified,
        Some(true) => Verdict::Failed,
        Some(false) => Verdict::Proceed,
        None if get_or_head && modified_since(headers, IF_MODIFIED_SINCE, validators) == Some(false) => {
            Verdict::NotModified
        }
        None => Verdict::Proceed,
    }
}

/// How much older than its `Date` a `Last-Modified` must be to be a strong validator, in seconds. RFC 9110 §8.8.2.2
/// asks for one second and for a difference that makes unequal clocks unlikely to matter; a minute is what RFC 7232
/// §2.2.2 asked for.
const STRONG_DATE_AGE: u64 = 60;

/// Whether `If-Range` lets `Range` count (RFC 9110 §13.1.5): it is absent, or names exactly this representation.
///
/// A tag holds by strong comparison alone. A date holds only if it is `Last-Modified` to the second and a strong
/// validator by §8.8.2.2, for which the origin's `Date` must be known: of a file we know its time, but not that it
/// didn't change twice within that second, and whoever got a pack from us got its tag too. Anything else, a list or a
/// repeated line included, does not hold: the whole representation is always right.
pub fn if_range_holds(headers: &impl Fields, validators: &Validators<'_>) -> bool {
    let mut lines = headers.lines(&IF_RANGE);
    let Some(line) = lines.next() else { return true };
    if lines.next().is_some() {
        return false;
    }
    if let Some(tag) = EntityTag::parse(line) {
        return current_tag(validators).is_some_and(|current| tag.strong_eq(current));
    }
    let modified = validators.last_modified.and_then(date::seconds);
    let (Some(given), Some(modified)) = (date::parse_bytes(line).and_then(date::seconds), modified) else {
        return false;
    };
    let strong = validators
        .origin_date
        .and_then(date::seconds)
        .and_then(|sent| sent.checked_sub(modified))
        .is_some_and(|age| age >= STRONG_DATE_AGE);
    strong && given == modified
}

fn current_tag<'a>(validators: &Validators<'a>) -> Option<EntityTag<'a>> {
    EntityTag::parse(validators.etag?.as_bytes())
}

/// Whether the field `name` lists the current representation; `None` where the field is absent.
/// A `*` stands for any representation, so for this one, and stands alone (§13.1.1, §13.1.2).
fn lists(
    headers: &impl Fields,
    name: HeaderName,
    validators: &Validators<'_>,
    equal: impl Fn(EntityTag<'_>, EntityTag<'_>) -> bool,
) -> Option<bool> {
    let mut lines = headers.lines(&name).peekable();
    if lines.peek()?.trim_ascii() == b"*" {
        lines.next();
        return Some(lines.next().is_none());
    }
    let Some(current) = current_tag(validators) else { return Some(false) };
    for item in lines.flat_map(List::new) {
        match item {
            Ok(tag) if equal(tag, current) => return Some(true),
            Ok(_) => {}
            Err(_) => return Some(false),
        }
    }
    Some(false)
}

/// Whether the representation was modified after the date in the field `name`; `None` where the field is to be ignored.
fn modified_since(headers: &impl Fields, name: HeaderName, validators: &Validators<'_>) -> Option<bool> {
    let mut lines = headers.lines(&name);
    let line = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    let modified = date::seconds(validators.last_modified?)?;
    Some(modified > date::seconds(date::parse_bytes(line)?)?)
}

#[cfg(test)]
mod tests;
