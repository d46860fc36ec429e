//! What a request is answered with: a refusal where there is no room for it, an object of the hot set, or by the long way.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderName, StatusCode, header};

use super::head::Head;
use super::wire::{self, Personal};
use super::{Direct, Line, PIECE, SMALL};
use crate::edge::choice::Choice;
use crate::edge::ctx::{self, Inflight};
use crate::edge::front::Underway;
use crate::edge::moment::Moment;
use crate::edge::now::Now;
use crate::edge::ready::Ready;
use crate::edge::record::{self, Ended};
use crate::edge::{admit, busy, fail, route};
use crate::observe::faults;
use crate::observe::metrics::{CACHE_HITS, DIRECT, Method};
use crate::rules::client::client_key;
use crate::rules::fields::Fields as _;
use crate::shed::Admitted;
use crate::store::{Body, Object};

/// The client's own id for a request.
const CORR_ID: HeaderName = HeaderName::from_static("x-corr-id");

/// What becomes of a request that is not answered here.
pub enum Other {
    /// It goes the long way, with the place that it was given.
    Long(Option<Admitted>),
    /// Its connection is cut.
    Cut,
}

/// An answer whose header is written, and what is told of it at its end.
pub struct Answer {
    pub body: Content,
    /// Whether the connection is closed behind it.
    pub closes: bool,
    pub place: Option<Admitted>,
    pub now: Arc<Now>,
    pub ended: Ended,
    /// Bytes of the header.
    pub head: u64,
    _underway: Underway,
    _inflight: Inflight,
}

/// The bytes behind the header.
pub enum Content {
    /// None.
    Nothing,
    /// These.
    Memory(Bytes),
    /// Those that the thread's room has.
    Read,
    /// A window of an object that is an open file.
    Window(Arc<Ready>, Range<u64>),
}

impl Answer {
    /// It is over, after so many bytes of its body, or because it `failed`. Tells when that was.
    pub fn end(&mut self, body_bytes: u64, failed: bool) -> Instant {
        self.ended.bytes_out = body_bytes;
        record::request(&self.now.settings, &self.ended, failed)
    }
}

impl Direct {
    /// Decide on a request: its answer's header is written to `out`, and what is read of a file for it to `body`.
    pub(super) fn decide(
        &self,
        line: &Line<'_>,
        head: &Head<'_>,
        out: &mut Vec<u8>,
        body: &mut Vec<u8>,
    ) -> Result<Answer, Other> {
        let now = self.generations.now();
        let settings = &*now.settings;
        let path = head.path();
        let ingress = &settings.ingress;
        if !settings.direct
            || head.length > ingress.header_bytes
            || head.target.len() > ingress.uri_bytes
            || route::probe(path).is_some()
        {
            return Err(Other::Long(None));
        }
        let at = Moment::now();
        let client = line.peer.map(|peer| admit::client(&ingress.trusted_proxies, peer, head));
        let address = client.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |client| client.ip());
        let turn = match self.shed.admit(at.instant, client_key(address)) {
            Ok(place) => match self.find(&now, head, at, path) {
                Some(found) => Ok((place, found)),
                None => return Err(Other::Long(Some(place))),
            },
            Err(shedding) => Err(settings.busy.prepared(settings, shedding).ok_or(Other::Long(None))?),
        };
        let Some((underway, ends)) = Self::begin(line) else { return Err(Other::Cut) };
        if turn.is_ok() {
            faults::panic_here("edge.request");
        }
        let id = ctx::identified(head.lines(&CORR_ID).next(), at.millis());
        let closes = head.closes || ends || ingress.keepalive.is_none();
        let method = if head.is_head { Method::Head } else { Method::Get };
        let origin = head.lines(&header::ORIGIN).next();
        DIRECT.inc();
        let personal = Personal { settings, origin, secure: line.secure, id: &id, at, closes };
        let mut ended = Ended::new(at.instant, method, id.clone(), client);
        let (place, content) = match turn {
            Ok((place, found)) => (Some(place), found.write(&personal, out, body, &mut ended)),
            Err(prepared) => (None, refuse(&prepared, head, &personal, out, &mut ended)),
        };
        let head = out.len() as u64;
        let answer = Answer {
            body: content,
            closes,
            place,
            now,
            ended,
            head,
            _underway: underway,
            _inflight: Inflight::enter(),
        };
        Ok(answer)
    }

    /// The object that answers, and what of it; none where the long way knows better.
    fn find(&self, now: &Arc<Now>, head: &Head<'_>, at: Moment, path: &[u8]) -> Option<Found> {
        let key = path.strip_prefix(b"/")?;
        let ready = self.generations.stores().held(now, key, head, head.has_query(), || at.wall)?;
        let Some(object) = &ready.object else { return Some(Found { ready, choice: None }) };
        if let Body::Windowed(window) = &object.body {
            window.check().ok()?;
        }
        let method = if head.is_head { Method::Head } else { Method::Get };
        let choice = match head.is_plain {
            true => Choice::Whole { ignored: false },
            false => Choice::of(&now.settings, head, method, &ready, object),
        };
        match choice {
            Choice::Failed | Choice::Unsatisfiable | Choice::Many(_) => None,
            choice => Some(Found { ready, choice: Some(choice) }),
        }
    }
}

/// An object, and what of it answers; no choice where it has no content at all.
struct Found {
    ready: Arc<Ready>,
    choice: Option<Choice>,
}

impl Found {
    /// Count it, write its header to `out`, and say what follows; what is read of a file goes to `body`.
    fn write(self, personal: &Personal<'_>, out: &mut Vec<u8>, body: &mut Vec<u8>, ended: &mut Ended) -> Content {
        let Self { ready, choice } = self;
        CACHE_HITS.inc(ready.presentation.kind);
        ready.touch();
        ended.route = ready.presentation.route;
        ended.hash = ready.object.as_ref().and_then(|object| object.hash);
        let wire = ready.wire();
        choice.iter().for_each(Choice::count);
        let (status, range) = match (&ready.object, choice) {
            (_, Some(Choice::NotModified)) => (StatusCode::NOT_MODIFIED, None),
            (Some(_), Some(Choice::One(range))) => (StatusCode::PARTIAL_CONTENT, Some(range)),
            (Some(object), _) => (ready.status(), Some(0..object.len())),
            (None, _) => (ready.status(), None),
        };
        ended.status = status.as_u16();
        match (&ready.object, &range) {
            (Some(object), Some(range)) if status == StatusCode::PARTIAL_CONTENT => {
                out.extend_from_slice(&wire.partial);
                wire::part(out, range, object.len());
            }
            _ if status == StatusCode::NOT_MODIFIED => out.extend_from_slice(&wire.not_modified),
            _ => out.extend_from_slice(&wire.full),
        }
        if let Some(filled) = &ready.filled {
            filled.write_personal(out, personal.at.wall);
        }
        personal.end(out);
        match (&ready.object, range) {
            (Some(object), Some(range)) if ended.method == Method::Get && status != StatusCode::NO_CONTENT => {
                content(&ready, object, range, personal.secure, body)
            }
            _ => Content::Nothing,
        }
    }
}

/// The bytes of a window of `object`. What is small is read here and now, if that needs no waiting; in clear text the kernel sends the rest, over TLS it can't.
fn content(ready: &Arc<Ready>, object: &Object, range: Range<u64>, secure: bool, body: &mut Vec<u8>) -> Content {
    match &object.body {
        // Whole bodies are in memory: their length fits a usize, and the range was checked against it.
        Body::Whole(bytes) => Content::Memory(bytes.slice(range.start as usize..range.end as usize)),
        Body::Windowed(window) => {
            let length = range.end - range.start;
            if length <= if secure { PIECE } else { SMALL } {
                body.resize(length as usize, 0);
                if matches!(window.try_read_at(body, range.start), Ok(true)) {
                    return Content::Read;
                }
                body.clear();
            }
            Content::Window(ready.clone(), range)
        }
    }
}

/// Write a refusal of what is too much.
fn refuse(
    refusal: &busy::Refusing<'_>,
    head: &Head<'_>,
    personal: &Personal<'_>,
    out: &mut Vec<u8>,
    ended: &mut Ended,
) -> Content {
    let body = refusal.write(head.path(), personal.id, out);
    personal.end(out);
    ended.reason = Some(refusal.reason);
    ended.status = fail::status(refusal.reason).as_u16();
    if head.is_head { Content::Nothing } else { Content::Memory(body) }
}
