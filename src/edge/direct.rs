//! The short way: what the hot set can answer is answered from the bytes of the request, without Pingora's HTTP server in between.
//!
//! Pingora reads a request into maps and boxes, goes through its phases, and writes its answer out of a map again: that costs as much as the rest of a hit. Here a request's header is
//! looked at where it lies; the header of the answer is written once an object, and leaves with the body in one `send`, or before a file that the kernel sends by itself.
//! Every rule is the one that the long way has, in the same functions; every doubt goes there, with all of its bytes. The test of both ways side by side is `e2e/ways`.
//!
//! `head` (may this be answered from its header) → [`Direct::decide`] (is there room for it, is it in the hot set, what of it) → `wire` (its header) → `send` (its bytes).

mod decide;
mod head;
mod send;
pub mod wire;

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::HeaderValue;
use tokio::io::ReadBuf;

use super::caught;
use super::front::{Conn, ConnState, Fate, Left, Underway};
use super::now::Generations;
use crate::observe::metrics::{REQUEST_PANICS, Route};
use crate::observe::panics;
use crate::observe::readiness::READINESS;
use crate::shed::Shed;
use decide::Other;
use head::Parsed;
use send::Sending;

pub use wire::Wire;

/// A request whose header is longer goes the long way.
const INPUT: usize = 8 * 1024;

/// Bytes of a window of an open file that are read and sent; more are sent by the kernel, which costs more to begin and less to go on.
const SMALL: u64 = 32 * 1024;
/// The same over TLS, where the kernel can't; what is more is sent piece by piece.
const PIECE: u64 = 128 * 1024;

/// What the short way answers from.
pub struct Direct {
    generations: Arc<Generations>,
    shed: Arc<Shed>,
}

/// What follows on a connection.
pub enum Next {
    /// A request for the long way, whose bytes the connection has.
    Long,
    /// Nothing: it is to be closed.
    Close,
}

/// What is known of a connection.
pub struct Line<'a> {
    /// What it and its requests know of each other.
    pub state: &'a Arc<ConnState>,
    /// Who connected, or whom its proxy names.
    pub peer: Option<SocketAddr>,
    /// Whether it is TLS.
    pub secure: bool,
}

/// Room that a thread uses for one request after the other.
struct Scratch {
    /// The bytes of requests.
    input: Box<[u8]>,
    /// The header of an answer, or all of a small one.
    head: Vec<u8>,
    /// What was read of a file.
    body: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> =
        RefCell::new(Scratch { input: vec![0; INPUT].into(), head: Vec::with_capacity(4096), body: Vec::new() });
}

/// Do something with the thread's room for what is read of a file. No request is looked at meanwhile.
fn scratch_body<T>(with: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| with(&mut scratch.body))
}

/// What a look at a connection came to.
#[expect(clippy::large_enum_variant, reason = "a box would be an allocation for each large answer")]
enum Step {
    /// An answer is out.
    Answered { closes: bool },
    /// An answer that is not all out yet.
    Sending(Sending),
    /// Nothing more for the short way.
    Next(Next),
}

impl Direct {
    /// The short way to what `generations` have, for whom `shed` admits.
    pub fn new(generations: Arc<Generations>, shed: Arc<Shed>) -> Self {
        Self { generations, shed }
    }

    /// Until when a connection that is idle now waits for its next request.
    pub fn patience(&self) -> Instant {
        // Where connections are not kept alive any more, one that was has no time left.
        Instant::now() + self.generations.now().settings.ingress.keepalive.unwrap_or_default()
    }

    /// Answer the requests of `conn`, as long as they are ones for the short way.
    pub async fn requests(&self, conn: &mut Conn) -> Next {
        loop {
            let mut begun = false;
            let closes = match poll_fn(|cx| self.step(cx, conn, &mut begun)).await {
                Step::Answered { closes } => closes,
                Step::Sending(sending) => match sending.finish(conn).await {
                    Some(closes) => closes,
                    None => return Next::Close,
                },
                Step::Next(next) => return next,
            };
            if closes {
                return Next::Close;
            }
        }
    }

    /// Read a request, and answer it; most are there at once, and so is the room for their answers. `begun`: the connection has the first bytes of one, and more are to come.
    fn step(&self, cx: &mut Context<'_>, conn: &mut Conn, begun: &mut bool) -> Poll<Step> {
        SCRATCH.with_borrow_mut(|scratch| {
            loop {
                let mut filled = conn.take_ahead(&mut scratch.input);
                if filled == 0 || *begun {
                    let (before, room) = scratch.input.split_at_mut(filled);
                    let mut buf = ReadBuf::new(room);
                    let read = match conn.poll_request(cx, &mut buf) {
                        Poll::Pending => {
                            conn.put_ahead(before);
                            return Poll::Pending;
                        }
                        Poll::Ready(Err(_)) => 0,
                        Poll::Ready(Ok(())) => buf.filled().len(),
                    };
                    if read == 0 {
                        conn.put_ahead(before);
                        // What became of a request that has no end is the same on the long way, where it is told.
                        let next = if before.is_empty() { Next::Close } else { Next::Long };
                        return Poll::Ready(Step::Next(next));
                    }
                    filled += read;
                }
                match self.answer(cx, conn, scratch, filled) {
                    Some(step) => return Poll::Ready(step),
                    None => *begun = true,
                }
            }
        })
    }

    /// Answer what the first `filled` bytes of the input begin with; none where they are the beginning of a header, which the connection has again then.
    fn answer(&self, cx: &mut Context<'_>, conn: &mut Conn, scratch: &mut Scratch, filled: usize) -> Option<Step> {
        let Scratch { input, head: out, body } = scratch;
        let bytes = &input[..filled];
        let mut room = head::room();
        let head = match head::parse(bytes, &mut room) {
            Parsed::Head(head) => head,
            Parsed::Partial if filled < INPUT => {
                conn.put_ahead(bytes);
                return None;
            }
            Parsed::Partial | Parsed::Other => {
                conn.put_ahead(bytes);
                return Some(Step::Next(Next::Long));
            }
        };
        // Pingora takes what follows a request for content of it, and closes the connection behind the answer.
        let (request, behind) = bytes.split_at(head.length);
        let long = |conn: &mut Conn, left| {
            conn.put_apart(request, behind);
            conn.line().state.leave(left);
            Some(Step::Next(Next::Long))
        };
        out.clear();
        body.clear();
        let line = conn.line();
        let decision = panics::catch(|| self.decide(&line, &head, out, body));
        let answer = match decision {
            Ok(Ok(answer)) => answer,
            Ok(Err(Other::Long(admitted))) => return long(conn, admitted.map_or(Left::Nothing, Left::Place)),
            Ok(Err(Other::Cut)) => return Some(Step::Next(Next::Close)),
            // The long way knows how to answer for it.
            Err(panic) => return long(conn, Left::Panic(panic)),
        };
        // What the client sent behind it is its next request (RFC 9112 §9.3.2).
        conn.put_ahead(behind);
        match panics::catch(|| send::first(cx, conn, answer, out, body)) {
            Ok(step) => Some(step),
            Err(panic) => {
                // Something of it may be out: the connection says that it is not whole.
                REQUEST_PANICS.inc();
                caught::tell(&HeaderValue::from_static(""), Route::None, &panic);
                Some(Step::Next(Next::Close))
            }
        }
    }

    /// Let the request take its turn on the connection; none where the connection is cut instead.
    fn begin(line: &Line<'_>) -> Option<(Underway, bool)> {
        let (underway, fate) = Underway::on(line.state);
        match fate {
            Fate::Open => Some((underway, READINESS.ending())),
            Fate::Ending => Some((underway, true)),
            Fate::Cut => None,
        }
    }
}
