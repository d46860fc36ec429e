//! A fill from its job to its verdict: ask, judge the header, take the body, compare it with its pin.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use tokio::sync::mpsc::Sender;

use super::commit::{Landing, millis};
use super::error::FillError;
use super::fetch::{FetchError, Head, Incoming, Tap};
use super::pump::{Flow, HashTap, Stopped, pump};
use super::reader::{Done, FillHead, Gift, News, Stream, Unstorable};
use super::remember::Remembered;
use super::tail::Tail;
use super::verdict::{Storable, Verdict};
use super::{Ask, FillKey, Fills, PassBody, flight, pass, unverifiable};
use crate::observe::bus::{Event, publish};
use crate::observe::faults;
use crate::observe::metrics::{FILL_SUCCESS, VERIFY_FAILURES, VerifyKind};
use crate::rules::caching::{self, StoredAnswer};
use crate::store::StoreError;
use crate::store::cas::{BlobWriter, Put, Staged};

/// The filling side of a flight.
pub(super) type Filler = flight::Filler<Arc<News>, Done, FillError>;

/// A fill that is to be done.
pub(super) struct Job {
    pub filler: Filler,
    pub ask: Ask,
    /// Where it stands among the flights.
    pub index_key: String,
    /// Nobody waited for it when it was begun.
    pub behind: bool,
    pub began: Instant,
}

/// How a fill ended that did not fail.
enum Outcome {
    /// The body is whole and verified.
    Landing(Box<Put>),
    /// There is nothing to store.
    Told(News, Done),
}

/// What an origin answered.
struct Exchange {
    head: Head,
    incoming: Box<dyn Incoming>,
    /// Where it is hashed as its bytes pass.
    tap: Option<Arc<HashTap>>,
}

impl Job {
    pub fn new(filler: Filler, ask: Ask, index_key: String, behind: bool) -> Self {
        Self { filler, ask, index_key, behind, began: Instant::now() }
    }
}

impl Fills {
    /// Do `job`. Its readers hear of the end whatever happens: dropping its filler tells them too.
    pub(super) async fn work(&self, job: Job, landings: &Sender<Landing>) {
        let outcome = self.fill(&job).await;
        let Job { filler, ask, began, .. } = job;
        match outcome {
            Ok(Outcome::Told(news, done)) => filler.finish(Some(Arc::new(news)), Ok(done)),
            Ok(Outcome::Landing(put)) => {
                let base = ask.key.base();
                let origin = self.label(ask.origin).to_owned();
                let landing = Landing { put: *put, filler, base, path: ask.key.path, origin, began };
                // The committer is gone only when the process stops: then the landing, dropped, fails its readers.
                let _ = landings.send(landing).await;
            }
            Err(Stopped::Abandoned) => {
                self.failed(ask, began, "abandoned", String::new());
            }
            Err(Stopped::Failed(error)) => {
                if matches!(error, FillError::TooLarge) {
                    self.memory.keep(&ask.key.base(), Remembered::Uncacheable, Instant::now());
                }
                self.failed(ask, began, error.cause(), error.to_string());
                filler.finish(None, Err(error));
            }
        }
    }

    /// Tell that a fill stored nothing, though it was to.
    fn failed(&self, ask: Ask, began: Instant, cause: &'static str, detail: String) {
        let origin = self.label(ask.origin).to_owned();
        publish(Event::FillFailed { path: ask.key.path, ms: millis(began), origin, cause, detail });
    }

    async fn fill(&self, job: &Job) -> Result<Outcome, Stopped> {
        faults::panic_here("fill.worker");
        let ask = &job.ask;
        let conditions = ask.stale.as_ref().map(|stale| caching::conditional(&stale.answer)).unwrap_or_default();
        let conditional = !conditions.is_empty();
        let mut exchange = self.exchange(ask, conditions).await?;
        let mut verdict = self.verdict(ask, &exchange.head, conditional);
        if let Verdict::AskAgain { drop } = verdict {
            if drop {
                let (cas, base) = (self.cas.clone(), ask.key.base());
                off_runtime(move || cas.drop_object(&base)).await?;
            }
            exchange = self.exchange(ask, Vec::new()).await?;
            verdict = self.verdict(ask, &exchange.head, false);
        }
        let (status, pinned) = (exchange.head.status, self.pinned(&ask.key.path).is_some());
        let outcome = match verdict {
            Verdict::Freshened { extra } => Ok(self.refresh(job, extra).await?),
            _ if !is_asked_for(status) => Err(unasked(status).into()),
            _ if pinned && status != StatusCode::OK => Err(unverifiable(&format!("status {}", status.as_u16())).into()),
            Verdict::Pass { why, .. } if pinned => Err(unverifiable(why).into()),
            Verdict::Pass { lasting, .. } => {
                if lasting {
                    self.memory.keep(&ask.key.base(), Remembered::Uncacheable, Instant::now());
                }
                Ok(self.hand_over(job, exchange))
            }
            Verdict::Store(storable) => self.store(job, exchange, *storable).await,
            // Only an answer to conditions is, and there were none.
            Verdict::AskAgain { .. } => Err(unasked(status).into()),
        };
        let label = self.labels.get(ask.origin).filter(|_| !status.is_server_error());
        if let (Ok(_), Some(label)) = (&outcome, label) {
            FILL_SUCCESS.inc(*label);
        }
        outcome
    }

    /// Ask the origin once.
    async fn exchange(&self, ask: &Ask, conditions: Vec<(HeaderName, HeaderValue)>) -> Result<Exchange, FillError> {
        let tap = self.conf.hash_on_runtime.then(HashTap::new);
        let mut wanted = self.wanted(ask, Method::GET, tap.clone().map(|tap| tap as Arc<dyn Tap>))?;
        wanted.headers.extend(conditions);
        let (head, incoming) = self.fetch.fetch(wanted).await?;
        Ok(Exchange { head, incoming, tap })
    }

    /// The origin said that what is stored is still right.
    async fn refresh(&self, job: &Job, extra: Vec<u8>) -> Result<Outcome, FillError> {
        let Some(stale) = &job.ask.stale else { return Err(FillError::Worker) };
        let (hash, len, key) = (stale.info.hash, stale.info.size, stale.info.path.clone());
        let mut stored = false;
        if !job.filler.is_detached() {
            let cas = self.cas.clone();
            stored = off_runtime(move || cas.refresh(&key, &hash, &extra)).await?;
        }
        Ok(Outcome::Told(News::Freshened, Done { hash, len, stored }))
    }

    /// An answer that may not be stored goes to the one reader that started the fill, and the worker is free.
    fn hand_over(&self, job: &Job, Exchange { head, incoming, .. }: Exchange) -> Outcome {
        let gift: Gift = self.passage().map(|permit| (pass::head_of(&head).into(), PassBody::new(incoming, permit)));
        // Each of those who hold something stale would ask an origin that just failed: they are told that it did.
        let status = head.status.as_u16();
        let failed = job.ask.stale.is_some() && caching::is_error(status);
        let others = failed.then(|| FetchError::Unreachable(format!("it answered {status}")).into());
        let news = News::Unstorable(Unstorable { gift: Mutex::new(Some(gift)), others });
        Outcome::Told(news, nothing())
    }

    async fn store(&self, job: &Job, exchange: Exchange, storable: Storable) -> Result<Outcome, Stopped> {
        let (ask, filler, head) = (&job.ask, &job.filler, &exchange.head);
        let pin = self.pinned(&ask.key.path);
        let key = storable.key.index_key();
        self.learn(job, head, &storable, &key);
        let too_long = head.length.is_some_and(|length| length > self.conf.range_fill_max);
        if too_long && pin.is_none() && !filler.whole_wanted() {
            return Ok(Outcome::Told(News::Large, nothing()));
        }
        let writer = match self.writer(&ask.key, head.length).await {
            Ok(writer) => writer,
            // Without a disk there is still an origin; but no pinned path can be verified.
            Err(_) if pin.is_none() => return Ok(self.hand_over(job, exchange)),
            Err(error) => return Err(error.into()),
        };
        let flow = Flow {
            length: head.length,
            max: self.conf.max_object_bytes,
            // Taps see the bodies of 200 alone; the few others are hashed as they are written.
            tapped: exchange.tap.is_some() && head.status == StatusCode::OK,
            hidden: pin.is_some(),
        };
        let tail = Arc::new(Tail::default());
        filler.head(Arc::new(News::Stream(stream(head, storable.answer, &writer, &tail, pin.is_some()))));
        let give_up = |bytes: u64| !job.behind && self.gives_up(filler, flow.length.unwrap_or(0).max(bytes));
        let Exchange { incoming, tap, .. } = exchange;
        let writer = pump(filler, incoming, writer, &flow, &tail, give_up).await?;
        let hasher = tap.filter(|_| flow.tapped).and_then(|tap| tap.take());
        let len = writer.len();
        if pin.is_none() && hasher.as_ref().is_none_or(|hasher| hasher.len() == len) {
            // It came to its end and every byte was hashed: readers need not wait for the disk.
            filler.whole();
        }
        // Where blobs must be on the disk, those who end together wait for it together, here, and not one behind the other in the committer.
        let durable = self.cas.durable();
        let staged = off_runtime(move || match hasher {
            Some(hasher) => writer.finish_with(hasher, durable),
            None => writer.finish(durable),
        });
        let staged = staged.await?;
        if let Some(pin) = pin {
            self.compare(ask, pin, &staged)?;
        }
        filler.progress(staged.len());
        filler.whole();
        Ok(Outcome::Landing(Box::new(Put { path: key, meta: storable.meta, staged })))
    }

    /// Nothing but what the lock names is stored or answered at a pinned path.
    fn compare(&self, ask: &Ask, pin: &blake3::Hash, staged: &Staged) -> Result<(), FillError> {
        let found = staged.hash();
        if found == *pin {
            return Ok(());
        }
        VERIFY_FAILURES.inc(VerifyKind::Pin);
        let (path, pinned, found) = (ask.key.path.as_str(), pin.to_hex(), found.to_hex());
        let (pinned, found, origin) = (pinned.as_str(), found.as_str(), self.label(ask.origin));
        log::error!(event = "pin_mismatch", path, pinned, found, origin; "");
        Err(FillError::Corrupt)
    }

    /// What the log calls an origin.
    fn label(&self, origin: usize) -> &str {
        self.conf.origins.get(origin).map_or("", |origin| &origin.label)
    }

    /// What the header says that the next miss can make use of.
    fn learn(&self, job: &Job, head: &Head, storable: &Storable, key: &str) {
        let (base, now) = (job.ask.key.base(), Instant::now());
        if key != job.index_key {
            // Who knows by now which variant it wants finds this fill under that name.
            job.filler.alias(key);
        }
        if !storable.answer.vary.is_empty() {
            self.memory.keep_vary(&base, &head.headers, now);
        }
        if let Some(length) = head.length.filter(|length| *length > self.conf.range_fill_max) {
            self.memory.keep(&base, Remembered::Large(length), now);
        }
    }

    /// A blob to write into; an error where the store can't take one of this length.
    async fn writer(&self, key: &FillKey, length: Option<u64>) -> Result<BlobWriter, FillError> {
        if !self.cas.writable() {
            // The housekeeping said so a moment ago, and says when it is over: readers would be cut where the disk is full.
            return Err(FillError::Disk("the store takes no writes".into()));
        }
        let cas = self.cas.clone();
        let begun = tokio::task::spawn_blocking(move || {
            let mut writer = cas.writer()?;
            if let Some(length) = length {
                writer.reserve(length)?;
            }
            Ok(writer)
        });
        let error = match begun.await.map_err(|_| FillError::Worker)? {
            Ok(writer) => return Ok(writer),
            Err(error @ StoreError::TooLarge(_)) => {
                self.memory.keep(&key.base(), Remembered::Uncacheable, Instant::now());
                error
            }
            Err(error) => {
                log::warn!(event = "not_stored", path = key.path.as_str(), cause = error.to_string().as_str(); "");
                error
            }
        };
        Err(FillError::Disk(error.to_string()))
    }

    /// Whether a fill of this length that nobody reads is not worth finishing.
    fn gives_up(&self, filler: &Filler, length: u64) -> bool {
        let too_long = self.conf.finish_max.is_some_and(|max| length > max);
        too_long || (length > self.conf.range_fill_max && !filler.whole_wanted())
    }
}

fn stream(head: &Head, answer: StoredAnswer, writer: &BlobWriter, tail: &Arc<Tail>, locked: bool) -> Stream {
    let (headers, selecting) = (answer.headers.clone(), answer.vary.clone());
    let (status, length, answer) = (head.status, head.length, Some(Arc::new(answer)));
    let head = Arc::new(FillHead { status, headers, length, answer, locked });
    Stream { head, file: writer.reader(), tail: tail.clone(), selecting }
}

/// Whether a status can answer a GET without Range and conditions.
pub(super) fn is_asked_for(status: StatusCode) -> bool {
    !matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED)
}

/// An answer to something else than what was asked.
pub(super) fn unasked(status: StatusCode) -> FillError {
    FetchError::Unreachable(format!("it answered {} to a request for the whole", status.as_u16())).into()
}

/// The end of a fill that brought no body.
fn nothing() -> Done {
    Done { hash: blake3::hash(b""), len: 0, stored: false }
}

async fn off_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, FillError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| FillError::Disk(error.to_string())),
        Err(_) => Err(FillError::Worker),
    }
}
