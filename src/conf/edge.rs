//! `edge`: where assets and metrics are served, and the sections below it.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::read::Reader;
use super::url::base_url;
use super::value::{Choice, Converted, address, text, time};
use super::yaml::Node;
use super::{AdminConf, BindConf, CasConf, FillConf, HttpConf, IngressConf, LogConf, OriginConf, PackConf, Pins};
use super::{admin, bind, cas, fill, http, ingress, kind, log, origins, packs, pins};

/// Everything below `edge`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Listeners of assets: at least one, no address twice.
    pub bind: Vec<BindConf>,
    /// Address of metrics and probes.
    pub metrics: Option<SocketAddr>,
    /// Where misses go.
    pub mode: Mode,
    /// How long an upgrade may take until the new process serves.
    pub upgrade_timeout: Duration,
    /// Base of absolute URLs, without a trailing slash.
    pub public_url: Option<String>,
    /// Packs, no two of one name.
    pub packs: Vec<PackConf>,
    /// Where misses go in live mode, no two of one prefix.
    pub origins: Vec<OriginConf>,
    /// The content-addressed store.
    pub cas: CasConf,
    /// What paths must be, from the lock file.
    pub pins: Option<Arc<Pins>>,
    /// What a fetch from an origin may cost.
    pub fill: FillConf,
    /// What a client may cost.
    pub ingress: IngressConf,
    /// How answers look.
    pub http: HttpConf,
    /// What the admin listener lets do.
    pub admin: AdminConf,
    /// What is logged.
    pub log: LogConf,
}

/// Listeners that one message can hand over, as in Pingora.
pub const MAX_LISTENERS: usize = 32;

/// Where misses go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nowhere: no packet leaves the machine.
    Offline,
    /// To the origin of the longest matching prefix.
    Live,
}

impl Edge {
    /// What is allowed and hardly meant, one sentence each without a full stop.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let nameless = self.public_url.is_none() && self.http.hosts.is_empty() && !self.packs.is_empty();
        let addresses = || self.bind.iter().map(|bind| bind.addr);
        if let Some(address) = addresses().find(|address| nameless && address.ip().is_unspecified()) {
            warnings.push(format!(
                "edge.bind is {address}, which names no host for the URLs in TileJSON; set edge.public_url or edge.http.hosts"
            ));
        }
        match self.mode {
            Mode::Live if self.origins.is_empty() => {
                warnings.push("edge.mode is live, and without edge.origins every miss is a 404".into());
            }
            Mode::Offline if !self.origins.is_empty() => {
                warnings
                    .push("edge.mode is offline, so edge.origins is ignored; set it to live, or leave them out".into());
            }
            Mode::Live if self.fill.max_object_bytes > self.cas.max_bytes => warnings.push(
                "edge.fill.max_object_bytes is more than edge.cas.max_bytes, so the largest objects are never stored"
                    .into(),
            ),
            _ => {}
        }
        self.origins.iter().for_each(|origin| warn_of(origin, &mut warnings));
        warnings
    }

    /// The same of the certificates at `now`, whose files are read once more.
    pub fn certificate_warnings(&self, now: SystemTime) -> Vec<String> {
        let mut certificates: Vec<_> = self.bind.iter().flat_map(|bind| &bind.tls).collect();
        let mut seen = HashSet::new();
        certificates.retain(|certificate| seen.insert(*certificate));
        certificates
            .iter()
            .filter_map(|certificate| certificate.load().ok())
            .flat_map(|found| found.warnings(now))
            .collect()
    }
}

/// What is hardly meant with an origin.
fn warn_of(origin: &OriginConf, warnings: &mut Vec<String>) {
    for url in &origin.urls {
        if !url.path.ends_with('/') {
            let became = url.target("name", None);
            warnings.push(format!("{url} has no slash at its end, so that {}name is {became} there", origin.prefix));
        }
        if !url.https && !origin.headers.is_empty() && !origin.allow_private {
            warnings.push(format!("{url} is no https URL, so the origin's headers are sent in clear text"));
        }
    }
}

impl Choice for Mode {
    const ALL: &'static [(&'static str, Mode)] = &[("offline", Mode::Offline), ("live", Mode::Live)];
}

/// Read the section.
pub(super) fn parse(r: &mut Reader) -> Option<Edge> {
    let bind = bind::parse(r);
    let metrics = r.optional("edge.metrics", metrics).map(Option::flatten);
    let mode = r.choice("edge.mode");
    let upgrade_timeout = r.get("edge.upgrade_timeout", time);
    let public_url = r.optional("edge.public_url", base_url);
    if let (Some(bind), Some(metrics)) = (&bind, metrics.flatten())
        && metrics.port() != 0
        && bind.iter().any(|bind| bind.addr == metrics)
    {
        // On port 0 each takes one of its own.
        r.contradiction("edge.metrics", &format!("is {metrics}, as `edge.bind`; allowed: an address of its own"));
    }
    let packs = packs::parse(r);
    let origins = origins::parse(r);
    let cas = cas::parse(r);
    let pins = pins::parse(r);
    let fill = fill::parse(r);
    let ingress = ingress::parse(r);
    let proxied = bind.iter().flatten().any(|bind| bind.proxy_protocol);
    if proxied && ingress.as_ref().is_some_and(|ingress| ingress.trusted_proxies.is_empty()) {
        r.contradiction(
            "edge.bind",
            "has `proxy_protocol` on a listener, and `edge.ingress.trusted_proxies` has nobody to believe; allowed: both, or none",
        );
    }
    let http = http::parse(r);
    let admin = admin::parse(r);
    if metrics == Some(None) && admin.as_ref().is_some_and(|admin| admin.token.is_some()) {
        r.contradiction("edge.admin.token", "is set, and `edge.metrics` is not; allowed: both, or none");
    }
    let log = log::parse(r);
    Some(Edge {
        bind: bind?,
        metrics: metrics?,
        mode: mode?,
        upgrade_timeout: upgrade_timeout?,
        public_url: public_url?,
        packs: packs?,
        origins: origins?,
        cas: cas?,
        pins: pins?,
        fill: fill?,
        ingress: ingress?,
        http: http?,
        admin: admin?,
        log: log?,
    })
}

/// `off` is for the shell, where `null` is an odd word to type.
fn metrics(kind: &kind::Kind, node: &Node) -> Converted<Option<SocketAddr>> {
    match text(kind, node)? {
        "off" => Ok(None),
        _ => address(kind, node).map(Some),
    }
}
