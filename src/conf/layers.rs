//! Flag over environment over file: each layer is checked against the table, then the highest value of each key is kept.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::rc::Rc;

use super::Flags;
use super::error::{ConfErrors, Place, Source};
use super::kind::Kind;
use super::nearest::{nearest, nearest_key};
use super::table::{KEYS, Known, PREFIX, join, look_up, names_in};
use super::value::echo;
use super::yaml::{self, Entry, Mark, Node, Value};

/// The variable that stands for `--conf`.
pub(super) const CONF_VARIABLE: &str = "SVC_EDGE_CONF";

/// The variable that arms faults in a build that has them, see `observe::faults`; in another it is a stranger like any.
const FAULTS_VARIABLE: &str = "SVC_EDGE_FAULTS";

/// A value of a key that was given, and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub node: Node,
    pub source: Source,
}

/// The values that were given, by path.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub values: BTreeMap<&'static str, Given>,
    /// Variables that are no keys, for those that the conf names; `None` where one is not UTF-8.
    pub variables: BTreeMap<String, Option<String>>,
    pub errors: ConfErrors,
}

impl Layers {
    /// Lay a conf file over what is there.
    pub(super) fn file(&mut self, name: &str, bytes: &[u8]) {
        let source = Source::File(Rc::from(name));
        match yaml::parse(bytes) {
            Ok(root) => self.section("", root, &source),
            Err(faults) => {
                for fault in faults {
                    self.errors.push((source.clone(), fault.mark), fault.what);
                }
            }
        }
    }

    /// Lay the environment over what is there. A `SVC_EDGE_…` that names no key is an error.
    pub(super) fn environment(&mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) {
        for (name, value) in variables {
            let name = name.to_string_lossy();
            let Some(rest) = name.strip_prefix(PREFIX) else {
                self.variables.insert(name.into_owned(), value.to_str().map(str::to_owned));
                continue;
            };
            if name == CONF_VARIABLE
                || name == FAULTS_VARIABLE && cfg!(feature = "faults")
                || is_service_link(rest, &value.to_string_lossy())
            {
                continue;
            }
            let place = (Source::Variable(Rc::from(name.as_ref())), Mark::default());
            match value.to_str() {
                None => self.errors.push(place, "is not UTF-8".into()),
                Some(value) => self.variable(rest, value.trim(), place),
            }
        }
    }

    /// Lay the flags over what is there.
    pub(super) fn flags(&mut self, flags: &Flags) {
        let one = |text: &Option<String>| text.as_deref().map(|text| Node::plain(Mark::default(), text));
        let some = |texts: &[String]| (!texts.is_empty()).then(|| Node::list(texts.iter().map(String::as_str)));
        let given = [
            ("edge.bind", "--bind", some(&flags.bind)),
            ("edge.metrics", "--metrics", one(&flags.metrics)),
            ("edge.mode", "--mode", one(&flags.mode)),
            ("edge.packs", "--pack", some(&flags.packs)),
            ("edge.ingress.rps_limit", "--rps", one(&flags.rps)),
            ("edge.ingress.max_inflight", "--inflight", one(&flags.inflight)),
            ("edge.log.level", "--log-level", one(&flags.log_level)),
            ("daemon", "--daemon", flags.daemon.then(|| Node::plain(Mark::default(), "true"))),
        ];
        for (path, flag, node) in given {
            if let Some(node) = node {
                self.values.insert(path, Given { node, source: Source::Flag(flag) });
            }
        }
    }

    fn section(&mut self, path: &str, node: Node, source: &Source) {
        match node.value {
            // `edge:` with every key below it commented out.
            Value::Null => {}
            Value::Map(entries) => entries.into_iter().for_each(|entry| self.entry(path, entry, source)),
            Value::Scalar(_) | Value::List(_) => {
                let name = if path.is_empty() { "the conf" } else { path };
                let what = format!("`{name}` is a map; allowed in it: {}", names_in(path).join(", "));
                self.errors.push((source.clone(), node.mark), what);
            }
        }
    }

    fn entry(&mut self, section: &str, mut entry: Entry, source: &Source) {
        if self.errors.is_full() {
            return;
        }
        let path = join(section, &entry.key);
        match look_up(&path) {
            Known::Section => self.section(&path, entry.node, source),
            Known::Key(key) => {
                // An empty value begins wherever the next token is: its key's place says more.
                if entry.node.value == Value::Null {
                    entry.node.mark = entry.mark;
                }
                self.items(&key.kind, &entry.node, source);
                self.values.insert(key.path, Given { node: entry.node, source: source.clone() });
            }
            Known::Later => self.errors.push((source.clone(), entry.mark), later(&path)),
            Known::Unknown => self.unknown(section, &entry.key, (source.clone(), entry.mark)),
        }
    }

    /// Check the keys of listeners, packs and origins; their values stay where they are.
    fn items(&mut self, kind: &Kind, node: &Node, source: &Source) {
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            Value::Map(_) if kind.takes_one() => std::slice::from_ref(node),
            _ => return,
        };
        let Some(section) = kind.items() else { return };
        for item in items {
            let Value::Map(entries) = &item.value else { continue };
            for entry in entries {
                if self.errors.is_full() {
                    return;
                }
                match look_up(&join(section, &entry.key)) {
                    // The depth is that of the table: no key of an item has items of its own kind.
                    Known::Key(key) => self.items(&key.kind, &entry.node, source),
                    _ => self.unknown(section, &entry.key, (source.clone(), entry.mark)),
                }
            }
        }
    }

    fn unknown(&mut self, section: &str, name: &str, place: Place) {
        let path = echo(&join(section, name));
        let guess = nearest_key(section, name).map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
        let allowed = names_in(section).join(", ");
        let within = if section.is_empty() { "at the top level".to_owned() } else { format!("in `{section}`") };
        self.errors.push(place, format!("unknown key `{path}`{guess}; allowed {within}: {allowed}"));
    }

    fn variable(&mut self, rest: &str, value: &str, place: Place) {
        let path = rest.to_lowercase().replace("__", ".");
        let known = if rest.chars().any(|c| c.is_ascii_lowercase()) { Known::Unknown } else { look_up(&path) };
        match known {
            Known::Key(_) if value.is_empty() => {
                self.errors.push(place, "is empty; allowed: a value, or not to set it".into());
            }
            Known::Key(key) => match several(&key.kind, value) {
                Ok(node) => {
                    self.items(&key.kind, &node, &place.0);
                    self.values.insert(key.path, Given { node, source: place.0 });
                }
                Err(what) => self.errors.push(place, what),
            },
            Known::Section => {
                let names: Vec<_> = KEYS
                    .iter()
                    .filter(|key| key.path.starts_with(&format!("{path}.")))
                    .filter_map(|key| key.variable())
                    .collect();
                self.errors.push(place, format!("is a map; allowed: {}", names.join(", ")));
            }
            Known::Later => self.errors.push(place, later(&path)),
            Known::Unknown => {
                // What all names begin with would make strangers near.
                let names: Vec<_> =
                    KEYS.iter().filter_map(|key| key.variable()).chain([CONF_VARIABLE.into()]).collect();
                let near = nearest(rest, names.iter().filter_map(|name| name.strip_prefix(PREFIX)));
                let guess = near.map(|near| format!(" (did you mean `{PREFIX}{near}`?)")).unwrap_or_default();
                let allowed = "`SVC_EDGE_` and a key in capitals, with `__` for each dot";
                self.errors.push(place, format!("names no key{guess}; allowed: {allowed}"));
            }
        }
    }
}

fn later(path: &str) -> String {
    format!("`{}` is not in this version of svc-edge; allowed: to leave it out", echo(path))
}

/// The node that a variable's text stands for. Lists are YAML when they stand in brackets, else separated by commas; a map is
/// YAML in braces.
fn several(kind: &Kind, text: &str) -> Result<Node, String> {
    let inside = |open, close| text.starts_with(open) && text.ends_with(close);
    if kind.is_list() && inside('[', ']') || kind.is_map() && inside('{', '}') {
        return yaml::parse(text.as_bytes()).map_err(|faults| {
            let what: Vec<_> = faults.iter().map(|fault| echo(&fault.what)).collect();
            // What may hold a secret is not repeated.
            let given = if kind.holds_secrets() { "the value".to_owned() } else { format!("`{}`", echo(text)) };
            let what = what.join("; ");
            if kind.is_list() {
                format!("{given} is no YAML list ({what})")
            } else {
                format!("{given} is no YAML ({what})")
            }
        });
    }
    if kind.is_list() { Ok(Node::list(text.split(',').map(str::trim))) } else { Ok(Node::plain(Mark::default(), text)) }
}

/// Whether Kubernetes made the variable: for a service named `svc-edge`, or `svc-edge-…`, it sets `SVC_EDGE_SERVICE_HOST`,
/// `SVC_EDGE_PORT_8080_TCP_ADDR` and the like in every pod of the namespace. None of our keys has such a name, and
/// `SVC_EDGE_PORT=8080` is a guess of a key's name, where Kubernetes would say `tcp://10.0.0.1:8080`.
pub(super) fn is_service_link(rest: &str, value: &str) -> bool {
    if rest.contains("__") {
        return false;
    }
    let name = format!("_{rest}");
    if name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") {
        return true;
    }
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    if name.ends_with("_PORT") && is_url {
        return true;
    }
    // `…_PORT_8080_TCP` and its `…_PROTO`, `…_PORT` and `…_ADDR`.
    let whole = ["_PROTO", "_PORT", "_ADDR"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    let port = ["_TCP", "_UDP", "_SCTP"].iter().find_map(|end| whole.strip_suffix(end));
    let digits = port.and_then(|port| port.rsplit_once("_PORT_")).map(|(_, digits)| digits);
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}
