//! Answers that pass through: unstored, unshared, bounded in number.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::error::FillError;
use super::fetch::{Head, Incoming};
use super::reader::FillHead;
use crate::rules::header::end_to_end;

/// The body of an answer that one reader alone has. Reading it paces the origin; dropping it ends the request.
pub struct PassBody {
    incoming: Box<dyn Incoming>,
    _permit: OwnedSemaphorePermit,
}

impl PassBody {
    pub(super) fn new(incoming: Box<dyn Incoming>, permit: OwnedSemaphorePermit) -> Self {
        Self { incoming, _permit: permit }
    }

    /// The next bytes; `None` when the body is whole. An error cuts the answer. Not cancel-safe: dropped before it is ready, the body is lost.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FillError> {
        Ok(self.incoming.next().await?)
    }
}

/// The header of what passes through.
pub(super) fn head_of(head: &Head) -> Arc<FillHead> {
    let headers = end_to_end(&head.headers);
    Arc::new(FillHead { status: head.status, headers, length: head.length, answer: None, locked: false })
}
