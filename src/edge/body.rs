//! The bytes of an answer: from memory as slices, from a file through one buffer that is used again and again; and how they
//! are written.

use std::future::poll_fn;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use super::blocking::off_worker;
use super::ctx::Ctx;
use super::fail::{Refusal, Told};
use super::settings::Settings;
use crate::observe::faults;
use crate::shed::Admitted;
use crate::store::{Body, Object, Window};

/// What is written of a stream of HTTP/2 at a time: its client has `ingress.write_timeout` to let each through. The initial size of a frame (RFC 9113 §4.2).
const PIECE: usize = 16 * 1024;

/// How long a write may wait for its client before the client counts as slow.
const MOMENT: Duration = Duration::from_secs(1);

/// A window of an object that is being read.
pub struct Reader {
    source: Body,
    at: u64,
    end: u64,
    /// The buffer of the last chunk, once it was sent.
    spare: BytesMut,
}

/// A reader whose first chunk was read, and so verified: what could be refused was refused.
pub struct Opened {
    reader: Reader,
    first: Option<Bytes>,
}

impl Reader {
    /// Read `range` of `object`; the range was checked against its length.
    pub fn new(object: &Object, range: Range<u64>) -> Self {
        Self { source: object.body.clone(), at: range.start, end: range.end, spare: BytesMut::new() }
    }

    /// Read the first chunk.
    pub async fn open(mut self, settings: &Settings) -> Result<Opened, Refusal> {
        let first = self.next(settings).await?;
        Ok(Opened { reader: self, first })
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

    /// Take back a chunk that was sent.
    pub fn recycle(&mut self, chunk: Bytes) {
        // HTTP/2 may still hold it: then the next chunk gets a new buffer.
        if matches!(self.source, Body::Windowed(_))
            && let Ok(buf) = chunk.try_into_mut()
        {
            self.spare = buf;
        }
    }
}

impl Opened {
    /// Send it all. `last`: the answer ends with it.
    pub async fn send(mut self, settings: &Settings, session: &mut Session, ctx: &Ctx, last: bool) -> Result<()> {
        let mut next = self.first.take();
        while let Some(chunk) = next {
            let end = last && self.reader.at >= self.reader.end;
            faults::panic_here("edge.body");
            write(settings, session, ctx, &chunk, end).await?;
            if end {
                return Ok(());
            }
            self.reader.recycle(chunk);
            // The header is out: an error now can only cut the connection.
            next = self.reader.next(settings).await.map_err(|refusal| broken(ctx, &refusal))?;
        }
        if last { session.write_response_body(None, true).await } else { Ok(()) }
    }
}

/// Write a piece of an answer.
///
/// On HTTP/1 the connection bounds how long its client may take nothing. On HTTP/2 a client can take all of one stream and nothing of another (RFC 9113 §5.2), so
/// each stream is bounded, too: Pingora bounds a write as a whole, however much of it the client lets through meanwhile, so the writes are small ones.
/// A stream that stands still is reset (RST_STREAM), and the others go on.
///
/// A client that lets a write wait for longer than a moment gives up the request's place: what is left of the answer waits for the client alone, and must not keep
/// others out. Its connection bounds it.
pub async fn write(settings: &Settings, session: &mut Session, ctx: &Ctx, chunk: &Bytes, end: bool) -> Result<()> {
    if session.as_http1().is_some() || chunk.is_empty() {
        return patient(ctx.place.as_ref(), session.write_response_body(Some(chunk.clone()), end)).await;
    }
    let mut at = 0;
    while at < chunk.len() {
        let piece = chunk.slice(at..chunk.len().min(at + PIECE));
        at += piece.len();
        session.set_write_timeout(Some(allowance(settings)));
        patient(ctx.place.as_ref(), session.write_response_body(Some(piece), end && at == chunk.len())).await?;
    }
    Ok(())
}

/// Drive a write to its end; when it takes longer than [`MOMENT`], without the request's place.
pub async fn patient<T>(place: Option<&Admitted>, writing: impl Future<Output = T>) -> T {
    let mut writing = pin!(writing);
    let Some(place) = place.filter(|place| !place.has_left()) else { return writing.await };
    // Most writes are done at once, and need no timer.
    if let Poll::Ready(written) = poll_fn(|context| Poll::Ready(writing.as_mut().poll(context))).await {
        return written;
    }
    if let Ok(written) = tokio::time::timeout(MOMENT, writing.as_mut()).await {
        return written;
    }
    place.leave();
    writing.await
}

/// How long a piece may take: `write_timeout`, less where `min_send_rate` asks for more, but never less than a second, which is no rate yet. One that is shorter than
/// the others has as long: what it waits for may be the window of the connection, which the pieces of other streams fill.
fn allowance(settings: &Settings) -> Duration {
    let standing_still = settings.ingress.write_timeout;
    match settings.ingress.min_send_rate {
        Some(rate) if rate > 0 => {
            let at_rate = Duration::from_millis(PIECE as u64 * 1000 / rate);
            standing_still.min(at_rate.max(Duration::from_secs(1)))
        }
        _ => standing_still,
    }
}

/// The store, or the fill, failed in the middle of a body.
pub fn broken(ctx: &Ctx, refusal: &Refusal) -> Box<Error> {
    tell_broken(ctx, refusal);
    Error::explain(ErrorType::InternalError, "the object's bytes failed while they were sent")
}

/// Tell the log of it.
pub fn tell_broken<'a>(of: impl Into<Told<'a>>, refusal: &Refusal) {
    let told = of.into();
    refusal.tell(told);
    // What an origin failed at was told once by its fill, and not for each of its readers.
    let level = if refusal.is_of_origin() { log::Level::Info } else { log::Level::Warn };
    log::log!(
        level,
        event = "body_cut", corr_id = told.corr_id.to_str().unwrap_or_default(), reason = refusal.reason().as_str();
        ""
    );
}
