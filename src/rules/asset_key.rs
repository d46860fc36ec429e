//! The key of an asset: the path after the route's prefix, decoded exactly once and free of anything that could mean
//! two things. Every store and the index know a resource by this key and by no other spelling; what a key maps to is
//! theirs.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The longest key, in bytes after decoding.
pub const MAX_KEY_BYTES: usize = 4096;

/// Why a path is no key. Each one answers 400 `bad_path`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Longer than [`MAX_KEY_BYTES`] after decoding.
    #[error("the path is longer than {MAX_KEY_BYTES} bytes")]
    TooLong,
    /// A `%` without two hex digits behind it (RFC 3986 §2.1).
    #[error("a percent sign without two hex digits")]
    BadEscape,
    /// A `?` or `#` that is not percent-encoded: it ends a path (RFC 3986 §3.3).
    #[error("a query or a fragment in the path")]
    Delimiter,
    /// Not UTF-8 after decoding.
    #[error("the path is not UTF-8")]
    NotUtf8,
    /// NUL or another of C0, DEL, or one of C1.
    #[error("a control character in the path")]
    Control,
    /// A backslash: a separator on some systems, a character on others.
    #[error("a backslash in the path")]
    Backslash,
    /// Nothing between two slashes, before the first or behind the last.
    #[error("an empty segment in the path")]
    EmptySegment,
    /// A `.` or `..` segment, encoded or not.
    #[error("a dot segment in the path")]
    DotSegment,
}

/// The canonical key of `raw`, the percent-encoded path after the route's prefix: no leading slash, no query.
///
/// Decoding happens once and the checks look at what it gave, so `%2e%2e` is `..` and refused, `%252e` is the three
/// characters `%2e` and stays, and `a%2Fb` is the same key as `a/b`: one resource never has two keys, whatever a proxy
/// before us did to its slashes. There is no Unicode normalization: NFC and NFD spellings are two keys. Borrows where
/// nothing was encoded.
pub fn canonical(raw: &[u8]) -> Result<Cow<'_, str>, KeyError> {
    // Three bytes of an escape make one of the key, so this bounds the work before any of it is done.
    if raw.len() > 3 * MAX_KEY_BYTES {
        return Err(KeyError::TooLong);
    }
    if raw.iter().any(|byte| matches!(byte, b'?' | b'#')) {
        return Err(KeyError::Delimiter);
    }
    let key = if raw.contains(&b'%') {
        Cow::Owned(String::from_utf8(decode(raw)?).map_err(|_| KeyError::NotUtf8)?)
    } else {
        Cow::Borrowed(std::str::from_utf8(raw).map_err(|_| KeyError::NotUtf8)?)
    };
    check(&key)?;
    Ok(key)
}

/// Whether `key` is canonical as it stands. For keys that come from a command line or a manifest and were never
/// percent-encoded: a `%` in them is a percent sign.
pub fn check(key: &str) -> Result<(), KeyError> {
    if key.len() > MAX_KEY_BYTES {
        return Err(KeyError::TooLong);
    }
    let mut before = 0;
    for byte in key.bytes() {
        match byte {
            0..0x20 | 0x7f => return Err(KeyError::Control),
            // In UTF-8, C1 (U+0080–U+009F) is 0xC2 followed by 0x80–0x9F.
            0x80..0xa0 if before == 0xc2 => return Err(KeyError::Control),
            b'\\' => return Err(KeyError::Backslash),
            _ => before = byte,
        }
    }
    for segment in key.split('/') {
        match segment {
            "" => return Err(KeyError::EmptySegment),
            "." | ".." => return Err(KeyError::DotSegment),
            _ => {}
        }
    }
    Ok(())
}

/// What `encode` leaves alone: `pchar` of RFC 3986 §3.3 and the slash.
pub(super) const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/');

/// The one spelling of a key in a URL's path: [`canonical`] of it gives the key back. Borrows where nothing needs
/// encoding.
pub fn encode(key: &str) -> Cow<'_, str> {
    utf8_percent_encode(key, PATH).into()
}

/// Decode the escapes of `raw`, once and strictly.
fn decode(raw: &[u8]) -> Result<Vec<u8>, KeyError> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let [high, low, tail @ ..] = rest else { return Err(KeyError::BadEscape) };
        decoded.push(hex(*high)? << 4 | hex(*low)?);
        rest = tail;
    }
    Ok(decoded)
}

/// The value of a hex digit of either case.
fn hex(digit: u8) -> Result<u8, KeyError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(KeyError::BadEscape),
    }
}

#[cfg(test)]
mod tests;
