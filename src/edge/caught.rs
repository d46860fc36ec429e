//! A panic in the handling of a request: one answer with 500, one line in the log, and the server goes on.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use http::HeaderValue;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use super::ctx::Ctx;
use super::fail::{self, Refusal};
use super::settings::Settings;
use crate::observe::metrics::{REQUEST_PANICS, Reason, Route};
use crate::observe::panics::{self, Panic};

/// Drive `handling` to its end; an error, where it panics on its way. What it held is dropped then.
pub async fn caught<T>(handling: impl Future<Output = T>) -> Result<T, Panic> {
    let mut handling = pin!(handling);
    // It is never polled again after a panic, and what it shares with others is behind locks and atomics that they keep whole.
    poll_fn(|context| match panics::catch(|| handling.as_mut().poll(context)) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// Answer a request whose handling panicked, if nothing was answered yet; its connection is closed in any case, as nobody knows what was read of it.
pub async fn answer(settings: &Settings, session: &mut Session, ctx: &mut Ctx, panic: &Panic) -> Result<bool> {
    REQUEST_PANICS.inc();
    tell(&ctx.corr_id, ctx.route, panic);
    if session.response_written().is_some() {
        ctx.reason = Some(Reason::Internal);
        return Error::e_explain(ErrorType::InternalError, "the handling of the request panicked");
    }
    fail::refuse(settings, session, ctx, Refusal::close(Reason::Internal)).await?;
    Ok(true)
}

/// Tell the log of a panic in the handling of a request. What it says may have been made from the request: the log is told a text of the program alone, and the place.
pub fn tell(corr_id: &HeaderValue, route: Route, panic: &Panic) {
    log::error!(
        event = "request_panic", corr_id = corr_id.to_str().unwrap_or_default(), route = route.as_str(),
        place = panic.place(), cause = panic.text();
        "the handling of a request panicked"
    );
}
