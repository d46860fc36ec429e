//! What is said to who sent no request, and how the connection is closed behind it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Conn;
use crate::edge::front::words::{LINGER, LINGER_BYTES};
use crate::observe::metrics::{HTTP_REQUESTS, Method, REJECTED, Reason, Route, Status};

/// What a client is told that sent no request.
#[derive(Debug)]
pub struct Refusal {
    answer: Vec<u8>,
    sent: usize,
    /// Bytes of the client's that were read away since.
    read_away: usize,
}

impl Conn {
    /// What came is no request, for `reason`.
    pub(super) fn refuse(&mut self, reason: Reason) {
        REJECTED.inc(reason);
        let status = match reason {
            Reason::Method => Status::S405,
            Reason::HeaderCap => Status::S431,
            _ => Status::S400,
        };
        HTTP_REQUESTS.inc((Route::None, Method::Other, status));
        self.refusal = Some(Refusal { answer: self.bounds.words.refusal(reason), sent: 0, read_away: 0 });
    }

    /// Pingora answers what never became a request: its parser found it malformed, or it is a CONNECT. It has a status line and no more; our whole
    /// answer goes out in its place.
    pub(super) fn poll_refusal(&mut self, cx: &mut Context<'_>, bare: &[u8]) -> Poll<io::Result<usize>> {
        if self.refusal.is_none() {
            let connect = bare.get(9..12) == Some(b"405");
            self.refuse(if connect { Reason::Method } else { Reason::BadRequest });
        }
        while let Some(Refusal { answer, sent, .. }) = &mut self.refusal
            && let Some(rest) = answer.get(*sent..).filter(|rest| !rest.is_empty())
        {
            match Pin::new(&mut self.inner).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return self.wrote(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => *sent += written,
                Poll::Ready(Err(error)) => return self.wrote(Err(error)),
                Poll::Pending => return self.wait_to_write(cx),
            }
        }
        self.wrote(Ok(bare.len()))
    }

    /// Close it, after what is still to be said. A refused client closes first, if it does soon: closing on what it has sent would reset the connection, and the
    /// answer with it (RFC 9112 §9.6).
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.refusal.is_some() {
            ready!(self.poll_refusal(cx, &[]))?;
        }
        if !self.shut {
            match Pin::new(&mut self.inner).poll_shutdown(cx) {
                Poll::Pending => return self.wait_to_write(cx),
                Poll::Ready(result) => result?,
            }
            self.shut = true;
        }
        let Some(refusal) = &mut self.refusal else { return Poll::Ready(Ok(())) };
        let by = *self.linger_by.get_or_insert_with(|| Instant::now() + LINGER);
        loop {
            let mut away = [0; 4096];
            let mut away = ReadBuf::new(&mut away);
            match Pin::new(&mut self.inner).poll_read(cx, &mut away) {
                Poll::Ready(Ok(())) if !away.filled().is_empty() && refusal.read_away < LINGER_BYTES => {
                    refusal.read_away += away.filled().len();
                }
                Poll::Pending if !self.timer.is_due(cx, by) => return Poll::Pending,
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}
