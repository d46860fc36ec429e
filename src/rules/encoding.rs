//! Content codings (RFC 9110 §8.4.1, §12.5.3): what is stored, what a client accepts.

use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};

use super::fields::Fields;

/// A content coding that bytes can be stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// No coding.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// The token in `Content-Encoding` and `Accept-Encoding`. `identity` never stands in the former.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// The coding that a token names, in any case; `x-gzip` is `gzip` (§8.4.1.3). `None` for codings that we can't
    /// read.
    pub fn from_token(token: &[u8]) -> Option<Self> {
        if token.eq_ignore_ascii_case(b"x-gzip") {
            return Some(Self::Gzip);
        }
        [Self::Identity, Self::Gzip, Self::Brotli, Self::Zstd]
            .into_iter()
            .find(|coding| token.eq_ignore_ascii_case(coding.token().as_bytes()))
    }
}

/// The coding of a message's content: `None` where it is one that we can't read, or several (RFC 9110 §8.4).
pub fn of(headers: &HeaderMap) -> Option<Coding> {
    let mut lines = headers.get_all(CONTENT_ENCODING).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Some(Coding::Identity),
        (Some(line), None) => Coding::from_token(line.as_bytes().trim_ascii()),
        _ => None,
    }
}

/// How stored bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// As they are, with the `Content-Encoding` of their coding.
    AsStored,
    /// Decoded, without one.
    Decode,
}

/// Whether the request's `Accept-Encoding` finds `coding` acceptable (RFC 9110 §12.5.3): without the field everything
/// is; else what it lists above zero, by name or by `*`; and no coding at all unless `identity;q=0` or `*;q=0` excludes
/// it.
///
/// Several lines are one list. An element that does not follow the grammar (`gzip;q=2`) counts as not there. Of a
/// coding that is listed twice the lower weight counts, since leaving a coding out is always safe.
pub fn accepts(headers: &impl Fields, coding: Coding) -> bool {
    let Some(weights) = Weights::of(headers, coding) else { return true };
    match weights.coding.or(weights.any) {
        Some(weight) => weight > 0,
        None => coding == Coding::Identity,
    }
}

/// How an object that is stored in the coding `stored` is sent.
///
/// As stored where the client accepts that and does not prefer no coding (§12.5.3: the highest weight is preferred).
/// Decoded where it doesn't, even where it forbids `identity` too: it is the only other thing there is, and a client
/// that refuses everything is better served with bytes than with 406. Decoded also where there is no `Accept-Encoding`:
/// everything is acceptable then, and no coding is what a client that never heard of codings can read.
pub fn choose(headers: &impl Fields, stored: Coding) -> Choice {
    if stored == Coding::Identity {
        return Choice::AsStored;
    }
    let Some(weights) = Weights::of(headers, stored) else { return Choice::Decode };
    let identity = weights.identity.or(weights.any).unwrap_or(0);
    match weights.coding.or(weights.any) {
        Some(weight) if weight > 0 && weight >= identity => Choice::AsStored,
        _ => Choice::Decode,
    }
}

/// What `Accept-Encoding` says of one coding: weights in thousandths, `None` for what it does not list.
struct Weights {
    coding: Option<u16>,
    identity: Option<u16>,
    any: Option<u16>,
}

impl Weights {
    /// `None` where there is no such field.
    fn of(headers: &impl Fields, coding: Coding) -> Option<Self> {
        let mut lines = headers.lines(&ACCEPT_ENCODING).peekable();
        lines.peek()?;
        let mut weights = Self { coding: None, identity: None, any: None };
        let elements = lines.flat_map(|line| line.split(|byte| *byte == b','));
        for (name, weight) in elements.filter_map(element) {
            if name == b"*" {
                lower(&mut weights.any, weight);
                continue;
            }
            let named = Coding::from_token(name);
            if named == Some(coding) {
                lower(&mut weights.coding, weight);
            }
            if named == Some(Coding::Identity) {
                lower(&mut weights.identity, weight);
            }
        }
        Some(weights)
    }
}

fn lower(slot: &mut Option<u16>, weight: u16) {
    *slot = Some(slot.map_or(weight, |other| other.min(weight)));
}

/// Read `coding [ OWS ";" OWS "q=" qvalue ]`; `None` where it is anything else.
fn element(element: &[u8]) -> Option<(&[u8], u16)> {
    let mut halves = element.splitn(2, |byte| *byte == b';');
    let name = halves.next()?.trim_ascii();
    let Some(weight) = halves.next() else { return Some((name, 1000)) };
    match weight.trim_ascii() {
        [b'q' | b'Q', b'=', value @ ..] => Some((name, qvalue(value)?)),
        _ => None,
    }
}

/// A qvalue in thousandths: 0 to 1 with at most three digits behind the point (§12.4.2).
fn qvalue(value: &[u8]) -> Option<u16> {
    let (whole, fraction) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] => (whole, fraction),
        _ => return None,
    };
    if !matches!(whole, b'0' | b'1') || fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let thousandths = std::iter::once(whole)
        .chain(fraction)
        .chain(std::iter::repeat(&b'0'))
        .take(4)
        .fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests;
