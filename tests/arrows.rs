//! The modules point one way: a module names those below it, never those above. Read from the sources, comments left out.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

/// The layers from top to bottom. `main` and `lib` only list modules.
const LAYERS: [&str; 11] =
    ["cli", "boot", "edge", "origin", "admin", "fill", "store", "shed", "observe", "conf", "rules"];

/// Words that a layer must not know, with the reason.
const IGNORANCE: [(&str, &[&str], &str); 8] = [
    (
        "rules",
        &["std::fs", "std::net", "std::io::", "tokio::", "SystemTime::now", "Instant::now"],
        "rules are pure: no I/O, no clock",
    ),
    ("rules", &["rusqlite"], "rules do not know what a database is"),
    ("conf", &["tokio::", "rusqlite"], "conf does not know what runs"),
    (
        "store",
        &["http::Request", "http::Response", "StatusCode", "HeaderMap"],
        "a store does not know what a request is",
    ),
    ("shed", &["http::", "tokio::"], "shed does not know what a request is"),
    ("fill", &["std::net", "tokio::net", "pingora"], "a fill does not know what a socket is"),
    ("observe", &["crate::conf", "http::Request"], "observe does not know what it is told about"),
    ("edge", &["rusqlite", "std::fs"], "the edge does not know how a pack or a blob is stored"),
];

/// Modules that may name Pingora.
const PINGORA: [&str; 4] = ["edge", "admin", "boot", "origin"];

#[test]
fn no_module_uses_one_that_stands_above_it() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    assert!(files.len() > 30, "the sources were found: {files:?}");
    let wrong: Vec<String> = files
        .iter()
        .flat_map(|(layer, path)| {
            let text = std::fs::read_to_string(path).unwrap();
            faults(layer, &text).into_iter().map(move |fault| format!("{}: {fault}", path.display()))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_wrong_arrow_is_seen() {
    assert_eq!(faults("store", "use crate::rules::range;"), Vec::<String>::new());
    assert_eq!(faults("store", "use crate::edge::Edge;").len(), 1);
    assert_eq!(faults("rules", "fn f() { crate::store::cas::open() }").len(), 1);
    assert_eq!(faults("store", "use crate::{conf, edge};").len(), 1);
    assert_eq!(faults("store", "use pingora::proxy::Session;").len(), 1);
    assert_eq!(faults("shed", "use pingora_limits::estimator::Estimator;"), Vec::<String>::new());
    assert_eq!(faults("edge", "use pingora_limits::estimator::Estimator;").len(), 1);
    assert_eq!(faults("shed", "use http::StatusCode;").len(), 1);
    assert_eq!(faults("rules", "let now = SystemTime::now();").len(), 1);
    assert_eq!(faults("store", "//! see crate::edge and pingora\n").len(), 0);
}

/// What is wrong with the text of a file of `layer`.
fn faults(layer: &str, text: &str) -> Vec<String> {
    let Some(rank) = LAYERS.iter().position(|name| *name == layer) else {
        return vec![format!("{layer} has no place in LAYERS")];
    };
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut faults: Vec<String> = named_modules(&code)
        .into_iter()
        .filter_map(|name| LAYERS.iter().position(|known| *known == name).filter(|above| *above < rank))
        .map(|above| format!("{layer} uses {}, which stands above it", LAYERS[above]))
        .collect();
    if !PINGORA.contains(&layer) && code.contains("pingora::") {
        faults.push(format!("{layer} names pingora"));
    }
    if layer != "shed" && code.contains("pingora_limits") {
        faults.push(format!("{layer} names pingora_limits, which is for shed alone"));
    }
    for (ignorant, words, why) in IGNORANCE {
        if ignorant == layer {
            faults.extend(
                words.iter().filter(|word| code.contains(**word)).map(|word| format!("{layer} names {word}: {why}")),
            );
        }
    }
    faults
}

/// The modules of the crate that `code` names after `crate::`, singly or in braces.
fn named_modules(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let group = rest.strip_prefix('{').map(|inner| inner.split('}').next().unwrap_or_default());
        for path in
            group.unwrap_or(rest.split([';', '(', ' ', ',', ')', '\n', '>']).next().unwrap_or_default()).split(',')
        {
            let name: String = path.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            names.push(name);
        }
    }
    names
}

/// Every source file with the layer it belongs to.
fn collect(dir: &Path, files: &mut Vec<(String, PathBuf)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
            let layer = below.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
            if layer != "main" && layer != "lib" {
                files.push((layer, path));
            }
        }
    }
}
