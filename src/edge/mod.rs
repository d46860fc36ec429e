//! The edge: Pingora's phases, each one call, in the order of a request.
//!
//! `admit` (is there room for this request, else `busy`; may it be answered at all) → `route` (what does it ask for) → `lookup` (which object of a pack is that) or `asset` (is it stored
//! and may it be served; else `live`: its fill) → `answer` (which of its bytes, under which status), `stream` while it is filled, `through`
//! what is proxied as it is → `record` (what became of it). `fail` is the one table from an error to an answer. Nothing here knows how a pack
//! or a blob is stored, or how an origin is asked.

mod admit;
mod answer;
mod asset;
mod blocking;
mod body;
mod busy;
mod caught;
mod choice;
mod cors;
mod ctx;
mod direct;
mod fail;
mod filled;
mod flight;
mod front;
mod hsts;
mod live;
mod lookup;
mod moment;
mod now;
mod origins;
mod question;
mod ready;
mod record;
mod route;
mod settings;
mod stored;
mod stream;
mod through;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use crate::fill::{FillHead, PassBody, Reader};
use crate::observe::faults;
use crate::observe::metrics::{Method, Reason};
use crate::observe::readiness::READINESS;
use crate::rules::{header as fields, via};
use crate::shed::Shed;

pub use direct::Direct;
pub use front::{Bounds, Certificates, Front, Handshake, Listener, prepare_listener};
pub use live::Live;
pub use lookup::Stores;
pub use now::{Generations, Now};
pub use origins::{Lock, OriginRules, OriginTable};
pub use settings::Settings;

use asset::{Found, Wish};
use ctx::Ctx;
use fail::Refusal;
use filled::How;
use question::{Asked, Place};
use ready::Ready;
use record::Ended;
use through::Through;

/// The service behind the public listeners.
pub struct Edge {
    /// What the conf says now, and what is served whatever it says.
    generations: Arc<Generations>,
    /// What is admitted.
    shed: Arc<Shed>,
}

impl Edge {
    /// An edge that answers what `shed` admits from `stores`, by what the conf says at its start.
    pub fn new(first: Now, stores: Stores, shed: Arc<Shed>) -> Self {
        Self { generations: Arc::new(Generations::new(first, stores)), shed }
    }

    /// By which the conf is swapped while requests go on.
    pub fn generations(&self) -> Arc<Generations> {
        self.generations.clone()
    }

    /// The short way to the same.
    pub fn direct(&self) -> Direct {
        Direct::new(self.generations.clone(), self.shed.clone())
    }

    /// Admission, then the way of the request.
    async fn receive(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let now = ctx.now.clone();
        if let Err(shedding) = admit::enter(&now.settings, &self.shed, session, ctx) {
            busy::refuse(&now.settings, session, ctx, shedding).await?;
            return Ok(true);
        }
        faults::panic_here("edge.request");
        self.respond(session, ctx).await
    }

    /// The way of one request, from its header to the last byte of its answer. `false`: Pingora proxies it as it is.
    async fn respond(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let now = ctx.now.clone();
        let settings = &*now.settings;
        match self.find(&now, session, ctx).await {
            Ok(Outcome::Hit(hit, how)) => {
                ctx.how = how;
                answer::hit(settings, session, ctx, &hit).await?;
            }
            Ok(Outcome::Moving(reader, head, how)) => {
                stream::moving(settings, session, ctx, reader, &head, &how).await?;
            }
            Ok(Outcome::Passing(head, body, how)) => {
                stream::passing(settings, session, ctx, &head, body, &how).await?;
            }
            Ok(Outcome::Through(through)) => {
                ctx.through = Some(through);
                return Ok(false);
            }
            Ok(Outcome::Probe(probe)) => answer::probe(settings, session, ctx, probe).await?,
            Ok(Outcome::Options) => cors::options(settings, session, ctx).await?,
            Err(refusal) => fail::refuse(settings, session, ctx, refusal).await?,
        }
        Ok(true)
    }

    async fn find(&self, now: &Now, session: &mut Session, ctx: &mut Ctx) -> Result<Outcome, Refusal> {
        admit::check(&now.settings, session)?;
        if ctx.method == Method::Other {
            return through(now, session.req_header(), Reason::Method);
        }
        admit::discard_body(&now.settings, session).await?;
        if let Some(hit) = self.generations.stores().hot(now, session.req_header(), ctx) {
            return Ok(Outcome::Hit(hit, How::default()));
        }
        if ctx.method == Method::Options && route::raw_path(session.req_header()) == b"*" {
            // RFC 9110 §9.3.7: the server as a whole.
            return Ok(Outcome::Options);
        }
        let target = route::target(session.req_header())?;
        if ctx.method == Method::Options {
            return Ok(Outcome::Options);
        }
        match target {
            route::Target::Probe(probe) => Ok(Outcome::Probe(probe)),
            route::Target::Key(key) => {
                let scheme = if ctx.secure { "https" } else { "http" };
                let local = session.server_addr().and_then(|address| address.as_inet().copied());
                self.found(now, &Asked { request: session.req_header(), key: &key, local, scheme }, ctx).await
            }
        }
    }

    /// What a key leads to: an object of a pack, of the CAS, or of an origin.
    async fn found(&self, now: &Now, asked: &Asked<'_>, ctx: &mut Ctx) -> Result<Outcome, Refusal> {
        let stores = self.generations.stores();
        let place = Place::of(asked, &now.mounts, &now.settings)?;
        ctx.route = place.route();
        let path = match place {
            Place::Asset(path) => path,
            Place::Store(question) => {
                let hit = stores.find(now, asked, question, ctx).await?;
                return Ok(Outcome::Hit(hit, How::default()));
            }
        };
        let (place, rules) = now.origins.rules(&path);
        let wish = Wish {
            now,
            stores,
            request: asked.request,
            path: &path,
            rules,
            live: now.live.as_deref().zip(place),
            method: ctx.method,
            corr_id: ctx.corr_id_bytes(),
        };
        let found = wish.find().await;
        if !matches!(&found, Ok(Found::Hit(_, how)) if how.forward.is_none()) && wish.live.is_some() {
            ctx.origin = Some(wish.rules.clone());
        }
        match found? {
            Found::Hit(stored, how) => {
                let key = stored::hot_key(&stored, asked.key);
                let hit = stores.negotiated(now, &key, stored, asked.request).await?;
                // What an origin was asked for is a miss, and counted.
                if how.forward.is_none() {
                    lookup::count(&hit, ctx);
                } else {
                    lookup::note(&hit, ctx);
                }
                Ok(Outcome::Hit(hit, how))
            }
            // Its body, where a GET has one, was read away before it was known where it goes.
            Found::Through if has_body(asked.request) => Err(Refusal::close(Reason::BodyCap)),
            Found::Through => through(now, asked.request, Reason::NotAllowed),
            Found::Moving(reader, head, how) => Ok(Outcome::Moving(reader, head, how)),
            Found::Passing(head, body, how) => Ok(Outcome::Passing(head, body, how)),
        }
    }
}

/// Where a request goes that may be proxied as it is; refused for `otherwise` if its path has no origin that takes such requests. A pinned path
/// has none: what goes through is not compared with its pin.
fn through(now: &Now, request: &RequestHeader, otherwise: Reason) -> Result<Outcome, Refusal> {
    let Ok(route::Target::Key(key)) = route::target(request) else { return Err(Refusal::close(otherwise)) };
    let path = key.strip_prefix(route::ASSETS).unwrap_or_default();
    let pinned = now.lock.as_ref().is_some_and(|lock| lock.contains_key(path));
    let (Some(live), Some(origin), false) = (&now.live, now.origins.of(path), pinned) else {
        return Err(Refusal::close(otherwise));
    };
    if !origin.1.pass {
        return Err(Refusal::close(otherwise));
    }
    if via::loops(&request.headers, &now.settings.name) {
        return Err(Refusal::close(Reason::Loop));
    }
    if request.headers.contains_key(header::TRANSFER_ENCODING) && !fields::is_chunked(&request.headers) {
        // Pingora takes such a body apart and would send it on as another one.
        return Err(Refusal::close(Reason::BadRequest));
    }
    let place = live.fills.passage()?;
    Ok(Outcome::Through(Through::new(&now.settings, request, path, origin, place)))
}

/// Whether a request says that it has a body.
fn has_body(request: &RequestHeader) -> bool {
    let length = request.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    length || request.headers.contains_key(header::TRANSFER_ENCODING)
}

/// Whether a client is what failed. Pingora marks what it reads as such, and a body that it writes, but neither a header nor a stream that was reset before
/// its answer.
fn is_of_client(error: &Error) -> bool {
    match error.esource() {
        ErrorSource::Downstream => true,
        ErrorSource::Upstream => false,
        _ => matches!(error.etype(), ErrorType::WriteError | ErrorType::WriteTimedout),
    }
}

/// What a request found.
enum Outcome {
    Hit(Arc<Ready>, How),
    Moving(Reader, Arc<FillHead>, How),
    Passing(Arc<FillHead>, PassBody, How),
    Through(Through),
    Probe(route::Probe),
    Options,
}

#[async_trait]
impl ProxyHttp for Edge {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::new(self.generations.now())
    }

    /// None: Pingora's default adds a compression module that costs every request and that we never use.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    /// The deadlines of this connection. Pingora forgets them with each request of a connection, so they are set on every one.
    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        ctx.secure = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
        ctx.enter(session)?;
        let ingress = &ctx.now.settings.ingress;
        if session.get_keepalive().is_some() {
            // Zero would mean for ever.
            let seconds = ingress.keepalive.map(|keepalive| keepalive.as_secs().max(1));
            session.set_keepalive(if READINESS.ending() { None } else { seconds });
        }
        session.set_read_timeout(Some(ingress.timeout));
        // On HTTP/1 the connection sees better what its client takes (`front/conn/stall`).
        let h1 = session.as_http1().is_some();
        session.set_write_timeout(if h1 { None } else { Some(ingress.write_timeout) });
        session.set_total_drain_timeout(Some(ingress.timeout));
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        if let Some(panic) = ctx.panic.take() {
            let now = ctx.now.clone();
            ctx.identify(session.req_header().headers.get("x-corr-id"));
            return caught::answer(&now.settings, session, ctx, &panic).await;
        }
        match caught::caught(self.receive(session, ctx)).await {
            Ok(done) => done,
            Err(panic) => {
                let now = ctx.now.clone();
                caught::answer(&now.settings, session, ctx, &panic).await
            }
        }
    }

    /// Reached by what `request_filter` let through alone.
    async fn upstream_peer(&self, _session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        match (&mut ctx.through, &ctx.now.live) {
            (Some(through), Some(live)) => through.peer(live).await,
            _ => Error::e_explain(ErrorType::InternalError, "the offline edge has no upstream"),
        }
    }

    async fn upstream_request_filter(&self, _: &mut Session, request: &mut RequestHeader, ctx: &mut Ctx) -> Result<()> {
        match (&mut ctx.through, &ctx.now.live) {
            (Some(through), Some(live)) => through.dress(live, request),
            _ => Ok(()),
        }
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let (Some(through), Some(live)) = (&mut ctx.through, &ctx.now.live) else { return Ok(()) };
        live.still_asks()?;
        through.body(body.as_ref())
    }

    async fn response_filter(&self, session: &mut Session, response: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        let (Some(through), Some(live)) = (&mut ctx.through, &ctx.now.live) else { return Ok(()) };
        ctx.status = response.status.as_u16();
        let request = session.req_header();
        through.answer(&ctx.now.settings, live, (request, &ctx.corr_id), response).await?;
        hsts::insert(&ctx.now.settings, ctx.secure, response)
    }

    /// What is proxied as it is ends when the conf went offline: nothing more is read from its origin.
    fn response_body_filter(
        &self,
        _session: &mut Session,
        _body: &mut Option<Bytes>,
        _end: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        match (&ctx.through, &ctx.now.live) {
            (Some(_), Some(live)) => live.still_asks().map(|()| None),
            _ => Ok(None),
        }
    }

    /// An answer broke off: its client left, or its bytes turned out bad after the header was sent. The connection is cut, so that
    /// nobody takes what was sent for the whole.
    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Ctx) -> FailToProxy {
        if session.response_written().is_none() && !is_of_client(error) {
            let refusal = match ctx.through.as_mut() {
                Some(through) => through.refusal(error),
                None => Refusal::internal(error.to_string()),
            };
            // A refusal that can't be written either leaves nothing to do.
            let now = ctx.now.clone();
            let _ = fail::refuse(&now.settings, session, ctx, refusal).await;
        }
        if session.as_downstream().as_http2().is_some() {
            // Left alone, the stream would be reset as cancelled: which is for what nobody needs any more (RFC 9113 §7). What has ended stays so.
            session.as_downstream_mut().shutdown().await;
        }
        FailToProxy { error_code: ctx.status, can_reuse_downstream: false }
    }

    /// Everything worth a line was logged where it was found; what remains are clients that left.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Ctx, _error: &Error) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Ctx) {
        let ended = Ended::of(ctx, session.body_bytes_sent() as u64);
        record::request(&ctx.now.settings, &ended, error.is_some());
    }
}
