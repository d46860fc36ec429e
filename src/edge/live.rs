//! The way to an origin: whether this request may go there at all, whether its fill is under way, and whether it can be answered while
//! that moves.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};
use pingora::{Error, ErrorType};

use super::asset::{Found, Turn, Wish};
use super::fail::Refusal;
use super::filled::{Filled, How};
use super::ready::Ready;
use crate::fill::fetch::FetchError;
use crate::fill::{Ask, FillError, FillHead, FillKey, Fills, Headed, Lease, Reader, Remembered, Seen, Stale};
use crate::observe::metrics::{Method, Reason};
use crate::origin::Origins;
use crate::rules::cache_status::Forward;
use crate::rules::caching::{self, Freshness, RequestDirectives};
use crate::rules::encoding::{self, Choice, Coding};
use crate::rules::{range, via};

/// Bytes of one forwarded field of a client's request.
const MAX_FORWARDED: usize = 1024;
/// Bytes of the way a request came, of Via and of CDN-Loop: some forty proxies.
const MAX_WAY: usize = 2048;
/// Bytes and commas of a Range field that may go on to an origin.
const MAX_RANGE: (usize, usize) = (256, 7);

/// What misses are filled from.
pub struct Live {
    /// Fills, each of which many readers share.
    pub fills: Arc<Fills>,
    /// The way to the origins, for what goes through as it is.
    pub origins: Arc<Origins>,
    /// Held by every request that may still start a fill.
    pub lease: Lease,
}

/// What is known before an origin is asked.
pub struct Asking<'a> {
    pub key: &'a FillKey,
    /// From before the store was looked into.
    pub seen: Option<Seen>,
    pub directives: &'a RequestDirectives,
    /// What is stored and needs validation.
    pub stale: Option<&'a Ready>,
    /// Why the origin is asked.
    pub forward: Forward,
    /// Not to share a fill with anybody.
    pub alone: bool,
}

impl Live {
    /// An error once the conf went offline: what is proxied breaks off.
    pub fn still_asks(&self) -> pingora::Result<()> {
        match self.origins.is_closed() {
            true => Error::e_explain(ErrorType::ReadError, "the edge went offline"),
            false => Ok(()),
        }
    }

    /// Ask the origin for what `wish` wants.
    pub async fn ask(&self, wish: &Wish<'_>, origin: usize, asking: Asking<'_>) -> Result<Turn, Refusal> {
        let Asking { key, seen, directives, stale, forward, alone } = asking;
        let headers = &wish.request.headers;
        if via::loops(headers, &wish.now.settings.name) {
            return Err(Refusal::new(Reason::Loop));
        }
        if headers.contains_key(header::AUTHORIZATION) {
            // What one user may see is no answer for another, and credentials reach an origin only where its conf says so.
            return if wish.rules.pass {
                Ok(Turn::Done(Found::Through))
            } else {
                Err(Refusal::new(Reason::NotAllowed))
            };
        }
        if self.is_oversized(headers, origin) {
            // An origin that refuses a long field would refuse everybody who shares the fill.
            return Err(Refusal::new(Reason::HeaderCap));
        }
        let to = To { wish, origin };
        // What is pinned is answered from verified bytes alone: nothing of it passes through.
        let pinned = self.fills.pinned(wish.path).is_some();
        match self.fills.remembered(key) {
            _ if alone && !pinned => return self.pass(&to, key, forward).await,
            _ if directives.no_store && !pinned => return self.pass(&to, key, Forward::Request).await,
            Some(Remembered::Uncacheable) => return self.pass(&to, key, Forward::Bypass).await,
            Some(Remembered::Large(_)) if wants_range(wish) || wish.method == Method::Head => {
                return self.pass(&to, key, Forward::Bypass).await;
            }
            _ => {}
        }
        let stale = stale.and_then(|ready| ready.filled.as_ref()).map(Filled::stale);
        let mut reader = self.fills.join(to.ask(key.clone(), stale, seen))?;
        let how = How { forward: Some(forward), collapsed: reader.collapsed(), ..How::default() };
        match in_time(wish, reader.head()).await? {
            Headed::Stream(head) => self.moving(&to, reader, head, how).await,
            Headed::Pass(head, body) => {
                let how = How { status: Some(head.status.as_u16()), ..how };
                Ok(Turn::Done(Found::Passing(head, body, how)))
            }
            Headed::Alone => self.pass(&to, key, forward).await,
            Headed::Excluded(other) => Ok(Turn::Again(other)),
            Headed::Freshened => Ok(Turn::Stored(How { status: Some(304), stored: true, ..how })),
            Headed::LookAgain => Ok(Turn::Again(key.clone())),
        }
    }

    /// Whether what a client wrote and would go along is longer than any sensible client writes.
    fn is_oversized(&self, headers: &HeaderMap, origin: usize) -> bool {
        let forwarded = self.fills.forwarded(origin).map(|name| (name, MAX_FORWARDED));
        let way = [(&header::VIA, MAX_WAY), (&via::CDN_LOOP, MAX_WAY)];
        forwarded
            .chain(way)
            .any(|(name, most)| headers.get_all(name).iter().map(HeaderValue::len).sum::<usize>() > most)
    }

    /// Fill anew what was served stale; nobody waits for it (RFC 5861 §3).
    pub fn refresh_behind(&self, wish: &Wish<'_>, origin: usize, filled: &Filled) {
        let key = wish.rules.key(wish.path, wish.request);
        let ask = To { wish, origin }.ask(key, Some(filled.stale()), None);
        self.fills.refresh_behind(Ask { whole: true, ..ask });
    }

    /// A fill's header is there. Whether this request can be answered while it moves, or must wait for its end, or goes alone.
    async fn moving(&self, to: &To<'_>, mut reader: Reader, head: Arc<FillHead>, how: How) -> Result<Turn, Refusal> {
        let freshness = head.answer.as_ref().map(|answer| Freshness::of(answer, &to.wish.rules.caching));
        let how = How { status: Some(head.status.as_u16()), stored: true, freshness, ..how };
        let ranged = wants_range(to.wish) && head.status == http::StatusCode::OK;
        let old = to.wish.request.version < http::Version::HTTP_11;
        if must_wait(&to.wish.request.headers, &head, ranged, old) {
            if must_decode(&to.wish.request.headers, &head)
                && head.length.is_some_and(|length| length > to.wish.now.settings.decode.bytes)
            {
                return Err(Refusal::new(Reason::DecompressCap));
            }
            if head.locked || ranged {
                // Neither has a first byte before its end, or before that of its range: the fill's own deadlines bound it.
                reader.finished().await?;
            } else {
                in_time(to.wish, reader.finished()).await?;
            }
            return Ok(Turn::Stored(how));
        }
        Ok(Turn::Done(Found::Moving(reader, head, how)))
    }

    /// Ask for this request alone; nothing of the answer is stored.
    async fn pass(&self, to: &To<'_>, key: &FillKey, forward: Forward) -> Result<Turn, Refusal> {
        let headers = &to.wish.request.headers;
        let range = if wants_range(to.wish) { headers.get(header::RANGE).cloned() } else { None };
        let method = if to.wish.method == Method::Head { http::Method::HEAD } else { http::Method::GET };
        let (head, body) = in_time(to.wish, self.fills.pass(to.ask(key.clone(), None, None), method, range)).await?;
        let how = How { forward: Some(forward), status: Some(head.status.as_u16()), ..How::default() };
        Ok(Turn::Done(Found::Passing(head, body, how)))
    }
}

/// A wish, and the place of its origin in the conf.
struct To<'a> {
    wish: &'a Wish<'a>,
    origin: usize,
}

impl To<'_> {
    fn ask(&self, key: FillKey, stale: Option<Stale>, seen: Option<Seen>) -> Ask {
        Ask {
            key,
            origin: self.origin,
            request: Arc::new(self.wish.request.headers.clone()),
            whole: self.wish.method == Method::Get && !wants_range(self.wish),
            stale,
            seen,
            corr_id: self.wish.corr_id.clone(),
        }
    }
}

/// What an origin has to say within `ingress.timeout`; a fill goes on behind.
async fn in_time<T>(wish: &Wish<'_>, asking: impl Future<Output = Result<T, FillError>>) -> Result<T, Refusal> {
    match tokio::time::timeout(wish.now.settings.ingress.timeout, asking).await {
        Ok(answer) => answer.map_err(Refusal::from),
        Err(_) => Err(Refusal::origin_timeout()),
    }
}

/// Whether a Range counts. On a miss, If-Range never matches: there is no tag yet that it could.
fn wants_range(wish: &Wish<'_>) -> bool {
    let headers = &wish.request.headers;
    let sensible =
        |field: &[u8]| field.len() <= MAX_RANGE.0 && field.iter().filter(|byte| **byte == b',').count() <= MAX_RANGE.1;
    wish.method == Method::Get && range::field(headers).is_some_and(sensible) && !headers.contains_key(header::IF_RANGE)
}

/// Whether the answer needs the whole object: a pin to compare with, a coding to take off, a tag to compare, several parts.
fn must_wait(request: &HeaderMap, head: &FillHead, ranged: bool, old: bool) -> bool {
    head.locked
        || must_decode(request, head)
        // Without chunks, the end of a connection is the end of the body: a cut could not be told from it.
        || (old && head.length.is_none())
        || request.contains_key(header::IF_MATCH)
        || (ranged && (head.length.is_none() || range::field(request).is_some_and(|field| field.contains(&b','))))
}

/// Whether the client doesn't take the coding that the answer comes in, and it may be taken off.
fn must_decode(request: &HeaderMap, head: &FillHead) -> bool {
    let coding = coding_of(&head.headers);
    let recodable = coding != Coding::Identity && !caching::no_transform(&head.headers);
    recodable && encoding::choose(request, coding) == Choice::Decode
}

/// The coding that an origin's answer can be decoded from. One that we can't read is passed on as it is, and never stored.
pub fn coding_of(headers: &HeaderMap) -> Coding {
    encoding::of(headers).unwrap_or(Coding::Identity)
}

impl From<FillError> for Refusal {
    fn from(error: FillError) -> Self {
        match error {
            FillError::QueueFull | FillError::PassthroughFull => Self::new(Reason::QueueFull),
            FillError::Fetch(FetchError::TimedOut(_)) => Self::origin_timeout(),
            // What the conf of now answers.
            FillError::Fetch(FetchError::Offline) => Self::new(Reason::NotFound),
            FillError::Fetch(FetchError::NotAllowed(cause)) => Self::told(Reason::NotAllowed, cause),
            FillError::Fetch(error) => Self::told(Reason::Origin, error.to_string()),
            FillError::Corrupt => Self::new(Reason::Corrupt),
            FillError::TooLarge => Self::told(Reason::Origin, "longer than fill.max_object_bytes".to_owned()),
            FillError::Draining => Self::new(Reason::Draining),
            FillError::Disk(cause) => Self::internal(cause),
            FillError::Worker => Self::internal("the worker of a fill ended"),
        }
    }
}
