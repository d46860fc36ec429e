//! From the conf's origins to what fills them: each part gets the little it needs to know.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora::services::background::BackgroundService;

use crate::conf::version::VERSION;
use crate::conf::{self, Conf, Mode, Pins, QueryPolicy, RetryOn};
use crate::edge::{Live, Lock, OriginRules, OriginTable};
use crate::fill::{self, Fills, FillsConf};
use crate::origin::{self, Origins, OriginsConf};
use crate::rules::allow;
use crate::rules::caching::CachingConf;
use crate::store::cas::Cas;

/// What fills misses in live mode; `None` offline, where nothing that could connect is even made.
pub fn open(conf: &Conf, cas: &Arc<Cas>, server_conf: &Arc<ServerConf>) -> Option<Live> {
    if conf.edge.mode != Mode::Live {
        return None;
    }
    let origins = Origins::new(origins_conf(conf), server_conf);
    let fills = Fills::new(fills_conf(conf), cas.clone(), origins.clone());
    Some(Live { fills, origins })
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

/// Runs the fills on threads of their own: hashing what comes in must not hold up what goes out.
pub struct Filling {
    pub fills: Arc<Fills>,
    /// How long fills that move may go on after a stop was asked for.
    pub grace: Duration,
}

#[async_trait]
impl BackgroundService for Filling {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let stop = async move { while !*shutdown.borrow() && shutdown.changed().await.is_ok() {} };
        self.fills.run(stop, self.grace).await;
    }
}

fn fills_conf(conf: &Conf) -> FillsConf {
    let fill = &conf.edge.fill;
    FillsConf {
        queue: fill.queue,
        workers: fill.workers,
        max_object_bytes: fill.max_object_bytes,
        range_fill_max: fill.range_fill_max,
        max_passthrough: fill.max_passthrough,
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
