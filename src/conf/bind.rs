//! `edge.bind`: where assets are served, in clear text or over TLS.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::certificate::{CertConf, Fault};
use super::error::Source;
use super::item::Item;
use super::read::Reader;
use super::table::key;
use super::value::{Wrong, address, boolean, echo, string};
use super::yaml::{Entry, Node, Value};

/// Bound on listeners: an upgrade hands over 32 sockets at most, and the admin listener is one of them.
const MAX_BINDS: usize = super::MAX_LISTENERS - 1;
/// Bound on the certificates of a listener: each is a series of a metric, and is looked at every second.
const MAX_CERTIFICATES: usize = 256;

/// A listener of assets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindConf {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its certificates, the first for clients that name no host or one that none is for; empty where it speaks clear text.
    pub tls: Vec<CertConf>,
    /// Whether HTTP/2 is spoken in clear text with clients that begin with it (RFC 9113 §3.3). Never together with `tls`, where ALPN chooses.
    pub h2c: bool,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
}

impl BindConf {
    /// A listener in clear text.
    pub fn plain(addr: SocketAddr) -> BindConf {
        BindConf { addr, tls: Vec::new(), h2c: false, proxy_protocol: false }
    }

    /// The scheme of its URLs.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_empty() { "http" } else { "https" }
    }
}

/// Read the listeners. In a file each is an address or a map, alone or in a list; a flag or a variable gives addresses.
pub(super) fn parse(r: &mut Reader) -> Option<Vec<BindConf>> {
    let binds = key("edge.bind");
    let given = r.given(binds);
    let items = match &given.node.value {
        Value::List(items) => items.as_slice(),
        Value::Scalar(_) | Value::Map(_) => std::slice::from_ref(&given.node),
        Value::Null => return r.kept(binds, &given.source, Err(Wrong::new(&given.node, "has no value"))),
    };
    match items.len() {
        0 => r.contradiction("edge.bind", "is empty; allowed: at least one address"),
        1..=MAX_BINDS => {}
        many => {
            r.contradiction("edge.bind", &format!("has {many} items; allowed: at most {MAX_BINDS}"));
            return None;
        }
    }
    let parsed: Vec<_> = items.iter().map(|item| item_of(r, item, &given.source)).collect();
    let binds: Vec<BindConf> = parsed.into_iter().collect::<Option<_>>()?;
    for (index, bind) in binds.iter().enumerate().filter(|(_, bind)| bind.addr.port() != 0) {
        // On port 0 each takes one of its own.
        if binds[..index].iter().any(|before| before.addr == bind.addr) {
            r.contradiction("edge.bind", &format!("has {} twice; allowed: each address once", bind.addr));
        }
    }
    Some(binds)
}

fn item_of(r: &mut Reader, node: &Node, source: &Source) -> Option<BindConf> {
    match &node.value {
        Value::Map(entries) => from_map(r, node, entries, source),
        _ => {
            let binds = key("edge.bind");
            r.kept(binds, source, address(&binds.kind, node)).map(BindConf::plain)
        }
    }
}

fn from_map(r: &mut Reader, node: &Node, entries: &[Entry], source: &Source) -> Option<BindConf> {
    let mut item = Item { r, section: "edge.bind[]", mark: node.mark, entries, source };
    let addr = item.required("addr").and_then(|()| item.get("addr", address));
    let tls = certificates(&mut item);
    let h2c = item.get("h2c", boolean);
    let proxy_protocol = item.get("proxy_protocol", boolean);
    if h2c == Some(true) && tls.as_ref().is_some_and(|tls| !tls.is_empty()) {
        item.contradiction(
            "h2c",
            "is set beside `tls`, where ALPN chooses the version of HTTP; allowed: one of the two",
        );
    }
    Some(BindConf { addr: addr?, tls: tls?, h2c: h2c?, proxy_protocol: proxy_protocol? })
}

/// The certificates of a listener: none, one, or a list.
fn certificates(item: &mut Item<'_>) -> Option<Vec<CertConf>> {
    let (key, given) = item.given("tls");
    let items = match &given.node.value {
        Value::Null => return Some(Vec::new()),
        Value::Map(_) => std::slice::from_ref(&given.node),
        Value::List(items) => items.as_slice(),
        Value::Scalar(_) => return item.fail("tls", Wrong::new(&given.node, "is no map")),
    };
    match items.len() {
        0 => item.contradiction("tls", "is empty; allowed: at least one certificate, or `null`"),
        1..=MAX_CERTIFICATES => {}
        many => {
            item.contradiction("tls", &format!("has {many} items; allowed: at most {MAX_CERTIFICATES}"));
            return None;
        }
    }
    let mut certificates: Vec<CertConf> = Vec::new();
    let mut whole = true;
    for node in items {
        let Value::Map(entries) = &node.value else {
            item.r.kept::<()>(key, &given.source, Err(Wrong::new(node, "an item that is no map")));
            whole = false;
            continue;
        };
        let mut one =
            Item { r: &mut *item.r, section: "edge.bind[].tls[]", mark: node.mark, entries, source: &given.source };
        match certificate(&mut one) {
            Some(found) if certificates.contains(&found) => {
                one.contradiction("cert", "stands there twice with this key; allowed: each certificate once");
            }
            Some(found) => certificates.push(found),
            None => whole = false,
        }
    }
    whole.then_some(certificates)
}

/// A certificate, whose files are read where anything outside the conf is.
fn certificate(item: &mut Item<'_>) -> Option<CertConf> {
    let cert = item.required("cert").and_then(|()| item.get("cert", string)).map(PathBuf::from);
    let key = item.required("key").and_then(|()| item.get("key", string)).map(PathBuf::from);
    let found = CertConf { cert: cert?, key: key? };
    if !item.r.outside().read {
        return Some(found);
    }
    let (name, path, why, allowed) = match found.load() {
        Ok(_) => return Some(found),
        Err(Fault::Cert(why)) => {
            ("cert", &found.cert, why, "a PEM file of a certificate and of its chain, in this order")
        }
        Err(Fault::Key(why)) => {
            ("key", &found.key, why, "a PEM file of the certificate's private key, without a passphrase")
        }
    };
    item.contradiction(name, &format!("names `{}`, which {why}; allowed: {allowed}", echo(&path.to_string_lossy())));
    None
}
