//! One line of `Cache-Control`, split into directives (RFC 9111 §5.2): names, and arguments that are tokens or quoted
//! strings.

use crate::rules::header::{end_of_element, is_tchar};

/// What a number of seconds that is too large counts as (RFC 9111 §1.2.2): 2^31, some 68 years.
pub const DELTA_MAX: u32 = 1 << 31;

/// One directive of a `Cache-Control` line.
pub struct Directive<'a> {
    pub name: &'a [u8],
    pub argument: Argument<'a>,
}

impl Directive<'_> {
    /// Whether it is the one called `name`.
    pub fn is(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// What stands behind the name of a directive.
pub enum Argument<'a> {
    /// Nothing.
    Absent,
    /// A token or a quoted string; §5.2 lets every directive have either.
    Text(Text<'a>),
    /// Something is there that is neither.
    Malformed,
    /// A quote that has no place, or no end.
    Unterminated,
}

impl Argument<'_> {
    /// Delta-seconds (§1.2.2): digits and nothing else. More than counts is the most that counts.
    pub fn seconds(&self) -> Option<u32> {
        let Self::Text(text) = self else { return None };
        delta_seconds(text.bytes())
    }
}

/// What stands in a token or between quotes.
pub struct Text<'a> {
    raw: &'a [u8],
    quoted: bool,
}

impl<'a> Text<'a> {
    /// Its bytes, escapes of a quoted string resolved (RFC 9110 §5.6.4).
    pub fn bytes(&self) -> impl Iterator<Item = u8> + 'a {
        let mut rest = self.raw.iter();
        let quoted = self.quoted;
        std::iter::from_fn(move || match rest.next()? {
            b'\\' if quoted => rest.next().copied(),
            byte => Some(*byte),
        })
    }
}

/// Digits and nothing else, at least one, as seconds.
pub fn delta_seconds(digits: impl Iterator<Item = u8>) -> Option<u32> {
    let mut seconds = None;
    for byte in digits {
        let digit = char::from(byte).to_digit(10)?;
        seconds = Some(seconds.unwrap_or(0_u32).saturating_mul(10).saturating_add(digit).min(DELTA_MAX));
    }
    seconds
}

/// The directives of one line.
pub struct Directives<'a> {
    rest: &'a [u8],
}

impl<'a> Directives<'a> {
    /// Those of `line`.
    pub fn new(line: &'a [u8]) -> Self {
        Self { rest: line }
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !wanted(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn argument(&mut self) -> Argument<'a> {
        let Some(after) = self.rest.strip_prefix(b"=") else { return Argument::Absent };
        self.rest = after;
        let Some(inside) = after.strip_prefix(b"\"") else {
            let raw = self.take_while(is_tchar);
            return if raw.is_empty() { Argument::Malformed } else { Argument::Text(Text { raw, quoted: false }) };
        };
        let mut escaped = false;
        let end = inside.iter().position(|byte| match byte {
            _ if escaped => {
                escaped = false;
                false
            }
            b'\\' => {
                escaped = true;
                false
            }
            byte => *byte == b'"',
        });
        let Some(end) = end else {
            self.rest = &[];
            return Argument::Unterminated;
        };
        self.rest = &inside[end + 1..];
        Argument::Text(Text { raw: &inside[..end], quoted: true })
    }
}

impl<'a> Iterator for Directives<'a> {
    type Item = Directive<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.take_while(|byte| matches!(byte, b' ' | b'\t' | b','));
            if self.rest.is_empty() {
                return None;
            }
            let name = self.take_while(is_tchar);
            let mut argument = self.argument();
            // What follows before the next comma belongs to no grammar. The name still counts: `no-store x` is meant to
            // forbid, and `max-age = 60` is a lifetime that can't be known.
            self.take_while(|byte| matches!(byte, b' ' | b'\t'));
            if !matches!(self.rest, [] | [b',', ..]) {
                let (junk, rest) = self.rest.split_at(end_of_element(self.rest));
                self.rest = rest;
                argument = if junk.contains(&b'"') { Argument::Unterminated } else { Argument::Malformed };
            }
            if !name.is_empty() || matches!(argument, Argument::Unterminated) {
                return Some(Directive { name, argument });
            }
        }
    }
}
