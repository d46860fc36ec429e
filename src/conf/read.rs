//! Reads keys: the value that was given, else the table's default, converted and within its bounds.

use std::path::PathBuf;
use std::rc::Rc;

use super::error::{ConfErrors, Source};
use super::kind::Kind;
use super::layers::{Given, Layers};
use super::outside::Outside;
use super::table::{Key, key};
use super::value::{self, Choice, Converted, Wrong};
use super::yaml::{self, Mark, Node, Value};

/// Hands each section its values. What is wrong is kept, so that one run finds as much as it can: a section reads all its keys
/// before it gives up.
pub(super) struct Reader {
    layers: Layers,
    outside: Rc<Outside>,
}

impl Reader {
    /// `read` says whether what the conf names outside itself is read.
    pub(super) fn new(mut layers: Layers, read: bool) -> Reader {
        let outside = Rc::new(Outside { variables: std::mem::take(&mut layers.variables), read });
        Reader { layers, outside }
    }

    /// What the conf may name outside itself.
    pub(super) fn outside(&self) -> Rc<Outside> {
        self.outside.clone()
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
        self.list_of(key, &given, convert)
    }

    /// As [`Reader::list`], of a node that was found.
    pub(super) fn list_of<T>(
        &mut self,
        key: &Key,
        given: &Given,
        convert: impl Fn(&Kind, &Node) -> Converted<T>,
    ) -> Option<Vec<T>> {
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

    /// A number of things. The table bounds it far below any `usize`.
    pub(super) fn count(&mut self, path: &str) -> Option<usize> {
        self.get(path, value::number).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
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
        self.note(source, wrong.mark, what);
    }

    /// Note what is wrong at a place.
    pub(super) fn note(&mut self, source: &Source, mark: Mark, what: String) {
        self.layers.errors.push((source.clone(), mark), what);
    }

    /// Note that values contradict each other, at the place of `path`.
    pub(super) fn contradiction(&mut self, path: &str, what: &str) {
        let key = key(path);
        let given = self.given(key);
        self.note(&given.source, given.node.mark, format!("`{path}` {what}"));
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
