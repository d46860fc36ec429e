//! Keys of the index, and prefixes of them.
//!
//! An imported object's key is its path. A filled one's may go on behind it: `path`, then NUL and `?query` where the origin's answers
//! differ by query, then NUL and `v` and 32 hex digits where they differ by Vary. No path and no query has a NUL in it, so the parts
//! never run into each other, and all keys of a path stand together behind it. What may be a path is `rules::asset_key`'s to say.

use std::fmt;

use crate::rules::asset_key::{self, KeyError};

/// Bytes of a key behind its path, at the most: a query within `ingress.uri_bytes`, and a variant.
const MAX_REST: usize = 8 * 1024;

/// Hex digits of a variant.
const VARIANT: usize = 32;

/// Why a key is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadKey {
    /// Its path is none.
    #[error(transparent)]
    Path(#[from] KeyError),
    /// What follows the path is too long, or neither a query nor a variant.
    #[error("what follows the path in a key is neither a query nor a variant, or is too long")]
    Rest,
}

/// The parts of a key. Displayed as `path?query (variant 0123…)`, in which nothing is a control character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyParts<'a> {
    /// What follows `/edge/assets/`, decoded.
    pub path: &'a str,
    /// The query as the client sent it, without its `?`.
    pub query: Option<&'a str>,
    /// What the request headers that Vary names select: 32 hex digits.
    pub variant: Option<&'a str>,
}

impl<'a> KeyParts<'a> {
    /// Take a key apart.
    pub fn of(key: &'a str) -> Self {
        let (path, rest) = split(key);
        let (query, variant) = match rest.and_then(|rest| rest.strip_prefix('?')) {
            Some(behind) => match behind.split_once('\0') {
                Some((query, variant)) => (Some(query), Some(variant)),
                None => (Some(behind), None),
            },
            None => (None, rest),
        };
        Self { path, query, variant: variant.map(|variant| variant.strip_prefix('v').unwrap_or(variant)) }
    }
}

impl fmt::Display for KeyParts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)?;
        self.query.map_or(Ok(()), |query| write!(f, "?{query}"))?;
        self.variant.map_or(Ok(()), |variant| write!(f, " (variant {variant})"))
    }
}

/// The key of a filled object that is the only one of its path, or of its path and query.
pub fn filled_key(path: &str, query: Option<&str>) -> String {
    query.map_or_else(|| path.to_owned(), |query| format!("{path}\0?{query}"))
}

/// The key of one variant of the object at `key`; `selects` is a digest of what the request headers that Vary names select.
pub fn variant_key(key: &str, selects: [u8; VARIANT / 2]) -> String {
    format!("{key}\0v{:032x}", u128::from_be_bytes(selects))
}

/// Whether the index may hold `key`.
pub(super) fn check(key: &str) -> Result<(), BadKey> {
    let (path, rest) = split(key);
    asset_key::check(path)?;
    let Some(rest) = rest else { return Ok(()) };
    let parts = KeyParts::of(key);
    let query = parts.query.is_none_or(|query| !query.contains(char::is_control));
    let variant = parts.variant.is_none_or(|variant| {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        variant.len() == VARIANT && variant.bytes().all(hex) && unvaried(key).len() + 2 + VARIANT == key.len()
    });
    if rest.len() <= MAX_REST && query && variant { Ok(()) } else { Err(BadKey::Rest) }
}

/// The path of a key.
pub fn path_of(key: &str) -> &str {
    split(key).0
}

/// Whether a key is a path and nothing more, as every import's is.
pub(super) fn is_path(key: &str) -> bool {
    split(key).1.is_none()
}

/// A key without its variant: that of the object, for a variant of it.
pub fn unvaried(key: &str) -> &str {
    key.rfind("\0v").map_or(key, |end| &key[..end])
}

/// A half-open range of keys in the order of bytes.
pub(super) type KeyRange = (String, String);

/// The variants of the object at `key`.
pub(super) fn variants(key: &str) -> KeyRange {
    (format!("{key}\0v"), format!("{key}\0w"))
}

/// Every key of a path besides the path itself.
pub(super) fn family(path: &str) -> KeyRange {
    (format!("{path}\0"), format!("{path}\u{1}"))
}

/// A prefix without its closing slash; empty for everything.
pub(super) fn prefix(prefix: &str) -> Result<&str, KeyError> {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if !prefix.is_empty() {
        asset_key::check(prefix)?;
    }
    Ok(prefix)
}

/// The keys below a checked prefix: from `prefix/` to `prefix0`, as `0` follows `/`. `None` for everything.
pub(super) fn below(prefix: &str) -> Option<KeyRange> {
    (!prefix.is_empty()).then(|| (format!("{prefix}/"), format!("{prefix}0")))
}

fn split(key: &str) -> (&str, Option<&str>) {
    key.split_once('\0').map_or((key, None), |(path, rest)| (path, Some(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_covers_what_is_below_it_and_no_sibling() {
        assert_eq!(prefix("fonts/"), Ok("fonts"));
        assert_eq!(prefix(""), Ok(""));
        assert!(prefix("/fonts").is_err());
        assert_eq!(below(""), None);
        let (from, to) = below("fonts").unwrap_or_default();
        for (path, inside) in [
            ("fonts/a", true),
            ("fonts/a\0?q", true),
            ("fonts/\u{10ffff}", true),
            ("fonts", false),
            ("fonts\0?q", false),
            ("fonts2/a", false),
        ] {
            assert_eq!(path >= from.as_str() && path < to.as_str(), inside, "{path:?}");
        }
    }

    #[test]
    fn a_key_comes_apart_as_it_was_put_together() {
        let hex = "00112233445566778899aabbccddeeff";
        let selects = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128.to_be_bytes();
        for query in [None, Some(""), Some("a=b"), Some("?x"), Some("vé"), Some(hex)] {
            let key = filled_key("a/b?c", query);
            assert_eq!(KeyParts::of(&key), KeyParts { path: "a/b?c", query, variant: None });
            let varied = variant_key(&key, selects);
            assert_eq!(KeyParts::of(&varied), KeyParts { path: "a/b?c", query, variant: Some(hex) });
            assert_eq!((check(&key), check(&varied)), (Ok(()), Ok(())), "{key:?}");
            assert_eq!((unvaried(&varied), unvaried(&key), path_of(&varied)), (&*key, &*key, "a/b?c"));
            let (from, to) = variants(&key);
            assert!(varied > from && varied < to && key < from);
            let (from, to) = family("a/b?c");
            assert!(varied > from && varied < to && is_path("a/b?c") && !is_path(&varied));
            assert!(!KeyParts::of(&varied).to_string().contains(char::is_control));
        }
    }

    #[test]
    fn a_query_and_a_longer_path_are_no_variants() {
        for (key, is) in [("a", true), ("a\0v00", true), ("a\0?x", false), ("ab", false), ("a/b", false), ("", false)] {
            assert_eq!(unvaried(key) == "a", is, "{key:?}");
        }
    }

    #[test]
    fn what_is_neither_a_query_nor_a_variant_behind_a_path_is_no_key() {
        let hex = "00112233445566778899aabbccddeeff";
        let long = format!("a\0?{}", "q".repeat(MAX_REST));
        for bad in [
            "a\0",
            "a\0v",
            "a\0x",
            "\0?q",
            "../a\0?q",
            "a\0?q\0",
            "a\0?q\n",
            "a\0?q\u{85}",
            "a\0?q\0?r",
            &format!("a\0v{}", &hex[1..]),
            &format!("a\0v{hex}0"),
            &format!("a\0v{}", hex.to_uppercase()),
            &format!("a\0{hex}"),
            &format!("a\0v{hex}\0?q"),
            &format!("a\0v{hex}\0v{hex}"),
            &format!("a\0?q\0{hex}"),
            &format!("a\0?q\0vv{}", &hex[1..]),
            &long,
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert_eq!(check(&long[..long.len() - 1]), Ok(()), "8 KiB with the question mark");
    }
}
