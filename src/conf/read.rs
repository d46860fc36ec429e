//! Reads keys: the value that was given, else the table's default, converted and within its bounds.

use std::path::PathBuf;

use super::error::{ConfErrors, Source};
use super::kind::Kind;
use super::layers::{Given, Layers};
use super::table::{Key, key};
use super::value::{self, Choice, Converted, Wrong};
use super::yaml::{self, Node, Value};

/// Hands each section its values. What is wrong is kept, so that one run finds as much as it can: a section reads all its keys
/// before it gives up.
pub(super) struct Reader {
    layers: Layers,
}

impl Reader {
    pub(super) fn new(layers: Layers) -> Reader {
        Reader { layers }
    }

    /// A value of the conf, by `convert`.
    pub(super) fn get<T>(&mut self, path: &str, convert: impl Fn(&Kind, &Node) -> Converted<T>) -> Option<T> {
        let key = key(path);
        let given = self.given(key);
        self.kept(key, &given.source, convert(&key.kind, &given.node))
    }

    /// A value that may be `null`.
    pub(super) fn optional<T>(
        &mut self,
        path: &str,
        convert: impl Fn(&Kind, &Node) -> Converted<T>,
    ) -> Option<Option<T>> {
        self.get(path, |kind, node| match node.value {
            Value::Null => Ok(None),
            _ => convert(kind.inner(), node).map(Some),
        })
    }

    /// A list, or one where the kind allows one alone. Every item is converted before the list fails.
    pub(super) fn list<T>(&mut self, path: &str, convert: impl Fn(&Kind, &Node) -> Converted<T>) -> Option<Vec<T>> {
        let key = key(path);
        let given = self.given(key);
        let (items, kind): (&[Node], &Kind) = match (&given.node.value, &key.kind) {
            (Value::List(items), Kind::List(kind) | Kind::OneOrList(kind)) => (items, kind),
            (Value::Scalar(_), Kind::OneOrList(kind)) => (std::slice::from_ref(&given.node), kind),
            _ => {
                let wrong = match given.node.value {
                    Value::Null => "has no value",
                    _ => "is no list",
                };
                return self.kept(key, &given.source, Err(Wrong::new(&given.node, wrong)));
            }
        };
        let values: Vec<_> = items.iter().map(|item| self.kept(key, &given.source, convert(kind, item))).collect();
        values.into_iter().collect()
    }

    /// The value of a [`Choice`].
    pub(super) fn choice<T: Choice>(&mut self, path: &str) -> Option<T> {
        self.get(path, value::choice)
    }

    /// A size that is the length of a buffer. The table bounds it far below any `usize`.
    pub(super) fn length(&mut self, path: &str) -> Option<usize> {
        self.get(path, value::size).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// A path. Relative ones stay so: they are relative to the directory that svc-edge is started in.
    pub(super) fn path(&mut self, path: &str) -> Option<PathBuf> {
        self.get(path, value::string).map(PathBuf::from)
    }

    /// The node of a key, and where it came from.
    pub(super) fn given(&self, key: &Key) -> Given {
        self.layers.values.get(key.path).cloned().unwrap_or_else(|| Given {
            node: yaml::parse(key.default.as_bytes()).unwrap_or_default(),
            source: Source::Default,
        })
    }

    /// The value, or `None` with what is wrong noted at its place.
    pub(super) fn kept<T>(&mut self, key: &Key, source: &Source, value: Converted<T>) -> Option<T> {
        value.map_err(|wrong| self.wrong(key, source, wrong)).ok()
    }

    pub(super) fn wrong(&mut self, key: &Key, source: &Source, wrong: Wrong) {
        let what = format!("`{}`: {}; allowed: {}", key.path, wrong.what, key.kind);
        self.layers.errors.push((source.clone(), wrong.mark), what);
    }

    /// Note that values contradict each other, at the place of `path`.
    pub(super) fn contradiction(&mut self, path: &str, what: &str) {
        let key = key(path);
        let given = self.given(key);
        self.layers.errors.push((given.source.clone(), given.node.mark), format!("`{path}` {what}"));
    }

    /// Whether the value of `path` was given, and differs from its default.
    pub(super) fn differs(&self, path: &str) -> bool {
        let default = yaml::parse(key(path).default.as_bytes()).unwrap_or_default();
        self.layers.values.get(path).is_some_and(|given| given.node.value != default.value)
    }

    /// The checked value, or everything that is wrong.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, ConfErrors> {
        self.layers.errors.or(value)
    }
}
