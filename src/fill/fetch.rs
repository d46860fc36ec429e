//! What a fill asks of whoever can reach an origin, and what comes back. `fill` knows no socket and no proxy: [`Fetch`] is implemented above it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

/// One request to an origin.
pub struct Wanted {
    /// Which origin: its place in the conf's list.
    pub origin: usize,
    /// GET or HEAD.
    pub method: Method,
    /// What follows the origin's prefix in the canonical key, decoded; e.g. `fonts/a b.woff2` for `/edge/assets/live/fonts/a%20b.woff2` under `live/`.
    pub rest: String,
    /// The query without its `?`, where the origin's conf keeps it.
    pub query: Option<String>,
    /// Header fields to send beside those that every request to an origin has: what the client's allow-listed fields say, conditions, Range.
    pub headers: HeaderMap,
    /// The id of the request that started this, for the log.
    pub corr_id: Bytes,
    /// Whether this is for a fill, and counts as an attempt of one; else for one request alone.
    pub fill: bool,
    /// Sees every byte of the body of a 200 as it passes, on the thread that received it.
    pub tap: Option<Arc<dyn Tap>>,
}

/// Sees the bytes of a body in their order as they pass. Must not block.
pub trait Tap: Send + Sync {
    /// The next bytes.
    fn pass(&self, bytes: &[u8]);
}

/// A final header, as the origin sent it.
pub struct Head {
    /// Its status.
    pub status: StatusCode,
    /// Its fields, hop-by-hop ones included: `rules` says what is kept.
    pub headers: HeaderMap,
    /// Length of the body in bytes, where Content-Length says it; 0 where there is none (304, 204, HEAD).
    pub length: Option<u64>,
    /// Whether the end of the body can be told from a cut: Content-Length, chunked, or none. A body that ends with its connection is not framed, and is never stored.
    pub framed: bool,
    /// When the request of the answering try was sent (RFC 9111 §4.2.3 `request_time`).
    pub request_time: SystemTime,
    /// When the header came.
    pub response_time: SystemTime,
}

/// Why an origin gave no answer, or not the whole of it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection: refused, reset, DNS, TLS, a certificate that doesn't hold, or what came is no HTTP.
    #[error("the origin can't be reached: {0}")]
    Unreachable(String),
    /// A deadline of ours passed.
    #[error("the origin took too long: {0}")]
    TimedOut(&'static str),
    /// Every address of the origin is one that may not be asked.
    #[error("the origin's address may not be asked: {0}")]
    NotAllowed(String),
    /// The origin failed again and again and is left alone until the given time has passed.
    #[error("the origin failed repeatedly and is left alone for {0:?}")]
    Open(Duration),
    /// The conf of now has no origins: it went offline while this was asked for.
    #[error("the edge went offline")]
    Offline,
    /// The body broke off: shorter than its Content-Length, no last chunk, a reset, too slow.
    #[error("the origin's body broke off: {0}")]
    Cut(String),
}

/// Reaches origins.
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// Ask an origin, with the tries its conf allows; returns once a final header was seen. At most `fill.total_timeout`.
    async fn fetch(&self, wanted: Wanted) -> Result<(Head, Box<dyn Incoming>), FetchError>;
}

/// A body on its way. Dropping it ends the request.
#[async_trait]
pub trait Incoming: Send {
    /// The next bytes; `None` when the body is whole: the exchange ended as its framing promised and nobody found a fault. Not polling it holds the
    /// origin back.
    async fn next(&mut self) -> Result<Option<Bytes>, FetchError>;
}
