//! The keys of one item of a list of maps, such as a pack or an origin.

use super::error::Source;
use super::kind::Kind;
use super::layers::Given;
use super::read::Reader;
use super::table::{Key, key};
use super::value::{self, Choice, Converted, Wrong};
use super::yaml::{self, Entry, Mark, Node, Value};

/// Reads the keys of an item by their last words: what it has, else the table's default.
pub(super) struct Item<'a> {
    pub r: &'a mut Reader,
    /// The path of its section, such as `edge.packs[]`.
    pub section: &'static str,
    /// Where it begins.
    pub mark: Mark,
    pub entries: &'a [Entry],
    pub source: &'a Source,
}

impl<'a> Item<'a> {
    /// A key that the item has.
    pub(super) fn entry(&self, name: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| entry.key == name)
    }

    /// Where the value of a key stands, or where the item does.
    pub(super) fn mark_of(&self, name: &str) -> Mark {
        self.entry(name).map_or(self.mark, |entry| entry.node.mark)
    }

    /// A value, by `convert`.
    pub(super) fn get<T>(&mut self, name: &str, convert: impl Fn(&Kind, &Node) -> Converted<T>) -> Option<T> {
        let (key, given) = self.given(name);
        self.r.kept(key, &given.source, convert(&key.kind, &given.node))
    }

    /// A value that may be `null`.
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        convert: impl Fn(&Kind, &Node) -> Converted<T>,
    ) -> Option<Option<T>> {
        self.get(name, |kind, node| match node.value {
            Value::Null => Ok(None),
            _ => convert(kind.inner(), node).map(Some),
        })
    }

    /// A list, or one where the kind allows one alone.
    pub(super) fn list<T>(&mut self, name: &str, convert: impl Fn(&Kind, &Node) -> Converted<T>) -> Option<Vec<T>> {
        let (key, given) = self.given(name);
        self.r.list_of(key, &given, convert)
    }

    /// The value of a [`Choice`].
    pub(super) fn choice<T: Choice>(&mut self, name: &str) -> Option<T> {
        self.get(name, value::choice)
    }

    /// A key that has no default is not there.
    pub(super) fn required(&mut self, name: &str) -> Option<()> {
        match self.entry(name) {
            Some(_) => Some(()),
            None => self.fail(name, Wrong { mark: self.mark, what: "is required and not here".into() }),
        }
    }

    /// What is wrong with the value of a key.
    pub(super) fn fail<T>(&mut self, name: &str, wrong: Wrong) -> Option<T> {
        let key = self.key(name);
        self.r.kept(key, self.source, Err(wrong))
    }

    /// Note that values contradict each other, at the place of `name`.
    pub(super) fn contradiction(&mut self, name: &str, what: &str) {
        let path = self.key(name).path;
        self.r.note(self.source, self.mark_of(name), format!("`{path}` {what}"));
    }

    /// The node of a key, and where it came from.
    pub(super) fn given(&self, name: &str) -> (&'static Key, Given) {
        let key = self.key(name);
        let Some(entry) = self.entry(name) else {
            let node = yaml::parse(key.default.as_bytes()).unwrap_or_default();
            return (key, Given { node, source: Source::Default });
        };
        let mut node = entry.node.clone();
        // An empty value begins wherever the next token is: its key's place says more.
        if node.value == Value::Null {
            node.mark = entry.mark;
        }
        (key, Given { node, source: self.source.clone() })
    }

    fn key(&self, name: &str) -> &'static Key {
        key(&format!("{}.{name}", self.section))
    }
}
