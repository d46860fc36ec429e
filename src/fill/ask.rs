//! What is asked of the fills, and by which rules.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

use super::flight;
use super::key::FillKey;
use crate::rules::caching::{CachingConf, StoredAnswer};
use crate::store::cas::ObjectInfo;

/// The bounds of the fills.
#[derive(Clone, Debug)]
pub struct FillsConf {
    /// Fills that wait for a worker at the most.
    pub queue: usize,
    /// Fills that move at the same time, at the most; one origin holds half of them.
    pub workers: usize,
    /// Longest body that is stored, in bytes. A longer one passes through unstored; one that doesn't say its length is cut there.
    pub max_object_bytes: u64,
    /// Longest body that is fetched whole for a Range alone, in bytes.
    pub range_fill_max: u64,
    /// Answers that pass through unstored at the same time, at the most.
    pub max_passthrough: usize,
    /// A fill that nobody reads any more is given up above this length in bytes; `None` lets it finish.
    pub finish_max: Option<u64>,
    /// Whether a body is hashed where it is received, as its bytes pass; else by the thread that writes it.
    pub hash_on_runtime: bool,
    /// Bytes handed to a reader at a time, at the most.
    pub chunk_bytes: usize,
    /// The origins, in the order in which [`Ask::origin`] and `Wanted::origin` count them.
    pub origins: Vec<OriginRules>,
    /// What paths are pinned to: nothing else is ever stored or answered there.
    pub lock: Option<HashMap<String, blake3::Hash>>,
}

/// What the fills need to know of an origin.
#[derive(Clone, Debug)]
pub struct OriginRules {
    /// The paths it answers for: what follows `/edge/assets/`, with its closing `/`; empty for all.
    pub prefix: String,
    /// What events and the log call it.
    pub label: String,
    /// Whether the query is part of the key, and sent.
    pub keep_query: bool,
    /// How long its answers are fresh, and which may be stored.
    pub caching: CachingConf,
    /// The client's header fields that are sent to it.
    pub forward: Vec<HeaderName>,
}

/// One request's wish for the answer at a key.
#[derive(Clone)]
pub struct Ask {
    /// What is wanted.
    pub key: FillKey,
    /// From which origin: a place in [`FillsConf::origins`].
    pub origin: usize,
    /// The client's header fields that matter: those that are forwarded, `traceparent` and `tracestate`, and those that a Vary may name.
    pub request: Arc<HeaderMap>,
    /// All of the bytes are wanted: a GET without a Range.
    pub whole: bool,
    /// What is stored and is to be validated.
    pub stale: Option<Stale>,
    /// [`super::Fills::seen`] from before the store was looked into: a fill that ended since is not done again, but
    /// [`Headed::LookAgain`](super::Headed::LookAgain) is told. `None` fills in any case.
    pub seen: Option<Seen>,
    /// The request's id, for the log.
    pub corr_id: Bytes,
}

/// What is stored and may not be served without asking.
#[derive(Clone)]
pub struct Stale {
    /// Its row in the index.
    pub info: ObjectInfo,
    /// What its row remembers of the answer.
    pub answer: StoredAnswer,
}

/// How many fills had ended when the store was looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen(pub(super) flight::Seen);
