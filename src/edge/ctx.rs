//! What is remembered of one request, from its header to its line in the log.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use super::filled::How;
use super::front::{Fate, Left, Underway};
use super::now::Now;
use super::origins::OriginRules;
use super::through::Through;
use crate::observe::metrics::{INFLIGHT, Method, Reason, Route};
use crate::observe::panics::Panic;
use crate::rules::corr_id;
use crate::shed::Admitted;

/// The state of one request.
pub struct Ctx {
    /// The conf it lives by, from its start to its end.
    pub now: Arc<Now>,
    /// Whether it came over TLS.
    pub secure: bool,
    /// When its header was complete.
    pub started: Instant,
    pub route: Route,
    pub method: Method,
    /// The status answered; 0 before.
    pub status: u16,
    /// Why it was refused.
    pub reason: Option<Reason>,
    /// BLAKE3 of the object answered.
    pub hash: Option<blake3::Hash>,
    /// The id told to the client and the log. Empty until `admit` takes or makes it.
    pub corr_id: HeaderValue,
    /// The origin that was asked.
    pub origin: Option<Arc<OriginRules>>,
    /// How a filled object's answer was come by.
    pub how: How,
    /// Where a request goes that is proxied as it is.
    pub through: Option<Through>,
    /// The client: who connected, or whom a trusted proxy names; then without a port, which is 0.
    pub client: Option<SocketAddr>,
    /// The place of a request that was admitted; probes need none.
    pub place: Option<Admitted>,
    /// A panic that the request is to be answered for.
    pub panic: Option<Panic>,
    _inflight: Inflight,
    /// Tells its connection that it goes on.
    underway: Option<Underway>,
}

impl Ctx {
    pub fn new(now: Arc<Now>) -> Self {
        Self {
            now,
            secure: false,
            started: Instant::now(),
            route: Route::None,
            method: Method::Other,
            status: 0,
            reason: None,
            hash: None,
            corr_id: HeaderValue::from_static(""),
            origin: None,
            how: How::default(),
            through: None,
            client: None,
            place: None,
            panic: None,
            _inflight: Inflight::enter(),
            underway: None,
        }
    }

    /// The request's header is complete: its connection is told, and says whether it is the last one.
    pub fn enter(&mut self, session: &mut Session) -> Result<()> {
        let Some((underway, fate)) = Underway::begin(session) else { return Ok(()) };
        self.inherit(underway.left());
        self.underway = Some(underway);
        match fate {
            Fate::Open => Ok(()),
            Fate::Ending => {
                session.set_keepalive(None);
                Ok(())
            }
            // Of its client, so that nothing is answered.
            Fate::Cut => Err(Error::explain(ErrorType::ConnectionClosed, "the connection was cut").into_down()),
        }
    }

    /// Take the client's id when it is acceptable, else make one.
    pub fn identify(&mut self, given: Option<&HeaderValue>) {
        self.corr_id = match given {
            Some(value) if corr_id::acceptable(value.as_bytes()) => value.clone(),
            _ => make_id(),
        };
    }

    /// Take what the short way left to this request: its place, or the panic that it ended with.
    pub fn inherit(&mut self, left: Left) {
        match left {
            Left::Nothing => {}
            Left::Place(place) => self.place = Some(place),
            Left::Panic(panic) => self.panic = Some(panic),
        }
    }

    /// The id as shared bytes, for the log.
    pub fn corr_id_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.corr_id.as_bytes())
    }
}

/// Counts the request as inflight until it is dropped, however it ends.
pub struct Inflight;

impl Inflight {
    pub fn enter() -> Self {
        INFLIGHT.add(1);
        Self
    }
}

impl Drop for Inflight {
    fn drop(&mut self) {
        INFLIGHT.add(-1);
    }
}

/// The client's id when it is acceptable, else a new one.
pub fn identified(given: Option<&[u8]>, now_ms: u64) -> HeaderValue {
    let given = given.filter(|given| corr_id::acceptable(given)).and_then(|given| HeaderValue::from_bytes(given).ok());
    given.unwrap_or_else(|| id_at(now_ms))
}

/// A new id: a ULID.
pub fn make_id() -> HeaderValue {
    id_at(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64))
}

/// An id that was made at `now_ms`. Cut from a slab of the thread, so that it costs no allocation of its own.
fn id_at(now_ms: u64) -> HeaderValue {
    const SLAB: usize = 26 * 512;
    thread_local! {
        static IDS: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(SLAB));
    }
    let random = u128::from(next_random()) << 64 | u128::from(next_random());
    let id = corr_id::ulid(now_ms, random);
    let bytes = IDS.with_borrow_mut(|slab| {
        if slab.capacity() < id.len() {
            *slab = BytesMut::with_capacity(SLAB);
        }
        slab.extend_from_slice(&id);
        slab.split().freeze()
    });
    // Crockford's base32 is visible ASCII.
    HeaderValue::from_maybe_shared(bytes).unwrap_or(HeaderValue::from_static("0"))
}

/// The thread's next random number (SplitMix64, seeded by the operating system): ids must differ, not be secret.
pub fn next_random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish());
    }
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
