//! Which origin a path belongs to, and what the conf says of it. Offline too: what an origin once filled is still served by its rules.

use std::collections::HashMap;
use std::sync::Arc;

use pingora::http::RequestHeader;

use crate::fill::FillKey;
use crate::rules::allow;
use crate::rules::caching::{CachingConf, RequestDirectives};
use crate::rules::fields::Fields;

/// Hashes that paths are pinned to (`cas.lock`).
pub type Lock = HashMap<String, blake3::Hash>;

/// What the edge needs to know of an origin.
#[derive(Clone, Debug)]
pub struct OriginRules {
    /// The paths it answers for: what follows `/edge/assets/`, with its closing `/`; empty for all.
    pub prefix: String,
    /// The paths of its URLs, which stand in place of the prefix.
    pub paths: Vec<String>,
    /// Whether the query is part of the key.
    pub keep_query: bool,
    /// Whether requests that can't be cached are proxied as they are.
    pub pass: bool,
    /// Whether the Cache-Control of a client's request counts for nothing.
    pub ignore_client_cache_control: bool,
    /// How long its answers are fresh.
    pub caching: CachingConf,
}

impl OriginRules {
    /// What the client's request says about caching, where that counts.
    pub fn directives(&self, request: &impl Fields) -> RequestDirectives {
        if self.ignore_client_cache_control { RequestDirectives::none() } else { RequestDirectives::of(request) }
    }

    /// The key of `path` for a request: with its query where the origin keeps it.
    pub fn key(&self, path: &str, request: &RequestHeader) -> FillKey {
        let query = if self.keep_query { query_of(request) } else { None };
        FillKey { path: path.to_owned(), query: query.map(str::to_owned), variant: None }
    }
}

/// What the conf says of each origin, in its order, and of paths that have none.
pub struct OriginTable {
    origins: Vec<Arc<OriginRules>>,
    /// For what was filled from an origin that the conf no longer has.
    none: Arc<OriginRules>,
}

impl OriginTable {
    /// `origins` in the order of the conf; `none` for paths of none of them.
    pub fn new(origins: Vec<OriginRules>, none: OriginRules) -> Self {
        Self { origins: origins.into_iter().map(Arc::new).collect(), none: Arc::new(none) }
    }

    /// The place in the conf of the origin with the longest prefix of `path`, and its rules.
    pub fn of(&self, path: &str) -> Option<(usize, &Arc<OriginRules>)> {
        let prefixes = self.origins.iter().map(|origin| origin.prefix.as_str());
        let (place, _) = allow::longest_prefix(prefixes, path)?;
        self.origins.get(place).map(|rules| (place, rules))
    }

    /// The rules of any path: those of its origin, whose place is told, or of none.
    pub fn rules(&self, path: &str) -> (Option<usize>, &Arc<OriginRules>) {
        self.of(path).map_or((None, &self.none), |(place, rules)| (Some(place), rules))
    }
}

/// The query of a request target, without its `?` and without a fragment, which never reaches a key.
pub fn query_of(request: &RequestHeader) -> Option<&str> {
    let target = std::str::from_utf8(request.raw_path()).ok()?;
    let target = target.split_once('#').map_or(target, |(target, _)| target);
    target.split_once('?').map(|(_, query)| query)
}
