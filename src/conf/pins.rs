//! `edge.cas.lock`: the file that pins paths to the hashes of their bytes.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::error::Source;
use super::outside::read_regular;
use super::read::Reader;
use super::value::{echo, string};
use super::yaml::Mark;
use crate::rules::lock;

/// Bound on a lock file, in bytes: some 700,000 pins.
const MAX_BYTES: u64 = 64 << 20;

/// The pins of a lock file.
#[derive(Debug, PartialEq, Eq)]
pub struct Pins {
    /// The file, as the conf names it.
    pub file: PathBuf,
    /// The BLAKE3 hash that the bytes of each path must have. A path is canonical, as `rules::asset_key` has it.
    pub hashes: lock::Pins,
}

impl Pins {
    /// The hash that the bytes of `path` must have, if it is pinned.
    pub fn get(&self, path: &str) -> Option<&[u8; 32]> {
        self.hashes.get(path)
    }
}

/// Read the file that the key names. What is wrong with it is named by its own name and line.
pub(super) fn parse(r: &mut Reader) -> Option<Option<Arc<Pins>>> {
    let file = r.optional("edge.cas.lock", string)?.map(PathBuf::from);
    match file {
        Some(file) if r.outside().read => load(r, file).map(|pins| Some(Arc::new(pins))),
        _ => Some(None),
    }
}

fn load(r: &mut Reader, file: PathBuf) -> Option<Pins> {
    let bytes = match read_regular(&file, MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(error) => {
            let what = format!(
                "names `{}`, which cannot be read: {error}; allowed: a file of `svc-edge cas lock`",
                echo(&file.to_string_lossy())
            );
            r.contradiction("edge.cas.lock", &what);
            return None;
        }
    };
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let (valid, _) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
            let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
            return wrong(r, &file, line, "is not UTF-8");
        }
    };
    match lock::parse(&text) {
        Ok(hashes) => Some(Pins { file, hashes }),
        Err(error) => wrong(r, &file, error.line, &error.why.to_string()),
    }
}

fn wrong<T>(r: &mut Reader, file: &Path, line: usize, why: &str) -> Option<T> {
    let source = Source::File(Rc::from(file.to_string_lossy()));
    let what = format!(
        "the line {why}; allowed: 64 hex digits in lower case, two spaces, a path, as `svc-edge cas lock` prints"
    );
    r.note(&source, Mark { line, column: 1 }, what);
    None
}
