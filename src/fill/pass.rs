//! Answers that pass through: unstored, unshared, bounded in number.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use tokio::sync::OwnedSemaphorePermit;

use super::error::FillError;
use super::fetch::{Head, Incoming};
use super::reader::FillHead;
use crate::rules::header::end_to_end;

/// The body of an answer that one reader alone has. Reading it paces the origin; dropping it ends the request.
pub struct PassBody(Option<Passage>);

struct Passage {
    incoming: Box<dyn Incoming>,
    _permit: OwnedSemaphorePermit,
}

impl PassBody {
    pub(super) fn new(incoming: Box<dyn Incoming>, permit: OwnedSemaphorePermit) -> Self {
        Self(Some(Passage { incoming, _permit: permit }))
    }

    /// The body of an answer to HEAD: there is none, and it holds nothing.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// The next bytes; `None` when the body is whole. An error cuts the answer. Not cancel-safe: dropped before it is ready, the body is lost.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FillError> {
        match &mut self.0 {
            Some(passage) => Ok(passage.incoming.next().await?),
            None => Ok(None),
        }
    }
}

/// The header of what passes through.
pub(super) fn head_of(head: &Head) -> FillHead {
    let headers = end_to_end(&head.headers);
    FillHead { status: head.status, headers, length: head.length, answer: None, locked: false }
}

/// The header of what passes through for HEAD: its length is that of the body which GET would bring (RFC 9110 §9.3.2).
pub(super) fn head_of_head(head: &Head) -> FillHead {
    FillHead { length: content_length(&head.headers), ..head_of(head) }
}

/// What Content-Length says, where it is one number (RFC 9110 §8.6).
fn content_length(headers: &HeaderMap) -> Option<u64> {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let only = lines.next().filter(|_| lines.next().is_none())?;
    let digits = only.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}
