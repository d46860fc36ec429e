//! The files of an import: a walk that follows no symlink.

use std::borrow::Cow;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::rules::asset_key;

/// A file to import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// The file.
    pub file: PathBuf,
    /// The path it gets in the CAS.
    pub key: String,
}

/// What a walk comes across.
pub(super) enum Step {
    /// A regular file and its length.
    File(Source, u64),
    /// What is no regular file, can't be read, or has a name that can't be a path.
    Refused(PathBuf, Cow<'static, str>),
}

/// Walk `root`, telling each step until `tell` says `false`. `prefix` is checked. The directory `(dev, ino)` of the CAS itself is
/// refused: importing blobs into the store that they are in has no end.
pub(super) fn walk(root: &Path, prefix: &str, cas: Option<(u64, u64)>, tell: &mut dyn FnMut(Step) -> bool) {
    let mut dirs = vec![(root.to_owned(), prefix.to_owned())];
    while let Some((dir, prefix)) = dirs.pop() {
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) => {
                if tell(Step::Refused(dir, error.to_string().into())) {
                    continue;
                }
                return;
            }
        };
        for entry in entries {
            let step = match entry {
                Err(error) => Some(Step::Refused(dir.clone(), error.to_string().into())),
                Ok(entry) => one(&entry, &prefix, cas, &mut dirs),
            };
            if step.is_some_and(|step| !tell(step)) {
                return;
            }
        }
    }
}

/// A file or a refusal; a directory is put on the list.
fn one(entry: &fs::DirEntry, prefix: &str, cas: Option<(u64, u64)>, dirs: &mut Vec<(PathBuf, String)>) -> Option<Step> {
    let path = entry.path();
    let name = entry.file_name();
    let Some(name) = name.to_str() else {
        return Some(Step::Refused(path, "the name is not UTF-8".into()));
    };
    let key = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
    // Of the entry itself, not of what a symlink points to.
    let meta = match entry.metadata() {
        Ok(meta) => meta,
        Err(error) => return Some(Step::Refused(path, error.to_string().into())),
    };
    if meta.is_symlink() {
        return Some(Step::Refused(path, "a symlink is not followed".into()));
    }
    if meta.is_dir() {
        if cas == Some((meta.dev(), meta.ino())) {
            return Some(Step::Refused(path, "this is the CAS itself".into()));
        }
        dirs.push((path, key));
        return None;
    }
    if !meta.is_file() {
        return Some(Step::Refused(path, "not a regular file".into()));
    }
    Some(match asset_key::check(&key) {
        Ok(()) => Step::File(Source { file: path, key }, meta.len()),
        Err(why) => Step::Refused(path, why.to_string().into()),
    })
}
