//! The answer to a request that hit: preconditions, then Range (RFC 9110 §13.2.2), then the header and the bytes.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;

use super::blocking::off_worker;
use super::body::{self, Opened, Reader};
use super::choice::Choice;
use super::cors;
use super::ctx::{Ctx, next_random};
use super::fail::{self, Refusal};
use super::hsts;
use super::ready::{self, Ready};
use super::route::Probe;
use super::settings::Settings;
use crate::observe::metrics::{Method, Reason, Route};
use crate::observe::readiness::READINESS;
use crate::rules::multipart::Multipart;
use crate::rules::range;
use crate::rules::repr_digest;
use crate::store::{Body, Object, StoreError};

/// Objects above this length get no `Repr-Digest`: hashing them for one request would be an attack to offer.
const REPR_DIGEST_MAX: u64 = 64 * 1024 * 1024;

/// What of an object is sent.
enum Selected {
    Nothing,
    One(Range<u64>),
    Many(Multipart),
}

/// Answer with an object.
pub async fn hit(settings: &Settings, session: &mut Session, ctx: &mut Ctx, ready: &Arc<Ready>) -> Result<()> {
    match prepare(settings, session, ctx, ready).await {
        Ok((header, selected, opened)) => {
            ctx.status = header.status.as_u16();
            let empty = matches!(selected, Selected::Nothing);
            session.write_response_header(header, empty).await?;
            match (selected, opened) {
                (Selected::One(_), Some(opened)) => opened.send(settings, session, ctx, true).await,
                (Selected::Many(multipart), Some(opened)) => {
                    parts(settings, session, ctx, ready, &multipart, opened).await
                }
                _ => session.write_response_body(None, true).await,
            }
        }
        Err(refusal) if ready.presentation.negotiable => fail::refuse(settings, session, ctx, refusal.varying()).await,
        Err(refusal) => fail::refuse(settings, session, ctx, refusal).await,
    }
}

type Prepared = (Box<ResponseHeader>, Selected, Option<Opened>);

/// Everything that can still be refused: the decision, the header, and the first chunk, verified.
async fn prepare(settings: &Settings, session: &Session, ctx: &Ctx, ready: &Arc<Ready>) -> Result<Prepared, Refusal> {
    let request = session.req_header();
    let Some(object) = &ready.object else {
        let mut header = ready.full();
        personal(settings, request, ctx, ready, &mut header)?;
        return Ok((header, Selected::Nothing, None));
    };
    if let Body::Windowed(window) = &object.body {
        window.check()?;
    }
    let (mut header, mut selected) = select(settings, request, ctx.method, ready, object)?;
    if header.status != StatusCode::NOT_MODIFIED && repr_digest::wants_sha256(&request.headers) {
        insert_repr_digest(settings, ready, object, &mut header).await?;
    }
    personal(settings, request, ctx, ready, &mut header)?;
    if ctx.method == Method::Head {
        selected = Selected::Nothing;
    }
    let first = match &selected {
        Selected::Nothing => None,
        Selected::One(range) => Some(range.clone()),
        Selected::Many(multipart) => multipart.parts().first().map(|part| part.range.clone()),
    };
    let opened = match first {
        Some(range) => Some(Reader::new(object, range).open(settings).await?),
        None => None,
    };
    Ok((header, selected, opened))
}

/// The status, its header, and the bytes that go with it.
fn select(
    settings: &Settings,
    request: &RequestHeader,
    method: Method,
    ready: &Ready,
    object: &Object,
) -> Result<(Box<ResponseHeader>, Selected), Refusal> {
    let choice = Choice::of(settings, &request.headers, method, ready, object);
    choice.count();
    let mut header = ready.full();
    match choice {
        Choice::Whole { .. } => Ok((header, Selected::One(0..object.len()))),
        Choice::NotModified => Ok((ready.not_modified(), Selected::Nothing)),
        Choice::Failed => Err(Refusal::new(Reason::Precondition)),
        Choice::Unsatisfiable => Err(Refusal::unsatisfied(object.len())),
        Choice::One(range) => {
            partial(&mut header, range.end - range.start)?;
            insert(&mut header, header::CONTENT_RANGE, value(range::content_range(&range, object.len()))?)?;
            Ok((header, Selected::One(range)))
        }
        Choice::Many(ranges) => {
            let boundary = format!("{:016x}{:016x}", next_random(), next_random());
            let multipart = Multipart::new(&boundary, &object.content_type, ranges, object.len());
            let multipart = multipart.map_err(|error| Refusal::internal(error.to_string()))?;
            partial(&mut header, multipart.total_len())?;
            insert(&mut header, header::CONTENT_TYPE, value(multipart.content_type().to_owned())?)?;
            Ok((header, Selected::Many(multipart)))
        }
    }
}

fn partial(header: &mut ResponseHeader, length: u64) -> Result<(), Refusal> {
    header.set_status(StatusCode::PARTIAL_CONTENT)?;
    insert(header, header::CONTENT_LENGTH, HeaderValue::from(length))
}

fn insert(header: &mut ResponseHeader, name: http::HeaderName, value: HeaderValue) -> Result<(), Refusal> {
    header.insert_header(name, value).map_err(Refusal::from)
}

fn value(text: String) -> Result<HeaderValue, Refusal> {
    HeaderValue::try_from(text).map_err(|error| Refusal::internal(error.to_string()))
}

/// Send `multipart/byteranges` (RFC 9110 §14.6); the first part is open already.
async fn parts(
    settings: &Settings,
    session: &mut Session,
    ctx: &Ctx,
    ready: &Ready,
    multipart: &Multipart,
    opened: Opened,
) -> Result<()> {
    let mut opened = Some(opened);
    for part in multipart.parts() {
        session.write_response_body(Some(part.head.clone()), false).await?;
        let bytes = match (opened.take(), &ready.object) {
            (Some(opened), _) => opened,
            (None, Some(object)) => {
                let opened = Reader::new(object, part.range.clone()).open(settings).await;
                opened.map_err(|refusal| body::broken(ctx, &refusal))?
            }
            (None, None) => return Ok(()),
        };
        bytes.send(settings, session, ctx, false).await?;
    }
    session.write_response_body(Some(multipart.closing()), true).await
}

/// `Repr-Digest` (RFC 9530) of the whole representation, computed once an object and off the worker.
async fn insert_repr_digest(
    settings: &Settings,
    ready: &Arc<Ready>,
    object: &Object,
    header: &mut ResponseHeader,
) -> Result<(), Refusal> {
    if object.len() > REPR_DIGEST_MAX {
        return Ok(());
    }
    let digest = match ready.repr_digest.get() {
        Some(digest) => digest.clone(),
        None => {
            let object = object.clone();
            let digest = value(off_worker(settings, move || sha256(&object)).await?)?;
            ready.repr_digest.get_or_init(|| digest).clone()
        }
    };
    header.insert_header("repr-digest", digest).map_err(Refusal::from)
}

fn sha256(object: &Object) -> Result<String, StoreError> {
    use sha2::Digest as _;
    let mut hasher = sha2::Sha256::new();
    let mut at = 0;
    while at < object.len() {
        let end = object.len().min(at + 256 * 1024);
        hasher.update(object.read(at..end)?);
        at = end;
    }
    Ok(repr_digest::sha256(&hasher.finalize().into()))
}

/// What differs from request to request on a prepared header.
fn personal(
    settings: &Settings,
    request: &RequestHeader,
    ctx: &Ctx,
    ready: &Ready,
    header: &mut ResponseHeader,
) -> Result<(), Refusal> {
    if let Some(filled) = &ready.filled {
        filled.personal(header, &ctx.how, SystemTime::now())?;
    }
    cors::insert_listed(settings, request.headers.get(header::ORIGIN), header)?;
    hsts::insert(settings, ctx.secure, header)?;
    header.insert_header("x-corr-id", ctx.corr_id.clone()).map_err(Refusal::from)
}

/// Send a small answer that is not an object: what every answer carries is added to `header`; HEAD gets no body.
pub async fn small(
    settings: &Settings,
    session: &mut Session,
    ctx: &mut Ctx,
    mut header: ResponseHeader,
    body: Bytes,
) -> Result<()> {
    ready::constant(settings, &mut header)?;
    cors::insert_listed(settings, session.req_header().headers.get(header::ORIGIN), &mut header)?;
    hsts::insert(settings, ctx.secure, &mut header)?;
    header.insert_header("x-corr-id", ctx.corr_id.clone())?;
    ctx.status = header.status.as_u16();
    session.write_response_header(Box::new(header), false).await?;
    let body = if ctx.method == Method::Head { Bytes::new() } else { body };
    session.write_response_body(Some(body), true).await
}

/// Answer a load balancer. On the public listener only whether, not why.
pub async fn probe(settings: &Settings, session: &mut Session, ctx: &mut Ctx, probe: Probe) -> Result<()> {
    ctx.route = Route::Probe;
    let ready = probe == Probe::Health || READINESS.ready();
    let (status, body) = match (probe, ready) {
        (Probe::Health, _) => (StatusCode::OK, r#"{"healthy":true}"#),
        (Probe::Ready, true) => (StatusCode::OK, r#"{"ready":true}"#),
        (Probe::Ready, false) => (StatusCode::SERVICE_UNAVAILABLE, r#"{"ready":false,"retry_after":1}"#),
    };
    let mut header = ResponseHeader::build_no_case(status, Some(12))?;
    header.insert_header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))?;
    header.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    header.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
    header.insert_header("cache-status", HeaderValue::from_static("svc-edge; detail=probe"))?;
    if !ready {
        header.insert_header(header::RETRY_AFTER, fail::retry_after())?;
    }
    small(settings, session, ctx, header, Bytes::from_static(body.as_bytes())).await
}
