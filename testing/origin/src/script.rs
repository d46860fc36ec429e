//! What an origin answers a request with, step by step.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use crate::gate::Gate;

/// An answer: status and header fields, then steps in their order. The head is sent before the first step that sends a part of the body, or where
/// [`Script::send_head`] stands; what is added before that happens before it. Unless told otherwise, the body is framed by its true length.
#[derive(Clone, Debug)]
pub struct Script {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) steps: Vec<Step>,
    pub(crate) framing: Framing,
    pub(crate) dated: bool,
    pub(crate) ranges: bool,
    pub(crate) not_modified: Option<Box<Script>>,
}

/// The answers of a path: the first request gets the first, the next the next, and the last is repeated.
#[derive(Clone, Debug)]
pub struct Scripts(pub(crate) Vec<Script>);

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Interim(u16, Vec<(String, String)>),
    Stall(Duration),
    Wait(Gate),
    Head,
    Body(Source),
    Trickle { source: Source, piece: usize, every: Duration },
    Raw(Arc<[u8]>),
    Reset,
    Close,
}

#[derive(Clone, Debug)]
pub(crate) enum Source {
    Bytes(Arc<[u8]>),
    /// So many bytes of [`crate::pattern`], from where the body stands.
    Pattern(u64),
    /// So many bytes of a file, from its start.
    File(Arc<File>, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length,
    Declared(u64),
    Chunked { finished: bool },
    UntilClose,
}

impl Script {
    /// An answer with this status, no body and no header fields but Date.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            steps: Vec::new(),
            framing: Framing::Length,
            dated: true,
            ranges: false,
            not_modified: None,
        }
    }

    /// 200, storable for `seconds`.
    pub fn fresh(seconds: u64) -> Self {
        Self::status(200).cache_control(&format!("max-age={seconds}"))
    }

    /// Exactly these bytes instead of a response, then the end of the connection.
    pub fn garbage(bytes: &[u8]) -> Self {
        Self::status(200).raw(bytes).close()
    }

    /// Add a header field; one name may be added more than once.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Add a Cache-Control field.
    pub fn cache_control(self, value: &str) -> Self {
        self.header("Cache-Control", value)
    }

    /// Send no Date.
    pub fn undated(mut self) -> Self {
        self.dated = false;
        self
    }

    /// A part of the body.
    pub fn body(self, bytes: &[u8]) -> Self {
        self.step(Step::Body(Source::Bytes(bytes.into())))
    }

    /// A part of the body: `length` bytes of [`crate::pattern`], from where the body stands.
    pub fn pattern(self, length: u64) -> Self {
        self.step(Step::Body(Source::Pattern(length)))
    }

    /// The same, `piece` bytes at a time, with a pause behind each.
    pub fn trickle(self, length: u64, piece: usize, every: Duration) -> Self {
        self.step(Step::Trickle { source: Source::Pattern(length), piece: piece.max(1), every })
    }

    pub(crate) fn file(self, file: File, length: u64) -> Self {
        self.step(Step::Body(Source::File(Arc::new(file), length)))
    }

    /// Do nothing for a while.
    pub fn stall(self, time: Duration) -> Self {
        self.step(Step::Stall(time))
    }

    /// Wait until the test opens the gate.
    pub fn wait(self, gate: &Gate) -> Self {
        self.step(Step::Wait(gate.clone()))
    }

    /// An interim response (1xx) with its header fields.
    pub fn interim(self, status: u16, headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        self.step(Step::Interim(status, headers))
    }

    /// Send the head here, however far away the body is.
    pub fn send_head(self) -> Self {
        self.step(Step::Head)
    }

    /// Bytes as they are, outside of any framing.
    pub fn raw(self, bytes: &[u8]) -> Self {
        self.step(Step::Raw(bytes.into()))
    }

    /// End the connection with a reset.
    pub fn reset(self) -> Self {
        self.step(Step::Reset)
    }

    /// End the connection in order, wherever the answer stands.
    pub fn close(self) -> Self {
        self.step(Step::Close)
    }

    /// Say a Content-Length that is not the body's. The connection ends behind the answer.
    pub fn content_length(mut self, length: u64) -> Self {
        self.framing = Framing::Declared(length);
        self
    }

    /// Frame the body by chunks (RFC 9112 §7.1), one for each part.
    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked { finished: true };
        self
    }

    /// The same without the last chunk; the connection ends instead.
    pub fn chunked_without_end(mut self) -> Self {
        self.framing = Framing::Chunked { finished: false };
        self
    }

    /// Frame the body by the end of the connection alone.
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::UntilClose;
        self
    }

    /// Answer a Range of one part with 206.
    pub fn ranges(mut self) -> Self {
        self.ranges = true;
        self
    }

    /// Answer a conditional request whose If-None-Match names our ETag, or whose If-Modified-Since is our Last-Modified,
    /// with a 304 that repeats what RFC 9110 §15.4.5 asks for.
    pub fn conditional(self) -> Self {
        const REPEATED: [&str; 6] = ["cache-control", "content-location", "date", "etag", "expires", "vary"];
        let mut answer = Self::status(304);
        answer.dated = self.dated;
        let named = |name: &str| REPEATED.iter().any(|repeated| name.eq_ignore_ascii_case(repeated));
        answer.headers = self.headers.iter().filter(|(name, _)| named(name)).cloned().collect();
        self.or_not_modified(answer)
    }

    /// The same with a 304 of one's own.
    pub fn or_not_modified(mut self, answer: Self) -> Self {
        self.not_modified = Some(Box::new(answer));
        self
    }

    /// The length of the whole body in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.steps
            .iter()
            .map(|step| match step {
                Step::Body(source) | Step::Trickle { source, .. } => source.length(),
                _ => 0,
            })
            .sum()
    }

    /// The value of a header field, the first where there are several.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

impl Source {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Pattern(length) | Self::File(_, length) => *length,
        }
    }
}

impl From<Script> for Scripts {
    fn from(script: Script) -> Self {
        Self(vec![script])
    }
}

impl From<Vec<Script>> for Scripts {
    fn from(scripts: Vec<Script>) -> Self {
        Self(scripts)
    }
}

impl<const N: usize> From<[Script; N]> for Scripts {
    fn from(scripts: [Script; N]) -> Self {
        Self(scripts.into())
    }
}
