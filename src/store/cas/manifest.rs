//! Manifests: what was pinned and what pinned objects were purged, outside the index, so that a lost index can be rebuilt.
//!
//! Each import and each purge appends to a file of its own in `D/manifests/`, synced before the index commits: a pinned row never
//! exists without its line. A line is `<16 hex of its BLAKE3> <JSON>`, so a torn or flipped one is recognised alone, and its
//! `seq` orders it among all manifests. gc merges the files into one.

mod line;
mod rebuild;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{FlockOperation, OFlags};

use super::dir::{CasDir, unique};
use super::types::now;
use super::{index, regular};
use crate::store::StoreError;

pub(super) use line::Line;
use line::{MAX_BYTES, lines};
pub(super) use rebuild::rebuild;

/// How manifests are named: by time, so that a human sees which came when. Their order is in their lines.
const SUFFIX: &str = "manifest";

/// The manifest of one import or purge; made when there is something to write, locked as long as it grows.
pub(super) struct Manifest {
    dir: Option<Arc<CasDir>>,
    file: Option<File>,
}

impl Manifest {
    /// A manifest in `dir`; one that keeps nothing for a store in memory.
    pub fn new(dir: Option<Arc<CasDir>>) -> Self {
        Self { dir, file: None }
    }

    /// Append lines; they are on the disk when this returns.
    pub fn append(&mut self, lines: &[Line]) -> io::Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        if lines.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        lines.iter().try_for_each(|line| line.write_to(&mut bytes))?;
        let mut file = match self.file.take() {
            Some(file) => file,
            None => create(dir)?,
        };
        file.write_all(&bytes)?;
        file.sync_data()?;
        // Not kept after an error: the next lines must not follow a torn one.
        self.file = Some(file);
        Ok(())
    }
}

fn create(dir: &CasDir) -> io::Result<File> {
    loop {
        let path = dir.path("manifests").join(format!("{}.{SUFFIX}", unique(&now().to_string())));
        let file = File::options().append(true).create_new(true).mode(0o600).open(path)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        // Before it was locked, gc may have taken it for an old and empty one.
        if file.metadata()?.nlink() > 0 {
            File::open(dir.path("manifests"))?.sync_all()?;
            return Ok(file);
        }
    }
}

/// The manifests there are.
fn files(dir: &CasDir) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir.path("manifests"))? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.path().extension().is_some_and(|suffix| suffix == SUFFIX) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Manifests that are left as they are.
const FEW: usize = 16;

/// Write every pinned object of the index into one new manifest, and remove the ones it replaces; how many those were.
/// A manifest that an import or a purge is writing, or wrote after we began, stays.
pub(super) fn merge(dir: &Arc<CasDir>, index: &index::Index) -> Result<u64, StoreError> {
    let old = files(dir)?;
    if old.len() <= FEW {
        return Ok(0);
    }
    let path = dir.path("manifests").join(format!("{}.{SUFFIX}", unique(&now().to_string())));
    // Complete before it bears its name: a rebuild reads only names that end so.
    let tmp = path.with_extension("part");
    let written = index.snapshot(|connection| {
        let generation = index::totals(connection)?.generation;
        let mut out = BufWriter::new(File::options().write(true).create_new(true).mode(0o600).open(&tmp)?);
        index::each_pinned(connection, &mut |object, seq| Ok(Line::pin(&object, seq).write_to(&mut out)?))?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&tmp, &path)?;
        File::open(dir.path("manifests"))?.sync_all()?;
        Ok(generation)
    });
    let generation = match written {
        Ok(generation) => generation,
        Err(error) => {
            let _ = fs::remove_file(&tmp);
            return Err(error);
        }
    };
    let mut merged = 0;
    for path in old {
        let file = regular::open(&path, OFlags::RDONLY)?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        let mut newest = 0;
        // What lies behind the bounds is no line, or no line that a rebuild would read.
        lines(&file, MAX_BYTES, &mut |line| {
            newest = newest.max(line.seq());
            Ok(())
        })?;
        if newest <= generation {
            fs::remove_file(&path)?;
            merged += 1;
        }
    }
    Ok(merged)
}
