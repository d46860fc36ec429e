//! `edge.origins`: where misses go in live mode, by the beginning of their paths.

use std::collections::HashMap;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::error::Source;
use super::item::Item;
use super::kind::Kind;
use super::read::Reader;
use super::secret;
use super::table::key;
use super::value::{Choice, Converted, Wrong, boolean, echo, text, time};
use super::yaml::{Node, Value};
use crate::rules::allow::{Host, OriginUrl, fields, refused_address};
use crate::rules::asset_key;

/// Bounds on lists: origins are labels of metrics, and fields go with every request.
const MAX_ORIGINS: usize = 256;
const MAX_URLS: usize = 8;
const MAX_FIELDS: usize = 32;

/// An origin: what it answers for, where it is, what it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginConf {
    /// The beginning of the paths it answers for, canonical, with a slash at its end; empty for every path. No two alike.
    pub prefix: String,
    /// Its URLs, tried in turn, each in place of the prefix: at least one, none twice. An address in one is none that may not be
    /// reached.
    pub urls: Vec<OriginUrl>,
    /// Whether its name may resolve to this machine or to a private network.
    pub allow_private: bool,
    /// What becomes of a query.
    pub query: QueryPolicy,
    /// Whether requests that can't be cached are passed straight through.
    pub pass: bool,
    /// How its answers are cached.
    pub caching: OriginCaching,
    /// Fields that every request to it gets. Each value is marked sensitive, so `Debug` doesn't show it and HPACK doesn't index it.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Fields of a client's request that are passed on to it.
    pub forward: Vec<HeaderName>,
}

/// How an origin's answers are cached, where they don't say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginCaching {
    /// How long an answer is fresh that says nothing of it (RFC 9111 §4.2.2).
    pub default_ttl: Duration,
    /// The same, of a 404 or 410.
    pub negative_ttl: Duration,
    /// How long after that it may still answer when the origin fails (RFC 5861 §4).
    pub stale_if_error: Duration,
    /// Whether an answer with Set-Cookie is stored.
    pub store_set_cookie: bool,
    /// Whether Cache-Control of requests is ignored (RFC 9111 §5.2.1).
    pub ignore_client_cache_control: bool,
}

/// What becomes of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryPolicy {
    /// It is part of neither key nor request.
    Drop,
    /// It is part of both.
    Keep,
}

impl Choice for QueryPolicy {
    const ALL: &'static [(&'static str, QueryPolicy)] = &[("drop", QueryPolicy::Drop), ("keep", QueryPolicy::Keep)];
}

/// Read the origins.
pub(super) fn parse(r: &mut Reader) -> Option<Vec<OriginConf>> {
    let origins = key("edge.origins");
    let given = r.given(origins);
    let Value::List(items) = &given.node.value else {
        let what = if given.node.value == Value::Null { "has no value" } else { "is no list" };
        return r.kept(origins, &given.source, Err(Wrong::new(&given.node, what)));
    };
    if items.len() > MAX_ORIGINS {
        r.contradiction("edge.origins", &format!("has {} items; allowed: at most {MAX_ORIGINS}", items.len()));
        return None;
    }
    let mut seen = HashMap::new();
    let parsed: Vec<_> = items.iter().map(|item| item_of(r, item, &given.source, &mut seen)).collect();
    parsed.into_iter().collect()
}

fn item_of(r: &mut Reader, node: &Node, source: &Source, seen: &mut HashMap<String, usize>) -> Option<OriginConf> {
    let Value::Map(entries) = &node.value else {
        return r.kept(key("edge.origins"), source, Err(Wrong::new(node, "an item that is no map")));
    };
    let mut item = Item { r, section: "edge.origins[]", mark: node.mark, entries, source };
    let prefix = item.get("prefix", prefix);
    if let Some(prefix) = &prefix
        && let Some(first) = seen.insert(prefix.clone(), node.mark.line)
    {
        let first = if first == 0 { String::new() } else { format!(", as on line {first}") };
        item.contradiction("prefix", &format!("is `{}`{first}; allowed: each prefix once", echo(prefix)));
    }
    let allow_private = item.get("allow_private", boolean);
    let urls = urls(&mut item, allow_private);
    let query = item.choice("query");
    let pass = item.get("pass", boolean);
    let caching = caching(&mut item);
    let headers = headers(&mut item);
    let forward = forward(&mut item, headers.as_deref().unwrap_or_default());
    Some(OriginConf {
        prefix: prefix?,
        urls: urls?,
        allow_private: allow_private?,
        query: query?,
        pass: pass?,
        caching: caching?,
        headers: headers?,
        forward: forward?,
    })
}

fn caching(item: &mut Item<'_>) -> Option<OriginCaching> {
    let default_ttl = item.get("default_ttl", time);
    let negative_ttl = item.get("negative_ttl", time);
    let stale_if_error = item.get("stale_if_error", time);
    let store_set_cookie = item.get("store_set_cookie", boolean);
    let ignore_client_cache_control = item.get("ignore_client_cache_control", boolean);
    Some(OriginCaching {
        default_ttl: default_ttl?,
        negative_ttl: negative_ttl?,
        stale_if_error: stale_if_error?,
        store_set_cookie: store_set_cookie?,
        ignore_client_cache_control: ignore_client_cache_control?,
    })
}

/// The prefix, canonical as asset keys are, so that it begins the keys that it looks as if it began.
fn prefix(kind: &Kind, node: &Node) -> Converted<String> {
    if matches!(&node.value, Value::Scalar(text) if text.is_empty()) {
        return Ok(String::new());
    }
    let text = text(kind, node)?;
    let wrong = |why: &str| Wrong::new(node, format!("`{}` {why}", echo(text)));
    let path = text.strip_suffix('/').ok_or_else(|| wrong("has no slash at its end"))?;
    let key = asset_key::canonical(path.as_bytes()).map_err(|error| wrong(&format!("begins no path: {error}")))?;
    Ok(format!("{key}/"))
}

fn urls(item: &mut Item<'_>, allow_private: Option<bool>) -> Option<Vec<OriginUrl>> {
    item.required("url")?;
    let urls = item.list("url", url)?;
    match urls.len() {
        0 => item.contradiction("url", "is empty; allowed: at least one URL"),
        1..=MAX_URLS => {}
        many => item.contradiction("url", &format!("has {many} URLs; allowed: at most {MAX_URLS}")),
    }
    for (index, url) in urls.iter().enumerate() {
        if urls[..index].contains(url) {
            item.contradiction("url", &format!("has {url} twice; allowed: each URL once"));
        }
        if let Some(allow_private) = allow_private
            && let Some((what, lifted)) = refused_host(&url.host, allow_private)
        {
            let allowed = if lifted { "with `allow_private: true`, or another host" } else { "another host" };
            item.contradiction("url", &format!("is {url}, whose host is {what}; allowed: {allowed}"));
        }
    }
    Some(urls)
}

/// A URL. One with a user is not repeated by its error: it may have a password.
fn url(kind: &Kind, node: &Node) -> Converted<OriginUrl> {
    let given = match &node.value {
        Value::Scalar(given) if !given.is_empty() => given,
        _ => text(kind, node)?,
    };
    OriginUrl::parse(given).map_err(|error| {
        let shown = if given.contains('@') { "a URL that".to_owned() } else { format!("`{}`", echo(given)) };
        Wrong::new(node, format!("{shown} {error}"))
    })
}

/// Why a host that is an address, or names this machine (RFC 6761 §6.3), will never be connected to, and whether
/// `allow_private` lifts it.
fn refused_host(host: &Host, allow_private: bool) -> Option<(&'static str, bool)> {
    let address = match host {
        Host::V4(address) => (*address).into(),
        Host::V6(address) => (*address).into(),
        Host::Dns(name) => {
            let local = name == "localhost" || name.ends_with(".localhost");
            return (local && !allow_private).then_some(("this machine", true));
        }
    };
    refused_address(address, allow_private).map(|what| (what, refused_address(address, true).is_none()))
}

/// The fixed fields. Every one is looked at before the origin fails; none of the errors repeats a value.
fn headers(item: &mut Item<'_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let (key, given) = item.given("headers");
    let outside = item.r.outside();
    let Value::Map(entries) = &given.node.value else {
        return item.fail("headers", Wrong::new(&given.node, "is no map"));
    };
    if entries.len() > MAX_FIELDS {
        item.contradiction("headers", &format!("has {} fields; allowed: at most {MAX_FIELDS}", entries.len()));
    }
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    let mut whole = true;
    for entry in entries {
        let shown = echo(&entry.key);
        let wrong = |what: String| Err(Wrong { mark: entry.mark, what });
        let name = match HeaderName::from_bytes(entry.key.as_bytes()) {
            Ok(name) if headers.iter().any(|(known, _)| *known == name) => {
                wrong(format!("`{shown}` stands there twice"))
            }
            Ok(name) => match fields::refused_setting(&name) {
                Some(why) => wrong(format!("`{shown}` {why}")),
                None => Ok(name),
            },
            // A colon was forgotten, and this is name and secret in one.
            Err(_) => wrong("has a name that is no name of a field".into()),
        };
        let value = secret::field(&outside, &entry.node)
            .and_then(|value| {
                sensitive(value.expose()).ok_or_else(|| Wrong::new(&entry.node, "the value is no field value"))
            })
            .map_err(|wrong| Wrong { what: format!("`{shown}`: {}", wrong.what), ..wrong });
        let name = item.r.kept(key, &given.source, name);
        let value = item.r.kept(key, &given.source, value);
        match name.zip(value) {
            Some(field) => headers.push(field),
            None => whole = false,
        }
    }
    whole.then_some(headers)
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn forward(item: &mut Item<'_>, headers: &[(HeaderName, HeaderValue)]) -> Option<Vec<HeaderName>> {
    let names = item.list("forward", |kind, node| {
        let text = text(kind, node)?;
        let wrong = |why: &str| Wrong::new(node, format!("`{}` {why}", echo(text)));
        let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| wrong("is no name of a field"))?;
        fields::refused_forwarding(&name).map_or(Ok(name), |why| Err(wrong(why)))
    })?;
    if names.len() > MAX_FIELDS {
        item.contradiction("forward", &format!("has {} names; allowed: at most {MAX_FIELDS}", names.len()));
    }
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            item.contradiction("forward", &format!("has `{name}` twice; allowed: each name once"));
        }
        if headers.iter().any(|(set, _)| set == name) {
            item.contradiction("forward", &format!("has `{name}`, which `headers` sets; allowed: one of the two"));
        }
    }
    Some(names)
}
