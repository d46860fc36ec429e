//! A path of the CAS or of an origin: what is stored, whether RFC 9111 lets that be served, and else what the origin has.
//!
//! The order is that of the questions: is something stored, is it fresh for this request, may the origin be asked, is its fill under way
//! (`live`). What an origin can't give is answered from what is stale, where that is allowed.

use std::sync::Arc;
use std::time::SystemTime;

use pingora::http::RequestHeader;

use super::fail::Refusal;
use super::filled::{Filled, How};
use super::live::{Asking, Live};
use super::lookup::Stores;
use super::now::Now;
use super::origins::OriginRules;
use super::ready::Ready;
use crate::fill::{FillHead, FillKey, PassBody, Reader};
use crate::observe::metrics::{CACHE_MISSES, Method, MissCause, Reason};
use crate::rules::cache_status::Forward;
use crate::rules::caching::{self, RequestDirectives, Serve};

/// Turns from the store to the origin and back that one request may take: a fill whose Vary excludes it, an object that was evicted
/// between its fill and its look-up.
const TURNS: usize = 4;

/// What a request to a path found.
pub enum Found {
    /// An object of the store.
    Hit(Arc<Ready>, How),
    /// A fill on its way into the store.
    Moving(Reader, Arc<FillHead>, How),
    /// An answer that passes through, unstored.
    Passing(Arc<FillHead>, PassBody, How),
    /// The request goes to the origin as it is.
    Through,
}

/// One request on its way to an answer.
pub struct Wish<'a> {
    pub now: &'a Now,
    pub stores: &'a Stores,
    pub request: &'a RequestHeader,
    /// Its path below `/edge/assets/`, canonical.
    pub path: &'a str,
    /// What the conf says of its origin.
    pub rules: &'a Arc<OriginRules>,
    /// Who fills it, and its origin's place in the conf; none offline, and where no origin has the path.
    pub live: Option<(&'a Live, usize)>,
    pub method: Method,
    pub corr_id: bytes::Bytes,
}

/// What one turn to the origin came to.
pub enum Turn {
    Done(Found),
    /// The store has the answer now: look it up.
    Stored(How),
    /// The fill was for others: join the one of this key.
    Again(FillKey),
}

impl Wish<'_> {
    /// Find the answer, and count a miss once, however it ends.
    pub async fn find(&self) -> Result<Found, Refusal> {
        let mut miss = None;
        let found = self.turns(&mut miss).await;
        if let Some(cause) = miss {
            CACHE_MISSES.inc(cause);
        }
        found
    }

    async fn turns(&self, miss: &mut Option<MissCause>) -> Result<Found, Refusal> {
        let directives = self.rules.directives(&self.request.headers);
        let mut key = self.rules.key(self.path, self.request);
        let mut forward = Forward::Miss;
        let (mut made, mut turn) = (None, 0);
        loop {
            // Before the look-up: a fill that ends in between has made an object that the look-up missed.
            // Where fills end again and again without storing anything, it asks in any case the third time.
            let seen = |live: &Live| (turn < 2).then(|| live.fills.seen(self.path));
            let live = self.live.map(|(live, origin)| (live, origin, seen(live)));
            let stored = self.stores.stored(self.now, &key, self.request).await?;
            if let (Some(ready), Some(how)) = (&stored, made.take()) {
                // It was made or validated for this very request: it is served whatever its freshness says (RFC 9111 §4.3.3).
                return Ok(Found::Hit(ready.clone(), how));
            }
            let (stale, (live, origin, seen)) = match (self.judge(stored, &directives, miss)?, live) {
                (Judged::Serve(ready), _) => return Ok(Found::Hit(ready, How::default())),
                (Judged::Ask(stale), None) => return self.offline(stale.map(|(ready, _)| ready)),
                (Judged::Ask(stale), Some(live)) => (stale, live),
            };
            let stale = stale.map(|(ready, why)| {
                forward = why;
                ready
            });
            // Where answers come and go faster than they can be looked up, it goes alone.
            let alone = turn == TURNS;
            turn += 1;
            let asking = Asking { alone, key: &key, seen, directives: &directives, stale: stale.as_deref(), forward };
            let asked = live.ask(self, origin, asking).await.map_err(|refusal| refusal.forwarded(forward));
            match self.or_stale(asked, &directives, stale)? {
                Turn::Done(found) => return Ok(found),
                Turn::Stored(how) => made = Some(how),
                Turn::Again(other) => (key, forward) = (other, Forward::Miss),
            }
        }
    }

    /// What may be done with what is stored.
    fn judge(
        &self,
        stored: Option<Arc<Ready>>,
        directives: &RequestDirectives,
        miss: &mut Option<MissCause>,
    ) -> Result<Judged, Refusal> {
        let Some(ready) = stored else {
            miss.get_or_insert(MissCause::Absent);
            return if directives.only_if_cached { Err(only_if_cached()) } else { Ok(Judged::Ask(None)) };
        };
        let Some(filled) = &ready.filled else {
            return Ok(Judged::Serve(ready));
        };
        match filled.serve(directives, SystemTime::now()) {
            Serve::Fresh | Serve::Stale => Ok(Judged::Serve(ready)),
            Serve::StaleWhileRevalidate => {
                if let Some((live, origin)) = self.live {
                    live.refresh_behind(self, origin, filled);
                }
                Ok(Judged::Serve(ready))
            }
            Serve::OnlyIfCached => Err(only_if_cached()),
            Serve::Revalidate { forward, .. } => {
                miss.get_or_insert(MissCause::Stale);
                Ok(Judged::Ask(Some((ready, forward))))
            }
        }
    }

    /// There is no origin to ask. A cache that is disconnected may serve what is stale (RFC 9111 §4.2.4), unless the answer forbids it
    /// (§5.2.2.2: 504), and what is fresh whatever the client would rather have.
    fn offline(&self, stale: Option<Arc<Ready>>) -> Result<Found, Refusal> {
        match stale {
            None => Err(Refusal::new(Reason::NotFound)),
            Some(ready) => {
                let now = SystemTime::now();
                let usable = ready.filled.as_ref().is_none_or(|filled| filled.freshness.usable_disconnected(now));
                if usable { Ok(Found::Hit(ready, How::default())) } else { Err(only_if_cached()) }
            }
        }
    }

    /// What is stale stands in for an origin that can't answer, where that is allowed (RFC 5861 §4).
    fn or_stale(
        &self,
        turn: Result<Turn, Refusal>,
        directives: &RequestDirectives,
        stale: Option<Arc<Ready>>,
    ) -> Result<Turn, Refusal> {
        let Some(ready) = stale else { return turn };
        let status = match &turn {
            Err(refusal) if refusal.lets_stale_stand_in() => None,
            Ok(Turn::Done(Found::Moving(_, head, _) | Found::Passing(head, ..)))
                if caching::is_error(head.status.as_u16()) =>
            {
                Some(head.status.as_u16())
            }
            _ => return turn,
        };
        let now = SystemTime::now();
        let allowed = |filled: &Filled| caching::stale_if_error(&filled.freshness, directives, now);
        if !ready.filled.as_ref().is_some_and(allowed) {
            return turn;
        }
        let how = How { forward: Some(Forward::Stale), status, ..How::default() };
        Ok(Turn::Done(Found::Hit(ready, how)))
    }
}

/// What is stored is served, or the origin is asked, with what is stale in hand.
enum Judged {
    Serve(Arc<Ready>),
    Ask(Option<(Arc<Ready>, Forward)>),
}

fn only_if_cached() -> Refusal {
    Refusal::new(Reason::OnlyIfCached)
}
