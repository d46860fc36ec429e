//! The allow-list: what the URL of an origin may be, how a key becomes a target there, and whom no fill may reach.
//!
//! Only what the conf names is ever connected to, so a URL has one reading or none: whatever another parser could take for
//! another host is refused. [`refused_address`] then judges what a name resolved to, and [`fields`] which header fields go
//! along. Resolving and connecting are for others.

mod address;
pub mod fields;
#[cfg(test)]
mod tests;

// The types of addresses only: `core` has no sockets.
use core::net::{Ipv4Addr, Ipv6Addr};
use std::fmt;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use percent_encoding::{AsciiSet, utf8_percent_encode};

pub use address::refused_address;

use super::asset_key::{self, KeyError};

/// The longest URL of an origin, in bytes.
pub const MAX_URL_BYTES: usize = 2048;

/// The URL of an origin (RFC 3986, http and https of RFC 9110 §4.2): what stands in place of its prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OriginUrl {
    /// Whether the connection is TLS, with a verified certificate.
    pub https: bool,
    /// The host, in its one spelling.
    pub host: Host,
    /// The port, from 1: where none is written, 443 or 80.
    pub port: u16,
    /// The path, percent-encoded, with its leading slash, and no more: neither query nor fragment, neither empty nor dot segments.
    pub path: String,
}

/// The host of an origin. Its `Display` is that of a URL: an IPv6 address stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name: lower-case A-labels (RFC 5890 §2.3.2.1), no trailing dot, at most 253 bytes.
    Dns(String),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address without a zone.
    V6(Ipv6Addr),
}

/// Why a text is no URL of an origin. None of the texts repeats what was given: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Longer than [`MAX_URL_BYTES`].
    #[error("is longer than {MAX_URL_BYTES} bytes")]
    TooLong,
    /// Browsers drop tabs and newlines, and take a backslash for a slash: others don't.
    #[error("has a space, a control character or a backslash")]
    Character,
    /// Neither `http://` nor `https://`.
    #[error("is no http or https URL")]
    Scheme,
    /// Something before an `@`: a user, or a host that is meant to be taken for one.
    #[error("has a user")]
    User,
    /// No host.
    #[error("has no host")]
    NoHost,
    /// A percent sign in the host: what it stands for depends on who decodes it.
    #[error("has a percent sign in its host")]
    EscapedHost,
    /// `origin.example.` is another text for the same name, and other certificates.
    #[error("has a dot behind its host")]
    TrailingDot,
    /// Digits that some resolvers take for an address: `0x7f.1`, `0177.0.0.1`, `2130706433`.
    #[error("has an IPv4 address that is no dotted quad")]
    NoQuad,
    /// Brackets around what is no IPv6 address, or around one with a zone.
    #[error("has brackets without an IPv6 address inside")]
    NoV6,
    /// No name by UTS 46: a false A-label, a forbidden character, a label over 63 bytes.
    #[error("has a host that is no name")]
    NoName,
    /// Not 1 to 65535, or nothing behind the colon.
    #[error("has a port that is none")]
    Port,
    /// A `?`.
    #[error("has a query")]
    Query,
    /// A `#`.
    #[error("has a fragment")]
    Fragment,
    /// A character that a path can't hold unless it is percent-encoded (RFC 3986 §3.3).
    #[error("has a character in its path that must be percent-encoded")]
    PathCharacter,
    /// A path that no key could be below.
    #[error("has a path that is none: {0}")]
    Path(KeyError),
}

impl OriginUrl {
    /// Read a URL. The scheme and the host are taken without regard to case, the host in its A-labels; the path stays as it
    /// is, and an empty one is `/` (RFC 9110 §4.2.3).
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err(UrlError::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let https = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => true,
            _ if scheme.eq_ignore_ascii_case("http") => false,
            _ => return Err(UrlError::Scheme),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlError::User);
        }
        let (host, port) = host_and_port(authority)?;
        let host = parse_host(host)?;
        let port = port.map_or(Ok(default_port(https)), parse_port)?;
        Ok(Self { https, host, port, path: parse_path(path)? })
    }

    /// The origin-form (RFC 9112 §3.2.1) of what is asked of this origin: see [`target`].
    pub fn target(&self, rest: &str, query: Option<&str>) -> String {
        target(&self.path, rest, query)
    }

    /// What the Host field says (RFC 9110 §7.2): the port only where it isn't the scheme's own.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if *port == default_port(self.https) { host.to_string() } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for OriginUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => write!(f, "[{address}]"),
        }
    }
}

/// What a request line says for a key: `path` of the URL in place of the prefix, `rest` of the key behind it, percent-encoded
/// (RFC 3986 §3.3), then the client's raw query where the origin gets it.
///
/// `rest` is of a canonical key ([`asset_key`]), so it has no dot segments, and its `?`, `#` and `%` are encoded: the target
/// begins with `path`, and what follows decodes to `rest` and nothing else. Of the query, what can't stand in one is encoded.
pub fn target(path: &str, rest: &str, query: Option<&str>) -> String {
    let mut target = String::with_capacity(path.len() + rest.len() + query.map_or(0, |query| query.len() + 1));
    target.push_str(path);
    target.push_str(&asset_key::encode(rest));
    if let Some(query) = query {
        target.push('?');
        target.extend(utf8_percent_encode(query, QUERY));
    }
    target
}

/// The longest of `prefixes` that `key` begins with: its place among them, and the rest of the key. Each ends in a slash, or
/// is empty and matches every key.
pub fn longest_prefix<'p, 'k>(prefixes: impl IntoIterator<Item = &'p str>, key: &'k str) -> Option<(usize, &'k str)> {
    let matching = prefixes.into_iter().enumerate().filter_map(|(at, prefix)| Some((at, key.strip_prefix(prefix)?)));
    matching.min_by_key(|(_, rest)| rest.len())
}

/// What a query leaves alone: `pchar`, `/` and `?` (RFC 3986 §3.4), and the percent sign, as it comes encoded already.
const QUERY: &AsciiSet = &asset_key::PATH.remove(b'?').remove(b'%');

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// The host, with its brackets, and what follows the colon behind it.
fn host_and_port(authority: &str) -> Result<(&str, Option<&str>), UrlError> {
    let end = match authority.strip_prefix('[') {
        Some(inside) => inside.find(']').ok_or(UrlError::NoV6)? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, behind) = authority.split_at(end);
    match behind.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if behind.is_empty() => Ok((host, None)),
        None => Err(UrlError::NoV6),
    }
}

fn parse_port(digits: &str) -> Result<u16, UrlError> {
    let plain = (1..=5).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|port| plain && *port > 0).ok_or(UrlError::Port)
}

fn parse_host(text: &str) -> Result<Host, UrlError> {
    if text.is_empty() {
        return Err(UrlError::NoHost);
    }
    if let Some(inside) = text.strip_prefix('[') {
        let address = inside.strip_suffix(']').and_then(|inside| inside.parse().ok());
        return address.map(Host::V6).ok_or(UrlError::NoV6);
    }
    if text.contains('%') {
        return Err(UrlError::EscapedHost);
    }
    // Every dot of UTS 46: the full stop, and the three that it maps to one.
    if text.ends_with(['.', '\u{3002}', '\u{ff0e}', '\u{ff61}']) {
        return Err(UrlError::TrailingDot);
    }
    let ascii = Uts46::new()
        .to_ascii(text.as_bytes(), AsciiDenyList::URL, Hyphens::CheckFirstLast, DnsLength::Verify)
        .map_err(|_| UrlError::NoName)?;
    if ends_in_a_number(&ascii) {
        // Judged as it was written: wide digits that map to an address are a trick, and `core` reads no other spelling.
        return text.parse().map(Host::V4).map_err(|_| UrlError::NoQuad);
    }
    // More than letters, digits and hyphens (RFC 952, RFC 1123 §2.1): names of buckets have underscores.
    let named = ascii.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'));
    if named { Ok(Host::Dns(ascii.into_owned())) } else { Err(UrlError::NoName) }
}

/// Whether resolvers may take `host` for an IPv4 address: the last label is digits, or hexadecimal with its `0x` (the URL
/// Standard's "ends in a number").
fn ends_in_a_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or(host);
    let (digits, hexadecimal) = match last.strip_prefix("0x") {
        Some(digits) => (digits, true),
        None => (last, false),
    };
    digits.bytes().all(|byte| byte.is_ascii_digit() || hexadecimal && byte.is_ascii_hexdigit())
}

/// The path, where its decoded segments could be those of a key, with or without a slash at its end.
fn parse_path(text: &str) -> Result<String, UrlError> {
    if text.contains('#') {
        return Err(UrlError::Fragment);
    }
    if text.contains('?') {
        return Err(UrlError::Query);
    }
    if matches!(text, "" | "/") {
        return Ok("/".to_owned());
    }
    // As a query, but for its question marks, which are gone.
    if text.bytes().any(|byte| !byte.is_ascii()) || utf8_percent_encode(text, QUERY).to_string() != text {
        return Err(UrlError::PathCharacter);
    }
    let segments = text.strip_prefix('/').unwrap_or(text);
    let segments = segments.strip_suffix('/').unwrap_or(segments);
    asset_key::canonical(segments.as_bytes()).map_err(UrlError::Path)?;
    Ok(text.to_owned())
}
