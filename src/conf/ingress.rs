//! `edge.ingress`: what a client may cost.

use std::time::Duration;

use super::read::Reader;
use super::value::{network, number, size, time};
use crate::rules::client::Network;

/// Bounds on requests and on those who make them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressConf {
    /// From the request's header to the first byte of the answer.
    pub timeout: Duration,
    /// How long a request's header may take, and all handshakes of a connection.
    pub header_timeout: Duration,
    /// How long a client may take nothing of an answer.
    pub write_timeout: Duration,
    /// Bytes a second that a client takes at least while an answer waits for it.
    pub min_send_rate: Option<u64>,
    /// How long a connection may wait for a request; `None` closes it after the first answer.
    pub keepalive: Option<Duration>,
    /// Requests of a connection.
    pub keepalive_requests: Option<u32>,
    /// Connections at a time.
    pub max_connections: usize,
    /// Connections of one client at a time.
    pub max_connections_per_client: Option<u32>,
    /// How long connections are still accepted after a stop was asked for.
    pub shutdown_delay: Duration,
    /// Bound on a request's header block, in bytes; 431 above (RFC 6585 §5).
    pub header_bytes: usize,
    /// Bound on a request's target, in bytes; 414 above (RFC 9110 §15.5.15). At most `header_bytes`.
    pub uri_bytes: usize,
    /// How much of an unexpected request body is read away, in bytes.
    pub body_bytes: u64,
    /// What is admitted.
    pub shed: ShedConf,
    /// Networks of proxies whose X-Forwarded-For and PROXY protocol are believed.
    pub trusted_proxies: Vec<Network>,
}

/// How much is admitted; `None` is any amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShedConf {
    /// Requests a second of the whole instance; 429 above.
    pub rps_limit: Option<u64>,
    /// Requests a second of each client; 429 above.
    pub rps_per_client: Option<u64>,
    /// Requests at a time; 503 above.
    pub max_inflight: Option<u32>,
}

/// Read the section.
pub(super) fn parse(r: &mut Reader) -> Option<IngressConf> {
    let timeout = r.get("edge.ingress.timeout", time);
    let header_timeout = r.get("edge.ingress.header_timeout", time);
    let write_timeout = r.get("edge.ingress.write_timeout", time);
    let min_send_rate = r.optional("edge.ingress.min_send_rate", size);
    let keepalive = r.optional("edge.ingress.keepalive", time);
    let keepalive_requests = r.optional("edge.ingress.keepalive_requests", number);
    let max_connections = r.count("edge.ingress.max_connections");
    let max_connections_per_client = r.optional("edge.ingress.max_connections_per_client", number);
    let shutdown_delay = r.get("edge.ingress.shutdown_delay", time);
    let header_bytes = r.length("edge.ingress.header_bytes");
    let uri_bytes = r.length("edge.ingress.uri_bytes");
    let body_bytes = r.get("edge.ingress.body_bytes", size);
    let shed = shed(r);
    let trusted_proxies = r.list("edge.ingress.trusted_proxies", network);
    if let (Some(header), Some(uri)) = (header_bytes, uri_bytes)
        && uri > header
    {
        // The target is part of the header block.
        let path =
            if r.differs("edge.ingress.uri_bytes") { "edge.ingress.uri_bytes" } else { "edge.ingress.header_bytes" };
        r.contradiction(path, "leaves `uri_bytes` larger than `header_bytes`; allowed: at most as large");
    }
    Some(IngressConf {
        timeout: timeout?,
        header_timeout: header_timeout?,
        write_timeout: write_timeout?,
        min_send_rate: min_send_rate?,
        keepalive: keepalive?,
        keepalive_requests: keepalive_requests?.map(bounded),
        max_connections: max_connections?,
        max_connections_per_client: max_connections_per_client?.map(bounded),
        shutdown_delay: shutdown_delay?,
        header_bytes: header_bytes?,
        uri_bytes: uri_bytes?,
        body_bytes: body_bytes?,
        shed: shed?,
        trusted_proxies: trusted_proxies?,
    })
}

fn shed(r: &mut Reader) -> Option<ShedConf> {
    let rps_limit = r.optional("edge.ingress.rps_limit", number);
    let rps_per_client = r.optional("edge.ingress.rps_per_client", number);
    let max_inflight = r.optional("edge.ingress.max_inflight", number).map(|max| max.map(bounded));
    Some(ShedConf { rps_limit: rps_limit?, rps_per_client: rps_per_client?, max_inflight: max_inflight? })
}

/// The table bounds it below.
fn bounded(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
