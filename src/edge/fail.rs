//! From an error to an answer: one table. What a client is told names no path of the machine.

use http::{HeaderValue, StatusCode, header};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::ctx::{Ctx, next_random};
use super::record::Ended;
use super::settings::Settings;
use super::{answer, cors};
use crate::observe::metrics::{RANGE_REQUESTS, REJECTED, RangeResult, Reason, Route};
use crate::rules::asset_key::KeyError;
use crate::rules::cache_status::{CacheStatus, Forward};
use crate::rules::problem;
use crate::store::StoreError;

/// A request that is not answered with an object.
#[derive(Debug)]
pub struct Refusal {
    reason: Reason,
    /// What the log is told; never the client.
    cause: Option<String>,
    /// Length of the object whose Range could not be satisfied.
    unsatisfied: Option<u64>,
    /// Whether the connection must not be used again.
    close: bool,
    /// Whether another Accept-Encoding could have had another answer.
    varies: bool,
    /// Whether an origin's deadline passed rather than ours: 504, not 503.
    of_origin: bool,
    /// Why an origin was asked, where one was.
    forward: Option<Forward>,
}

/// Status, title, and whether trying again later may help.
pub const fn row(reason: Reason) -> (StatusCode, &'static str, bool) {
    match reason {
        Reason::BadRequest => (StatusCode::BAD_REQUEST, "The request is malformed", false),
        Reason::BadPath => (StatusCode::BAD_REQUEST, "The path is malformed", false),
        Reason::NotFound => (StatusCode::NOT_FOUND, "No such asset", false),
        Reason::Method => (StatusCode::METHOD_NOT_ALLOWED, "Only GET, HEAD and OPTIONS are answered", false),
        Reason::Precondition => (StatusCode::PRECONDITION_FAILED, "A precondition does not hold", false),
        Reason::BodyCap => (StatusCode::PAYLOAD_TOO_LARGE, "The request's body is longer than is taken", false),
        Reason::UriCap => (StatusCode::URI_TOO_LONG, "The request target is too long", false),
        Reason::InvalidRange => (StatusCode::RANGE_NOT_SATISFIABLE, "No byte of the range exists", false),
        Reason::HeaderCap => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "The header is too large", false),
        Reason::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "Something failed inside", false),
        Reason::DecompressCap => (StatusCode::BAD_GATEWAY, "The object decodes to more than is allowed", false),
        Reason::Corrupt => (StatusCode::BAD_GATEWAY, "The bytes are not those they should be", false),
        Reason::PackChanged => (StatusCode::SERVICE_UNAVAILABLE, "The pack changed and is out of service", true),
        Reason::Timeout => (StatusCode::SERVICE_UNAVAILABLE, "The answer took too long", true),
        Reason::Draining => (StatusCode::SERVICE_UNAVAILABLE, "The server is stopping", true),
        Reason::Connections => (StatusCode::SERVICE_UNAVAILABLE, "Too many connections", true),
        Reason::ProxyHeader => (StatusCode::BAD_REQUEST, "No PROXY header of a trusted proxy", false),
        Reason::QueueFull => (StatusCode::TOO_MANY_REQUESTS, "Too many fills are waiting", true),
        Reason::Origin => (StatusCode::BAD_GATEWAY, "The origin gave no usable answer", false),
        Reason::NotAllowed => (StatusCode::FORBIDDEN, "That may not be asked of an origin", false),
        Reason::Loop => (StatusCode::LOOP_DETECTED, "The request came through here before", false),
        Reason::RateLimit => (StatusCode::TOO_MANY_REQUESTS, "Too many requests a second", true),
        Reason::Inflight => (StatusCode::SERVICE_UNAVAILABLE, "Too many requests at a time", true),
        Reason::OnlyIfCached => (StatusCode::GATEWAY_TIMEOUT, "Nothing stored may answer this", false),
    }
}

impl Refusal {
    pub fn new(reason: Reason) -> Self {
        Self { reason, cause: None, unsatisfied: None, close: false, varies: false, of_origin: false, forward: None }
    }

    /// Refuse, and close the connection behind the answer.
    pub fn close(reason: Reason) -> Self {
        Self { close: true, ..Self::new(reason) }
    }

    pub fn unsatisfied(len: u64) -> Self {
        Self { unsatisfied: Some(len), ..Self::new(Reason::InvalidRange) }
    }

    /// Our fault; `cause` goes to the log.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), ..Self::close(Reason::Internal) }
    }

    /// For `reason`; `cause` goes to the log.
    pub fn told(reason: Reason, cause: String) -> Self {
        Self { cause: Some(cause), ..Self::new(reason) }
    }

    /// The origin took longer than a deadline: 504.
    pub fn origin_timeout() -> Self {
        Self { of_origin: true, ..Self::new(Reason::Timeout) }
    }

    /// Whether it is an origin's fault that there is no answer.
    pub fn is_of_origin(&self) -> bool {
        self.of_origin || self.reason == Reason::Origin
    }

    /// Whether what is stale may stand in for the answer: the origin failed, or was not asked for want of room.
    pub fn lets_stale_stand_in(&self) -> bool {
        self.is_of_origin() || matches!(self.reason, Reason::QueueFull | Reason::Internal | Reason::Draining)
    }

    /// The same, of a request for which an origin was asked.
    pub fn forwarded(self, forward: Forward) -> Self {
        Self { forward: Some(forward), ..self }
    }

    /// The same, of a resource that has more than one coding.
    pub fn varying(self) -> Self {
        Self { varies: true, ..self }
    }

    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Tell the log what the client is not told, with the request's id, so that the two can be brought together.
    pub fn tell<'a>(&self, of: impl Into<Told<'a>>) {
        let told = of.into();
        let Some(cause) = &self.cause else { return };
        let level = match self.reason {
            Reason::Internal => log::Level::Error,
            // Its fill has told already, once for all who waited; a client can ask for these as often as it likes.
            Reason::Origin | Reason::NotAllowed => log::Level::Info,
            _ => log::Level::Warn,
        };
        let hash = told.hash.map(|hash| hash.to_hex().to_string()).unwrap_or_default();
        log::log!(
            level,
            event = self.reason.as_str(), corr_id = told.corr_id.to_str().unwrap_or_default(), route = told.route.as_str(),
            hash = hash.as_str(), cause = cause.as_str();
            ""
        );
    }
}

/// Which request the log is told of.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    pub corr_id: &'a HeaderValue,
    pub route: Route,
    pub hash: Option<blake3::Hash>,
}

impl<'a> From<&'a Ctx> for Told<'a> {
    fn from(ctx: &'a Ctx) -> Self {
        Self { corr_id: &ctx.corr_id, route: ctx.route, hash: ctx.hash }
    }
}

impl<'a> From<&'a Ended> for Told<'a> {
    fn from(ended: &'a Ended) -> Self {
        Self { corr_id: &ended.corr_id, route: ended.route, hash: ended.hash }
    }
}

impl From<KeyError> for Refusal {
    fn from(_: KeyError) -> Self {
        Self::new(Reason::BadPath)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt(_) => Self { cause: Some(error.to_string()), ..Self::new(Reason::Corrupt) },
            StoreError::Io(_) | StoreError::Sqlite(_) => Self::internal(error.to_string()),
            // These have their metrics, and a client can ask for them as often as it likes: no line for each.
            StoreError::Changed => Self::new(Reason::PackChanged),
            StoreError::TooLarge(_) => Self::new(Reason::DecompressCap),
            StoreError::Deadline(_) => Self::new(Reason::Timeout),
        }
    }
}

impl From<Box<pingora::Error>> for Refusal {
    fn from(error: Box<pingora::Error>) -> Self {
        Self::internal(error.to_string())
    }
}

/// Seconds after which to try again. The jitter keeps clients that were refused together from coming back together.
pub fn retry_after() -> HeaderValue {
    HeaderValue::from(1 + next_random() % 3)
}

/// The status of a refusal.
pub const fn status(reason: Reason) -> StatusCode {
    row(reason).0
}

/// The problem document of the request with this id.
pub fn document(reason: Reason, status: StatusCode, id: &str) -> Vec<u8> {
    problem::body(status.as_u16(), reason.as_str(), row(reason).1, id)
}

/// What the headers of a reason's refusals have in common.
pub fn header(reason: Reason, status: StatusCode, forward: Option<Forward>) -> Result<ResponseHeader> {
    let mut header = ResponseHeader::build_no_case(status, Some(18))?;
    header.insert_header(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))?;
    header.insert_header("x-reason", HeaderValue::from_static(reason.as_str()))?;
    let cached = forward.map_or(CacheStatus::neither(), CacheStatus::forward);
    header.insert_header("cache-status", cached.detail(reason.as_str()).value())?;
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        header.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
    }
    Ok(header)
}

/// Answer with a problem document (RFC 9457).
pub async fn refuse(settings: &Settings, session: &mut Session, ctx: &mut Ctx, refusal: Refusal) -> Result<()> {
    let reason = refusal.reason;
    let (mut status, _, mut retry) = row(reason);
    if refusal.of_origin {
        (status, retry) = (StatusCode::GATEWAY_TIMEOUT, false);
    }
    refusal.tell(&*ctx);
    ctx.reason = Some(reason);
    REJECTED.inc(reason);
    if refusal.close {
        session.set_keepalive(None);
    }
    let body = document(reason, status, ctx.corr_id.to_str().unwrap_or_default());

    let mut header = header(reason, status, refusal.forward)?;
    header.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    if retry {
        header.insert_header(header::RETRY_AFTER, retry_after())?;
    }
    if reason == Reason::Method {
        header.insert_header(header::ALLOW, HeaderValue::from_static(cors::METHODS))?;
    }
    if refusal.varies {
        header.insert_header(header::VARY, HeaderValue::from_static("Accept-Encoding"))?;
    }
    if let Some(len) = refusal.unsatisfied {
        RANGE_REQUESTS.inc(RangeResult::Unsatisfiable);
        header.insert_header(header::CONTENT_RANGE, crate::rules::range::unsatisfied(len))?;
    }
    answer::small(settings, session, ctx, header, body.into()).await
}
