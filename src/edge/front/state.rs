//! What a connection and the requests on it know of each other.
//!
//! The connection's stream sees bytes and no requests; a request sees no bytes. The stream says when a header begins, the request when it is complete and
//! when all of the answer was handed over. On HTTP/1 both are one task; on HTTP/2 each request is a task of its own.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use pingora::proxy::Session;
use pingora::server::ShutdownWatch;
use tokio::sync::watch;

use crate::observe::panics::Panic;
use crate::shed::Admitted;

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// HTTP/1, before the first byte of a request.
    Waiting,
    /// HTTP/1, in a request's header.
    Header,
    /// HTTP/1, from the end of a header to the end of the answer.
    Answering,
    /// HTTP/2, before the client's preface (RFC 9113 §3.4).
    Preface,
    /// HTTP/2, behind it.
    Streams,
}

/// Shared by a connection's stream and its requests.
#[derive(Debug)]
pub struct ConnState {
    phase: AtomicU8,
    /// Requests that began on it.
    requests: AtomicU32,
    /// Those of them that are being answered.
    active: AtomicU32,
    /// Requests after which it is closed.
    limit: u32,
    /// It takes no further request than those that may be on their way.
    ending: AtomicBool,
    /// It is cut without regard to what is being answered.
    cut: AtomicBool,
    reader: AtomicWaker,
    /// What the short way leaves to the next request of the long one.
    left: Mutex<Left>,
    /// Makes Pingora say GOAWAY, on HTTP/2.
    goaway: Option<watch::Sender<bool>>,
}

/// What the short way leaves to a request that goes the long way.
#[derive(Debug, Default)]
pub enum Left {
    #[default]
    Nothing,
    /// The place that it was given.
    Place(Admitted),
    /// What it panicked with.
    Panic(Panic),
}

/// What is to become of a connection, as a new request finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Others may follow.
    Open,
    /// This is the last one on HTTP/1, and one of the last on HTTP/2.
    Ending,
    /// Its client takes no notice of bounds: it is cut, and this request with it.
    Cut,
}

/// Streams that a client may have at a time on one connection (RFC 9113 §5.1.2).
pub const MAX_STREAMS: u32 = 100;
/// Requests of one connection that are worked on at a time. More than streams: those that the client has reset go on to their end.
const MAX_ACTIVE: u32 = 2 * MAX_STREAMS;
/// Requests that may follow the one that caused a GOAWAY: the client had to hear of it first.
const AFTER_GOAWAY: u32 = 10 * MAX_STREAMS;

impl ConnState {
    /// The state of a connection that takes `limit` requests. With `h2` there is a watch that is to be Pingora's shutdown watch for it.
    pub fn new(phase: Phase, limit: Option<u32>, h2: bool) -> (Arc<Self>, Option<ShutdownWatch>) {
        let (goaway, watch) = if h2 { Some(watch::channel(false)).unzip() } else { (None, None) };
        let state = Self {
            phase: AtomicU8::new(phase as u8),
            requests: AtomicU32::new(0),
            active: AtomicU32::new(0),
            limit: limit.unwrap_or(u32::MAX),
            ending: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            left: Mutex::default(),
            goaway,
        };
        (Arc::new(state), watch)
    }

    /// The state of the connection that a request came on; none where it came on no connection of the front's.
    fn of(session: &Session) -> Option<&Arc<Self>> {
        session.digest()?.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Waiting,
            1 => Phase::Header,
            2 => Phase::Answering,
            3 => Phase::Preface,
            _ => Phase::Streams,
        }
    }

    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    /// Whether no request has begun on it.
    pub fn is_new(&self) -> bool {
        self.requests.load(Relaxed) == 0
    }

    /// Whether nothing on it is being answered.
    pub fn is_idle(&self) -> bool {
        self.active.load(SeqCst) == 0
    }

    /// Whether it is to be closed once nothing is being answered.
    pub fn is_ending(&self) -> bool {
        self.ending.load(SeqCst)
    }

    pub fn is_cut(&self) -> bool {
        self.cut.load(SeqCst)
    }

    /// Take no further requests but those that may be on their way.
    pub fn end(&self) {
        if !self.ending.swap(true, SeqCst) {
            if let Some(goaway) = &self.goaway {
                goaway.send_replace(true);
            }
            self.reader.wake();
        }
    }

    /// Who is to be woken when something of the above has changed; until then once.
    pub fn wake_on_change(&self, reader: &Waker) {
        self.reader.register(reader);
    }

    /// Leave something to the next request of the long way.
    pub fn leave(&self, left: Left) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = left;
    }

    /// A request's header is complete.
    fn begin(&self) -> Fate {
        let earlier = self.requests.fetch_add(1, Relaxed);
        let active = self.active.fetch_add(1, SeqCst) + 1;
        if self.phase() == Phase::Header || self.phase() == Phase::Waiting {
            // From Waiting: TLS may have had all of it since the handshake.
            self.set_phase(Phase::Answering);
        }
        if active > MAX_ACTIVE || earlier.saturating_sub(self.limit) >= AFTER_GOAWAY {
            self.cut.store(true, SeqCst);
            self.reader.wake();
            return Fate::Cut;
        }
        if earlier.saturating_add(1) >= self.limit {
            self.end();
        }
        if self.is_ending() { Fate::Ending } else { Fate::Open }
    }

    /// A request has ended, however it did.
    fn done(&self) {
        if self.phase() == Phase::Answering {
            self.set_phase(Phase::Waiting);
        }
        if self.active.fetch_sub(1, SeqCst) == 1 && self.is_ending() {
            self.reader.wake();
        }
    }
}

/// A request on a connection, from its header to its end.
pub struct Underway(Arc<ConnState>);

impl Underway {
    /// The request of a session begins; none where it came on no connection of the front's.
    pub fn begin(session: &Session) -> Option<(Self, Fate)> {
        let state = ConnState::of(session)?;
        Some(Self::on(state))
    }

    /// A request of the connection of `state` begins.
    pub fn on(state: &Arc<ConnState>) -> (Self, Fate) {
        let fate = state.begin();
        (Self(state.clone()), fate)
    }

    /// What the short way left to it.
    pub fn left(&self) -> Left {
        std::mem::take(&mut *self.0.left.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.done();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn the_last_request_of_a_connection_is_told_so() {
        let (state, watch) = ConnState::new(Phase::Waiting, Some(2), false);
        assert!(watch.is_none());
        assert_eq!((state.begin(), state.phase()), (Fate::Open, Phase::Answering));
        state.done();
        assert_eq!((state.phase(), state.is_ending()), (Phase::Waiting, false));
        assert_eq!(state.begin(), Fate::Ending);
    }

    #[test]
    fn http_2_is_told_to_go_away_once_and_cut_when_it_stays() {
        let (state, watch) = ConnState::new(Phase::Streams, Some(3), true);
        let watch = watch.unwrap();
        let mut fates = Vec::new();
        for _ in 0..2000 {
            fates.push(state.begin());
            state.done();
        }
        assert!(*watch.borrow() && state.is_ending() && state.is_cut());
        assert_eq!(fates.iter().position(|fate| *fate == Fate::Ending), Some(2));
        assert_eq!(fates.iter().position(|fate| *fate == Fate::Cut), Some(3 + AFTER_GOAWAY as usize));
        assert_eq!(state.phase(), Phase::Streams);
    }

    #[test]
    fn a_client_that_resets_what_it_asked_is_cut_before_its_requests_pile_up() {
        let (state, _watch) = ConnState::new(Phase::Streams, None, true);
        let first = (0..1000).position(|_| state.begin() == Fate::Cut);
        assert_eq!(first, Some(MAX_ACTIVE as usize));
        assert!(!state.is_idle());
    }

    #[test]
    fn every_phase_is_read_as_it_was_set() {
        let (state, _watch) = ConnState::new(Phase::Waiting, None, false);
        for phase in [Phase::Waiting, Phase::Header, Phase::Answering, Phase::Preface, Phase::Streams] {
            state.set_phase(phase);
            assert_eq!(state.phase(), phase);
        }
    }
}
