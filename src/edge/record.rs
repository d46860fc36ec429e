//! What became of a request: its metrics, its line in the access log and, where it was refused, in the audit file.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderValue;

use super::ctx::Ctx;
use super::origins::OriginRules;
use super::settings::Settings;
use crate::observe::access::Record;
use crate::observe::audit::{self, Refused};
use crate::observe::metrics::{BYTES_OUT, HTTP_REQUESTS, Method, REQUEST_LATENCY, Reason, Route, Status};

/// A request at its end.
pub struct Ended {
    /// When its header was complete.
    pub started: Instant,
    pub route: Route,
    pub method: Method,
    /// The status answered; 0 where nothing was.
    pub status: u16,
    /// Why it was refused.
    pub reason: Option<Reason>,
    /// Bytes of the answer's body that were sent.
    pub bytes_out: u64,
    /// BLAKE3 of the object answered.
    pub hash: Option<blake3::Hash>,
    /// The id told to the client and the log.
    pub corr_id: HeaderValue,
    /// The client: who connected, or whom a trusted proxy names.
    pub client: Option<SocketAddr>,
    /// The origin that was asked.
    pub origin: Option<Arc<OriginRules>>,
}

impl Ended {
    /// A request of which nothing else is known yet.
    pub fn new(started: Instant, method: Method, corr_id: HeaderValue, client: Option<SocketAddr>) -> Self {
        let (route, status, reason, bytes_out, hash, origin) = (Route::None, 0, None, 0, None, None);
        Self { started, route, method, status, reason, bytes_out, hash, corr_id, client, origin }
    }

    /// What is remembered of a request, after so many bytes of its answer's body.
    pub fn of(ctx: &Ctx, bytes_out: u64) -> Self {
        let (corr_id, origin) = (ctx.corr_id.clone(), ctx.origin.clone());
        Self {
            route: ctx.route,
            status: ctx.status,
            reason: ctx.reason,
            bytes_out,
            hash: ctx.hash,
            origin,
            ..Self::new(ctx.started, ctx.method, corr_id, ctx.client)
        }
    }

    fn corr_id_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.corr_id.as_bytes())
    }
}

/// Record a request at its end, however it ended: `failed`, if the answer is not all out. Tells when that was.
pub fn request(settings: &Settings, ended: &Ended, failed: bool) -> Instant {
    let now = Instant::now();
    let latency = now.saturating_duration_since(ended.started);
    HTTP_REQUESTS.inc((ended.route, ended.method, status_label(ended.status)));
    REQUEST_LATENCY.observe(ended.route, latency);
    BYTES_OUT.add(ended.bytes_out);
    if let Some(reason) = ended.reason {
        audit::refused(|| Refused {
            corr_id: ended.corr_id_bytes(),
            reason,
            status: ended.status,
            route: ended.route,
            method: ended.method,
            peer_addr: ended.client,
        });
    }
    // A flood is refused without becoming a flood of lines; it is counted.
    let shed = matches!(ended.reason, Some(Reason::RateLimit | Reason::Inflight));
    settings.access.log(failed || ended.reason.is_some() && !shed, || Record {
        corr_id: ended.corr_id_bytes(),
        route: ended.route,
        method: ended.method,
        status: ended.status,
        reason: ended.reason,
        latency,
        bytes_out: ended.bytes_out,
        peer_addr: ended.client,
        hash: ended.hash,
        origin: ended.origin.as_ref().map(|rules| rules.prefix.clone()),
    });
    now
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
