//! The lock file: which bytes a path may have. A line a pin, as `b3sum` prints them: 64 lower-case hex digits, two spaces, the
//! path as it follows `/edge/assets/`, decoded. Empty lines and lines that begin with `#` say nothing.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write as _;

use super::asset_key::{self, KeyError, MAX_KEY_BYTES};

/// Digits of a hash.
const DIGITS: usize = 64;
/// What stands between a hash and its path.
const GAP: &str = "  ";
/// The longest line, in bytes.
const MAX_LINE: usize = DIGITS + GAP.len() + MAX_KEY_BYTES;

/// What each path may be: the BLAKE3 hash of its bytes.
pub type Pins = HashMap<String, [u8; 32]>;

/// What is wrong with a lock file, and on which line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct LockError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: LockFault,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockFault {
    /// Longer than any pin.
    #[error("is longer than {MAX_LINE} bytes")]
    TooLong,
    /// What `b3sum` writes before a name with a backslash or a newline, which no path has.
    #[error("is of a name with a backslash or a newline, which no path can have")]
    Escaped,
    /// Not 64 hex digits in lower case at its beginning.
    #[error("does not begin with 64 hex digits in lower case")]
    Hash,
    /// Not two spaces behind the hash.
    #[error("has no two spaces behind its hash")]
    Gap,
    /// No path that an asset could have.
    #[error("{0}")]
    Path(KeyError),
    /// A path that stands on an earlier line with another hash.
    #[error("pins a path that line {0} pins to another hash")]
    Contradiction(usize),
}

/// The pins of a lock file. Its length bounds what comes of it: whoever reads the file bounds that.
pub fn parse(text: &str) -> Result<Pins, LockError> {
    let mut pins = Pins::new();
    let mut lines = HashMap::new();
    for (index, line) in text.split('\n').enumerate() {
        let fault = |why| LockError { line: index + 1, why };
        // Files that were edited elsewhere end their lines with both.
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (path, hash) = pin(line).map_err(fault)?;
        match pins.entry(path.to_owned()) {
            Entry::Vacant(place) => {
                place.insert(hash);
                lines.insert(path, index + 1);
            }
            Entry::Occupied(known) if *known.get() == hash => {}
            Entry::Occupied(_) => {
                let first = lines.get(path).copied().unwrap_or_default();
                return Err(fault(LockFault::Contradiction(first)));
            }
        }
    }
    Ok(pins)
}

/// The line of a pin, without its newline. `path` is one that [`asset_key::check`] takes.
pub fn line(path: &str, hash: &[u8; 32]) -> String {
    let mut line = String::with_capacity(DIGITS + GAP.len() + path.len());
    for byte in hash {
        // Writing to a string does not fail.
        let _ = write!(line, "{byte:02x}");
    }
    line + GAP + path
}

/// The path and the hash of a line.
fn pin(line: &str) -> Result<(&str, [u8; 32]), LockFault> {
    if line.len() > MAX_LINE {
        return Err(LockFault::TooLong);
    }
    if line.starts_with('\\') {
        return Err(LockFault::Escaped);
    }
    let (digits, rest) = line.split_at_checked(DIGITS).ok_or(LockFault::Hash)?;
    let hash = hash(digits.as_bytes()).ok_or(LockFault::Hash)?;
    let path = rest.strip_prefix(GAP).ok_or(LockFault::Gap)?;
    asset_key::check(path).map_err(LockFault::Path)?;
    Ok((path, hash))
}

/// 64 lower-case hex digits as 32 bytes: a hash has one spelling, as everything here has.
fn hash(digits: &[u8]) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != hash.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(hash)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    const ONE: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    const TWO: &str = "d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24";

    #[test]
    fn a_line_of_b3sum_is_a_pin() {
        // The hash of nothing, from the BLAKE3 test vectors.
        let pins = parse(&format!("# fonts\n\n{ONE}  a/b c.txt\r\n{TWO}   é")).unwrap();
        assert_eq!(pins.len(), 2);
        assert_eq!(pins["a/b c.txt"], *blake3::hash(b"").as_bytes());
        assert_eq!(line(" é", &pins[" é"]), format!("{TWO}   é"));
        assert_eq!(parse(""), Ok(Pins::new()));
        assert_eq!(parse(&format!("{ONE}  a\n{ONE}  a\n")).unwrap().len(), 1, "twice the same is no contradiction");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let long = "x".repeat(MAX_KEY_BYTES);
        for (second, why) in [
            (format!("{ONE} a"), LockFault::Gap),
            (format!("{ONE}\ta"), LockFault::Gap),
            (format!("{ONE} *a"), LockFault::Gap),
            (ONE.to_owned(), LockFault::Gap),
            (format!("{ONE}  "), LockFault::Path(KeyError::EmptySegment)),
            (format!("{ONE}  /a"), LockFault::Path(KeyError::EmptySegment)),
            (format!("{ONE}  ./a"), LockFault::Path(KeyError::DotSegment)),
            (format!("{ONE}  a\0v1"), LockFault::Path(KeyError::Control)),
            (format!("{ONE}  a\rb"), LockFault::Path(KeyError::Control)),
            (format!("{ONE}  a\\b"), LockFault::Path(KeyError::Backslash)),
            (format!("\\{ONE}  a\\nb"), LockFault::Escaped),
            (format!("{}  a", ONE.to_uppercase()), LockFault::Hash),
            (format!("{}  a", &ONE[1..]), LockFault::Hash),
            (format!("{ONE}0  a"), LockFault::Gap),
            (format!(" {ONE}  a"), LockFault::Hash),
            ("é".repeat(40), LockFault::Hash),
            ("a".into(), LockFault::Hash),
            (format!("{ONE}  {long}x"), LockFault::TooLong),
            (format!("{TWO}  first"), LockFault::Contradiction(1)),
        ] {
            let text = format!("{ONE}  first\n#\n{second}\n{ONE}  last\n");
            assert_eq!(parse(&text), Err(LockError { line: 3, why }), "{second:?}");
        }
        assert!(parse(&format!("{ONE}  {long}")).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(pins in proptest::collection::hash_map("[ -\\[\\]-~é#]{1,20}", any::<[u8; 32]>(), 0..20)) {
            let pins: Pins = pins.into_iter().filter(|(path, _)| asset_key::check(path).is_ok()).collect();
            let text: String = pins.iter().map(|(path, hash)| line(path, hash) + "\n").collect();
            prop_assert_eq!(parse(&text), Ok(pins));
        }

        #[test]
        fn arbitrary_texts_never_panic_and_give_canonical_paths(text in "(\\PC|\n){0,300}") {
            if let Ok(pins) = parse(&text) {
                prop_assert!(pins.keys().all(|path| asset_key::check(path).is_ok()));
            }
        }

        #[test]
        fn texts_near_a_lock_file_never_panic(digits in "[0-9a-fA-F]{60,68}", gap in "[ \t*]{0,3}", path in "\\PC{0,8}") {
            let _ = parse(&format!("{digits}{gap}{path}\n"));
        }
    }
}
