//! CORS (Fetch standard §3.2) and the answer to OPTIONS.

use http::{HeaderValue, StatusCode, header};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::answer;
use super::ctx::Ctx;
use super::settings::Settings;

/// The methods that are answered, as `Allow` lists them.
pub const METHODS: &str = "GET, HEAD, OPTIONS";

/// What a script may read beside the safelisted headers.
pub const EXPOSED: &str =
    "ETag, Content-Range, Content-Length, Accept-Ranges, Cache-Status, Retry-After, X-Corr-ID, X-Reason, Repr-Digest";

/// Whether every origin may read; the headers are then part of an object's prepared header.
pub fn open(settings: &Settings) -> bool {
    settings.allow_origins.is_none()
}

/// The headers for everyone, where every origin may read.
pub fn insert_open(header: &mut ResponseHeader) -> Result<()> {
    header.insert_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))?;
    header.insert_header(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED))
}

/// The headers for the origin that asks, where a list says who may read. `Vary: Origin` stands on every answer then, also on
/// those to a request without one, or a cache would give the wrong answer to the next.
pub fn insert_listed(settings: &Settings, origin: Option<&HeaderValue>, header: &mut ResponseHeader) -> Result<()> {
    let Some(list) = &settings.allow_origins else { return Ok(()) };
    header.append_header(header::VARY, HeaderValue::from_static("Origin"))?;
    if let Some(allowed) = origin.and_then(|origin| list.iter().find(|allowed| *allowed == origin)) {
        header.insert_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed.clone())?;
        header.insert_header(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED))?;
    }
    Ok(())
}

/// OPTIONS: a preflight, or someone who asks what may be done.
pub async fn options(settings: &Settings, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
    let mut header = ResponseHeader::build_no_case(StatusCode::NO_CONTENT, Some(12))?;
    header.insert_header(header::ALLOW, HeaderValue::from_static(METHODS))?;
    if session.req_header().headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        header.insert_header(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"))?;
        let allowed = HeaderValue::from_static("Range, If-Match, If-None-Match, If-Range");
        header.insert_header(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed)?;
        header.insert_header(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"))?;
    }
    header.insert_header("cache-status", HeaderValue::from_static("svc-edge; detail=options"))?;
    answer::small(settings, session, ctx, header, bytes::Bytes::new()).await
}
