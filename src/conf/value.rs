//! Scalars to values. What is wrong is said here; where it stands and what is allowed is added by the reader of the key.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::kind::Kind;
use super::url::base_url;
use super::yaml::{Mark, Node, Value};
use crate::rules::client::Network;

/// Why a node is no value of its kind: where, and what it is instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub mark: Mark,
    pub what: String,
}

pub(super) type Converted<T> = Result<T, Wrong>;

/// An enum of the conf: the words of its values.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// Every value with its word, in the order of the table.
    const ALL: &'static [(&'static str, Self)];
}

impl Wrong {
    pub(super) fn new(node: &Node, what: impl Into<String>) -> Wrong {
        Wrong { mark: node.mark, what: what.into() }
    }
}

/// `text` as an error may repeat it: short, and without control characters.
pub(super) fn echo(text: &str) -> String {
    const MAX: usize = 60;
    let short: String = text.chars().take(MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(MAX).is_some() { short + "…" } else { short }
}

/// The text of a scalar: not empty, no control characters (they would end in headers, paths and logs).
pub(super) fn text<'a>(_: &Kind, node: &'a Node) -> Converted<&'a str> {
    match &node.value {
        Value::Scalar(text) if text.is_empty() => Err(Wrong::new(node, "is empty")),
        Value::Scalar(text) if text.chars().any(char::is_control) => {
            Err(Wrong::new(node, format!("`{}` has a control character", echo(text))))
        }
        Value::Scalar(text) => Ok(text),
        Value::Null => Err(Wrong::new(node, "has no value")),
        Value::List(_) => Err(Wrong::new(node, "is a list")),
        Value::Map(_) => Err(Wrong::new(node, "is a map")),
    }
}

pub(super) fn string(kind: &Kind, node: &Node) -> Converted<String> {
    text(kind, node).map(str::to_owned)
}

pub(super) fn boolean(kind: &Kind, node: &Node) -> Converted<bool> {
    match text(kind, node)? {
        "true" | "True" | "TRUE" => Ok(true),
        "false" | "False" | "FALSE" => Ok(false),
        other => Err(Wrong::new(node, format!("`{}` is neither true nor false", echo(other)))),
    }
}

pub(super) fn choice<T: Choice>(kind: &Kind, node: &Node) -> Converted<T> {
    let word = text(kind, node)?;
    match T::ALL.iter().find(|(known, _)| *known == word) {
        Some((_, value)) => Ok(*value),
        None => Err(Wrong::new(node, format!("`{}` is not known", echo(word)))),
    }
}

pub(super) fn number(kind: &Kind, node: &Node) -> Converted<u64> {
    let text = text(kind, node)?;
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let value = if digits { text.parse().ok() } else { None };
    let value: u64 = value.ok_or_else(|| Wrong::new(node, format!("`{}` is no whole number", echo(text))))?;
    match kind.inner() {
        Kind::Number(from, to) if !(from..=to).contains(&&value) => Err(out_of_range(node, text)),
        _ => Ok(value),
    }
}

/// A size: digits, then a unit or nothing. `KB` is 1000 and `KiB` 1024 bytes; a bare `K` says neither, and is refused.
pub(super) fn size(kind: &Kind, node: &Node) -> Converted<u64> {
    let text = text(kind, node)?;
    let bytes = bytes_of(text).map_err(|what| Wrong::new(node, format!("`{}` {what}", echo(text))))?;
    match kind.inner() {
        Kind::Size(from, to) if !(from..=to).contains(&&bytes) => Err(out_of_range(node, text)),
        _ => Ok(bytes),
    }
}

pub(super) fn time(kind: &Kind, node: &Node) -> Converted<Duration> {
    let text = text(kind, node)?;
    let value = humantime::parse_duration(text)
        .map_err(|error| Wrong::new(node, format!("`{}` is no duration ({})", echo(text), echo(&error.to_string()))))?;
    match kind.inner() {
        Kind::Time(from, to) if !(from..=to).contains(&&value) => Err(out_of_range(node, text)),
        _ => Ok(value),
    }
}

/// `IP:port`, or `localhost:port` for 127.0.0.1: other names would have to be resolved, and may stand for several addresses.
pub(super) fn address(kind: &Kind, node: &Node) -> Converted<SocketAddr> {
    let text = text(kind, node)?;
    let local = text.strip_prefix("localhost:").filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
    let parsed = match local {
        Some(port) => port.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| Wrong::new(node, format!("`{}` is no address to listen on", echo(text))))
}

/// A network in CIDR notation.
pub(super) fn network(kind: &Kind, node: &Node) -> Converted<Network> {
    let text = text(kind, node)?;
    text.parse().map_err(|error| Wrong::new(node, format!("`{}` {error}", echo(text))))
}

/// A field value as RFC 9110 §5.5 has it, of visible ASCII and spaces inside: what every recipient reads alike.
pub(super) fn field(kind: &Kind, node: &Node) -> Converted<String> {
    let text = text(kind, node)?;
    let visible = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if visible && text.trim() == text {
        Ok(text.to_owned())
    } else {
        Err(Wrong::new(node, format!("`{}` is no field value", echo(text))))
    }
}

/// Whether `name` may stand in URLs: 1–64 of `[A-Za-z0-9._-]`, no leading dot.
pub(super) fn is_pack_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

pub(super) fn pack_name(kind: &Kind, node: &Node) -> Converted<String> {
    let text = text(kind, node)?;
    if is_pack_name(text) {
        Ok(text.to_owned())
    } else {
        Err(Wrong::new(node, format!("`{}` is no name of a pack", echo(text))))
    }
}

/// A token (RFC 9110 §5.6.2) that is short enough for a name.
pub(super) fn token(kind: &Kind, node: &Node) -> Converted<String> {
    let text = text(kind, node)?;
    let tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.len() <= 64 && text.bytes().all(tchar) {
        Ok(text.to_owned())
    } else {
        Err(Wrong::new(node, format!("`{}` is no token", echo(text))))
    }
}

/// How people are reached: what may stand in the comment of a field (RFC 9110 §5.6.5) without an escape.
pub(super) fn contact(kind: &Kind, node: &Node) -> Converted<String> {
    let text = text(kind, node)?;
    let plain = text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"()\\".contains(&byte));
    let mail = || text.split_once('@').is_some_and(|(user, host)| is_mail_part(user) && is_mail_part(host));
    if plain && (base_url(kind, node).is_ok() || mail()) {
        Ok(text.to_owned())
    } else {
        Err(Wrong::new(node, format!("`{}` is neither a URL nor a mail address", echo(text))))
    }
}

/// Whether one side of a mail address is plausible: no more is said of an address that nothing is sent to.
fn is_mail_part(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+-_".contains(&byte))
}

fn out_of_range(node: &Node, text: &str) -> Wrong {
    Wrong::new(node, format!("`{}` is out of range", echo(text)))
}

/// Whole bytes only, and never rounded or saturated: a bound that isn't the one written down is no bound.
fn bytes_of(text: &str) -> Result<u64, &'static str> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("is no size");
    }
    let number: u64 = number.parse().map_err(|_| "is too large")?;
    let unit = unit.trim_start();
    if unit.is_empty() {
        return Ok(number);
    }
    if unit.starts_with('.') {
        return Err("has a fraction: use a smaller unit");
    }
    if !unit.ends_with(['B', 'b']) {
        return Err("has no unit of bytes: `KiB` is 1024 of them, `KB` 1000");
    }
    let unit: bytesize::Unit = unit.parse().map_err(|_| "has no unit of bytes: `KiB` is 1024 of them, `KB` 1000")?;
    number.checked_mul(unit * 1_u64).ok_or("is too large")
}
