//! `Range` (RFC 9110 §14): which bytes of a representation a request selects. What is sent for them is in `multipart`
//! and in the answer; whether the field counts at all (`If-Range`, the method) was decided before.

use std::ops::Range;

use http::header::RANGE;

use super::fields::Fields;

/// The most ranges that one request may ask for; a request for more is answered with the whole representation.
pub const MAX_RANGES: usize = 8;

/// What a `Range` field selects. Ranges are half-open, never empty, and within the representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// There is no usable field: 200 with the whole representation.
    Ignored,
    /// No byte of the representation is in any range: 416.
    Unsatisfiable,
    /// One range: 206 with `Content-Range`.
    One(Range<u64>),
    /// Two to [`MAX_RANGES`] ranges that neither overlap nor touch, in the order of the request: 206 with
    /// `multipart/byteranges`.
    Many(Vec<Range<u64>>),
}

/// The `Range` field of a request; `None` where there is none, and where there are several lines of it: the field is
/// not a list, so what several lines mean is anyone's guess (RFC 9110 §5.3), and a recipient may always ignore it
/// (§14.2).
pub fn field(headers: &impl Fields) -> Option<&[u8]> {
    let mut lines = headers.lines(&RANGE);
    let line = lines.next()?;
    lines.next().is_none().then_some(line)
}

/// What the request selects of a representation of `len` bytes: [`evaluate`] of [`field`].
pub fn select(headers: &impl Fields, len: u64, multi: bool) -> Selection {
    field(headers).map_or(Selection::Ignored, |field| evaluate(field, len, multi))
}

/// What the field value `header` selects of a representation of `len` bytes.
///
/// A unit other than `bytes` (in any case: §14.1), bad syntax anywhere, and a last position before the first make the
/// whole field invalid: it is ignored, never half obeyed. A number of any length is read exactly: a start beyond every
/// u64 is past the end, a suffix longer than the representation is all of it. `bytes=-0`, a start past the end, and
/// anything of an empty representation is unsatisfiable. (§14.1.2 would call a suffix of an empty representation
/// satisfiable; no `Content-Range` could name it.)
///
/// Several ranges without `multi` are ignored whether or not all of them are satisfiable: §14.2 lets a server ignore
/// the field, and the answer should not depend on the length that the client did not know. With it, the satisfiable
/// ones are kept; those that overlap or touch become one, at the place of the earliest of them; if one remains, it is
/// [`Selection::One`] (§15.3.7.2).
pub fn evaluate(header: &[u8], len: u64, multi: bool) -> Selection {
    let mut kept = Kept::default();
    match collect(header, len, if multi { MAX_RANGES } else { 1 }, &mut kept) {
        None => Selection::Ignored,
        Some(()) => kept.into_selection(),
    }
}

/// `Content-Range` of a part: `bytes 0-4/10` (§14.4). An empty range has none, and is written as [`unsatisfied`].
pub fn content_range(range: &Range<u64>, len: u64) -> String {
    let Some(last) = range.end.checked_sub(1).filter(|last| *last >= range.start) else {
        return unsatisfied(len);
    };
    // "bytes ", three numbers of at most 20 digits, "-", "/".
    let mut text = String::with_capacity(68);
    text.push_str("bytes ");
    push_decimal(&mut text, range.start);
    text.push('-');
    push_decimal(&mut text, last);
    text.push('/');
    push_decimal(&mut text, len);
    text
}

/// `Content-Range` of a 416: `bytes */10` (§15.5.17).
pub fn unsatisfied(len: u64) -> String {
    let mut text = String::with_capacity(28);
    text.push_str("bytes */");
    push_decimal(&mut text, len);
    text
}

/// Read every range-spec of `header` into `kept`; `None` where the field is to be ignored.
fn collect(header: &[u8], len: u64, most: usize, kept: &mut Kept) -> Option<()> {
    let header = trim_ows(header);
    let equals = header.iter().position(|byte| *byte == b'=')?;
    let (unit, set) = (&header[..equals], &header[equals + 1..]);
    // The list grammar allows white space around commas, not between `=` and the first range (§14.1.1, §5.6.1.2).
    if !unit.eq_ignore_ascii_case(b"bytes") || is_padded_before_first(set) {
        return None;
    }
    let mut specs = 0;
    for element in set.split(|byte| *byte == b',') {
        let spec = trim_ows(element);
        if spec.is_empty() {
            continue;
        }
        specs += 1;
        if specs > most {
            return None;
        }
        if let Some(range) = Spec::parse(spec)?.resolve(len) {
            kept.insert(range);
        }
    }
    (specs > 0).then_some(())
}

/// Whether the first element of a list is one, and has white space before it.
fn is_padded_before_first(set: &[u8]) -> bool {
    let trimmed = trim_ows(set);
    set.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) && trimmed.first().is_some_and(|byte| *byte != b',')
}

/// `text` without optional white space, which is spaces and tabs (§5.6.3), at either end.
fn trim_ows(text: &[u8]) -> &[u8] {
    let padding = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !padding(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !padding(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// One range-spec (§14.1.1), valid but not yet held against a length. Numbers above `u64::MAX` are `u64::MAX`, which is
/// past the end of everything.
enum Spec {
    /// `first-last` or `first-`.
    Int { first: u64, last: u64 },
    /// `-length`.
    Suffix(u64),
}

impl Spec {
    fn parse(spec: &[u8]) -> Option<Self> {
        let dash = spec.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (&spec[..dash], &spec[dash + 1..]);
        if first.is_empty() {
            return Some(Self::Suffix(saturated(significant(last)?)));
        }
        let first = significant(first)?;
        if last.is_empty() {
            return Some(Self::Int { first: saturated(first), last: u64::MAX });
        }
        let last = significant(last)?;
        // Compared as digits: two numbers beyond u64 still have an order, and the wrong one is invalid (§14.1.1).
        if (last.len(), last) < (first.len(), first) {
            return None;
        }
        Some(Self::Int { first: saturated(first), last: saturated(last) })
    }

    /// The bytes of a representation of `len` that are meant; `None` where there are none.
    fn resolve(self, len: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::Int { first, last } => first..last.saturating_add(1).min(len),
            Self::Suffix(length) => len.saturating_sub(length)..len,
        };
        (range.start < range.end).then_some(range)
    }
}

/// `digits` without leading zeros, so that longer means larger; `None` where it is empty or holds anything but digits.
fn significant(digits: &[u8]) -> Option<&[u8]> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    Some(&digits[zeros..])
}

/// The number that `digits` name, at most `u64::MAX`. Zero has no significant digits.
fn saturated(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number: u64, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
}

/// Ranges that neither overlap nor touch, in the order of the request, without allocating.
#[derive(Default)]
struct Kept {
    ranges: [Range<u64>; MAX_RANGES],
    count: usize,
}

impl Kept {
    /// Add a range, merged with all it overlaps or touches. The caller inserts at most [`MAX_RANGES`].
    fn insert(&mut self, mut range: Range<u64>) {
        // One pass suffices: what is kept is disjoint, so a union can't reach a range that neither of its parts
        // reached.
        let mut place = None;
        let mut count = 0;
        for index in 0..self.count {
            let other = self.ranges[index].clone();
            if other.start <= range.end && range.start <= other.end {
                range = range.start.min(other.start)..range.end.max(other.end);
                if place.is_some() {
                    continue;
                }
                place = Some(count);
            }
            self.ranges[count] = other;
            count += 1;
        }
        let place = place.unwrap_or_else(|| {
            count += 1;
            count - 1
        });
        self.ranges[place] = range;
        self.count = count;
    }

    fn into_selection(self) -> Selection {
        match &self.ranges[..self.count] {
            [] => Selection::Unsatisfiable,
            [range] => Selection::One(range.clone()),
            ranges => Selection::Many(ranges.to_vec()),
        }
    }
}

/// Append `number` in decimal, without the machinery of `format!`: this is on the path of every partial answer.
fn push_decimal(text: &mut String, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.extend(digits[start..].iter().map(|digit| char::from(b'0' + digit)));
}

#[cfg(test)]
mod tests;
