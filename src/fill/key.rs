//! The name of what is filled: its path, and what else tells two answers at one path apart.

use crate::rules::caching::{Selecting, variant};

/// The pieces of a key in the index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FillKey {
    /// What follows `/edge/assets/`, canonical.
    pub path: String,
    /// The query without its `?`, where the origin's conf makes it part of the key.
    pub query: Option<String>,
    /// What selects the variant, where Vary is known to choose among several.
    pub variant: Option<Selecting>,
}

impl FillKey {
    /// The key of a path alone.
    pub fn path(path: impl Into<String>) -> Self {
        Self { path: path.into(), query: None, variant: None }
    }

    /// The key in the index: `path` or `path\0?query`, either followed by `\0v` and 32 hex digits where something selects a variant.
    pub fn index_key(&self) -> String {
        let mut key = self.base();
        if let Some(hex) = self.variant.as_ref().and_then(|selecting| variant(selecting)) {
            key.push_str("\0v");
            key.push_str(&hex);
        }
        key
    }

    /// The key without its variant.
    pub fn base(&self) -> String {
        match &self.query {
            Some(query) => format!("{}\0?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

/// Whether `key`, one of the index, is `base` or one of its variants.
pub(super) fn is_variant_of(key: &str, base: &str) -> bool {
    key.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with("\0v"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::ACCEPT;

    #[test]
    fn a_key_is_written_as_the_index_reads_it() {
        assert_eq!(FillKey::path("a/b").index_key(), "a/b");
        let query = FillKey { query: Some("x=1&y".into()), ..FillKey::path("a/b") };
        assert_eq!(query.index_key(), "a/b\0?x=1&y");
        assert_eq!(FillKey { query: Some(String::new()), ..FillKey::path("a") }.index_key(), "a\0?");
        let both = FillKey { variant: Some(vec![(ACCEPT, None)]), ..query };
        let none = FillKey { variant: Some(Vec::new()), ..FillKey::path("a") };
        assert_eq!(none.index_key(), "a", "nothing selects");
        let (base, hex) =
            both.index_key().split_once("\0v").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap_or_default();
        assert_eq!((base.as_str(), hex.len()), ("a/b\0?x=1&y", 32));
        assert!(hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    }

    #[test]
    fn a_query_and_a_longer_path_are_no_variants() {
        for (key, is) in [("a", true), ("a\0v00", true), ("a\0?x", false), ("ab", false), ("a/b", false), ("", false)] {
            assert_eq!(is_variant_of(key, "a"), is, "{key:?}");
        }
    }
}
