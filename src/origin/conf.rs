//! What the origins need to be told: small structs of their own, filled from the checked conf by `boot`.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

/// Every origin, and what holds for all of them.
pub struct OriginsConf {
    /// The origins, in the order of the conf: `Wanted::origin` is a place in this list.
    pub origins: Vec<OriginConf>,
    /// The token by which Via (RFC 9110 §7.6.3) and CDN-Loop (RFC 8586) know this edge.
    pub name: String,
    /// The version in our User-Agent.
    pub version: String,
    /// Whom an origin's operator may write to: a URL or a mail address, part of our User-Agent.
    pub contact: Option<String>,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// When a request is tried again.
    pub retry: RetryConf,
    /// When an origin is left alone.
    pub circuit: CircuitConf,
    /// How long the addresses of a name are taken for granted.
    pub dns_ttl: Duration,
    /// The request target (RFC 9112 §3.2.1) for the path of a URL, what follows the prefix in the key, decoded, and the raw query.
    pub target: fn(path: &str, rest: &str, query: Option<&str>) -> String,
    /// Why an address may not be asked; the flag says whether private addresses are allowed.
    pub refuse_address: fn(address: IpAddr, allow_private: bool) -> Option<&'static str>,
}

/// One origin.
pub struct OriginConf {
    /// Its prefix as the conf writes it: the label of its metrics.
    pub prefix: String,
    /// Where it is, in the order in which the URLs are tried. Not empty.
    pub urls: Vec<OriginUrl>,
    /// Whether it may be at a private address.
    pub allow_private: bool,
    /// Fields that every request to it has. Values that are secrets are marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// A URL of an origin, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginUrl {
    /// Whether TLS is spoken, with a verified certificate.
    pub https: bool,
    /// The host.
    pub host: Host,
    /// The port, the scheme's default filled in.
    pub port: u16,
    /// The path that replaces the prefix, percent-encoded, beginning with a slash.
    pub path: String,
}

/// The host of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name in DNS: lower-case A-labels, without a dot at its end, not empty.
    Name(String),
    /// An address.
    Ip(IpAddr),
}

/// Deadlines of a request to an origin.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// From the first SYN to the end of the TLS handshake.
    pub connect: Duration,
    /// For each read of the answer and each write of the request.
    pub read: Duration,
    /// From the question to a final header, with every try and every wait between them.
    pub total: Duration,
    /// Bytes a second that a body must bring, over each five seconds of waiting for it. `None` lets it be as slow as `read` allows.
    pub min_rate: Option<u64>,
}

/// When a request is tried again.
#[derive(Clone, Debug)]
pub struct RetryConf {
    /// The wait before the first try after the first one; it doubles from try to try.
    pub base: Duration,
    /// The most that it doubles to.
    pub max: Duration,
    /// Tries after the first.
    pub count: u32,
    /// Whether up to `base` is added by chance, so that edges that fail together don't come back together.
    pub jitter: bool,
    /// Statuses worth another try.
    pub statuses: Vec<u16>,
    /// Whether a timeout is worth another try.
    pub timeouts: bool,
    /// Tries after the first, in percent of all requests to the origin. 0: none at all.
    pub budget: u32,
}

/// When an origin is left alone.
#[derive(Clone, Debug)]
pub struct CircuitConf {
    /// Failures in a row that open the circuit. 0: it never opens.
    pub failures: u32,
    /// How long it stays open at first; it doubles, up to eightfold, while probes fail.
    pub open_for: Duration,
}

impl OriginUrl {
    /// The value of the Host field (RFC 9110 §7.2): without the port where it is the scheme's own.
    pub fn authority(&self) -> String {
        let host = match &self.host {
            Host::Name(name) => name.clone(),
            Host::Ip(IpAddr::V4(address)) => address.to_string(),
            Host::Ip(IpAddr::V6(address)) => format!("[{address}]"),
        };
        let default = if self.https { 443 } else { 80 };
        if self.port == default { host } else { format!("{host}:{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_field_names_the_port_only_where_it_is_not_the_schemes_own() {
        let url = |https, host, port| OriginUrl { https, host, port, path: "/".into() };
        let name = || Host::Name("a.example".into());
        assert_eq!(url(true, name(), 443).authority(), "a.example");
        assert_eq!(url(true, name(), 80).authority(), "a.example:80");
        assert_eq!(url(false, name(), 80).authority(), "a.example");
        assert_eq!(url(false, Host::Ip("::1".parse().unwrap_or([0; 16].into())), 8080).authority(), "[::1]:8080");
        assert_eq!(url(false, Host::Ip([127, 0, 0, 1].into()), 443).authority(), "127.0.0.1:443");
    }
}
