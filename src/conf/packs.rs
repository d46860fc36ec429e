//! `edge.packs`: archives to mount.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::error::Source;
use super::item::Item;
use super::read::Reader;
use super::table::key;
use super::value::{Choice, Wrong, echo, field, is_pack_name, pack_name, string};
use super::yaml::{Entry, Mark, Node, Value};

/// How much of a pack is read before it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Nothing beyond opening it.
    None,
    /// Header, metadata and root directory.
    Header,
    /// Every directory, entry and tile.
    Full,
}

/// What a tile that is absent answers; the default follows the tile type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingTile {
    /// 204 for vector, 404 for raster.
    Auto,
    /// 204 No Content.
    NoContent,
    /// 404 Not Found.
    NotFound,
}

/// One pack to mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackConf {
    /// The archive: `.pmtiles` or `.mbtiles`.
    pub path: PathBuf,
    /// Its name in URLs: 1–64 of `[A-Za-z0-9._-]`, no leading dot.
    pub name: String,
    /// What is verified at mount.
    pub verify: Verify,
    /// What an absent tile answers.
    pub missing_tile: MissingTile,
    /// Cache-Control of its answers; `None` is that of [`super::HttpConf`].
    pub cache_control: Option<String>,
}

impl Choice for Verify {
    const ALL: &'static [(&'static str, Verify)] =
        &[("none", Verify::None), ("header", Verify::Header), ("full", Verify::Full)];
}

impl Choice for MissingTile {
    const ALL: &'static [(&'static str, MissingTile)] =
        &[("auto", MissingTile::Auto), ("no_content", MissingTile::NoContent), ("not_found", MissingTile::NotFound)];
}

/// Read the packs. In a file each is a map; a flag or a variable may say `PATH` or `NAME=PATH`.
pub(super) fn parse(r: &mut Reader) -> Option<Vec<PackConf>> {
    let packs = key("edge.packs");
    let given = r.given(packs);
    let Value::List(items) = &given.node.value else {
        let what = if given.node.value == Value::Null { "has no value" } else { "is no list" };
        return r.kept(packs, &given.source, Err(Wrong::new(&given.node, what)));
    };
    let mut seen = HashMap::new();
    let mut parsed = Vec::new();
    let mut whole = true;
    for item in items {
        match item_of(r, item, &given.source) {
            Some((pack, at)) => {
                if let Some(first) = seen.insert(pack.name.clone(), pack.path.clone()) {
                    let what = format!("`{}` names two packs, {} and this", pack.name, echo(&first.to_string_lossy()));
                    let wrong = Wrong { mark: at, what };
                    r.kept::<()>(key("edge.packs[].name"), &given.source, Err(wrong));
                }
                parsed.push(pack);
            }
            None => whole = false,
        }
    }
    whole.then_some(parsed)
}

/// A pack, and where its name stands.
fn item_of(r: &mut Reader, item: &Node, source: &Source) -> Option<(PackConf, Mark)> {
    match &item.value {
        Value::Map(entries) => from_map(r, item, entries, source),
        Value::Scalar(text) if !matches!(source, Source::File(_)) => from_text(r, item, text, source),
        Value::Scalar(_) | Value::List(_) | Value::Null => {
            r.kept(key("edge.packs"), source, Err(Wrong::new(item, "an item that is no map")))
        }
    }
}

/// `PATH` or `NAME=PATH`. What precedes `=` is a name if it may be one: `./a=b.pmtiles` is a path.
fn from_text(r: &mut Reader, item: &Node, text: &str, source: &Source) -> Option<(PackConf, Mark)> {
    let (name, path) = match text.split_once('=') {
        Some((name, path)) if is_pack_name(name) => (Some(name), path),
        _ => (None, text),
    };
    let entry = |key: &str, text: &str| Entry {
        key: key.to_owned(),
        mark: item.mark,
        node: Node { mark: item.mark, value: Value::Scalar(text.to_owned()) },
    };
    let entries: Vec<_> =
        [Some(entry("path", path)), name.map(|name| entry("name", name))].into_iter().flatten().collect();
    from_map(r, item, &entries, source)
}

fn from_map(r: &mut Reader, item: &Node, entries: &[Entry], source: &Source) -> Option<(PackConf, Mark)> {
    let mut item = Item { r, section: "edge.packs[]", mark: item.mark, entries, source };
    let path = item.required("path").and_then(|()| item.get("path", string)).map(PathBuf::from);
    let given = item.optional("name", pack_name);
    let at = item.entry("name").or(item.entry("path")).map_or(item.mark, |entry| entry.node.mark);
    let name = match (given, &path) {
        (Some(Some(name)), _) => Some(name),
        (Some(None), Some(path)) => stem(&mut item, path, at),
        _ => None,
    };
    let verify = item.choice("verify");
    let missing_tile = item.choice("missing_tile");
    let cache_control = item.optional("cache_control", field);
    let pack = PackConf {
        path: path?,
        name: name?,
        verify: verify?,
        missing_tile: missing_tile?,
        cache_control: cache_control?,
    };
    Some((pack, at))
}

/// The name of a pack that is given none.
fn stem(item: &mut Item<'_>, path: &Path, at: Mark) -> Option<String> {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
    if is_pack_name(&stem) {
        return Some(stem.into_owned());
    }
    let what = format!("`{}`, from the file's name, is no name of a pack: give one", echo(&stem));
    item.fail("name", Wrong { mark: at, what })
}
