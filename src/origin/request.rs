//! What a request to an origin says. Its head is ours: of a client it holds what the conf lets through and nothing else.

use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Version};
use pingora::http::RequestHeader;

use super::conf::{OriginConf, OriginUrl, OriginsConf};
use crate::fill::fetch::{FetchError, Wanted};
use crate::rules::header::{is_hop_by_hop, is_of_a_client, nominated};

/// The product in our User-Agent (RFC 9110 §10.1.5).
const PRODUCT: &str = "svc-edge";

/// The codings that the edge passes through or decodes.
const CODINGS: HeaderValue = HeaderValue::from_static("gzip, br, zstd");
/// A part of an object is wanted as the object is: parts of differently coded bytes don't fit together.
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// Fields of a body, which a fill has none of, or that are ours to set.
const OURS: [HeaderName; 4] = [header::CONTENT_LENGTH, header::EXPECT, header::HOST, header::USER_AGENT];

/// The fields that are the same for every request.
pub(super) struct Dress {
    user_agent: HeaderValue,
    via: HeaderValue,
    name: HeaderValue,
}

impl Dress {
    pub(super) fn new(conf: &OriginsConf) -> Self {
        let contact = conf.contact.as_ref().map(|contact| format!(" (+{contact})")).unwrap_or_default();
        // The conf has checked these; a value that no field can hold is left out rather than sent half.
        let value = |text: String| HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(PRODUCT));
        Self {
            user_agent: value(format!("{PRODUCT}/{}{contact}", conf.version)),
            via: value(format!("1.1 {}", conf.name)),
            name: value(conf.name.clone()),
        }
    }

    /// The head of a fill's request.
    pub(super) fn fill(
        &self,
        url: &OriginUrl,
        origin: &OriginConf,
        target: &str,
        wanted: &Wanted,
    ) -> Result<RequestHeader, FetchError> {
        if wanted.method != Method::GET && wanted.method != Method::HEAD {
            return Err(FetchError::NotAllowed("a fill asks by GET or HEAD".into()));
        }
        checked(target)?;
        let size = wanted.headers.len() + origin.headers.len() + 5;
        let mut head = RequestHeader::build(wanted.method.clone(), target.as_bytes(), Some(size))
            .map_err(|error| malformed(&error))?;
        head.set_version(Version::HTTP_11);
        head.insert_header(header::HOST, url.authority()).map_err(|error| malformed(&error))?;
        for (name, value) in &wanted.headers {
            if !refused(name) {
                head.append_header(name, value).map_err(|error| malformed(&error))?;
            }
        }
        if !wanted.headers.contains_key(header::ACCEPT_ENCODING) {
            let codings = if wanted.headers.contains_key(header::RANGE) { &IDENTITY } else { &CODINGS };
            head.insert_header(header::ACCEPT_ENCODING, codings).map_err(|error| malformed(&error))?;
        }
        self.sign(origin, &mut head)?;
        Ok(head)
    }

    /// Turn the head of a client's request into one to an origin: see [`super::Origins::dress`].
    pub(super) fn client(
        &self,
        url: &OriginUrl,
        origin: &OriginConf,
        target: &str,
        head: &mut RequestHeader,
    ) -> Result<(), FetchError> {
        checked(target)?;
        head.set_raw_path(target.as_bytes()).map_err(|error| malformed(&error))?;
        head.set_version(Version::HTTP_11);
        let nominated: Vec<HeaderName> = nominated(&head.headers).collect();
        let doomed = |name: &&HeaderName| {
            // Whoever nominates it: without it, the next request would be read out of the body of this one.
            let framing = *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING;
            !framing && (is_of_a_client(name) || is_hop_by_hop(name) || nominated.contains(name))
        };
        let names: Vec<HeaderName> = head.headers.keys().filter(doomed).cloned().collect();
        for name in &names {
            head.remove_header(name);
        }
        head.insert_header(header::HOST, url.authority()).map_err(|error| malformed(&error))?;
        self.sign(origin, head)
    }

    /// Who asks, by way of whom, and the origin's fixed fields, which win over all others.
    fn sign(&self, origin: &OriginConf, head: &mut RequestHeader) -> Result<(), FetchError> {
        head.insert_header(header::USER_AGENT, &self.user_agent).map_err(|error| malformed(&error))?;
        head.append_header(header::VIA, &self.via).map_err(|error| malformed(&error))?;
        head.append_header(CDN_LOOP, &self.name).map_err(|error| malformed(&error))?;
        for (name, _) in &origin.headers {
            head.remove_header(name);
        }
        for (name, value) in &origin.headers {
            head.append_header(name, value).map_err(|error| malformed(&error))?;
        }
        Ok(())
    }
}

/// Whether a field that the caller wants sent stays here: a second line of defence, as `fill` sends only what the conf allows.
fn refused(name: &HeaderName) -> bool {
    is_of_a_client(name) || is_hop_by_hop(name) || OURS.contains(name)
}

/// Nothing in a target may end the request line or begin another: the mapping encodes it, this makes sure.
fn checked(target: &str) -> Result<(), FetchError> {
    if target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic()) && !target.contains('#') {
        return Ok(());
    }
    Err(FetchError::NotAllowed("the key makes no request target".into()))
}

fn malformed(error: &pingora::Error) -> FetchError {
    FetchError::NotAllowed(format!("the request can't be written: {}", error.etype().as_str()))
}

#[cfg(test)]
#[path = "request/tests.rs"]
mod tests;
