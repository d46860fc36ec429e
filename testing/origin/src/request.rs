//! A request as it came, and what became of its answer.

use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

/// Bound on a head, and on a body, in bytes.
const MAX: u64 = 16 << 20;

/// A request that an origin got.
#[derive(Debug)]
pub struct Request {
    /// Which connection it came on, counted from 1.
    pub connection: u64,
    /// When its head had come.
    pub at: Instant,
    /// Its method, as it came.
    pub method: String,
    /// Its target, as it came.
    pub target: String,
    /// Its header fields in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body, without its framing.
    pub body: Vec<u8>,
    sent: AtomicU64,
    outcome: AtomicU8,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The script was played to its end.
    Finished,
    /// Whoever asked had gone, or the origin was stopped.
    Cut,
}

impl Request {
    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The value of a header field, the first where there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The items of a header field that is a list.
    pub fn list(&self, name: &str) -> Vec<&str> {
        let values = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.flat_map(|(_, value)| value.split(',')).map(str::trim).filter(|item| !item.is_empty()).collect()
    }

    /// The head as text, a line each.
    pub fn head(&self) -> String {
        let mut text = format!("{} {}\n", self.method, self.target);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\n"));
        }
        text
    }

    /// Bytes of the answer's body that the socket has taken so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// How the answer ended; `None` while it is being sent.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.outcome.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Outcome::Finished),
            _ => Some(Outcome::Cut),
        }
    }

    pub(crate) fn note_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::AcqRel);
    }

    pub(crate) fn end(&self, outcome: Outcome) {
        self.outcome.store(if outcome == Outcome::Finished { 1 } else { 2 }, Ordering::Release);
    }

    /// Read the next request of a connection; `None` at its end.
    pub(crate) fn read(stream: &mut impl BufRead, connection: u64) -> io::Result<Option<Self>> {
        let Some(line) = read_line(stream)? else { return Ok(None) };
        let mut words = line.split(' ');
        let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(malformed(&line));
        };
        let mut request = Self {
            connection,
            at: Instant::now(),
            method: method.into(),
            target: target.into(),
            headers: Vec::new(),
            body: Vec::new(),
            sent: AtomicU64::new(0),
            outcome: AtomicU8::new(0),
        };
        let mut length = line.len();
        loop {
            let line = read_line(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if line.is_empty() {
                break;
            }
            length += line.len();
            if length as u64 > MAX {
                return Err(malformed("the head has no end"));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(&line))?;
            request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        request.at = Instant::now();
        request.read_body(stream)?;
        Ok(Some(request))
    }

    fn read_body(&mut self, stream: &mut impl BufRead) -> io::Result<()> {
        if self.list("transfer-encoding").contains(&"chunked") {
            loop {
                let line = read_line(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(size, 16).map_err(|_| malformed(&line))?;
                self.read_exactly(stream, size)?;
                // Behind the last chunk this is the end of the trailers, of which we take none.
                if !read_line(stream)?.is_some_and(|line| line.is_empty()) {
                    return Err(malformed("a chunk has no end"));
                }
                if size == 0 {
                    return Ok(());
                }
            }
        }
        match self.header("content-length") {
            None => Ok(()),
            Some(length) => {
                let length = length.parse().map_err(|_| malformed(length))?;
                self.read_exactly(stream, length)
            }
        }
    }

    fn read_exactly(&mut self, stream: &mut impl BufRead, length: u64) -> io::Result<()> {
        if length > MAX {
            return Err(malformed("the body is too long"));
        }
        let before = self.body.len() as u64;
        stream.take(length).read_to_end(&mut self.body)?;
        if self.body.len() as u64 == before + length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// A line without its end; `None` at the end of the connection.
fn read_line(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    stream.take(MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    let Some(line) = line.strip_suffix(b"\r\n") else { return Err(malformed("a line has no end")) };
    // Fields may hold any byte above 127 (RFC 9110 §5.5); which, no script depends on.
    Ok(Some(String::from_utf8_lossy(line).into_owned()))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no request: {what:?}"))
}
