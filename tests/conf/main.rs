//! Conf from outside: every key, every layer, every error at its exact place.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use svc_edge::conf::table::{KEYS, Key};
use svc_edge::conf::{
    AccessLog, CasBacking, CasConf, Conf, ConfErrors, CorsConf, DecodeConf, Durability, Edge, Flags, HttpConf,
    IngressConf, Kind, LogConf, LogFormat, MissingTile, Mode, PackConf, ServerSection, Verify, docs, resolve_cas,
};

mod documents;
mod errors;
mod hostile;
mod keys;
mod layers;
mod packs;

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

/// A file with one key at its nested place: block style, two spaces a level. Items of `edge.packs[]` have a path beside it.
fn document(key: &Key, name: &str, value: &str) -> (String, usize, usize) {
    let mut text = String::new();
    let sections: Vec<_> = key.section().split('.').filter(|section| !section.is_empty()).collect();
    let mut indent = String::new();
    for section in &sections {
        text += &format!("{indent}{}:\n", section.trim_end_matches("[]"));
        indent += "  ";
        if section.ends_with("[]") {
            text += &format!("{indent}- path: p.pmtiles\n");
            indent += "  ";
        }
    }
    let line = text.lines().count() + 1;
    text += &format!("{indent}{name}: {value}\n");
    (text, line, indent.len() + 1)
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
    };
    let edge = Edge {
        bind: vec!["127.0.0.1:8080".parse().unwrap()],
        metrics: Some("127.0.0.1:9090".parse().unwrap()),
        mode: Mode::Offline,
        public_url: None,
        packs: vec![],
        cas: CasConf {
            dir: "var/cas".into(),
            max_bytes: 10 << 30,
            max_objects: 1_000_000,
            memory_bytes: 128 << 20,
            store: CasBacking::Disk,
            durability: Durability::Verify,
        },
        ingress: IngressConf {
            timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(10),
            min_send_rate: Some(1024),
            keepalive: Some(Duration::from_secs(60)),
            header_bytes: 32 << 10,
            uri_bytes: 8 << 10,
            body_bytes: 64 << 10,
        },
        http: HttpConf {
            multi_range: false,
            chunk_bytes: 64 << 10,
            cache_control: "public, max-age=300".into(),
            hosts: vec![],
            decode: DecodeConf { ratio: 10, bytes: 10 << 20 },
            cors: CorsConf::Any,
        },
        log: LogConf {
            format: LogFormat::Json,
            level: log::LevelFilter::Info,
            access: AccessLog::Sampled,
            sample: 100,
        },
    };
    Conf { server, edge }
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
