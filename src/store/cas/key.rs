//! What may be a path in the index.
//!
//! These are the rules of asset keys (`http-contract.md`, "Methods and targets"); `rules::asset_key::check` takes this
//! module's place.

/// Longest path in bytes.
const MAX: usize = 4096;

/// Whether `path` can be asked for by a client: decoded, no empty, `.` or `..` segment, no control character or backslash.
pub(super) fn check(path: &str) -> Result<(), &'static str> {
    if path.len() > MAX {
        return Err("the path is longer than 4096 bytes");
    }
    if path.contains(|c: char| c.is_control() || c == '\\') {
        return Err("a control character or a backslash in the path");
    }
    for segment in path.split('/') {
        match segment {
            "" => return Err("an empty segment in the path"),
            "." | ".." => return Err("a dot segment in the path"),
            _ => {}
        }
    }
    Ok(())
}

/// A prefix without its closing slash; empty for everything.
pub(super) fn prefix(prefix: &str) -> Result<&str, &'static str> {
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
    fn a_path_that_no_client_can_ask_for_is_refused() {
        for bad in ["", "/a", "a/", "a//b", ".", "a/../b", "a/.", "a\\b", "a\0b", "a\nb", "a\u{85}", &"x".repeat(4097)]
        {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "a/b.c", "...", "a/..b", "é/日本 語", "a%2f", &"x".repeat(4096)] {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
    }

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
