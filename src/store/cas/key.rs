//! Prefixes of paths in the index. What may be a path at all is `rules::asset_key`'s to say: the same rules hold for what a client asks.

use crate::rules::asset_key::{KeyError, check};

/// A prefix without its closing slash; empty for everything.
pub(super) fn prefix(prefix: &str) -> Result<&str, KeyError> {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if !prefix.is_empty() {
        check(prefix)?;
    }
    Ok(prefix)
}

/// The paths below a checked prefix, as a half-open range in the order of bytes: from `prefix/` to `prefix0`, as `0`
/// follows `/`. `None` for everything.
pub(super) fn below(prefix: &str) -> Option<(String, String)> {
    (!prefix.is_empty()).then(|| (format!("{prefix}/"), format!("{prefix}0")))
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
        for (path, inside) in [("fonts/a", true), ("fonts/\u{10ffff}", true), ("fonts", false), ("fonts2/a", false)] {
            assert_eq!(path >= from.as_str() && path < to.as_str(), inside, "{path}");
        }
    }
}
