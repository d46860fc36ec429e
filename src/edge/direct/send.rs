//! The bytes of an answer: at once, as far as the client takes them; then as it takes them. Windows of files leave without a copy here, where the connection is in clear text.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

use bytes::Bytes;
use rustix::io::Errno;

use super::decide::{Answer, Content};
use super::{Step, scratch_body};
use crate::edge::body::{self, Reader};
use crate::edge::caught;
use crate::edge::fail::Refusal;
use crate::edge::front::Conn;
use crate::edge::settings::Settings;
use crate::observe::faults;
use crate::observe::metrics::{REQUEST_PANICS, Reason};
use crate::shed::Admitted;
use crate::store::{Body, Mark, Object, StoreError, Window};

/// The last bytes of a window are not left to the kernel: they are read, and so verified behind everything before them, and only then is the answer complete.
const TAIL: u64 = 16 * 1024;
/// The same where the window is short.
const SHORT_TAIL: u64 = 1024;
/// A window of so many bytes leaves with its header, in as few segments as there can be.
const SHORT: u64 = 256 * 1024;
/// From so many bytes on the connection is given room.
const LARGE: u64 = 512 * 1024;
/// Bytes of a file that the kernel is asked to send at a time.
const STRETCH: u64 = 1024 * 1024;

/// An answer that is not all out.
pub struct Sending {
    answer: Answer,
    /// What is in memory, and not out yet.
    rest: [Bytes; 2],
    begun: Option<Begun>,
    sent: u64,
}

/// That the kernel sends of a file: from where, and what the file looked like.
#[derive(Clone, Copy)]
struct Begun {
    from: u64,
    mark: Mark,
}

/// Why an answer broke off.
enum Broken {
    /// Its client left, or took nothing for too long.
    Client,
    /// Its bytes turned out to be missing or bad.
    Store(Refusal),
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Client
    }
}

impl From<Refusal> for Broken {
    fn from(refusal: Refusal) -> Self {
        Self::Store(refusal)
    }
}

/// Send an answer whose header is `head`, as far as that goes at once. `read` is what was read of a file for it.
pub fn first(cx: &mut Context<'_>, conn: &mut Conn, mut answer: Answer, head: &[u8], read: &mut Vec<u8>) -> Step {
    let content = match &answer.body {
        Content::Nothing | Content::Window(..) => &[][..],
        Content::Memory(bytes) => bytes,
        Content::Read => read,
    };
    if !matches!(answer.body, Content::Nothing) {
        faults::panic_here("edge.body");
    }
    let window = match &answer.body {
        Content::Window(_, range) => Some(range.end - range.start),
        _ => None,
    };
    // A long window fills segments of its own: there the header had better not wait.
    let more = window.is_some_and(|length| length <= SHORT);
    if window.is_some_and(|length| length >= LARGE) {
        conn.begin_large();
    }
    let mut sent = 0;
    let out = loop {
        let left =
            (head.get(sent..).unwrap_or_default(), content.get(sent.saturating_sub(head.len())..).unwrap_or_default());
        let polled = match left {
            ([], []) => break true,
            ([], one) | (one, []) => conn.poll_send(cx, &[IoSlice::new(one)], more),
            (one, two) => conn.poll_send(cx, &[IoSlice::new(one), IoSlice::new(two)], more),
        };
        match polled {
            Poll::Ready(Ok(0) | Err(_)) => return over(conn, &mut answer, sent as u64, true),
            Poll::Ready(Ok(count)) => sent += count,
            Poll::Pending => break false,
        }
    };
    if out && window.is_some() {
        let (mut begun, mut sent) = (None, sent as u64);
        match at_once(cx, conn, &mut answer.body, read, &mut begun, &mut sent) {
            Went::All => return over(conn, &mut answer, sent, false),
            Went::Failed => return over(conn, &mut answer, sent, true),
            Went::AsFarAsTaken | Went::AsFarAsThere => {}
        }
        return Step::Sending(Sending { answer, rest: Default::default(), begun, sent });
    }
    if out {
        match conn.poll_sent(cx) {
            Poll::Ready(result) => return over(conn, &mut answer, sent as u64, result.is_err()),
            Poll::Pending => {}
        }
    }
    let head_left = Bytes::copy_from_slice(head.get(sent..).unwrap_or_default());
    let at = sent.saturating_sub(head.len());
    let body_left = match &answer.body {
        Content::Memory(bytes) => bytes.slice(at..),
        _ => Bytes::copy_from_slice(content.get(at..).unwrap_or_default()),
    };
    Step::Sending(Sending { answer, rest: [head_left, body_left], begun: None, sent: sent as u64 })
}

/// How far a window went.
enum Went {
    /// To its end.
    All,
    /// As far as its client has room; the task is woken when there is more.
    AsFarAsTaken,
    /// As far as it needs no waiting for a disk, and no hashing.
    AsFarAsThere,
    /// The client is gone.
    Failed,
}

impl From<Poll<io::Result<usize>>> for Went {
    /// What did not send anything.
    fn from(polled: Poll<io::Result<usize>>) -> Self {
        match polled {
            Poll::Pending => Self::AsFarAsTaken,
            Poll::Ready(_) => Self::Failed,
        }
    }
}

/// Send a window as far as that goes at once; the window is what is left then. `room` is for what is read of it.
fn at_once(
    cx: &mut Context<'_>,
    conn: &mut Conn,
    content: &mut Content,
    room: &mut Vec<u8>,
    begun: &mut Option<Begun>,
    sent: &mut u64,
) -> Went {
    let Content::Window(ready, range) = content else { return Went::All };
    let Some(Body::Windowed(window)) = ready.object.as_ref().map(|object| &object.body) else {
        return Went::AsFarAsThere;
    };
    if !conn.is_plain() {
        return Went::AsFarAsThere;
    }
    let bulk = bulk(range);
    while range.start < bulk {
        let end = bulk.min(range.start + STRETCH);
        // What fails, and what has to be waited for, is the business of who can wait.
        let Ok(Some(ready)) = window.ready_to_send(range.start..end) else { return Went::AsFarAsThere };
        match conn.poll_send_file(cx, &ready.file, range.start, (end - range.start) as usize) {
            Poll::Ready(Ok(count)) if count > 0 => {
                begun.get_or_insert(Begun { from: range.start, mark: ready.mark });
                *sent += count as u64;
                range.start += count as u64;
            }
            Poll::Ready(Ok(_)) => return Went::AsFarAsThere,
            Poll::Ready(Err(error)) if is_unable(&error) => return Went::AsFarAsThere,
            other => return other.into(),
        }
    }
    room.resize((range.end - range.start) as usize, 0);
    if !matches!(window.try_read_at(room, range.start), Ok(true)) || !matches!(is_sound(&**window, *begun), Ok(true)) {
        return Went::AsFarAsThere;
    }
    let mut left = room.as_slice();
    while !left.is_empty() {
        match conn.poll_send(cx, &[IoSlice::new(left)], false) {
            Poll::Ready(Ok(count)) if count > 0 => {
                *sent += count as u64;
                range.start += count as u64;
                left = &left[count..];
            }
            other => return other.into(),
        }
    }
    Went::All
}

/// Whether what the kernel sent was what was verified.
fn is_sound(window: &dyn Window, begun: Option<Begun>) -> Result<bool, StoreError> {
    begun.map_or(Ok(true), |begun| window.still(begun.mark))
}

/// Whether the system does not let the kernel send this file to this socket: then it is read.
fn is_unable(error: &io::Error) -> bool {
    let known = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM];
    error.raw_os_error().is_some_and(|raw| known.iter().any(|errno| errno.raw_os_error() == raw))
}

/// Where the kernel's part of a window ends.
fn bulk(range: &Range<u64>) -> u64 {
    let length = range.end - range.start;
    range.end - length.min(if length <= SHORT { SHORT_TAIL } else { TAIL })
}

/// The answer is over: `sent` bytes of it are out, which are all unless it `failed`.
fn over(conn: &mut Conn, answer: &mut Answer, sent: u64, failed: bool) -> Step {
    let ended = answer.end(sent.saturating_sub(answer.head), failed);
    conn.rest(answer.now.settings.ingress.keepalive.map(|keepalive| ended + keepalive));
    Step::Answered { closes: failed || answer.closes }
}

impl Sending {
    /// Send the rest, as the client takes it. Whether the connection is to be closed; none where the answer broke off.
    pub async fn finish(mut self, conn: &mut Conn) -> Option<bool> {
        let (answer, rest, begun) = (&mut self.answer, &mut self.rest, &mut self.begun);
        let place = answer.place.as_ref();
        let settings = answer.now.settings.clone();
        let writing = async {
            let mut to = Client { conn: &mut *conn, place, sent: &mut self.sent };
            for piece in rest {
                to.write(piece).await?;
            }
            to.write_at_once(&mut answer.body, begun).await?;
            if let Content::Window(ready, range) = &answer.body
                && let Some(object) = &ready.object
                && let Body::Windowed(window) = &object.body
            {
                let way = Way { settings: &settings, object, window: &**window };
                way.send(&mut to, range.clone(), begun).await?;
            }
            to.flush().await
        };
        let written: Result<(), Broken> = match caught::caught(writing).await {
            Ok(written) => written,
            Err(panic) => {
                REQUEST_PANICS.inc();
                caught::tell(&answer.ended.corr_id, answer.ended.route, &panic);
                answer.ended.reason = Some(Reason::Internal);
                Err(Broken::Client)
            }
        };
        if let Err(Broken::Store(refusal)) = &written {
            body::tell_broken(&answer.ended, refusal);
        }
        let ended = answer.end(self.sent.saturating_sub(answer.head), written.is_err());
        conn.rest(settings.ingress.keepalive.map(|keepalive| ended + keepalive));
        written.is_ok().then_some(answer.closes)
    }
}

/// Who takes an answer. While it is waited for, others may have the request's place.
struct Client<'a> {
    conn: &'a mut Conn,
    place: Option<&'a Admitted>,
    sent: &'a mut u64,
}

impl Client<'_> {
    /// Send all of `bytes`.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let mut left = bytes;
        while !left.is_empty() {
            let sending = poll_fn(|cx| self.conn.poll_send(cx, &[IoSlice::new(left)], false));
            let count = body::patient(self.place, sending).await?;
            if count == 0 {
                return Err(Broken::Client);
            }
            *self.sent += count as u64;
            left = &left[count..];
        }
        Ok(())
    }

    /// Send of a window what needs no waiting but for its client; the window is what is left then.
    async fn write_at_once(&mut self, content: &mut Content, begun: &mut Option<Begun>) -> Result<(), Broken> {
        loop {
            let before = *self.sent;
            let sending = poll_fn(|cx| {
                let went = scratch_body(|room| at_once(cx, self.conn, content, room, begun, self.sent));
                // Whatever it takes counts: it is asked again, and waited for then.
                match went {
                    Went::AsFarAsTaken if *self.sent == before => Poll::Pending,
                    went => Poll::Ready(went),
                }
            });
            match body::patient(self.place, sending).await {
                Went::All | Went::AsFarAsThere => return Ok(()),
                Went::AsFarAsTaken => {}
                Went::Failed => return Err(Broken::Client),
            }
        }
    }

    /// Have the kernel send of `file`. How much it sent.
    async fn write_file(&mut self, file: &impl AsFd, offset: u64, length: usize) -> io::Result<usize> {
        let sending = poll_fn(|cx| self.conn.poll_send_file(cx, file, offset, length));
        let count = body::patient(self.place, sending).await?;
        *self.sent += count as u64;
        Ok(count)
    }

    /// Send what is held back.
    async fn flush(&mut self) -> Result<(), Broken> {
        Ok(body::patient(self.place, poll_fn(|cx| self.conn.poll_sent(cx))).await?)
    }
}

/// How a window of an object goes out.
struct Way<'a> {
    settings: &'a Settings,
    object: &'a Object,
    window: &'a dyn Window,
}

impl Way<'_> {
    /// Send `range`.
    async fn send(&self, to: &mut Client<'_>, range: Range<u64>, begun: &mut Option<Begun>) -> Result<(), Broken> {
        let mut at = range.start;
        if to.conn.is_plain() {
            let bulk = bulk(&range);
            while at < bulk {
                at = self.stretch(to, at..bulk, begun).await?;
            }
        }
        let mut reader = Reader::new(self.object, at..range.end);
        while let Some(chunk) = reader.next(self.settings).await? {
            self.look_back(at, begun).await?;
            to.write(&chunk).await?;
            reader.recycle(chunk);
        }
        Ok(())
    }

    /// The last of it was read, from `at` on, and is not out yet: was what the kernel sent before it what was verified? If the file was touched meanwhile, were it that its last
    /// name was taken away, all of it is read again: the answer comes to its end only if that is good.
    async fn look_back(&self, at: u64, begun: &mut Option<Begun>) -> Result<(), Refusal> {
        if !is_sound(self.window, *begun)?
            && let Some(Begun { from, .. }) = begun.take()
        {
            let mut again = Reader::new(self.object, from..at);
            while let Some(chunk) = again.next(self.settings).await? {
                again.recycle(chunk);
            }
        }
        Ok(())
    }

    /// Send something of `range`: by the kernel, if that needs no waiting for a disk and the bytes were verified; else by reading it. Tells where it came to.
    async fn stretch(&self, to: &mut Client<'_>, range: Range<u64>, begun: &mut Option<Begun>) -> Result<u64, Broken> {
        let end = range.end.min(range.start + STRETCH);
        if let Some(ready) = self.window.ready_to_send(range.start..end).map_err(Refusal::from)? {
            // A stretch fits a usize.
            match to.write_file(&ready.file, range.start, (end - range.start) as usize).await {
                Ok(0) => return Err(Refusal::from(StoreError::Changed).into()),
                Ok(count) => {
                    begun.get_or_insert(Begun { from: range.start, mark: ready.mark });
                    return Ok(range.start + count as u64);
                }
                Err(error) if is_unable(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let end = range.end.min(range.start + self.settings.chunk_bytes as u64);
        if let Some(chunk) = Reader::new(self.object, range.start..end).next(self.settings).await? {
            to.write(&chunk).await?;
        }
        Ok(end)
    }
}
