//! What became of a request: its metrics, its line in the access log and, where it was refused, in the audit file.

use pingora::Error;
use pingora::proxy::Session;

use super::ctx::Ctx;
use super::settings::Settings;
use crate::observe::access::Record;
use crate::observe::audit::{self, Refused};
use crate::observe::metrics::{BYTES_OUT, HTTP_REQUESTS, REQUEST_LATENCY, Reason, Status};

/// Record a request at its end, however it ended.
pub fn request(settings: &Settings, session: &Session, error: Option<&Error>, ctx: &Ctx) {
    let latency = ctx.started.elapsed();
    let bytes_out = session.body_bytes_sent() as u64;
    HTTP_REQUESTS.inc((ctx.route, ctx.method, status_label(ctx.status)));
    REQUEST_LATENCY.observe(ctx.route, latency);
    BYTES_OUT.add(bytes_out);
    if let Some(reason) = ctx.reason {
        audit::refused(|| Refused {
            corr_id: ctx.corr_id_bytes(),
            reason,
            status: ctx.status,
            route: ctx.route,
            method: ctx.method,
            peer_addr: ctx.client,
        });
    }
    // A flood is refused without becoming a flood of lines; it is counted.
    let shed = matches!(ctx.reason, Some(Reason::RateLimit | Reason::Inflight));
    settings.access.log(error.is_some() || ctx.reason.is_some() && !shed, || Record {
        corr_id: ctx.corr_id_bytes(),
        route: ctx.route,
        method: ctx.method,
        status: ctx.status,
        reason: ctx.reason,
        latency,
        bytes_out,
        peer_addr: ctx.client,
        hash: ctx.hash,
        origin: ctx.origin.as_ref().map(|rules| rules.prefix.clone()),
    });
}

/// The label of a status: a closed set.
fn status_label(status: u16) -> Status {
    match status {
        200 => Status::S200,
        204 => Status::S204,
        206 => Status::S206,
        301 => Status::S301,
        302 => Status::S302,
        304 => Status::S304,
        400 => Status::S400,
        403 => Status::S403,
        404 => Status::S404,
        405 => Status::S405,
        412 => Status::S412,
        413 => Status::S413,
        414 => Status::S414,
        416 => Status::S416,
        429 => Status::S429,
        431 => Status::S431,
        500 => Status::S500,
        502 => Status::S502,
        503 => Status::S503,
        504 => Status::S504,
        508 => Status::S508,
        _ => Status::Other,
    }
}
