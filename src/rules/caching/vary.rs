//! Which variant a request selects (RFC 9111 §4.1).

use http::header::{self, HeaderMap, HeaderName, VARY};

use crate::rules::fields::Fields;
use crate::rules::header::elements;

/// The selecting header fields of a request with their values, brought into one form; `None` where a field was not there.
/// Empty where nothing selects.
pub type Selecting = Vec<(HeaderName, Option<Vec<u8>>)>;

/// A `Vary` of more names is not followed.
const NAMES_MAX: usize = 32;

/// Fields that the edge makes itself when it asks an origin, whatever the conf forwards: they are alike for all clients.
const MADE_HERE: [HeaderName; 6] =
    [header::ACCEPT_ENCODING, header::USER_AGENT, header::HOST, header::VIA, header::RANGE, header::CONNECTION];

/// The selecting header fields of `request` for the `Vary` in the fields of its answer. `None` if it is to match no
/// request: it contains `*`, or something that is no name, or more than 32 names.
///
/// Only fields in `forwarded`, which the origin was shown as the client sent them, can have made a difference. All others
/// select nothing, so that no client makes variants by a field that no origin sees.
pub fn selecting(response: &HeaderMap, request: &HeaderMap, forwarded: &[HeaderName]) -> Option<Selecting> {
    let mut selecting = Selecting::new();
    let members = response.get_all(VARY).iter().flat_map(|line| elements(line.as_bytes()));
    for (count, member) in members.filter(|member| !member.is_empty()).enumerate() {
        // `*` is a character of tokens, so it would pass for a name.
        if member == b"*" || count == NAMES_MAX {
            return None;
        }
        let name = HeaderName::from_bytes(member).ok()?;
        let known = selecting.iter().any(|(known, _)| *known == name);
        if !known && forwarded.contains(&name) && !MADE_HERE.contains(&name) {
            let value = request.contains_key(&name).then(|| normalized(request, &name).collect());
            selecting.push((name, value));
        }
    }
    selecting.sort_unstable_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
    Some(selecting)
}

/// Whether a request has the selecting header fields that an answer was stored with. Absent fields match absent ones
/// only.
pub fn matches(selecting: &[(HeaderName, Option<Vec<u8>>)], request: &impl Fields) -> bool {
    selecting.iter().all(|(name, value)| match value {
        Some(value) => request.has(name) && normalized(request, name).eq(value.iter().copied()),
        None => !request.has(name),
    })
}

/// 16 bytes that tell the variants of a key apart: the start of a BLAKE3 over the selecting header fields. `None` where
/// nothing selects.
pub fn variant(selecting: &[(HeaderName, Option<Vec<u8>>)]) -> Option<[u8; 16]> {
    if selecting.is_empty() {
        return None;
    }
    let mut hasher = blake3::Hasher::new();
    for (name, value) in selecting {
        // No name and no value contains a line feed, so that no two lists have the same bytes.
        hasher.update(name.as_ref());
        hasher.update(if value.is_some() { b":" } else { b"-" });
        hasher.update(value.as_deref().unwrap_or_default());
        hasher.update(b"\n");
    }
    hasher.finalize().as_bytes().first_chunk().copied()
}

/// The value of a field in one form (§4.1): its lines combined, white space around commas taken out. Ranges of languages
/// are without case (RFC 4647 §2), and nothing in `Accept-Language` needs white space; their order may be a preference.
fn normalized<'a>(request: &'a impl Fields, name: &'a HeaderName) -> impl Iterator<Item = u8> + 'a {
    let language = *name == header::ACCEPT_LANGUAGE;
    let members = request.lines(name).flat_map(elements);
    members.enumerate().flat_map(move |(at, member)| {
        let comma = (at > 0).then_some(b',');
        let bytes = member.iter().filter_map(move |byte| match byte {
            b' ' | b'\t' if language => None,
            byte if language => Some(byte.to_ascii_lowercase()),
            byte => Some(*byte),
        });
        comma.into_iter().chain(bytes)
    })
}

#[cfg(test)]
mod tests;
