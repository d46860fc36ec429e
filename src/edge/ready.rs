//! An object made ready to be answered: its headers are built once, so that a hit copies them and builds none.

use std::sync::{Arc, OnceLock};

use http::{HeaderValue, StatusCode, header};
use pingora::Result;
use pingora::http::ResponseHeader;

use super::cors;
use super::direct::Wire;
use super::filled::Filled;
use super::now::Now;
use super::settings::Settings;
use crate::observe::metrics::{HitKind, Route};
use crate::rules::date;
use crate::rules::encoding::Coding;
use crate::rules::precondition::Validators;
use crate::store::cas::{Cas, Recency, Stamp};
use crate::store::pack::mounts::Mount;
use crate::store::{Body, Object};

/// An object with its prepared headers.
pub struct Ready {
    /// The object; `None` where the answer is 204.
    pub object: Option<Object>,
    pub presentation: Presentation,
    /// `Repr-Digest`, once somebody wanted it.
    pub repr_digest: OnceLock<HeaderValue>,
    /// What an object has that came from an origin: its freshness, its own header fields.
    pub filled: Option<Filled>,
    /// 200 (or 204) with everything but what differs from request to request.
    full: ResponseHeader,
    /// 304 likewise.
    not_modified: ResponseHeader,
    /// Both as bytes, once they were asked for.
    wire: OnceLock<Wire>,
    source: Source,
    /// Which way it looks: see `Now::look`.
    pub look: u64,
}

/// What an object's being valid depends on.
#[derive(Clone)]
pub enum Source {
    /// The pack it was read from.
    Mount(Arc<Mount>),
    /// The index, as it stood.
    Cas {
        cas: Arc<Cas>,
        /// From before the index was read.
        stamp: Stamp,
        /// Where its uses are noted; `None` for a blob asked by its hash.
        recency: Option<Arc<Recency>>,
    },
}

impl Source {
    /// Whether what was read from it still holds.
    fn holds(&self) -> bool {
        match self {
            Self::Mount(mount) => mount.is_current(),
            Self::Cas { cas, stamp, .. } => cas.holds(stamp),
        }
    }
}

/// How an object is presented.
#[derive(Clone)]
pub struct Presentation {
    pub route: Route,
    pub kind: HitKind,
    pub cache_control: HeaderValue,
    /// Another coding of the same asset may be answered to another client.
    pub negotiable: bool,
    /// Whether ranges of it are answered.
    pub ranges: bool,
}

impl Ready {
    /// Prepare `object`.
    pub fn object(now: &Now, object: Object, source: Source, presentation: Presentation) -> Result<Self> {
        let etag = HeaderValue::try_from(&*object.etag).map_err(|_| bad_header())?;
        let mut full = ResponseHeader::build_no_case(StatusCode::OK, Some(20))?;
        full.insert_header(
            header::CONTENT_TYPE,
            HeaderValue::try_from(&*object.content_type).map_err(|_| bad_header())?,
        )?;
        full.insert_header(header::CONTENT_LENGTH, HeaderValue::from(object.len()))?;
        full.insert_header(
            header::ACCEPT_RANGES,
            HeaderValue::from_static(if presentation.ranges { "bytes" } else { "none" }),
        )?;
        if let Some(modified) = object.last_modified.and_then(date::format) {
            full.insert_header(header::LAST_MODIFIED, modified)?;
        }
        if object.coding != Coding::Identity {
            full.insert_header(header::CONTENT_ENCODING, HeaderValue::from_static(object.coding.token()))?;
        }
        full.insert_header(header::ETAG, etag.clone())?;
        let mut not_modified = ResponseHeader::build_no_case(StatusCode::NOT_MODIFIED, Some(14))?;
        not_modified.insert_header(header::ETAG, etag)?;
        for header in [&mut full, &mut not_modified] {
            shared(&now.settings, header, &presentation)?;
        }
        Ok(Self::of(now, Some(object), presentation, None, full, not_modified, source))
    }

    /// Prepare an object that came from an origin: its stored header fields, and ours.
    pub fn filled(
        now: &Now,
        object: Object,
        source: Source,
        presentation: Presentation,
        filled: Filled,
    ) -> Result<Self> {
        let (full, not_modified) = filled.headers(&now.settings, &object, &presentation)?;
        Ok(Self::of(now, Some(object), presentation, Some(filled), full, not_modified, source))
    }

    /// Prepare the 204 of a tile that is absent.
    pub fn no_content(now: &Now, source: Source, presentation: Presentation) -> Result<Self> {
        let mut full = ResponseHeader::build_no_case(StatusCode::NO_CONTENT, Some(14))?;
        shared(&now.settings, &mut full, &presentation)?;
        Ok(Self::of(now, None, presentation, None, full.clone(), full, source))
    }

    fn of(
        now: &Now,
        object: Option<Object>,
        presentation: Presentation,
        filled: Option<Filled>,
        full: ResponseHeader,
        not_modified: ResponseHeader,
        source: Source,
    ) -> Self {
        Self {
            object,
            presentation,
            repr_digest: OnceLock::new(),
            filled,
            full,
            not_modified,
            wire: OnceLock::new(),
            source,
            look: now.look(),
        }
    }

    /// What it depends on.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Whether it may not be recoded: its origin said `no-transform` (RFC 9111 §5.2.2.6).
    pub fn is_final(&self) -> bool {
        self.filled.as_ref().is_some_and(|filled| filled.no_transform)
    }

    /// The coding its bytes are in.
    pub fn coding(&self) -> Coding {
        self.object.as_ref().map_or(Coding::Identity, |object| object.coding)
    }

    /// Note that it was used.
    pub fn touch(&self) {
        if let Source::Cas { cas, recency: Some(recency), .. } = &self.source {
            cas.touch(recency);
        }
    }

    /// Whether it may still be answered without asking its store again.
    pub fn holds(&self) -> bool {
        self.source.holds()
    }

    /// The prepared headers as bytes.
    pub fn wire(&self) -> &Wire {
        self.wire.get_or_init(|| Wire::new(&self.full, &self.not_modified))
    }

    /// The status of the prepared header.
    pub fn status(&self) -> StatusCode {
        self.full.status
    }

    /// A copy of the prepared 200 or 204.
    pub fn full(&self) -> Box<ResponseHeader> {
        Box::new(self.full.clone())
    }

    /// A copy of the prepared 304.
    pub fn not_modified(&self) -> Box<ResponseHeader> {
        Box::new(self.not_modified.clone())
    }

    /// What preconditions are compared with.
    pub fn validators<'a>(&self, object: &'a Object) -> Validators<'a> {
        let origin_date = self.filled.as_ref().and_then(Filled::date);
        Validators { etag: Some(&object.etag), last_modified: object.last_modified, origin_date }
    }

    /// Whether it is a representation of its resource, of which preconditions and ranges speak: not a stored 404 or redirect.
    pub fn is_representation(&self) -> bool {
        self.full.status == StatusCode::OK
    }

    /// What it weighs in the hot set, in bytes. A window holds a file descriptor, of which there are fewer than bytes.
    pub fn weight(&self) -> u64 {
        const HEADERS: u64 = 4096;
        const DESCRIPTOR: u64 = 128 * 1024;
        HEADERS
            + match self.object.as_ref().map(|object| &object.body) {
                Some(Body::Whole(bytes)) => bytes.len() as u64,
                Some(Body::Windowed(_)) if self.presentation.kind == HitKind::Cas => DESCRIPTOR,
                // An archive's descriptor is its mount's.
                Some(Body::Windowed(_)) | None => 0,
            }
    }
}

/// What a 200, a 204 and a 304 have in common.
fn shared(settings: &Settings, header: &mut ResponseHeader, presentation: &Presentation) -> Result<()> {
    header.insert_header(header::CACHE_CONTROL, presentation.cache_control.clone())?;
    if presentation.negotiable {
        header.insert_header(header::VARY, HeaderValue::from_static("Accept-Encoding"))?;
    }
    let status = match presentation.kind {
        HitKind::Pack => "svc-edge; hit; detail=pack",
        HitKind::Cas => "svc-edge; hit; detail=cas",
    };
    header.insert_header("cache-status", HeaderValue::from_static(status))?;
    constant(settings, header)
}

/// What every answer carries, whatever it answers: the headers that keep a browser from guessing, and CORS where it is the same for all.
pub fn constant(settings: &Settings, header: &mut ResponseHeader) -> Result<()> {
    header.insert_header(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))?;
    header.insert_header(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"))?;
    header.insert_header("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"))?;
    if cors::open(settings) { cors::insert_open(header) } else { Ok(()) }
}

/// An object's metadata can't be sent.
pub fn bad_header() -> Box<pingora::Error> {
    pingora::Error::explain(pingora::ErrorType::InvalidHTTPHeader, "an object's metadata is no header value")
}
