//! Refusals of what is too much, made to be cheap: everything that is the same each time is prepared once, and an answer is a copy of it with the
//! request's id and a time to come back.

use std::fmt;
use std::sync::OnceLock;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderValue, header};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::ctx::{Ctx, next_random};
use super::direct::wire;
use super::fail::{self, Refusal};
use super::route::{ASSETS, BLOBS, raw_path};
use super::settings::Settings;
use super::{cors, hsts, ready};
use crate::observe::metrics::{BUSY_REJECTIONS, Endpoint, Method, REJECTED, Reason};
use crate::shed::Shedding;

/// Prepared refusals, as the settings want them; made when the first one is needed.
#[derive(Default)]
pub struct Busy {
    rate: OnceLock<Option<Prepared>>,
    inflight: OnceLock<Option<Prepared>>,
}

/// What is prepared follows from the settings beside it: a copy prepares its own, and is none the less the same.
impl Clone for Busy {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Busy")
    }
}

impl PartialEq for Busy {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The answer but for the request's id and the time to come back.
struct Prepared {
    header: ResponseHeader,
    /// The same as bytes.
    wire: Box<[u8]>,
    /// The problem document up to the request's id, and from there on.
    before: Bytes,
    after: Bytes,
}

/// Answer a request that is not admitted.
///
/// The connection stays open, as a new one would cost more than the answer; but not behind a body, which would have to be read away.
pub async fn refuse(settings: &Settings, session: &mut Session, ctx: &mut Ctx, shedding: Shedding) -> Result<()> {
    let (reason, prepared) = settings.busy.of(shedding);
    BUSY_REJECTIONS.inc(endpoint(raw_path(session.req_header())));
    let has_body = !session.as_downstream_mut().is_body_done();
    let Some(prepared) = prepared.get_or_init(|| Prepared::new(settings, reason).ok()) else {
        let refusal = if has_body { Refusal::close(reason) } else { Refusal::new(reason) };
        return fail::refuse(settings, session, ctx, refusal).await;
    };
    ctx.reason = Some(reason);
    REJECTED.inc(reason);
    if has_body {
        session.set_keepalive(None);
    }
    let body = prepared.body(ctx.corr_id.as_bytes());
    let mut header = Box::new(prepared.header.clone());
    header.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    header.insert_header(header::RETRY_AFTER, retry_after(shedding))?;
    header.insert_header("x-corr-id", ctx.corr_id.clone())?;
    hsts::insert(settings, ctx.secure, &mut header)?;
    cors::insert_listed(settings, session.req_header().headers.get(header::ORIGIN), &mut header)?;
    ctx.status = header.status.as_u16();
    session.write_response_header(header, false).await?;
    let body = if ctx.method == Method::Head { Bytes::new() } else { body };
    session.write_response_body(Some(body), true).await
}

/// A refusal that can be written as bytes.
pub struct Refusing<'a> {
    /// Why.
    pub reason: Reason,
    shedding: Shedding,
    prepared: &'a Prepared,
}

impl Refusing<'_> {
    /// Count it for `path`, and write it up to the lines that every answer has of its own. Its body.
    pub fn write(&self, path: &[u8], id: &HeaderValue, to: &mut Vec<u8>) -> Bytes {
        BUSY_REJECTIONS.inc(endpoint(path));
        REJECTED.inc(self.reason);
        let body = self.prepared.body(id.as_bytes());
        to.extend_from_slice(&self.prepared.wire);
        wire::number(to, &header::CONTENT_LENGTH, body.len() as u64);
        wire::line(to, "Retry-After", retry_after(self.shedding).as_bytes());
        body
    }
}

impl Busy {
    /// What a request is refused with; none where it could not be prepared. `settings` are those beside it.
    pub fn prepared(&self, settings: &Settings, shedding: Shedding) -> Option<Refusing<'_>> {
        let (reason, prepared) = self.of(shedding);
        let prepared = prepared.get_or_init(|| Prepared::new(settings, reason).ok()).as_ref()?;
        Some(Refusing { reason, shedding, prepared })
    }

    /// Why it is refused, and with what.
    fn of(&self, shedding: Shedding) -> (Reason, &OnceLock<Option<Prepared>>) {
        match shedding {
            Shedding::Rate | Shedding::ClientRate => (Reason::RateLimit, &self.rate),
            Shedding::Inflight => (Reason::Inflight, &self.inflight),
        }
    }
}

impl Prepared {
    fn new(settings: &Settings, reason: Reason) -> Result<Self> {
        let mut header = fail::header(reason, fail::status(reason), None)?;
        ready::constant(settings, &mut header)?;
        let whole = Bytes::from(fail::document(reason, fail::status(reason), ""));
        // The id is the last member, so the document ends with its closing quote and brace.
        let id_at = whole.len().saturating_sub(2);
        let wire = wire::written(&header);
        Ok(Self { header, wire, before: whole.slice(..id_at), after: whole.slice(id_at..) })
    }

    /// The problem document for the request `id`, whose alphabet needs no escape.
    fn body(&self, id: &[u8]) -> Bytes {
        let mut body = BytesMut::with_capacity(self.before.len() + id.len() + self.after.len());
        [&self.before, id, &self.after].into_iter().for_each(|part| body.put_slice(part));
        body.freeze()
    }
}

/// Seconds after which there is likely room, and up to two more, so that those who were refused together don't come back together.
fn retry_after(shedding: Shedding) -> HeaderValue {
    HeaderValue::from_static(match shedding.seconds() + next_random() % 3 {
        0 | 1 => "1",
        2 => "2",
        3 => "3",
        _ => "4",
    })
}

/// What was asked for, as far as the path says so before it is looked at.
fn endpoint(path: &[u8]) -> Endpoint {
    match path.strip_prefix(b"/") {
        Some(path) if path.starts_with(ASSETS.as_bytes()) => Endpoint::Assets,
        Some(path) if path.starts_with(BLOBS.as_bytes()) => Endpoint::Blobs,
        _ => Endpoint::Other,
    }
}
