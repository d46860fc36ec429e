//! The types a key may have, and how each is described to people.

use std::fmt;
use std::time::Duration;

/// The type of a key. Its `Display` is what error texts and `docs/conf.md` call allowed.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number, bounds included.
    Number(u64, u64),
    /// A length of time, bounds included.
    Time(Duration, Duration),
    /// A number of bytes, bounds included.
    Size(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A path; relative ones are relative to the directory that svc-edge is started in.
    Path,
    /// The name of a pack in URLs.
    PackName,
    /// A field value (RFC 9110 §5.5).
    Field,
    /// The base of absolute URLs.
    Url,
    /// An address to listen on.
    Address,
    /// A `Host` value (RFC 9110 §7.2).
    Host,
    /// An origin as browsers send it (RFC 6454 §6.2), or `*`.
    WebOrigin,
    /// A list.
    List(&'static Kind),
    /// One, or a list.
    OneOrList(&'static Kind),
    /// Listeners: addresses, or maps with the keys below `edge.bind[]`.
    Binds,
    /// Certificates: maps with the keys below `edge.bind[].tls[]`.
    Certificates,
    /// Packs: maps with the keys below `edge.packs[]`.
    Packs,
    /// Origins: maps with the keys below `edge.origins[]`.
    Origins,
    /// The beginning of paths that an origin answers for.
    Prefix,
    /// The URL of an origin.
    OriginUrl,
    /// The name of a request header field that is passed on to an origin (RFC 9110 §5.1).
    FieldName,
    /// Request header fields with their values.
    Headers,
    /// A token (RFC 9110 §5.6.2).
    Token,
    /// A URL or a mail address by which people are reached.
    Contact,
    /// A secret, which does not stand in the conf itself.
    Secret,
    /// A network in CIDR notation, or one address.
    Network,
    /// Or `null`.
    OrNull(&'static Kind),
}

impl Kind {
    /// Whether an environment variable may hold several of it.
    pub(super) fn is_list(&self) -> bool {
        match self {
            Kind::List(_) | Kind::OneOrList(_) | Kind::Binds | Kind::Packs | Kind::Origins => true,
            Kind::OrNull(kind) => kind.is_list(),
            _ => false,
        }
    }

    /// Whether an environment variable may hold it as a map in braces.
    pub(super) fn is_map(&self) -> bool {
        matches!(self.inner(), Kind::Secret)
    }

    /// The section of its items, where they are maps.
    pub(super) fn items(&self) -> Option<&'static str> {
        match self.inner() {
            Kind::Binds => Some("edge.bind[]"),
            Kind::Certificates => Some("edge.bind[].tls[]"),
            Kind::Packs => Some("edge.packs[]"),
            Kind::Origins => Some("edge.origins[]"),
            _ => None,
        }
    }

    /// Whether one item may stand for a list of one.
    pub(super) fn takes_one(&self) -> bool {
        matches!(self.inner(), Kind::OneOrList(_) | Kind::Binds | Kind::Certificates)
    }

    /// Whether a value of it may hold a secret, which no error may repeat.
    pub(super) fn holds_secrets(&self) -> bool {
        matches!(self.inner(), Kind::Secret | Kind::Origins)
    }

    /// The kind without its `null`.
    pub(super) fn inner(&self) -> &Kind {
        match self {
            Kind::OrNull(kind) => kind,
            kind => kind,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Bool => f.write_str("`true` or `false`"),
            Kind::Number(from, to) if from == to => write!(f, "`{from}`"),
            Kind::Number(from, to) => write!(f, "a whole number from {from} to {to}"),
            Kind::Time(from, to) => write!(
                f,
                "a duration such as `50ms`, `5s` or `1h`, from {} to {}",
                humantime::format_duration(*from),
                humantime::format_duration(*to)
            ),
            Kind::Size(from, to) => {
                write!(f, "a size such as `64KiB` or `10GiB`, from {} to {}", size_text(*from), size_text(*to))
            }
            Kind::Choice(words) => {
                for (index, word) in words.iter().enumerate() {
                    let joint = match index {
                        0 => "",
                        _ if index + 1 == words.len() => " or ",
                        _ => ", ",
                    };
                    write!(f, "{joint}`{word}`")?;
                }
                Ok(())
            }
            Kind::Path => f.write_str("a path"),
            Kind::PackName => f.write_str("1–64 of `A–Z a–z 0–9 . _ -`, no leading dot"),
            Kind::Field => f.write_str("visible ASCII, with spaces inside"),
            Kind::Url => f.write_str("an http or https URL without user, query and fragment"),
            Kind::Address => f.write_str("`IP:port` or `localhost:port`"),
            Kind::Host => f.write_str("a host with or without a port, such as `tiles.example:8443`"),
            Kind::WebOrigin => f.write_str("`*`, or an origin such as `https://maps.example`"),
            Kind::List(kind) => write!(f, "a list; each {kind}"),
            Kind::OneOrList(kind) => write!(f, "{kind}; one, or a list"),
            Kind::Binds => f.write_str("`IP:port` or `localhost:port`, or a map with an `addr`; one, or a list"),
            Kind::Certificates => f.write_str("a map with a `cert` and a `key`; one, or a list"),
            Kind::Packs => f.write_str("a list; each a map with a `path`"),
            Kind::Origins => f.write_str("a list; each a map with a `url`"),
            Kind::Prefix => f.write_str("the beginning of a path with a slash at its end, or `\"\"` for every path"),
            Kind::OriginUrl => f.write_str("an http or https URL without user, query and fragment"),
            Kind::FieldName => f.write_str("the name of a header field that selects a representation"),
            Kind::Headers => {
                f.write_str("a map of names of header fields to values: a text, `{env: NAME}` or `{file: PATH}`")
            }
            Kind::Token => f.write_str("1–64 of the characters of a token, such as `edge-fra1`"),
            Kind::Contact => f.write_str("an http or https URL, or a mail address"),
            Kind::Secret => f.write_str("`{env: NAME}` or `{file: PATH}`, with 16 or more of visible ASCII there"),
            Kind::Network => f.write_str("a network such as `10.0.0.0/8` or `2001:db8::/32`, or one address"),
            Kind::OrNull(kind) => write!(f, "{kind}; or `null`"),
        }
    }
}

/// A number of bytes in the largest binary unit that holds it exactly.
fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = if bytes == 0 { 0 } else { (bytes.trailing_zeros() / 10) as usize };
    format!("{}{}", bytes >> (10 * unit), UNITS[unit])
}
