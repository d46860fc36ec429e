//! Plays a script on a connection.

use std::io::{self, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, SystemTime};

use crate::gate::Gate;
use crate::pattern;
use crate::request::Request;
use crate::script::{Framing, Script, Source, Step};

/// How much of a body is written at a time, in bytes.
const PIECE: usize = 64 * 1024;

/// How often somebody who waits at a gate looks whether the origin was stopped.
const LOOK: Duration = Duration::from_millis(20);

/// What to do with the connection behind an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Read the next request.
    Keep,
    /// End it in order.
    Close,
    /// End it with a reset.
    Reset,
}

/// Answer `request` by `script`. An error is the peer's having gone, or the origin's having been stopped.
pub(crate) fn play(script: &Script, request: &Request, stream: &TcpStream, stop: &Gate) -> io::Result<Next> {
    let script = match &script.not_modified {
        Some(answer) if is_not_modified(script, request) => answer,
        _ => script,
    };
    let window = window(script, request);
    let mut player = Player { script, request, stream, stop, window, at: 0, head_sent: false };
    for step in &script.steps {
        if let Some(next) = player.step(step)? {
            return Ok(next);
        }
    }
    player.finish()
}

struct Player<'a> {
    script: &'a Script,
    request: &'a Request,
    stream: &'a TcpStream,
    stop: &'a Gate,
    /// Which bytes of the body are sent, where a Range asked for some.
    window: Option<Range<u64>>,
    /// Where the body stands.
    at: u64,
    head_sent: bool,
}

impl Player<'_> {
    /// Do one step; `Some` where it was the last.
    fn step(&mut self, step: &Step) -> io::Result<Option<Next>> {
        match step {
            Step::Interim(status, headers) => {
                let mut text = format!("HTTP/1.1 {status} Interim\r\n");
                push_fields(&mut text, headers);
                text.push_str("\r\n");
                self.stream.write_all(text.as_bytes())?;
            }
            Step::Stall(time) => {
                if self.stop.wait(*time) {
                    return Err(io::ErrorKind::Interrupted.into());
                }
            }
            Step::Wait(gate) => {
                while !gate.wait(LOOK) {
                    if self.stop.wait(Duration::ZERO) {
                        return Err(io::ErrorKind::Interrupted.into());
                    }
                }
            }
            Step::Head => self.head()?,
            Step::Body(source) => self.body(source, PIECE, Duration::ZERO)?,
            Step::Trickle { source, piece, every } => self.body(source, *piece, *every)?,
            Step::Raw(bytes) => {
                self.head_sent = true;
                self.stream.write_all(bytes)?;
            }
            Step::Reset => return Ok(Some(Next::Reset)),
            Step::Close => return Ok(Some(Next::Close)),
        }
        Ok(None)
    }

    fn finish(&mut self) -> io::Result<Next> {
        self.head()?;
        match self.script.framing {
            Framing::Chunked { finished: true } => {
                if self.bodied() {
                    self.stream.write_all(b"0\r\n\r\n")?;
                }
                Ok(Next::Keep)
            }
            Framing::Length => Ok(Next::Keep),
            // What was declared is not what was sent: nobody knows where a next answer would begin.
            Framing::Declared(_) | Framing::Chunked { finished: false } | Framing::UntilClose => Ok(Next::Close),
        }
    }

    /// Send the head, once.
    fn head(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.head_sent, true) {
            return Ok(());
        }
        let status = if self.window.is_some() { 206 } else { self.script.status };
        let mut text = format!("HTTP/1.1 {status} Scripted\r\n");
        push_fields(&mut text, &self.script.headers);
        if self.script.dated && self.script.value("date").is_none() {
            text.push_str(&format!("Date: {}\r\n", httpdate::fmt_http_date(SystemTime::now())));
        }
        if self.script.ranges {
            text.push_str("Accept-Ranges: bytes\r\n");
        }
        let whole = self.script.length();
        if let Some(window) = &self.window {
            text.push_str(&format!("Content-Range: bytes {}-{}/{whole}\r\n", window.start, window.end - 1));
        }
        let length = self.window.as_ref().map_or(whole, |window| window.end - window.start);
        let bodiless = matches!(status, 100..=199 | 204 | 304);
        match self.script.framing {
            _ if bodiless => {}
            Framing::Length => text.push_str(&format!("Content-Length: {length}\r\n")),
            Framing::Declared(length) => text.push_str(&format!("Content-Length: {length}\r\n")),
            Framing::Chunked { .. } => text.push_str("Transfer-Encoding: chunked\r\n"),
            Framing::UntilClose => text.push_str("Connection: close\r\n"),
        }
        text.push_str("\r\n");
        self.stream.write_all(text.as_bytes())
    }

    /// Whether the answer has a body at all.
    fn bodied(&self) -> bool {
        self.request.method != "HEAD" && !matches!(self.script.status, 100..=199 | 204 | 304)
    }

    /// Send a part of the body, or of it what the window lets through, `piece` bytes at a time with a pause behind each.
    fn body(&mut self, source: &Source, piece: usize, every: Duration) -> io::Result<()> {
        self.head()?;
        let (start, end) = (self.at, self.at + source.length());
        self.at = end;
        if !self.bodied() {
            return Ok(());
        }
        let window = self.window.clone().unwrap_or(0..u64::MAX);
        let (mut at, end) = (start.max(window.start), end.min(window.end));
        let mut buffer = vec![0; piece.min(PIECE)];
        while at < end {
            let length = ((end - at) as usize).min(buffer.len());
            let bytes = &mut buffer[..length];
            match source {
                Source::Bytes(all) => bytes.copy_from_slice(&all[(at - start) as usize..][..length]),
                Source::Pattern(_) => pattern::fill(at, bytes),
                Source::File(file, _) => file.read_exact_at(bytes, at - start)?,
            }
            self.write_piece(&buffer[..length])?;
            at += length as u64;
            if !every.is_zero() && self.stop.wait(every) {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        Ok(())
    }

    fn write_piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        if matches!(self.script.framing, Framing::Chunked { .. }) {
            self.stream.write_all(format!("{:x}\r\n", bytes.len()).as_bytes())?;
            self.stream.write_all(bytes)?;
            self.stream.write_all(b"\r\n")?;
        } else {
            self.stream.write_all(bytes)?;
        }
        self.request.note_sent(bytes.len());
        Ok(())
    }
}

fn push_fields(text: &mut String, fields: &[(String, String)]) {
    for (name, value) in fields {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
}

/// RFC 9110 §13.1.2 (weak comparison) and §13.1.3.
fn is_not_modified(script: &Script, request: &Request) -> bool {
    let opaque = |tag: &str| tag.trim_start_matches("W/").to_owned();
    let tags = request.list("if-none-match");
    if !tags.is_empty() {
        let own = script.value("etag").map(opaque);
        return own.is_some_and(|own| tags.iter().any(|tag| *tag == "*" || opaque(tag) == own));
    }
    script.value("last-modified").is_some_and(|own| request.header("if-modified-since") == Some(own))
}

/// The bytes that a Range of one part asks for, where the script answers ranges (RFC 9110 §14.1.2).
fn window(script: &Script, request: &Request) -> Option<Range<u64>> {
    let length = script.length();
    if !script.ranges || script.status != 200 || request.method != "GET" || length == 0 {
        return None;
    }
    if request.header("if-range").is_some_and(|tag| script.value("etag") != Some(tag)) {
        return None;
    }
    let (first, last) = request.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => first..last.saturating_add(1).min(length),
        (Ok(first), Err(_)) if last.is_empty() => first..length,
        (Err(_), Ok(suffix)) if first.is_empty() => length.saturating_sub(suffix)..length,
        _ => return None,
    };
    (range.start < range.end).then_some(range)
}
