//! YAML to a tree whose every node knows where it stands.
//!
//! A conf needs maps, lists and scalars. What YAML has beyond that (anchors, aliases, tags, several documents, keys that are no
//! words) is refused, so that a few bytes never become many, and a key never means something its line doesn't show.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

/// Bound on a conf file, in bytes.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// Bound on nesting. The deepest key of the table has four levels.
const MAX_DEPTH: usize = 16;
/// Bound on nodes, so that a hostile file of 1 MiB does not become a tree of hundreds.
const MAX_NODES: usize = 50_000;

/// A place in a text: line and column, both from 1; the column counts characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub line: usize,
    pub column: usize,
}

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub mark: Mark,
    pub value: Value,
}

/// What a node is. Scalars stay text: their type is the business of the key that reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a map with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub key: String,
    pub mark: Mark,
    pub node: Node,
}

/// What is wrong with the text itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub mark: Mark,
    pub what: String,
}

/// Read a document. An empty one is [`Value::Null`]. Duplicate keys are all reported; anything else ends at its first fault.
pub(super) fn parse(bytes: &[u8]) -> Result<Node, Vec<Fault>> {
    let text = decode(bytes).map_err(|fault| vec![fault])?;
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) =
            event.map_err(|error| vec![Fault::new(mark(error.marker()), format!("not YAML: {}", error.info()))])?;
        builder.take(event, mark(&span.start)).map_err(|fault| vec![fault])?;
    }
    if builder.duplicates.is_empty() { Ok(builder.root.unwrap_or_default()) } else { Err(builder.duplicates) }
}

impl Node {
    /// What a scalar in `text` stands for when it isn't quoted.
    pub(super) fn plain(mark: Mark, text: &str) -> Node {
        let value = match text {
            "" | "~" | "null" | "Null" | "NULL" => Value::Null,
            text => Value::Scalar(text.to_owned()),
        };
        Node { mark, value }
    }

    /// A list of scalars.
    pub(super) fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> Node {
        let item = |text: &str| Node { mark: Mark::default(), value: Value::Scalar(text.to_owned()) };
        Node { mark: Mark::default(), value: Value::List(items.into_iter().map(item).collect()) }
    }
}

impl Default for Node {
    fn default() -> Node {
        Node { mark: Mark { line: 1, column: 1 }, value: Value::Null }
    }
}

impl Fault {
    fn new(mark: Mark, what: impl Into<String>) -> Fault {
        Fault { mark, what: what.into() }
    }
}

/// The text without its byte order mark, if it is UTF-8, small enough, and free of control characters (the scanner takes a NUL
/// for the end of the file, and would hide what follows).
fn decode(bytes: &[u8]) -> Result<&str, Fault> {
    if bytes.len() > MAX_BYTES {
        return Err(Fault::new(Node::default().mark, format!("larger than {} KiB", MAX_BYTES / 1024)));
    }
    let text = match str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            return Err(Fault::new(end_of(&valid), "not UTF-8"));
        }
    };
    match text.find(|c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
        Some(offset) => Err(Fault::new(end_of(&text[..offset]), "a control character")),
        None => Ok(text),
    }
}

/// The place just after `text`.
fn end_of(text: &str) -> Mark {
    let last = text.rsplit('\n').next().unwrap_or_default();
    Mark { line: text.matches('\n').count() + 1, column: last.chars().count() + 1 }
}

fn mark(marker: &Marker) -> Mark {
    Mark { line: marker.line().max(1), column: marker.col() + 1 }
}

/// Builds the tree with a stack of its own: nesting costs no stack of the thread.
#[derive(Default)]
struct Builder {
    open: Vec<Frame>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
    duplicates: Vec<Fault>,
}

/// A list or map whose end was not seen yet.
enum Frame {
    List { mark: Mark, items: Vec<Node> },
    Map { mark: Mark, entries: Vec<Entry>, seen: HashMap<String, Mark>, key: Option<(String, Mark)> },
}

impl Builder {
    fn take(&mut self, event: Event<'_>, mark: Mark) -> Result<(), Fault> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Fault::new(mark, "a second document; allowed: one"));
                }
            }
            Event::Alias(_) => return Err(Fault::new(mark, "an alias (`*name`); allowed: the value itself")),
            Event::Scalar(text, style, anchor, tag) => {
                refuse_marks(anchor, tag.is_some(), mark)?;
                self.scalar(&text, style, mark)?;
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_marks(anchor, tag.is_some(), mark)?;
                self.open(Frame::List { mark, items: Vec::new() }, mark)?;
            }
            Event::MappingStart(anchor, tag) => {
                refuse_marks(anchor, tag.is_some(), mark)?;
                self.open(Frame::Map { mark, entries: Vec::new(), seen: HashMap::new(), key: None }, mark)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    /// A scalar is the key of the innermost map that waits for one, else a value.
    fn scalar(&mut self, text: &str, style: ScalarStyle, mark: Mark) -> Result<(), Fault> {
        if let Some(Frame::Map { key: key @ None, .. }) = self.open.last_mut() {
            *key = Some((text.to_owned(), mark));
            return Ok(());
        }
        let node = match style {
            ScalarStyle::Plain => Node::plain(mark, text),
            _ => Node { mark, value: Value::Scalar(text.to_owned()) },
        };
        self.count(mark)?;
        self.put(node);
        Ok(())
    }

    fn open(&mut self, frame: Frame, mark: Mark) -> Result<(), Fault> {
        if let Some(Frame::Map { key: None, .. }) = self.open.last() {
            return Err(Fault::new(mark, "a list or map as a key; allowed: a word"));
        }
        if self.open.len() == MAX_DEPTH {
            return Err(Fault::new(mark, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.count(mark)?;
        self.open.push(frame);
        Ok(())
    }

    fn close(&mut self) {
        match self.open.pop() {
            Some(Frame::List { mark, items }) => self.put(Node { mark, value: Value::List(items) }),
            Some(Frame::Map { mark, entries, .. }) => self.put(Node { mark, value: Value::Map(entries) }),
            None => {}
        }
    }

    /// Hand a whole value to what it stands in.
    fn put(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Frame::List { items, .. }) => items.push(node),
            Some(Frame::Map { entries, seen, key, .. }) => {
                let Some((key, mark)) = key.take() else { return };
                if let Some(first) = seen.get(&key) {
                    let what =
                        format!("`{}` stands here again; first on line {}", super::value::echo(&key), first.line);
                    self.duplicates.push(Fault::new(mark, what));
                } else {
                    seen.insert(key.clone(), mark);
                    entries.push(Entry { key, mark, node });
                }
            }
        }
    }

    fn count(&mut self, mark: Mark) -> Result<(), Fault> {
        self.nodes += 1;
        if self.nodes > MAX_NODES { Err(Fault::new(mark, format!("more than {MAX_NODES} values"))) } else { Ok(()) }
    }
}

fn refuse_marks(anchor: usize, tagged: bool, mark: Mark) -> Result<(), Fault> {
    match (anchor, tagged) {
        (0, false) => Ok(()),
        (0, true) => Err(Fault::new(mark, "a tag (`!name`); allowed: the value alone")),
        _ => Err(Fault::new(mark, "an anchor (`&name`); allowed: the value alone")),
    }
}
