//! The phases of one try: each hands on what it is given and tells the verdict. Everything that takes a decision is elsewhere.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::header;
use http::{Method, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use tokio::sync::oneshot;

use super::verdict::{Fault, Verdict};
use crate::fill::fetch::{Head, Tap};
use crate::rules::header::is_chunked;

/// Interim answers (RFC 9110 §15.2) that are swallowed before a final one must come.
pub const MAX_INTERIM: u32 = 16;

/// The `ProxyHttp` of requests to origins. Everything about a request is in its [`Exchange`].
pub(super) struct Origin;

/// One try, from the one who wants it to the phases.
pub(super) struct Exchange {
    pub(super) peer: Box<HttpPeer>,
    /// The head to be sent; taken when it is.
    pub(super) request: Option<Box<RequestHeader>>,
    pub(super) tap: Option<Arc<dyn Tap>>,
    /// Where the final header goes; taken when it came.
    pub(super) head: Option<oneshot::Sender<Head>>,
    /// Statuses that may be refused, in favour of another try: their bodies wait for `gate`.
    pub(super) may_refuse: Arc<[u16]>,
    /// Opened when such an answer is accepted after all; dropped when it isn't.
    pub(super) gate: Option<oneshot::Receiver<()>>,
    pub(super) verdict: Arc<Verdict>,
    /// When the request was sent.
    pub(super) sent: SystemTime,
    /// Interim answers so far.
    pub(super) interim: u32,
}

impl Exchange {
    /// What came is none of what may come.
    fn nonsense(&self, why: &'static str) -> Box<Error> {
        self.verdict.tell(Err(Fault::Nonsense(why.into())));
        Error::explain(ErrorType::InvalidHTTPHeader, why)
    }

    /// A final header came.
    async fn answered(&mut self, method: &Method, response: &ResponseHeader) -> Result<()> {
        let (length, framed) = framing(method, response).map_err(|why| self.nonsense(why))?;
        let head = Head {
            status: response.status,
            headers: response.headers.clone(),
            length,
            framed,
            request_time: self.sent,
            response_time: SystemTime::now(),
        };
        let sent = self.head.take().is_some_and(|waiting| waiting.send(head).is_ok());
        if !sent {
            return Err(gone());
        }
        if self.may_refuse.contains(&response.status.as_u16())
            && let Some(gate) = self.gate.take()
        {
            gate.await.map_err(|_| gone())?;
        }
        Ok(())
    }
}

#[async_trait]
impl ProxyHttp for Origin {
    type CTX = Option<Exchange>;

    fn new_ctx(&self) -> Self::CTX {
        None
    }

    /// None: a body goes on as it came.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<()> {
        let user = session.subrequest_ctx.as_mut().and_then(|subrequest| subrequest.user_ctx_mut());
        *ctx = user.and_then(|user| user.downcast_mut::<Option<Exchange>>()).and_then(Option::take);
        exchange(ctx).map(|_| ())
    }

    async fn upstream_peer(&self, _: &mut Session, ctx: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        Ok(exchange(ctx)?.peer.clone())
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        let exchange = exchange(ctx)?;
        // The head that the subrequest was made from has a method and nothing else: this one is all that the origin sees.
        *request = *exchange.request.take().ok_or_else(|| internal("a request is sent once"))?;
        exchange.sent = SystemTime::now();
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        let exchange = exchange(ctx)?;
        // No upgrade was asked for (RFC 9110 §15.2.2): what follows one is no HTTP.
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(exchange.nonsense("an upgrade that was not asked for"));
        }
        if response.status.is_informational() {
            exchange.interim += 1;
            let endless = exchange.interim > MAX_INTERIM;
            return if endless { Err(exchange.nonsense("interim answers without end")) } else { Ok(()) };
        }
        exchange.answered(&session.req_header().method, response).await
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        _: bool,
        ctx: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        let bytes = body.as_ref().filter(|bytes| !bytes.is_empty());
        if let (Some(tap), Some(bytes)) = (&exchange(ctx)?.tap, bytes) {
            tap.pass(bytes);
        }
        Ok(None)
    }

    fn fail_to_connect(&self, _: &mut Session, _: &HttpPeer, ctx: &mut Self::CTX, mut e: Box<Error>) -> Box<Error> {
        if let Some(exchange) = ctx {
            exchange.verdict.tell(Err(Fault::of_connect(&e)));
        }
        e.set_retry(false);
        e
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        _: &mut Session,
        mut e: Box<Error>,
        ctx: &mut Self::CTX,
        reused: bool,
    ) -> Box<Error> {
        if let Some(exchange) = ctx {
            let untouched = reused && exchange.head.is_some() && exchange.interim == 0;
            exchange.verdict.tell(Err(Fault::of_exchange(&e, untouched)));
        }
        // Decided, or Pingora panics when it asks whether to try again.
        e.set_retry(false);
        e
    }

    /// Writes nothing: whoever waits is told by the verdict, and an error page is no answer of the origin's.
    async fn fail_to_proxy(&self, _: &mut Session, _: &Error, _: &mut Self::CTX) -> FailToProxy {
        FailToProxy { error_code: 0, can_reuse_downstream: false }
    }

    async fn logging(&self, _: &mut Session, error: Option<&Error>, ctx: &mut Self::CTX) {
        if let Some(exchange) = ctx {
            exchange.verdict.tell(error.map_or(Ok(()), |error| Err(Fault::of_exchange(error, false))));
        }
    }

    /// A fill that fails is logged once, by whoever started it; so is nothing here.
    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Self::CTX, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}

/// Length of the body, where it is known, and whether its end can be told from a cut (RFC 9112 §6.3).
fn framing(method: &Method, response: &ResponseHeader) -> Result<(Option<u64>, bool), &'static str> {
    let status = response.status;
    if method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok((Some(0), true));
    }
    if response.headers.contains_key(header::TRANSFER_ENCODING) {
        return if is_chunked(&response.headers) {
            Ok((None, true))
        } else {
            // We send no TE: no other coding may be used (RFC 9112 §7), and undoing it is nobody's task.
            Err("a transfer coding that was not asked for")
        };
    }
    // Pingora has refused a value that is none, and different values.
    let value = response.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length = value.and_then(|value| value.split(',').next()?.trim().parse().ok());
    Ok((length, length.is_some()))
}

fn exchange(ctx: &mut Option<Exchange>) -> Result<&mut Exchange> {
    ctx.as_mut().ok_or_else(|| internal("a subrequest without its exchange"))
}

fn internal(why: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InternalError, why)
}

/// Nobody waits for the answer any more.
fn gone() -> Box<Error> {
    internal("nobody waits for this answer")
}
