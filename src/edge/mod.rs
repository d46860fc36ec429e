//! The edge: Pingora's phases, each one call, in the order of a request.
//!
//! `admit` (may this request be answered at all) → `route` (what does it ask for) → `lookup` (which object is that) →
//! `answer` (which of its bytes, under which status) → `record` (what became of it). `fail` is the one table from an error to an
//! answer. Nothing here knows how a pack or a blob is stored.

mod admit;
mod answer;
mod blocking;
mod body;
mod cors;
mod ctx;
mod fail;
mod flight;
mod lookup;
mod question;
mod ready;
mod record;
mod route;
mod settings;

use async_trait::async_trait;
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use crate::observe::metrics::Method;
use crate::observe::readiness::{Condition, READINESS};

pub use lookup::Stores;
pub use settings::Settings;

use ctx::Ctx;
use fail::Refusal;
use question::Asked;

/// The service behind the public listeners.
pub struct Edge {
    settings: Settings,
    stores: Stores,
}

impl Edge {
    /// An edge that answers from `stores`.
    pub fn new(settings: Settings, stores: Stores) -> Self {
        Self { settings, stores }
    }

    /// The way of one request, from its header to the last byte of its answer.
    async fn respond(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        match self.find(session, ctx).await {
            Ok(Outcome::Hit(hit)) => answer::hit(&self.settings, session, ctx, &hit).await,
            Ok(Outcome::Probe(probe)) => answer::probe(&self.settings, session, ctx, probe).await,
            Ok(Outcome::Options) => cors::options(&self.settings, session, ctx).await,
            Err(refusal) => fail::refuse(&self.settings, session, ctx, refusal).await,
        }
    }

    async fn find(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Outcome, Refusal> {
        admit::check(&self.settings, session, ctx).await?;
        if let Some(hit) = self.stores.hot(session.req_header(), ctx) {
            return Ok(Outcome::Hit(hit));
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
                let local = session.server_addr().and_then(|address| address.as_inet().copied());
                let asked = Asked { request: session.req_header(), key: &key, local };
                self.stores.find(&self.settings, &asked, ctx).await.map(Outcome::Hit)
            }
        }
    }
}

/// What a request found.
enum Outcome {
    Hit(std::sync::Arc<ready::Ready>),
    Probe(route::Probe),
    Options,
}

#[async_trait]
impl ProxyHttp for Edge {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::new()
    }

    /// None: Pingora's default adds a compression module that costs every request and that we never use.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    /// The deadlines of this connection. Pingora forgets them with each request of a connection, so they are set on every one.
    async fn early_request_filter(&self, session: &mut Session, _ctx: &mut Ctx) -> Result<()> {
        let ingress = &self.settings.ingress;
        if session.get_keepalive().is_some() {
            let draining = !READINESS.holds(Condition::NotDraining);
            // Zero would mean for ever.
            let seconds = ingress.keepalive.map(|keepalive| keepalive.as_secs().max(1));
            session.set_keepalive(if draining { None } else { seconds });
        }
        session.set_read_timeout(Some(ingress.timeout));
        session.set_write_timeout(Some(ingress.write_timeout));
        session.set_total_drain_timeout(Some(ingress.timeout));
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        self.respond(session, ctx).await?;
        Ok(true)
    }

    /// Never reached: `request_filter` answers every request.
    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        Error::e_explain(ErrorType::InternalError, "the offline edge has no upstream")
    }

    /// An answer broke off: its client left, or its bytes turned out bad after the header was sent. The connection is cut, so that
    /// nobody takes what was sent for the whole.
    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Ctx) -> FailToProxy {
        if session.response_written().is_none() && *error.esource() != pingora::ErrorSource::Downstream {
            // A refusal that can't be written either leaves nothing to do.
            let _ = fail::refuse(&self.settings, session, ctx, Refusal::internal(error.to_string())).await;
        }
        FailToProxy { error_code: ctx.status, can_reuse_downstream: false }
    }

    /// Everything worth a line was logged where it was found; what remains are clients that left.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Ctx, _error: &Error) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Ctx) {
        record::request(&self.settings, session, error, ctx);
    }
}
