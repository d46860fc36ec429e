//! A fetcher that answers by script.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use svc_edge::fill::fetch::{Fetch, FetchError, Head, Incoming, Tap, Wanted};
use tokio::sync::Semaphore;

/// One step of a body.
#[derive(Clone)]
pub enum Step {
    Bytes(Bytes),
    /// Wait until the test opens it.
    Gate(Gate),
    /// The body breaks off.
    Cut,
    /// The fetcher has a defect.
    Panic,
}

/// Opened once, open for good.
#[derive(Clone)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    pub fn open(&self) {
        self.0.add_permits(1);
    }

    async fn pass(&self) {
        drop(self.0.acquire().await);
    }
}

/// One answer of the fetcher.
#[derive(Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub length: Option<u64>,
    pub framed: bool,
    /// Waited for before the head comes.
    pub before: Option<Gate>,
    pub error: Option<FetchError>,
    pub body: Vec<Step>,
}

impl Answer {
    /// A 200 that is fresh for a minute and says its length.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        Self {
            status: StatusCode::OK,
            headers,
            length: Some(body.len() as u64),
            framed: true,
            before: None,
            error: None,
            body: vec![Step::Bytes(body)],
        }
    }

    pub fn status(mut self, status: u16) -> Self {
        self.status = StatusCode::from_u16(status).unwrap();
        self
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        self
    }

    /// The head comes when `gate` opens.
    pub fn behind(mut self, gate: &Gate) -> Self {
        self.before = Some(gate.clone());
        self
    }

    pub fn chunked(mut self) -> Self {
        self.length = None;
        self
    }

    pub fn steps(mut self, body: Vec<Step>) -> Self {
        self.body = body;
        self
    }

    /// The body in two halves, the second when `gate` opens.
    pub fn halves(body: impl Into<Bytes>, gate: &Gate) -> Self {
        let mut body = body.into();
        let answer = Self::ok(body.clone());
        let first = body.split_to(body.len() / 2);
        answer.steps(vec![Step::Bytes(first), Step::Gate(gate.clone()), Step::Bytes(body)])
    }

    pub fn error(error: FetchError) -> Self {
        Self { error: Some(error), ..Self::ok("") }
    }
}

/// What was asked of the fetcher.
#[derive(Clone, Debug)]
pub struct Asked {
    pub origin: usize,
    pub method: Method,
    pub rest: String,
    pub query: Option<String>,
    pub headers: HeaderMap,
}

type Script = dyn Fn(&Asked, usize) -> Answer + Send + Sync;

/// A fetcher that answers by script.
pub struct Fake {
    script: Box<Script>,
    pub asked: Mutex<Vec<Asked>>,
    /// Bodies that are not dropped yet.
    pub open: Arc<AtomicUsize>,
    /// Bytes that were handed out.
    pub taken: Arc<AtomicU64>,
}

impl Fake {
    pub fn new(script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        let (open, taken) = (Arc::default(), Arc::default());
        Self { script: Box::new(script), asked: Mutex::default(), open, taken }
    }
}

#[async_trait]
impl Fetch for Fake {
    async fn fetch(&self, wanted: Wanted) -> Result<(Head, Box<dyn Incoming>), FetchError> {
        let Wanted { origin, method, rest, query, headers, tap, .. } = wanted;
        let asked = Asked { origin, method, rest, query, headers };
        let number = {
            let mut all = self.asked.lock().unwrap();
            all.push(asked.clone());
            all.len() - 1
        };
        let answer = (self.script)(&asked, number);
        let request_time = SystemTime::now();
        if let Some(gate) = &answer.before {
            gate.pass().await;
        }
        if let Some(error) = answer.error {
            return Err(error);
        }
        let head = Head {
            status: answer.status,
            headers: answer.headers,
            length: answer.length,
            framed: answer.framed,
            request_time,
            response_time: SystemTime::now(),
        };
        self.open.fetch_add(1, SeqCst);
        let tap = tap.filter(|_| answer.status == StatusCode::OK);
        let body = FakeBody { steps: answer.body.into(), tap, open: self.open.clone(), taken: self.taken.clone() };
        Ok((head, Box::new(body)))
    }
}

struct FakeBody {
    steps: VecDeque<Step>,
    tap: Option<Arc<dyn Tap>>,
    open: Arc<AtomicUsize>,
    taken: Arc<AtomicU64>,
}

#[async_trait]
impl Incoming for FakeBody {
    async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            match self.steps.front().cloned() {
                None => return Ok(None),
                Some(Step::Gate(gate)) => gate.pass().await,
                Some(Step::Cut) => return Err(FetchError::Cut("by the script".into())),
                Some(Step::Panic) => panic!("by the script"),
                Some(Step::Bytes(bytes)) => {
                    self.steps.pop_front();
                    if let Some(tap) = &self.tap {
                        tap.pass(&bytes);
                    }
                    self.taken.fetch_add(bytes.len() as u64, SeqCst);
                    return Ok(Some(bytes));
                }
            }
            self.steps.pop_front();
        }
    }
}

impl Drop for FakeBody {
    fn drop(&mut self) {
        self.open.fetch_sub(1, SeqCst);
    }
}
