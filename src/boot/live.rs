//! From the conf's origins to what fills them: each part gets the little it needs to know.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::supervise;
use crate::conf::version::VERSION;
use crate::conf::{self, Conf, Mode, Pins, QueryPolicy, RetryOn};
use crate::edge::{Live, Lock, OriginRules, OriginTable};
use crate::fill::{self, AllFills, Fills, FillsConf, Leased};
use crate::observe::faults;
use crate::observe::metrics::Component;
use crate::origin::{self, Origins, OriginsConf, Trust};
use crate::rules::allow;
use crate::rules::caching::CachingConf;
use crate::store::cas::Cas;

/// How often fills of a conf before are looked at: whether the last has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Makes what fills misses, at the start and again when a reload changes what it goes by.
pub struct Lives {
    cas: Arc<Cas>,
    all: Arc<AllFills>,
    starts: mpsc::UnboundedSender<Start>,
    /// Whose certificates the edge's own connector believes: it is made once. `None` where it believes nobody.
    believed: Option<Bundle>,
    /// Every way to origins that is still there: a fill may go on by one of a conf before.
    opened: Mutex<Vec<Weak<Origins>>>,
}

/// Fills that are to be worked on, and who hears when nobody asks for one any more.
type Start = (Arc<Fills>, Leased);

/// A bundle of trust anchors: none is the system's.
type Bundle = (Option<PathBuf>, Option<[u8; 32]>);

impl Lives {
    /// `conf` is that of the start. What is opened is worked on by the service.
    pub fn new(conf: &Conf, cas: &Arc<Cas>, all: &Arc<AllFills>, grace: Duration) -> (Self, Filling) {
        let (starts, started) = mpsc::unbounded_channel();
        let believed = (conf.edge.mode == Mode::Live).then(|| bundle(conf));
        let lives = Self { cas: cas.clone(), all: all.clone(), starts, believed, opened: Mutex::default() };
        (lives, Filling { started: Mutex::new(Some(started)), grace })
    }

    /// What fills misses in live mode; `None` offline, where nothing that could connect is even made.
    pub fn open(&self, conf: &Conf) -> Result<Option<Arc<Live>>, String> {
        if conf.edge.mode != Mode::Live {
            return Ok(None);
        }
        let bundle = bundle(conf);
        let trust = match self.believed.as_ref() == Some(&bundle) {
            true => None,
            false => trust_of(conf)?,
        };
        let server_conf = Arc::new(super::pingora_conf(&conf.server, Mode::Live));
        let origins = Origins::trusting(origins_conf(conf), &server_conf, trust);
        self.remember(&origins);
        let fills = Fills::new(&self.all, fills_conf(conf), self.cas.clone(), origins.clone());
        let (lease, leased) = fill::lease();
        self.starts.send((fills.clone(), leased)).map_err(|_| "the process is stopping")?;
        Ok(Some(Arc::new(Live { fills, origins, lease })))
    }

    /// Ask no origin anything from now on, by whichever conf: no packet leaves the machine, not even for what is under way.
    pub fn close(&self) {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.iter().filter_map(Weak::upgrade).for_each(|origins| origins.close());
    }

    fn remember(&self, origins: &Arc<Origins>) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.retain(|origins| origins.strong_count() > 0);
        opened.push(Arc::downgrade(origins));
    }
}

fn bundle(conf: &Conf) -> Bundle {
    (conf.server.ca_file.clone(), conf.server.ca_digest)
}

/// The trust anchors for https origins that the edge's own connector does not believe; none where no origin needs any.
fn trust_of(conf: &Conf) -> Result<Option<Trust>, String> {
    let passes = conf.edge.origins.iter().any(|origin| origin.pass && origin.urls.iter().any(|url| url.https));
    passes.then(|| Trust::load(conf.server.ca_file.as_deref()).map_err(|why| format!("ca_file: {why}"))).transpose()
}

/// What the edge needs to know of origins, in either mode.
pub fn table(conf: &Conf) -> OriginTable {
    let rules = conf.edge.origins.iter().map(|origin| OriginRules {
        prefix: origin.prefix.clone(),
        paths: origin.urls.iter().map(|url| url.path.clone()).collect(),
        keep_query: origin.query == QueryPolicy::Keep,
        pass: origin.pass,
        ignore_client_cache_control: origin.caching.ignore_client_cache_control,
        caching: caching(&origin.caching),
    });
    // What an origin once filled that the conf has no longer is served as long as it says itself that it is fresh.
    let none = CachingConf {
        default_ttl: Duration::ZERO,
        negative_ttl: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        store_set_cookie: false,
    };
    let none = OriginRules {
        prefix: String::new(),
        paths: Vec::new(),
        keep_query: false,
        pass: false,
        ignore_client_cache_control: false,
        caching: none,
    };
    OriginTable::new(rules.collect(), none)
}

/// What paths are pinned to.
pub fn lock(pins: &Arc<Pins>) -> Arc<Lock> {
    let hashes = pins.hashes.iter().map(|(path, hash)| (path.clone(), blake3::Hash::from_bytes(*hash)));
    Arc::new(hashes.collect())
}

/// Works on fills, on threads of their own: hashing what comes in must not hold up what goes out.
pub struct Filling {
    started: Mutex<Option<mpsc::UnboundedReceiver<Start>>>,
    /// How long fills that move may go on after a stop was asked for.
    grace: Duration,
}

#[async_trait]
impl BackgroundService for Filling {
    async fn start(&self, shutdown: ShutdownWatch) {
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut started) = started else { return };
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                Some((fills, leased)) = started.recv() => {
                    running.spawn(work(fills, leased, shutdown.clone(), self.grace));
                }
                Some(_) = running.join_next() => {}
                () = stopped(shutdown.clone()) => break,
            }
        }
        // What was opened a moment ago ends at once, and tells its readers so.
        while let Ok((fills, leased)) = started.try_recv() {
            running.spawn(work(fills, leased, shutdown.clone(), self.grace));
        }
        while running.join_next().await.is_some() {}
    }
}

/// Work on fills until the process stops, or until nobody asks for one any more and the last has ended.
async fn work(fills: Arc<Fills>, leased: Leased, shutdown: ShutdownWatch, grace: Duration) {
    let run = || {
        let (fills, leased, shutdown) = (fills.clone(), leased.clone(), shutdown.clone());
        async move {
            faults::panic_here("boot.fills");
            let retired = async {
                leased.ended().await;
                while fills.under_way() > 0 {
                    tokio::time::sleep(LOOK).await;
                }
            };
            let stop = async {
                tokio::select! {
                    () = retired => {}
                    () = stopped(shutdown) => {}
                }
            };
            fills.run(stop, grace).await;
        }
    };
    // The workers have a supervisor of their own; this is for that one.
    supervise::task(Component::FillWorker, run).await;
}

async fn stopped(mut shutdown: ShutdownWatch) {
    while !*shutdown.borrow() && shutdown.changed().await.is_ok() {}
}

fn fills_conf(conf: &Conf) -> FillsConf {
    let fill = &conf.edge.fill;
    FillsConf {
        queue: fill.queue,
        workers: fill.workers,
        max_object_bytes: fill.max_object_bytes,
        range_fill_max: fill.range_fill_max,
        max_passthrough: fill.max_passthrough,
        hash_on_runtime: fill.hash_on_runtime,
        finish_max: fill.finish_max,
        chunk_bytes: conf.edge.http.chunk_bytes,
        origins: conf.edge.origins.iter().map(fill_rules).collect(),
        lock: conf.edge.pins.as_ref().map(|pins| (*lock(pins)).clone()),
    }
}

fn fill_rules(origin: &conf::OriginConf) -> fill::OriginRules {
    fill::OriginRules {
        prefix: origin.prefix.clone(),
        label: if origin.prefix.is_empty() { "/".to_owned() } else { origin.prefix.clone() },
        keep_query: origin.query == QueryPolicy::Keep,
        caching: caching(&origin.caching),
        forward: origin.forward.clone(),
    }
}

fn caching(conf: &conf::OriginCaching) -> CachingConf {
    CachingConf {
        default_ttl: conf.default_ttl,
        negative_ttl: conf.negative_ttl,
        stale_if_error: conf.stale_if_error,
        store_set_cookie: conf.store_set_cookie,
    }
}

fn origins_conf(conf: &Conf) -> OriginsConf {
    let fill = &conf.edge.fill;
    OriginsConf {
        origins: conf.edge.origins.iter().map(origin_conf).collect(),
        name: fill.name.clone(),
        version: VERSION.to_owned(),
        contact: fill.contact.clone(),
        timeouts: origin::Timeouts {
            connect: fill.connect_timeout,
            read: fill.read_timeout,
            total: fill.total_timeout,
            min_rate: fill.min_rate,
        },
        retry: origin::RetryConf {
            base: fill.retry.base,
            max: fill.retry.max,
            count: fill.retry.count,
            jitter: fill.retry.jitter,
            statuses: fill.retry.retry_on.iter().filter_map(status).collect(),
            timeouts: fill.retry.retries(RetryOn::Timeout),
            budget: fill.retry.budget_percent,
        },
        circuit: origin::CircuitConf { failures: fill.circuit.failures, open_for: fill.circuit.open_for },
        dns_ttl: fill.dns_ttl,
        target: allow::target,
        refuse_address: allow::refused_address,
    }
}

fn status(on: &RetryOn) -> Option<u16> {
    match on {
        RetryOn::Status(status) => Some(*status),
        RetryOn::Timeout => None,
    }
}

fn origin_conf(origin: &conf::OriginConf) -> origin::OriginConf {
    let urls = origin.urls.iter().map(|url| origin::OriginUrl {
        https: url.https,
        host: match &url.host {
            allow::Host::Dns(name) => origin::Host::Name(name.clone()),
            allow::Host::V4(address) => origin::Host::Ip((*address).into()),
            allow::Host::V6(address) => origin::Host::Ip((*address).into()),
        },
        port: url.port,
        path: url.path.clone(),
    });
    origin::OriginConf {
        prefix: origin.prefix.clone(),
        urls: urls.collect(),
        allow_private: origin.allow_private,
        headers: origin.headers.clone(),
    }
}
