//! One client of a fill: it waits for the head, and then reads the growing blob at its own pace, wherever the writer is.

use std::fs::File;
use std::future::poll_fn;
use std::io::{ErrorKind, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use http::header::VARY;
use http::{HeaderMap, HeaderName, StatusCode};
use rustix::io::ReadWriteFlags;
use tokio::sync::Semaphore;

use super::error::FillError;
use super::flight::{Follower, Progress};
use super::key::FillKey;
use super::pass::PassBody;
use super::tail::{Place, Tail};
use crate::rules::caching::{self, Selecting, StoredAnswer};

/// Reads of what is not in the page cache, at the same time: a hung disk holds up no more threads.
static COLD_READS: Semaphore = Semaphore::const_new(64);

/// The header of an answer, to be sent.
#[derive(Debug)]
pub struct FillHead {
    /// The final status.
    pub status: StatusCode,
    /// The origin's end-to-end fields; Content-Length among them where the origin sent one.
    pub headers: HeaderMap,
    /// Length of the body in bytes, where it is known; in answer to HEAD, of the one that GET would bring.
    pub length: Option<u64>,
    /// What will be stored of it, if it completes; `None` where it is not stored.
    pub answer: Option<Arc<StoredAnswer>>,
    /// The path is pinned: no byte is handed out before all of them are verified. Wait with [`Reader::finished`] before anything is answered.
    pub locked: bool,
}

/// What a reader is told first.
pub enum Headed {
    /// The answer comes: read it with [`Reader::next`] or [`Reader::until`].
    Stream(Arc<FillHead>),
    /// It may not be stored, and is this reader's, who started the fill.
    Pass(Arc<FillHead>, PassBody),
    /// It may not be stored and is somebody else's, or it is too long to be filled for a Range: ask with [`super::Fills::pass`].
    Alone,
    /// Vary tells this request from the one that was sent: join again, under this key.
    Excluded(FillKey),
    /// The origin said 304, after this request had asked: what is stored answers it without another validation. Look it up.
    Freshened,
    /// A fill of this path ended after [`Ask::seen`](super::Ask::seen): look into the store again, by the usual rules.
    LookAgain,
}

/// How a fill ended that ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// BLAKE3 of the body; of nothing where the fill brought no body of its own.
    pub hash: blake3::Hash,
    /// Its length in bytes.
    pub len: u64,
    /// Whether it is in the store now. What was invalidated while it moved isn't.
    pub stored: bool,
}

/// How much of a body is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Available {
    /// Bytes that can be read.
    pub bytes: u64,
    /// Those are all.
    pub whole: bool,
}

/// What a worker tells its readers.
pub(super) enum News {
    Stream(Stream),
    /// Nobody but who started the fill may have the answer.
    Unstorable(Unstorable),
    /// It was given up: too long for Ranges alone.
    Large,
    Freshened,
}

pub(super) struct Stream {
    pub head: Arc<FillHead>,
    /// The blob that grows.
    pub file: Arc<File>,
    /// What is not in it yet.
    pub tail: Arc<Tail>,
    /// What the request that was sent says in the fields that Vary names.
    pub selecting: Selecting,
}

pub(super) struct Unstorable {
    /// Taken by the one that started the fill.
    pub gift: Mutex<Option<Gift>>,
    /// What the others are told in place of [`Headed::Alone`].
    pub others: Option<FillError>,
}

pub(super) type Gift = Result<(Arc<FillHead>, PassBody), FillError>;

/// How the fill of a reader is watched.
pub(super) type Watch = Follower<Arc<News>, Done, FillError>;

/// One waiting client. Dropping it leaves the fill, which goes on without it.
pub struct Reader {
    /// None where a fill ended while the request was looking.
    pub(super) watch: Option<Watch>,
    pub(super) news: Option<Arc<News>>,
    pub(super) started: bool,
    pub(super) key: FillKey,
    pub(super) request: Arc<HeaderMap>,
    pub(super) whole: bool,
    pub(super) range_fill_max: u64,
    pub(super) chunk_bytes: usize,
    pub(super) window: Range<u64>,
    /// The buffer of a chunk that was sent.
    pub(super) spare: BytesMut,
}

impl Reader {
    /// Whether it joined a fill that somebody else had started.
    pub fn collapsed(&self) -> bool {
        !self.started
    }

    /// Wait for the head. Can be asked again; what passes through is given once. Cancel-safe, as the others are.
    pub async fn head(&mut self) -> Result<Headed, FillError> {
        let Some(watch) = &mut self.watch else { return Ok(Headed::LookAgain) };
        let news = match &self.news {
            Some(news) => news.clone(),
            None => poll_fn(|cx| watch.poll_head(cx)).await?,
        };
        self.news = Some(news.clone());
        match &*news {
            News::Stream(stream) => Ok(self.stream_for_me(stream)),
            News::Freshened => Ok(Headed::Freshened),
            News::Large => Ok(Headed::Alone),
            News::Unstorable(unstorable) if self.started => {
                let gift = unstorable.gift.lock().unwrap_or_else(PoisonError::into_inner).take();
                let Some(gift) = gift else { return Ok(Headed::Alone) };
                gift.map(|(head, body)| Headed::Pass(head, body))
            }
            News::Unstorable(unstorable) => unstorable.others.clone().map_or(Ok(Headed::Alone), Err),
        }
    }

    fn stream_for_me(&self, stream: &Stream) -> Headed {
        if !self.started && !caching::matches(&stream.selecting, &*self.request) {
            let mut key = self.key.clone();
            key.variant = Some(variant_of(&stream.selecting, &self.request));
            return Headed::Excluded(key);
        }
        let too_long = stream.head.length.is_some_and(|length| length > self.range_fill_max);
        if too_long && !self.whole && !stream.head.locked {
            return Headed::Alone;
        }
        Headed::Stream(stream.head.clone())
    }

    /// Read `range` of the body from now on; an end past the body's is the body's.
    pub fn seek(&mut self, range: Range<u64>) {
        self.window = range;
    }

    /// The next bytes of the window, at most `chunk_bytes`; `None` at its end. Waits for the writer. An error cuts the answer: the
    /// fill failed, and what was read is part of nothing. Before [`Headed::Stream`] was told it is an error too.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FillError> {
        let (at, end) = (self.window.start, self.window.end);
        if at >= end {
            return Ok(None);
        }
        let there = self.available(at + 1).await?.written;
        if there <= at {
            return Ok(None);
        }
        // At most chunk_bytes: fits a usize.
        let most = (there.min(end) - at).min(self.chunk_bytes.max(1) as u64) as usize;
        let stream = self.stream()?;
        let (file, place) = (stream.file.clone(), stream.tail.at(at, most));
        let length = match place {
            Place::Here(bytes) => {
                self.window.start = at + bytes.len() as u64;
                return Ok(Some(bytes));
            }
            // What is behind `there` is in neither.
            Place::File(written) => usize::try_from(written.saturating_sub(at)).unwrap_or(usize::MAX).min(most),
        };
        if length == 0 {
            return Err(FillError::Worker);
        }
        let mut buf = std::mem::take(&mut self.spare);
        buf.resize(length, 0);
        if !read_now(&file, &mut buf, at) {
            buf = read_cold(file, buf, at).await?;
        }
        self.window.start = at + length as u64;
        Ok(Some(buf.freeze()))
    }

    /// Take back a chunk that was sent, to be used again.
    pub fn recycle(&mut self, chunk: Bytes) {
        // Somebody may hold it still: then the next chunk gets a new buffer.
        if let Ok(buf) = chunk.try_into_mut() {
            self.spare = buf;
        }
    }

    /// Wait until the first `offset` bytes are there, or all there are.
    pub async fn until(&mut self, offset: u64) -> Result<Available, FillError> {
        let Progress { written, whole } = self.available(offset).await?;
        Ok(Available { bytes: written, whole })
    }

    /// Wait until it is committed, or known to have failed. What was whole and could not be stored is an error here, though
    /// [`Reader::next`] reads it to its end.
    pub async fn finished(&mut self) -> Result<Done, FillError> {
        let watch = self.watch.as_mut().ok_or(FillError::Worker)?;
        poll_fn(|cx| watch.poll_end(cx)).await
    }

    async fn available(&mut self, bytes: u64) -> Result<Progress, FillError> {
        let watch = self.watch.as_mut().ok_or(FillError::Worker)?;
        poll_fn(|cx| watch.poll_bytes(bytes, cx)).await
    }

    fn stream(&self) -> Result<&Stream, FillError> {
        match self.news.as_deref() {
            Some(News::Stream(stream)) => Ok(stream),
            _ => Err(FillError::Worker),
        }
    }
}

/// What `request` says in the fields that `selecting` names.
fn variant_of(selecting: &Selecting, request: &HeaderMap) -> Selecting {
    let names: Vec<HeaderName> = selecting.iter().map(|(name, _)| name.clone()).collect();
    let vary = names.iter().map(|name| (VARY, name.clone().into())).collect();
    // Few enough names, and none of them `*`: they were followed once.
    caching::selecting(&vary, request, &names).unwrap_or_default()
}

/// Fill `buf` without waiting; `false` where that can't be: not in the page cache, or a file system that cannot say.
fn read_now(file: &File, buf: &mut [u8], offset: u64) -> bool {
    let wanted = buf.len();
    let read = rustix::io::preadv2(file, &mut [IoSliceMut::new(buf)], offset, ReadWriteFlags::NOWAIT);
    read.is_ok_and(|read| read == wanted)
}

async fn read_cold(file: Arc<File>, mut buf: BytesMut, offset: u64) -> Result<BytesMut, FillError> {
    // The semaphore is never closed.
    let place = COLD_READS.acquire().await.ok();
    let read = tokio::task::spawn_blocking(move || {
        let _place = place;
        match file.read_exact_at(&mut buf, offset) {
            Ok(()) => Ok(buf),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(FillError::Disk("the blob was cut".into())),
            Err(error) => Err(FillError::Disk(error.to_string())),
        }
    });
    read.await.unwrap_or(Err(FillError::Worker))
}
