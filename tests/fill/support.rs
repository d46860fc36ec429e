//! The fills over a fetcher and a store of their own, and what tests ask of them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT_LANGUAGE;
use svc_edge::conf::{CasBacking, CasConf, Durability};
use svc_edge::fill::{AllFills, Ask, FillError, FillKey, Fills, FillsConf, Headed, OriginRules, Reader};
use svc_edge::rules::caching::CachingConf;
use svc_edge::store::Store;
use svc_edge::store::cas::Cas;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use super::fake::*;

/// Anything that takes longer hangs.
pub const SOON: Duration = Duration::from_secs(10);

/// The prefixes of the origins.
const PREFIXES: [&str; 2] = ["live/", "other/"];

/// Fills that run, with all that is around them.
pub struct Bench {
    /// The fills of every conf.
    pub all: Arc<AllFills>,
    pub fills: Arc<Fills>,
    pub cas: Arc<Cas>,
    pub fake: Arc<Fake>,
    stop: Option<oneshot::Sender<()>>,
    run: Option<JoinHandle<()>>,
}

/// The bounds of most tests: small ones.
pub fn conf() -> FillsConf {
    let caching = CachingConf {
        default_ttl: Duration::from_secs(3600),
        negative_ttl: Duration::from_secs(10),
        stale_if_error: Duration::from_secs(60),
        store_set_cookie: false,
    };
    let origin = |prefix: &str| OriginRules {
        prefix: prefix.into(),
        label: prefix.into(),
        keep_query: true,
        caching,
        forward: vec![ACCEPT_LANGUAGE],
    };
    FillsConf {
        queue: 16,
        workers: 8,
        max_object_bytes: 64 << 20,
        range_fill_max: 16 << 20,
        max_passthrough: 4,
        hash_on_runtime: true,
        finish_max: None,
        chunk_bytes: 64 * 1024,
        origins: PREFIXES.map(origin).into(),
        lock: None,
    }
}

pub fn memory_store() -> CasConf {
    CasConf { store: CasBacking::Memory, ..disk_store(Path::new("nowhere")) }
}

pub fn disk_store(dir: &Path) -> CasConf {
    CasConf {
        dir: dir.to_owned(),
        max_bytes: 1 << 40,
        max_objects: 1_000_000,
        memory_bytes: 0,
        store: CasBacking::Disk,
        durability: Durability::Verify,
    }
}

impl Bench {
    /// Fills in memory that are answered by `script`: what is asked, and how many were before it.
    pub fn new(script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::with(conf(), &memory_store(), script)
    }

    pub fn with(
        conf: FillsConf,
        store: &CasConf,
        script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let mut bench = Self::idle(conf, store, script);
        bench.start(Duration::from_secs(5));
        bench
    }

    /// Nobody works yet.
    pub fn idle(
        conf: FillsConf,
        store: &CasConf,
        script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let fake = Arc::new(Fake::new(script));
        let cas = Arc::new(Cas::open(store).unwrap());
        let all = Arc::default();
        let fills = Fills::new(&all, conf, cas.clone(), fake.clone());
        Self { all, fills, cas, fake, stop: None, run: None }
    }

    pub fn start(&mut self, grace: Duration) {
        let (stop, stopped) = oneshot::channel();
        let fills = self.fills.clone();
        self.stop = Some(stop);
        self.run = Some(tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            fills.run(stop, grace).await;
        }));
    }

    /// Ask to stop; the handle is done when it has.
    pub fn stop(&mut self) -> JoinHandle<()> {
        drop(self.stop.take());
        self.run.take().unwrap()
    }

    pub fn join(&self, path: &str) -> Result<Reader, FillError> {
        self.fills.join(self.ask(path))
    }

    /// The wish of a plain GET.
    pub fn ask(&self, path: &str) -> Ask {
        Ask {
            key: FillKey::path(path),
            origin: PREFIXES.iter().position(|prefix| path.starts_with(prefix)).unwrap(),
            request: Arc::default(),
            whole: true,
            stale: None,
            seen: None,
            corr_id: Bytes::from_static(b"test"),
        }
    }

    /// The wish of a Range or a HEAD.
    pub fn ask_part(&self, path: &str) -> Ask {
        Ask { whole: false, ..self.ask(path) }
    }

    pub fn fetches(&self) -> usize {
        self.fake.asked.lock().unwrap().len()
    }

    /// What the store has at a key.
    pub fn stored(&self, key: &str) -> Option<Bytes> {
        let object = self.cas.head(key).unwrap()?;
        Some(object.read(0..object.len()).unwrap())
    }

    /// Wait until `what` holds.
    pub async fn until(&self, what: impl Fn(&Self) -> bool) {
        let wait = async {
            while !what(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(SOON, wait).await.expect("it never came to hold");
    }
}

/// The head of a stream; anything else is a failure of the test.
pub async fn streamed(reader: &mut Reader) -> Arc<svc_edge::fill::FillHead> {
    match timeout(SOON, reader.head()).await.unwrap() {
        Ok(Headed::Stream(head)) => head,
        Ok(other) => panic!("no stream but {}", word(&other)),
        Err(error) => panic!("{error}"),
    }
}

/// Everything that is left to read.
pub async fn drain(reader: &mut Reader) -> Result<Vec<u8>, FillError> {
    let mut all = Vec::new();
    while let Some(bytes) = timeout(SOON, reader.next()).await.expect("a reader hangs")? {
        assert!(bytes.len() <= 64 * 1024, "a chunk above its bound");
        all.extend_from_slice(&bytes);
        reader.recycle(bytes);
    }
    Ok(all)
}

/// Head and body of a plain miss.
pub async fn get(mut reader: Reader) -> Result<Vec<u8>, FillError> {
    streamed(&mut reader).await;
    let body = drain(&mut reader).await?;
    timeout(SOON, reader.finished()).await.unwrap()?;
    Ok(body)
}

/// What a head is, for messages and comparisons.
pub fn word(headed: &Headed) -> &'static str {
    match headed {
        Headed::Stream(_) => "stream",
        Headed::Pass(..) => "pass",
        Headed::Alone => "alone",
        Headed::Excluded(_) => "excluded",
        Headed::Freshened => "freshened",
        Headed::LookAgain => "look again",
    }
}

pub async fn headed(reader: &mut Reader) -> &'static str {
    match timeout(SOON, reader.head()).await.unwrap() {
        Ok(headed) => word(&headed),
        Err(error) => error.cause(),
    }
}

/// Bytes that differ from place to place.
pub fn bytes(len: usize) -> Bytes {
    (0..len).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect::<Vec<_>>().into()
}

pub fn lock(pins: &[(&str, &[u8])]) -> Option<HashMap<String, blake3::Hash>> {
    Some(pins.iter().map(|(path, body)| ((*path).to_owned(), blake3::hash(body))).collect())
}

/// What the store remembers of the answer at a key.
pub fn answer_at(bench: &Bench, key: &str) -> svc_edge::rules::caching::StoredAnswer {
    let extra = bench.cas.info(key).unwrap().unwrap().extra.unwrap();
    svc_edge::rules::caching::StoredAnswer::decode(&extra).unwrap()
}
