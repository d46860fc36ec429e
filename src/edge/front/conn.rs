//! A connection as Pingora's HTTP server sees it: it reads and writes, and this is where that takes too long.
//!
//! Between two requests of a kept-alive connection nothing here asks for the time, arms a timer, takes a lock or allocates: a deadline is made when a read or
//! write has to wait in a phase that has one. Bytes of a request that come at once never do.

mod delegate;
mod refusal;
mod stall;

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::StatusCode;
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::protocols::raw_connect::ProxyDigest;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::bounds::Bounds;
use super::listener::Generosity;
use super::places::Place;
use super::state::{ConnState, Phase};
use super::timer::Timer;
use super::tls::Secure;
use super::transport::Transport;
use super::words::LINGER;
use crate::edge::direct::Line;
use crate::observe::metrics::{IO_TIMEOUTS, Reason, TimeoutOp};
use refusal::Refusal;
use stall::Stall;

/// What a client begins HTTP/2 with (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection, below HTTP and above TLS.
#[derive(Debug)]
pub struct Conn {
    // Closed first, and then its place is free.
    inner: Transport,
    _place: Place,
    state: Arc<ConnState>,
    bounds: Arc<Bounds>,
    /// Carries `state` to the requests.
    digest: Arc<ProxyDigest>,
    /// Whether HTTP/2 may be spoken in clear text.
    h2c: bool,
    /// Read to see whether that is so, and not taken yet.
    ahead: Vec<u8>,
    /// Read with a request that was handed on, and not for whom it was handed to.
    behind: Vec<u8>,
    /// Bytes of the header, or of the preface, so far.
    header_read: usize,
    header_by: Option<Instant>,
    /// For the preface, or for the first byte of the first request.
    first_by: Instant,
    linger_by: Option<Instant>,
    /// For the next request, where that is waited for here and not by Pingora.
    idle_by: Option<Instant>,
    stall: Option<Stall>,
    generosity: Option<Generosity>,
    timer: Timer,
    /// Who was last told to be woken when the state changes.
    reader: Option<Waker>,
    /// What is said in place of Pingora's bare answer to what is no request.
    refusal: Option<Refusal>,
    /// Nothing more will be written.
    shut: bool,
    /// A deadline has passed: nothing more is read or written.
    broken: bool,
}

/// What a deadline is for.
enum Wait {
    /// For the rest of what has begun.
    Rest,
    /// For something to begin.
    Begin,
}

impl Conn {
    /// A connection behind its handshakes, which had time until `handshakes_by`. Its phase says whether HTTP/2 was negotiated.
    pub fn new(
        inner: Transport,
        place: Place,
        state: Arc<ConnState>,
        bounds: Arc<Bounds>,
        h2c: bool,
        handshakes_by: Instant,
    ) -> Result<Self> {
        place.known_as(&state);
        let carrier = ResponseHeader::build_no_case(StatusCode::OK, Some(0))?;
        let digest = Arc::new(ProxyDigest::new(Box::new(carrier), Some(Box::new(state.clone()))));
        let first_by =
            if state.phase() == Phase::Preface { handshakes_by } else { Instant::now() + bounds.times.first };
        Ok(Self {
            inner,
            _place: place,
            state,
            bounds,
            digest,
            h2c,
            ahead: Vec::new(),
            behind: Vec::new(),
            header_read: 0,
            header_by: None,
            first_by,
            linger_by: None,
            idle_by: None,
            stall: None,
            generosity: None,
            timer: Timer::default(),
            reader: None,
            refusal: None,
            shut: false,
            broken: false,
        })
    }

    /// Whether it speaks HTTP/2, or may be about to.
    pub async fn may_be_h2(&mut self) -> bool {
        // What fails here fails again when it is read.
        self.state.phase() == Phase::Preface || self.h2c && self.begins_h2().await.unwrap_or(true)
    }

    /// What requests are told of it.
    pub fn line(&self) -> Line<'_> {
        Line { state: &self.state, peer: self.inner.socket().peer(), secure: !self.is_plain() }
    }

    /// Whether it is in clear text.
    pub fn is_plain(&self) -> bool {
        matches!(self.inner, Transport::Plain(_))
    }

    /// Take what was read already, into `room`; nothing where there is more than that.
    pub fn take_ahead(&mut self, room: &mut [u8]) -> usize {
        let count = self.ahead.len();
        match room.get_mut(..count) {
            Some(room) if count > 0 => room.copy_from_slice(&self.ahead),
            _ => return 0,
        }
        self.ahead = Vec::new();
        if self.state.phase() == Phase::Waiting {
            // Behind another request: its time begins now.
            self.came(count);
        }
        count
    }

    /// Have `bytes` read again, as what comes next.
    pub fn put_ahead(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.ahead.splice(..0, bytes.iter().copied());
        }
    }

    /// Have `request` read again, and what came `behind` it when it has been answered.
    pub fn put_apart(&mut self, request: &[u8], behind: &[u8]) {
        self.put_ahead(behind);
        self.behind = std::mem::replace(&mut self.ahead, request.to_vec());
    }

    /// The request that was handed on is answered: what came behind it is next, for which the connection waits until then.
    pub fn back(&mut self, until: std::time::Instant) {
        // Where nothing was held back, there may still be something that was not read.
        self.ahead.append(&mut self.behind);
        self.rest(Some(until));
    }

    /// Read something of a request.
    pub fn poll_request(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_read(cx, buf)
    }

    /// Wait for the next request until then; none: for as long as it takes.
    pub fn rest(&mut self, until: Option<std::time::Instant>) {
        if self.generosity.take().is_some() {
            self.inner.socket().treat(false);
        }
        self.idle_by = until.map(Instant::from_std);
    }

    /// Write `bufs` and hold nothing back, as far as they are taken; with `more` something follows at once.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>], more: bool) -> Poll<io::Result<usize>> {
        if let Some(fault) = self.fault() {
            return Poll::Ready(Err(fault));
        }
        match self.inner.poll_send(cx, bufs, more) {
            Poll::Pending => self.wait_to_write(cx),
            Poll::Ready(result) => self.wrote(result),
        }
    }

    /// Have the kernel send up to `length` bytes of `file` from `offset`; only in clear text.
    pub fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        file: &impl AsFd,
        offset: u64,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        if let Some(fault) = self.fault() {
            return Poll::Ready(Err(fault));
        }
        let Transport::Plain(socket) = &mut self.inner else {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        };
        match socket.poll_send_file(cx, file, offset, length) {
            Poll::Pending => self.wait_to_write(cx),
            Poll::Ready(result) => self.wrote(result),
        }
    }

    /// A large answer begins: it has all the room that there is, unless too many have that. Its end takes it back.
    pub fn begin_large(&mut self) {
        self.generosity = Generosity::take();
        if self.generosity.is_some() {
            self.inner.socket().treat(true);
        }
    }

    /// Wait until nothing that was written is held back.
    pub fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_plain() { Poll::Ready(Ok(())) } else { Pin::new(self).poll_flush(cx) }
    }

    /// The phase that a stream begins in behind its handshakes.
    pub fn first_phase(transport: &Transport) -> Phase {
        if transport.secure().is_some_and(Secure::is_h2) { Phase::Preface } else { Phase::Waiting }
    }

    /// Bytes have come.
    fn came(&mut self, count: usize) {
        match self.state.phase() {
            Phase::Waiting if count > 0 => {
                self.state.set_phase(Phase::Header);
                (self.header_read, self.header_by) = (count, None);
            }
            Phase::Header => self.header_read += count,
            Phase::Preface => {
                self.header_read += count;
                if self.header_read >= PREFACE.len() {
                    self.state.set_phase(Phase::Streams);
                }
            }
            _ => {}
        }
    }

    /// Nothing has come: how long may that last?
    fn wait_to_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ending = self.watch(cx);
        // HTTP/2 may have taken the last of an answer, and still have to write it.
        let idle = self.state.is_idle() && self.stall.is_none();
        if !idle {
            self.linger_by = None;
        }
        let (deadline, wait) = match self.state.phase() {
            Phase::Header => {
                let patience = self.bounds.times.header;
                (*self.header_by.get_or_insert_with(|| Instant::now() + patience), Wait::Rest)
            }
            Phase::Preface => (self.first_by, Wait::Rest),
            // A client that was not told yet may be about to ask.
            Phase::Waiting | Phase::Streams if ending && idle => {
                (*self.linger_by.get_or_insert_with(|| Instant::now() + LINGER), Wait::Begin)
            }
            Phase::Waiting if self.state.is_new() => (self.first_by, Wait::Begin),
            Phase::Waiting if self.idle_by.is_some() => (self.idle_by.unwrap_or(self.first_by), Wait::Begin),
            // Pingora bounds these.
            Phase::Waiting | Phase::Streams | Phase::Answering => return Poll::Pending,
        };
        if !self.timer.is_due(cx, deadline) {
            return Poll::Pending;
        }
        match wait {
            Wait::Rest => {
                IO_TIMEOUTS.inc(TimeoutOp::Header);
                Poll::Ready(Err(self.fail(io::ErrorKind::TimedOut)))
            }
            // As if the client had closed: that is nothing to speak of.
            Wait::Begin => Poll::Ready(Ok(())),
        }
    }

    /// Be woken when the state changes. Whether the connection is ending.
    fn watch(&mut self, cx: &Context<'_>) -> bool {
        let known = self.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker()));
        // Once it is ending it has been woken, and that uses up what was registered.
        if !known || self.state.is_ending() {
            self.state.wake_on_change(cx.waker());
            self.reader = Some(cx.waker().clone());
        }
        self.state.is_ending()
    }

    /// Nothing was taken: how long may that last?
    fn wait_to_write<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let times = &self.bounds.times;
        let stall = self.stall.get_or_insert_with(|| Stall::begin(Instant::now(), times));
        while self.timer.is_due(cx, stall.due()) {
            let acked = self.inner.socket().acked();
            if !stall.goes_on(Instant::now(), acked, times) {
                IO_TIMEOUTS.inc(TimeoutOp::Write);
                return Poll::Ready(Err(self.fail(io::ErrorKind::TimedOut)));
            }
        }
        Poll::Pending
    }

    /// Something was taken, or the connection has failed.
    fn wrote<T>(&mut self, result: io::Result<T>) -> Poll<io::Result<T>> {
        self.stall = None;
        Poll::Ready(result)
    }

    fn fail(&mut self, kind: io::ErrorKind) -> io::Error {
        self.broken = true;
        kind.into()
    }

    /// What forbids to go on.
    fn fault(&mut self) -> Option<io::Error> {
        if self.broken || self.state.is_cut() { Some(self.fail(io::ErrorKind::ConnectionAborted)) } else { None }
    }

    /// Whether HTTP/2 begins here, in clear text; what was read for that is read again. As soon as a byte differs it is known, so that no short request of
    /// HTTP/1.0 waits for 24 bytes.
    async fn begins_h2(&mut self) -> io::Result<bool> {
        let mut seen = Vec::with_capacity(PREFACE.len());
        while PREFACE.starts_with(&seen) && seen.len() < PREFACE.len() {
            let mut piece = [0; PREFACE.len()];
            let room = PREFACE.len() - seen.len();
            let read = self.read(&mut piece[..room]).await?;
            if read == 0 {
                break;
            }
            seen.extend_from_slice(&piece[..read]);
        }
        let h2 = seen == PREFACE;
        if h2 {
            self.state.set_phase(Phase::Streams);
        }
        self.ahead = seen;
        Ok(h2)
    }
}

impl AsyncRead for Conn {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let conn = &mut *self;
        if let Some(fault) = conn.fault() {
            return Poll::Ready(Err(fault));
        }
        if !conn.ahead.is_empty() {
            // It was counted when it came.
            let count = conn.ahead.len().min(buf.remaining());
            buf.put_slice(&conn.ahead[..count]);
            conn.ahead.drain(..count);
            return Poll::Ready(Ok(()));
        }
        if conn.state.phase() == Phase::Header && conn.header_read > conn.bounds.header_bytes {
            // Pingora would take a megabyte. It can only be told that the read failed; `poll_close` says why.
            conn.refuse(Reason::HeaderCap);
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut conn.inner).poll_read(cx, buf) {
            Poll::Pending => conn.wait_to_read(cx),
            ready => {
                conn.came(buf.filled().len() - before);
                ready
            }
        }
    }
}

impl AsyncWrite for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let conn = &mut *self;
        if let Some(fault) = conn.fault() {
            return Poll::Ready(Err(fault));
        }
        if conn.state.phase() == Phase::Header {
            return conn.poll_refusal(cx, buf);
        }
        match Pin::new(&mut conn.inner).poll_write(cx, buf) {
            Poll::Pending => conn.wait_to_write(cx),
            Poll::Ready(result) => conn.wrote(result),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let conn = &mut *self;
        if let Some(fault) = conn.fault() {
            return Poll::Ready(Err(fault));
        }
        match Pin::new(&mut conn.inner).poll_flush(cx) {
            Poll::Pending => conn.wait_to_write(cx),
            Poll::Ready(result) => conn.wrote(result),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let conn = &mut *self;
        if let Some(fault) = conn.fault() {
            return Poll::Ready(Err(fault));
        }
        conn.poll_close(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let conn = &mut *self;
        if let Some(fault) = conn.fault() {
            return Poll::Ready(Err(fault));
        }
        if conn.state.phase() == Phase::Header {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return conn.poll_refusal(cx, first.map_or(&[][..], |buf| &buf[..]));
        }
        match Pin::new(&mut conn.inner).poll_write_vectored(cx, bufs) {
            Poll::Pending => conn.wait_to_write(cx),
            Poll::Ready(result) => conn.wrote(result),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
