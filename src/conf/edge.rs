//! `edge`: where assets and metrics are served, and the sections below it.

use std::net::SocketAddr;

use super::read::Reader;
use super::url::base_url;
use super::value::{Choice, Converted, Wrong, address, choice, text};
use super::yaml::Node;
use super::{CasConf, HttpConf, IngressConf, LogConf, PackConf, cas, http, ingress, kind, log, packs};

/// Everything below `edge`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Addresses of assets: at least one, none twice.
    pub bind: Vec<SocketAddr>,
    /// Address of metrics and probes.
    pub metrics: Option<SocketAddr>,
    /// Where misses go.
    pub mode: Mode,
    /// Base of absolute URLs, without a trailing slash.
    pub public_url: Option<String>,
    /// Packs, no two of one name.
    pub packs: Vec<PackConf>,
    /// The content-addressed store.
    pub cas: CasConf,
    /// What a client may cost.
    pub ingress: IngressConf,
    /// How answers look.
    pub http: HttpConf,
    /// What is logged.
    pub log: LogConf,
}

/// Where misses go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nowhere: no packet leaves the machine.
    Offline,
}

impl Edge {
    /// What is allowed and hardly meant, one sentence each without a full stop.
    pub fn warnings(&self) -> Vec<String> {
        let nameless = self.public_url.is_none() && self.http.hosts.is_empty() && !self.packs.is_empty();
        let unspecified = self.bind.iter().find(|address| nameless && address.ip().is_unspecified());
        let warn = |address: &SocketAddr| {
            format!(
                "edge.bind is {address}, which names no host for the URLs in TileJSON; set edge.public_url or edge.http.hosts"
            )
        };
        unspecified.map(warn).into_iter().collect()
    }
}

impl Choice for Mode {
    const ALL: &'static [(&'static str, Mode)] = &[("offline", Mode::Offline)];
}

/// Read the section.
pub(super) fn parse(r: &mut Reader) -> Option<Edge> {
    let bind = r.list("edge.bind", address);
    let metrics = r.optional("edge.metrics", metrics).map(Option::flatten);
    let mode = r.get("edge.mode", mode);
    let public_url = r.optional("edge.public_url", base_url);
    if let Some(bind) = &bind {
        check_bind(r, bind, metrics.flatten());
    }
    let packs = packs::parse(r);
    let cas = cas::parse(r);
    let ingress = ingress::parse(r);
    let http = http::parse(r);
    let log = log::parse(r);
    Some(Edge {
        bind: bind?,
        metrics: metrics?,
        mode: mode?,
        public_url: public_url?,
        packs: packs?,
        cas: cas?,
        ingress: ingress?,
        http: http?,
        log: log?,
    })
}

/// Two listeners on one address can't be, except on port 0, where each takes one of its own.
fn check_bind(r: &mut Reader, bind: &[SocketAddr], metrics: Option<SocketAddr>) {
    if bind.is_empty() {
        r.contradiction("edge.bind", "is empty; allowed: at least one address");
    }
    for (index, address) in bind.iter().enumerate().filter(|(_, address)| address.port() != 0) {
        if bind[..index].contains(address) {
            r.contradiction("edge.bind", &format!("has {address} twice; allowed: each address once"));
        }
        if metrics == Some(*address) {
            r.contradiction("edge.metrics", &format!("is {address}, as `edge.bind`; allowed: an address of its own"));
        }
    }
}

/// `off` is for the shell, where `null` is an odd word to type.
fn metrics(kind: &kind::Kind, node: &Node) -> Converted<Option<SocketAddr>> {
    match text(kind, node)? {
        "off" => Ok(None),
        _ => address(kind, node).map(Some),
    }
}

fn mode(kind: &kind::Kind, node: &Node) -> Converted<Mode> {
    match text(kind, node)? {
        "live" => Err(Wrong::new(node, "live mode is not in this version of svc-edge; use `offline`")),
        _ => choice(kind, node),
    }
}
