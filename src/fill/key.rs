//! The name of what is filled: its path, and what else tells two answers at one path apart.

use crate::rules::caching::{Selecting, variant};
use crate::store::cas;

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

    /// The key in the index; how it is written is the store's to say.
    pub fn index_key(&self) -> String {
        let base = self.base();
        match self.variant.as_ref().and_then(|selecting| variant(selecting)) {
            Some(selects) => cas::variant_key(&base, selects),
            None => base,
        }
    }

    /// The key without its variant.
    pub fn base(&self) -> String {
        cas::filled_key(&self.path, self.query.as_deref())
    }
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
}
