//! Conf from outside: every key, every layer, every error at its exact place.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use svc_edge::conf::table::{KEYS, Key};
use svc_edge::conf::{
    AccessLog, AdminConf, BindConf, CasBacking, CasConf, CertConf, CircuitConf, Conf, ConfErrors, CorsConf, DecodeConf,
    Durability, Edge, FillConf, Flags, HttpConf, IngressConf, Kind, LogConf, LogFormat, MissingTile, Mode,
    OriginCaching, OriginConf, PackConf, QueryPolicy, RetryConf, RetryOn, ServerSection, ShedConf, Verify, docs,
    resolve_cas,
};
use svc_edge::rules::allow::OriginUrl;

mod bind;
mod documents;
mod errors;
mod hostile;
mod keys;
mod layers;
mod live;
mod origins;
mod packs;
mod pins;
mod reload;
mod secrets;

type Loaded = Result<Conf, ConfErrors>;

fn file(text: &str) -> Loaded {
    load(text, &[], &Flags::default())
}

fn load(text: &str, environment: &[(&str, &str)], flags: &Flags) -> Loaded {
    let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Conf::from_parts(Some(("c.yaml", text.as_bytes())), environment, flags)
}

fn environment(name: &str, value: &str) -> Loaded {
    Conf::from_parts(None, [(OsString::from(name), OsString::from(value))], &Flags::default())
}

/// The lines of the errors that a conf must have.
fn errors(loaded: Loaded) -> Vec<String> {
    loaded.unwrap_err().to_string().lines().map(str::to_owned).collect()
}

/// The only error, which begins with `head` and holds each of `parts`.
#[track_caller]
fn one_error(loaded: Loaded, head: &str, parts: &[&str]) {
    let lines = errors(loaded);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with(head), "{} should begin with {head}", lines[0]);
    for part in parts {
        assert!(lines[0].contains(part), "{} should hold {part}", lines[0]);
    }
}

/// What the items of a section can't be without, a line each.
fn needed(section: &str) -> &'static [&'static str] {
    match section {
        "edge.bind[]" => &["addr: 127.0.0.1:1"],
        "edge.bind[].tls[]" => &["cert: tests/conf/fixtures/cert.pem", "key: tests/conf/fixtures/key.pem"],
        "edge.packs[]" => &["path: p.pmtiles"],
        _ => &["url: http://o.example/"],
    }
}

/// A file with one key at its nested place: block style, two spaces a level; and the line and column of the key. Items of lists have
/// the keys beside it that they can't be without.
fn document(key: &Key, name: &str, value: &str) -> (String, usize, usize) {
    let mut text = String::new();
    let mut indent = String::new();
    let mut section = String::new();
    let mut dash = false;
    for word in key.section().split('.').filter(|word| !word.is_empty()) {
        section = if section.is_empty() { word.to_owned() } else { format!("{section}.{word}") };
        text += &format!("{indent}{}:\n", word.trim_end_matches("[]"));
        indent += "  ";
        dash = word.ends_with("[]");
        if dash {
            let own = |line: &&&str| section == key.section() && line.starts_with(&format!("{name}: "));
            for line in needed(&section).iter().filter(|line| !own(line)) {
                text += &format!("{indent}{} {line}\n", if dash { "-" } else { " " });
                dash = false;
            }
            indent += "  ";
        }
    }
    let line = text.lines().count() + 1;
    let before = if dash { format!("{}- ", &indent[2..]) } else { indent };
    text += &format!("{before}{name}: {value}\n");
    (text, line, before.len() + 1)
}

fn defaults() -> Conf {
    let server = ServerSection {
        version: 1,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        listener_tasks_per_fd: 1,
        work_stealing: true,
        max_blocking_threads: 512,
        blocking_threads_ttl_seconds: 10,
        fast_timeout_to_tokio_threshold_seconds: Some(900),
        grace_period_seconds: 10,
        graceful_shutdown_timeout_seconds: 5,
        daemon: false,
        daemon_ready_timeout_seconds: 600,
        error_log: None,
        pid_file: None,
        upgrade_sock: Some("var/run/upgrade.sock".into()),
        ca_file: None,
        ca_digest: None,
    };
    let edge = Edge {
        bind: vec![bind("127.0.0.1:8080")],
        metrics: Some("127.0.0.1:9090".parse().unwrap()),
        mode: Mode::Offline,
        upgrade_timeout: Duration::from_secs(60),
        public_url: None,
        packs: vec![],
        origins: vec![],
        cas: CasConf {
            dir: "var/cas".into(),
            max_bytes: 10 << 30,
            max_objects: 1_000_000,
            memory_bytes: 128 << 20,
            store: CasBacking::Disk,
            durability: Durability::Verify,
        },
        pins: None,
        fill: fill_defaults(),
        ingress: IngressConf {
            timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(10),
            min_send_rate: Some(1024),
            keepalive: Some(Duration::from_secs(60)),
            keepalive_requests: Some(10_000),
            max_connections: 10_000,
            max_connections_per_client: None,
            shutdown_delay: Duration::ZERO,
            header_bytes: 32 << 10,
            uri_bytes: 8 << 10,
            body_bytes: 64 << 10,
            shed: ShedConf { rps_limit: Some(500), rps_per_client: None, max_inflight: Some(512) },
            trusted_proxies: vec![],
        },
        http: HttpConf {
            hsts: true,
            multi_range: false,
            direct: true,
            chunk_bytes: 64 << 10,
            cache_control: "public, max-age=300".into(),
            hosts: vec![],
            decode: DecodeConf { ratio: 10, bytes: 10 << 20 },
            cors: CorsConf::Any,
        },
        admin: AdminConf { token: None },
        log: LogConf {
            format: LogFormat::Json,
            level: log::LevelFilter::Info,
            access: AccessLog::Sampled,
            sample: 100,
            audit: None,
        },
    };
    Conf { server, edge }
}

fn fill_defaults() -> FillConf {
    FillConf {
        queue: 512,
        workers: 64,
        connect_timeout: Duration::from_secs(2),
        read_timeout: Duration::from_secs(5),
        total_timeout: Duration::from_secs(60),
        min_rate: Some(64 << 10),
        max_object_bytes: 1 << 30,
        range_fill_max: 64 << 20,
        max_passthrough: 256,
        finish_max: None,
        hash_on_runtime: true,
        contact: None,
        name: "svc-edge".into(),
        retry: RetryConf {
            base: Duration::from_millis(50),
            max: Duration::from_millis(800),
            count: 3,
            jitter: true,
            retry_on: vec![RetryOn::Status(503), RetryOn::Status(504), RetryOn::Timeout],
            budget_percent: 20,
        },
        circuit: CircuitConf { failures: 5, open_for: Duration::from_secs(10) },
        dns_ttl: Duration::from_secs(30),
    }
}

/// A listener in clear text.
fn bind(address: &str) -> BindConf {
    BindConf::plain(address.parse().unwrap())
}

/// The certificate of the fixtures.
fn certificate() -> CertConf {
    CertConf { cert: "tests/conf/fixtures/cert.pem".into(), key: "tests/conf/fixtures/key.pem".into() }
}

/// An origin with every key at its default.
fn origin(prefix: &str, url: &str) -> OriginConf {
    OriginConf {
        prefix: prefix.into(),
        urls: vec![OriginUrl::parse(url).unwrap()],
        allow_private: false,
        query: QueryPolicy::Drop,
        pass: false,
        caching: OriginCaching {
            default_ttl: Duration::from_secs(3600),
            negative_ttl: Duration::from_secs(10),
            stale_if_error: Duration::from_secs(86_400),
            store_set_cookie: false,
            ignore_client_cache_control: false,
        },
        headers: vec![],
        forward: vec!["accept".parse().unwrap(), "accept-language".parse().unwrap()],
    }
}

fn pack(path: &str, name: &str) -> PackConf {
    PackConf {
        path: path.into(),
        name: name.into(),
        verify: Verify::Header,
        missing_tile: MissingTile::Auto,
        cache_control: None,
    }
}
