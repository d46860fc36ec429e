//! URLs, hosts and origins of the conf.

use http::Uri;
use http::uri::Authority;

use super::kind::Kind;
use super::value::{Converted, Wrong, echo, text};
use super::yaml::Node;

/// The base of absolute URLs, without its trailing slash: http or https, a host, no user, no query, no fragment.
pub(super) fn base_url(kind: &Kind, node: &Node) -> Converted<String> {
    let text = text(kind, node)?;
    let wrong = |why: &str| Wrong::new(node, format!("`{}` {why}", echo(text)));
    // `Uri` drops a fragment without a word.
    if text.contains('#') {
        return Err(wrong("has a fragment"));
    }
    let url: Uri = text.parse().map_err(|_| wrong("is no URL"))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(wrong("is no http or https URL"));
    }
    if url.query().is_some() {
        return Err(wrong("has a query"));
    }
    match url.authority() {
        Some(authority) if is_host(authority) => Ok(text.trim_end_matches('/').to_owned()),
        Some(authority) if authority.as_str().contains('@') => Err(wrong("has a user")),
        _ => Err(wrong("has no host")),
    }
}

/// A `Host` value in lower case: hosts compare without case (RFC 9110 §4.2.3).
pub(super) fn host(kind: &Kind, node: &Node) -> Converted<String> {
    let text = text(kind, node)?;
    match text.parse::<Authority>() {
        Ok(authority) if is_host(&authority) => Ok(text.to_ascii_lowercase()),
        _ => Err(Wrong::new(node, format!("`{}` is no host", echo(text)))),
    }
}

/// An origin as browsers send it (RFC 6454 §6.2): scheme and host in lower case, no path; or `*`.
pub(super) fn web_origin(kind: &Kind, node: &Node) -> Converted<String> {
    let text = text(kind, node)?;
    if text == "*" {
        return Ok(text.to_owned());
    }
    let wrong = || Wrong::new(node, format!("`{}` is no origin", echo(text)));
    let (scheme, host) = text.split_once("://").ok_or_else(wrong)?;
    let scheme_is_one = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    match host.parse::<Authority>() {
        Ok(authority) if scheme_is_one && is_host(&authority) => Ok(text.to_ascii_lowercase()),
        _ => Err(wrong()),
    }
}

/// Whether an authority is a host with or without a port from 1, and nothing else.
fn is_host(authority: &Authority) -> bool {
    let host = authority.host();
    let named = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')),
    };
    // What precedes the host is a user.
    let Some(rest) = authority.as_str().strip_prefix(host) else { return false };
    let ported = match rest.strip_prefix(':') {
        Some(port) => port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0),
        None => rest.is_empty(),
    };
    named && ported
}
