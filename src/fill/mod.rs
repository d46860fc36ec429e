//! Fills: a miss is fetched from its origin once, streamed to every reader that waits for it, and stored at the same time.
//!
//! flight (one fill a key) · reader (reads the growing blob) · queue (bounded, fair) · work (a fill from its job to its verdict) · pump
//! (the body into the blob) · commit · run (supervised workers). Knows no socket and no proxy: whoever reaches origins
//! implements [`fetch::Fetch`].

pub mod fetch;

mod all;
mod ask;
mod commit;
mod error;
mod flight;
mod key;
mod pass;
mod pump;
mod queue;
mod reader;
mod remember;
mod run;
mod sync;
mod tail;
mod verdict;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire};
use std::time::Instant;

use bytes::BytesMut;
use http::header::{ACCEPT_ENCODING, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use all::{AllFills, Lease, Leased, lease};
pub use ask::{Ask, FillsConf, OriginRules, Seen, Stale};
pub use error::FillError;
pub use key::FillKey;
pub use pass::PassBody;
pub use reader::{Available, Done, FillHead, Headed, Reader};
pub use remember::Remembered;

use crate::observe::metrics::{BUSY_REJECTIONS, Endpoint, OriginLabel, QUEUE_DROPPED, QueueName};
use crate::rules::caching;
use crate::store::StoreError;
use crate::store::cas::{self, Cas};
use fetch::{Fetch, FetchError, Tap, Wanted};
use flight::{Flights, Joined};
use queue::{Queue, Refused};
use reader::News;
use remember::Memory;
use verdict::Verdict;
use work::Job;

/// Fields of a client's request that go to an origin whatever its conf forwards: its trace, and the way it came. Without the latter, edges
/// that fill from each other could ask in a circle and none of them would see it (RFC 9110 §7.6.3, RFC 8586).
const PATH_SO_FAR: [&str; 4] = ["traceparent", "tracestate", "via", "cdn-loop"];

/// The fills of a conf.
pub struct Fills {
    /// Those of the whole process, these among them.
    all: Arc<AllFills>,
    conf: FillsConf,
    /// What metrics call the origins, in the order of the conf.
    labels: Vec<OriginLabel>,
    cas: Arc<Cas>,
    fetch: Arc<dyn Fetch>,
    flights: Flights<Arc<News>, Done, FillError>,
    queue: Arc<Queue<Job>>,
    memory: Memory,
    passing: Arc<Semaphore>,
    /// Nothing new is begun, and what is lost is lost to the stop.
    draining: Arc<AtomicBool>,
}

impl Fills {
    /// Fills that nobody works on yet: see [`Fills::run`]. `all` knows them from now on.
    pub fn new(all: &Arc<AllFills>, conf: FillsConf, cas: Arc<Cas>, fetch: Arc<dyn Fetch>) -> Arc<Self> {
        let draining = Arc::new(AtomicBool::new(false));
        let stopping = draining.clone();
        let lost = move || if stopping.load(Acquire) { FillError::Draining } else { FillError::Worker };
        let fills = Arc::new(Self {
            all: all.clone(),
            labels: conf.origins.iter().map(|origin| OriginLabel::of(&origin.prefix)).collect(),
            flights: Flights::new(lost),
            queue: Queue::new(conf.origins.len(), conf.queue, conf.workers),
            passing: Arc::new(Semaphore::new(conf.max_passthrough.min(Semaphore::MAX_PERMITS))),
            memory: Memory::new(),
            draining,
            conf,
            cas,
            fetch,
        });
        all.add(&fills);
        fills
    }

    /// What [`Ask::seen`] wants: taken before the store is looked into for `path`.
    pub fn seen(&self, path: &str) -> Seen {
        Seen(self.flights.seen(path))
    }

    /// The client's fields that go along to an origin.
    pub fn forwarded(&self, origin: usize) -> impl Iterator<Item = &HeaderName> {
        self.conf.origins.get(origin).into_iter().flat_map(|origin| &origin.forward)
    }

    /// What `path` is pinned to. Nothing of it may pass through: [`Fills::pass`] refuses it, so join whatever the request is.
    pub fn pinned(&self, path: &str) -> Option<&blake3::Hash> {
        self.conf.lock.as_ref()?.get(path)
    }

    /// What is remembered of a key. Of a pinned path nothing is.
    pub fn remembered(&self, key: &FillKey) -> Option<Remembered> {
        if self.pinned(&key.path).is_some() {
            return None;
        }
        self.memory.get(&key.base(), Instant::now())
    }

    /// Join the fill of this key, or start it. Never waits.
    pub fn join(self: &Arc<Self>, ask: Ask) -> Result<Reader, FillError> {
        self.origin(ask.origin)?;
        let (key, index_key) = self.flight_key(&ask);
        let mut reader = Reader {
            watch: None,
            news: None,
            started: false,
            key,
            request: ask.request.clone(),
            whole: ask.whole,
            range_fill_max: self.conf.range_fill_max,
            chunk_bytes: self.conf.chunk_bytes,
            window: 0..u64::MAX,
            spare: BytesMut::new(),
        };
        match self.flights.join(&index_key, ask.seen.map(|seen| seen.0), ask.whole) {
            Joined::LookAgain => {}
            Joined::Boarded(watch) => reader.watch = Some(watch),
            Joined::Started(watch, filler) => {
                self.enqueue(Job::new(filler, ask, index_key, false))?;
                reader.started = true;
                reader.watch = Some(watch);
            }
        }
        Ok(reader)
    }

    /// Start a fill that nobody waits for, as stale-while-revalidate does. Nothing happens where one is under way, or none can be taken:
    /// the next request tries again.
    pub fn refresh_behind(self: &Arc<Self>, ask: Ask) {
        if self.origin(ask.origin).is_err() {
            return;
        }
        let (_, index_key) = self.flight_key(&ask);
        // Whatever the request wants of it, what is refreshed is the whole.
        if let Some(filler) = self.flights.launch(&index_key, true) {
            let _ = self.enqueue(Job::new(filler, ask, index_key, true));
        }
    }

    /// Ask the origin for this request alone, by GET or HEAD: unstored, unshared. `range` is sent as it is; with one, a 206 may come. HEAD
    /// knows no Range (RFC 9110 §14.2), and its body is empty at once.
    pub async fn pass(
        self: &Arc<Self>,
        ask: Ask,
        method: Method,
        range: Option<HeaderValue>,
    ) -> Result<(Arc<FillHead>, PassBody), FillError> {
        self.origin(ask.origin)?;
        if self.pinned(&ask.key.path).is_some() {
            return Err(unverifiable("it would pass through unverified"));
        }
        let permit = self.passage()?;
        let get = method == Method::GET;
        let range = range.filter(|_| get);
        let mut wanted = self.wanted(&ask, method, None)?;
        let ranged = range.is_some();
        if !ranged {
            // Nobody else will have it: it comes in a coding that this client takes.
            let codings = ask.request.get(ACCEPT_ENCODING).cloned();
            wanted.headers.insert(ACCEPT_ENCODING, codings.unwrap_or(HeaderValue::from_static("identity")));
        }
        if let Some(range) = range {
            wanted.headers.insert(RANGE, range);
        }
        let (head, incoming) = self.fetch.fetch(wanted).await?;
        if head.status == StatusCode::NOT_MODIFIED || !(ranged || work::is_asked_for(head.status)) {
            return Err(work::unasked(head.status));
        }
        if !get {
            // Nothing is learnt of GET: how its body ends can't be seen, and some origins refuse HEAD alone.
            return Ok((pass::head_of_head(&head).into(), PassBody::none()));
        }
        if !ranged {
            let base = ask.key.base();
            match self.verdict(&ask, &head, false) {
                Verdict::Store(_) => self.memory.forget(&base),
                Verdict::Pass { lasting: true, .. } => {
                    self.memory.keep(&base, Remembered::Uncacheable, Instant::now());
                }
                _ => {}
            }
        }
        Ok((pass::head_of(&head).into(), PassBody::new(incoming, permit)))
    }

    /// A request that passed through changed what `key` answers (RFC 9111 §4.4): drop what is stored there, all variants of it, and let
    /// what is being filled, by whichever conf, be stored no more. Later readers start anew.
    pub async fn invalidate(self: &Arc<Self>, key: &FillKey) -> Result<(), StoreError> {
        let base = key.base();
        // First the fills, then the store: one that was committed in between is dropped with the rest.
        self.all.detach_keys(|flying| cas::unvaried(flying) == base);
        let cas = self.cas.clone();
        tokio::task::spawn_blocking(move || cas.drop_object(&base).map(drop))
            .await
            .unwrap_or_else(|error| Err(StoreError::Corrupt(format!("the store panicked: {error}").into())))
    }

    /// Fills under way: those that wait and those that move.
    pub fn under_way(&self) -> usize {
        self.flights.len()
    }

    /// The key of a request, and that of its fill: the variant's, where Vary is known to choose.
    fn flight_key(&self, ask: &Ask) -> (FillKey, String) {
        if let Some(stale) = &ask.stale {
            return (ask.key.clone(), stale.info.path.clone());
        }
        let mut key = ask.key.clone();
        if key.variant.is_none()
            && let Some(vary) = self.memory.vary(&key.base(), Instant::now())
        {
            let forwarded = self.conf.origins.get(ask.origin).map_or(&[][..], |origin| &origin.forward);
            key.variant = caching::selecting(&vary, &ask.request, forwarded);
        }
        let index_key = key.index_key();
        (key, index_key)
    }

    fn enqueue(&self, job: Job) -> Result<(), FillError> {
        let (job, error) = match self.queue.push(job.ask.origin, job) {
            Ok(()) => return Ok(()),
            Err(Refused::Closed(job)) => (job, FillError::Draining),
            Err(Refused::Full(job)) => {
                QUEUE_DROPPED.inc(QueueName::Fill);
                BUSY_REJECTIONS.inc(Endpoint::Fill);
                (job, FillError::QueueFull)
            }
        };
        // Whoever joined meanwhile hears it too.
        job.filler.finish(None, Err(error.clone()));
        Err(error)
    }

    /// A place among the answers that pass through (`fill.max_passthrough`), until it is dropped.
    pub fn passage(&self) -> Result<OwnedSemaphorePermit, FillError> {
        self.passing.clone().try_acquire_owned().map_err(|_| {
            BUSY_REJECTIONS.inc(Endpoint::Passthrough);
            FillError::PassthroughFull
        })
    }

    fn origin(&self, origin: usize) -> Result<&OriginRules, FillError> {
        let unknown = || FetchError::NotAllowed("no such origin in the conf".into());
        Ok(self.conf.origins.get(origin).ok_or_else(unknown)?)
    }

    /// The request to the origin: the client's fields that its conf forwards, and its trace.
    fn wanted(&self, ask: &Ask, method: Method, tap: Option<Arc<dyn Tap>>) -> Result<Wanted, FillError> {
        let origin = self.origin(ask.origin)?;
        let mut headers = HeaderMap::new();
        for name in origin.forward.iter().map(|name| name.as_str()).chain(PATH_SO_FAR) {
            for value in ask.request.get_all(name) {
                // The names come from the conf and from here: each is one already.
                if let Ok(name) = name.parse::<HeaderName>() {
                    headers.append(name, value.clone());
                }
            }
        }
        let rest = ask.key.path.strip_prefix(&origin.prefix).unwrap_or(&ask.key.path).to_owned();
        let query = ask.key.query.clone().filter(|_| origin.keep_query);
        // Nobody hashes what passes through.
        let (corr_id, fill) = (ask.corr_id.clone(), tap.is_some());
        Ok(Wanted { origin: ask.origin, method, rest, query, headers, corr_id, fill, tap })
    }
}

/// A pinned path whose bytes can't be compared with their pin.
fn unverifiable(why: &str) -> FillError {
    FetchError::Unreachable(format!("nothing that can be compared with the lock: {why}")).into()
}
