//! The bytes of an answer, a chunk at a time: from memory as slices, from a file through one buffer that is used again and again.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use super::fail::Refusal;
use super::lookup::off_worker;
use super::settings::Settings;
use crate::store::{Body, Object, Window};

/// A window of an object that is being sent.
pub struct Reader {
    source: Body,
    at: u64,
    end: u64,
    /// The buffer of the last chunk, once it was sent.
    spare: BytesMut,
}

impl Reader {
    /// Read `range` of `object`; the range was checked against its length.
    pub fn new(object: &Object, range: Range<u64>) -> Self {
        Self { source: object.body.clone(), at: range.start, end: range.end, spare: BytesMut::new() }
    }

    /// The next chunk; `None` at the end.
    pub async fn next(&mut self, settings: &Settings) -> Result<Option<Bytes>, Refusal> {
        if self.at >= self.end {
            return Ok(None);
        }
        match &self.source {
            Body::Whole(bytes) => {
                // Whole bodies are in memory: their length fits a usize, and `end` was checked against it.
                let chunk = bytes.slice(self.at as usize..self.end as usize);
                self.at = self.end;
                Ok(Some(chunk))
            }
            Body::Windowed(window) => {
                let window = window.clone();
                self.read(settings, window).await.map(Some)
            }
        }
    }

    async fn read(&mut self, settings: &Settings, window: Arc<dyn Window>) -> Result<Bytes, Refusal> {
        let length = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(settings.chunk_bytes);
        let offset = self.at;
        let mut buf = std::mem::take(&mut self.spare);
        buf.resize(length, 0);
        // Most of what is asked for is in the page cache and verified: then a thread of the blocking pool would cost more than the read.
        if !window.try_read_at(&mut buf, offset)? {
            buf = off_worker(settings, move || window.read_at(&mut buf, offset).map(|()| buf)).await?;
        }
        self.at += length as u64;
        Ok(buf.freeze())
    }

    /// Give back a chunk that was sent.
    fn recycle(&mut self, chunk: Bytes) {
        // HTTP/2 may still hold it: then the next chunk gets a new buffer.
        if let Ok(buf) = chunk.try_into_mut() {
            self.spare = buf;
        }
    }

    /// Send `first`, and all that follows it. `last` says that the answer ends with it.
    pub async fn send(
        mut self,
        settings: &Settings,
        session: &mut Session,
        first: Option<Bytes>,
        last: bool,
    ) -> Result<()> {
        let mut next = first;
        while let Some(chunk) = next {
            let end = last && self.at >= self.end;
            session.write_response_body(Some(chunk.clone()), end).await?;
            if end {
                return Ok(());
            }
            if !matches!(self.source, Body::Whole(_)) {
                self.recycle(chunk);
            }
            // The header is out: an error now can only cut the connection.
            next = self.next(settings).await.map_err(broken)?;
        }
        if last { session.write_response_body(None, true).await } else { Ok(()) }
    }
}

/// The store failed in the middle of a body.
fn broken(refusal: Refusal) -> Box<Error> {
    log::warn!(event = "body_cut", reason = refusal.reason().as_str(); "");
    Error::explain(ErrorType::InternalError, "the object's bytes failed while they were sent")
}
