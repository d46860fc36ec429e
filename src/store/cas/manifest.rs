//! Manifests: what was pinned and what pinned objects were purged, outside the index, so that a lost index can be rebuilt.
//!
//! Each import and each purge appends to a file of its own in `D/manifests/`, synced before the index commits: a pinned row never
//! exists without its line. A line is `<16 hex of its BLAKE3> <JSON>`, so a torn or flipped one is recognised alone, and its
//! `seq` orders it among all manifests. gc merges the files into one.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use blake3::Hash;
use rusqlite::{Connection, TransactionBehavior};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::blobs::allocated;
use super::dir::{CasDir, unique};
use super::index::{self, Txn};
use super::types::{ObjectInfo, from_seconds, now, to_seconds};
use crate::rules::asset_key;
use crate::store::StoreError;

/// Longest line: a path of 4096 bytes, each escaped to six, and the rest.
const MAX_LINE: u64 = 64 * 1024;

/// How manifests are named: by time, so that a human sees which came when. Their order is in their lines.
const SUFFIX: &str = "manifest";

/// Rows of a transaction of a rebuild.
const BATCH: usize = 1000;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line {
    /// An object was pinned.
    Pin {
        path: String,
        hash: String,
        size: u64,
        content_type: String,
        coding: u8,
        last_modified: Option<i64>,
        stored_at: i64,
        seq: i64,
    },
    /// The object at a path was purged.
    Purge { path: String, seq: i64 },
    /// The objects below a prefix were purged.
    PurgeBelow { prefix: String, seq: i64 },
}

impl Line {
    /// The line that pins `object`.
    pub fn pin(object: &ObjectInfo, seq: i64) -> Self {
        Self::Pin {
            path: object.path.clone(),
            hash: object.hash.to_hex().to_string(),
            size: object.size,
            content_type: object.content_type.clone(),
            coding: index::coding_number(object.coding),
            last_modified: object.last_modified.map(to_seconds),
            stored_at: to_seconds(object.stored_at),
            seq,
        }
    }

    fn seq(&self) -> i64 {
        match self {
            Self::Pin { seq, .. } | Self::Purge { seq, .. } | Self::PurgeBelow { seq, .. } => *seq,
        }
    }

    /// The pinned object of this line; `None` for a purge, and for what no index holds.
    fn object(&self) -> Option<ObjectInfo> {
        let Self::Pin { path, hash, size, content_type, coding, last_modified, stored_at, .. } = self else {
            return None;
        };
        asset_key::check(path).ok()?;
        Some(ObjectInfo {
            path: path.clone(),
            hash: Hash::from_hex(hash).ok()?,
            size: *size,
            pinned: true,
            content_type: content_type.clone(),
            coding: index::coding_of(i64::from(*coding))?,
            last_modified: last_modified.map(from_seconds),
            stored_at: from_seconds(*stored_at),
            last_used: from_seconds(*stored_at),
        })
    }

    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let json = serde_json::to_string(self)?;
        writeln!(out, "{} {json}", &blake3::hash(json.as_bytes()).to_hex()[..16])
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let (mark, json) = line.strip_suffix(b"\n")?.split_at_checked(17)?;
        let right = mark[16] == b' ' && mark[..16] == *blake3::hash(json).to_hex()[..16].as_bytes();
        right.then(|| serde_json::from_slice(json).ok())?
    }
}

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

/// Call `each` with every line that is whole; the number of those that aren't.
fn lines(file: &File, each: &mut dyn FnMut(Line) -> Result<(), StoreError>) -> Result<u64, StoreError> {
    let mut reader = BufReader::new(file);
    let (mut line, mut bad) = (Vec::new(), 0);
    loop {
        line.clear();
        if (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(bad);
        }
        match Line::parse(&line) {
            Some(line) => each(line)?,
            None => bad += 1,
        }
    }
}

/// Purges by what they reach: a line is dead if one of the same or a higher `seq` covers it.
#[derive(Default)]
struct Purges {
    paths: HashMap<String, i64>,
    below: Vec<(String, i64)>,
    highest: i64,
}

impl Purges {
    fn add(&mut self, line: Line) {
        self.highest = self.highest.max(line.seq());
        match line {
            Line::Purge { path, seq } => {
                let last = self.paths.entry(path).or_insert(seq);
                *last = seq.max(*last);
            }
            Line::PurgeBelow { prefix, seq } => self.below.push((prefix, seq)),
            Line::Pin { .. } => {}
        }
    }

    fn cover(&self, path: &str, seq: i64) -> bool {
        let below =
            |prefix: &str| prefix.is_empty() || path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
        self.paths.get(path).is_some_and(|purge| *purge >= seq)
            || self.below.iter().any(|(prefix, purge)| *purge >= seq && below(prefix))
    }
}

/// Write into a new index every pinned object that the manifests name and whose blob is there; the others are lost.
/// Can be cut short at any point and done again.
pub(super) fn rebuild(dir: &CasDir, connection: &mut Connection) -> Result<(), StoreError> {
    let paths = files(dir)?;
    if paths.is_empty() {
        return Ok(());
    }
    let mut purges = Purges::default();
    let mut bad = 0;
    for path in &paths {
        bad += lines(&File::open(path)?, &mut |line| {
            purges.add(line);
            Ok(())
        })?;
    }
    let (mut batch, mut count) = (Vec::with_capacity(BATCH), 0_u64);
    for path in &paths {
        lines(&File::open(path)?, &mut |line| {
            let seq = line.seq();
            match line.object() {
                Some(object) if !purges.cover(&object.path, seq) => batch.push((object, seq)),
                _ => return Ok(()),
            }
            count += 1;
            if batch.len() == BATCH { apply(connection, &mut batch, purges.highest) } else { Ok(()) }
        })?;
    }
    apply(connection, &mut batch, purges.highest)?;
    settle(dir, connection)?;
    log::warn!("the index was rebuilt from {} manifests: {count} lines, {bad} unreadable ones left out", paths.len());
    Ok(())
}

fn apply(connection: &mut Connection, batch: &mut Vec<(ObjectInfo, i64)>, highest: i64) -> Result<(), StoreError> {
    let mut txn = Txn::begin(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)?;
    txn.raise(highest);
    for (object, seq) in batch.drain(..) {
        txn.put(&object, seq)?;
    }
    txn.commit()?;
    Ok(())
}

/// With the last word on every path known: count the blobs that are there, and move the objects of the others to `lost`.
fn settle(dir: &CasDir, connection: &mut Connection) -> Result<(), StoreError> {
    let mut after = String::new();
    loop {
        let page = index::page(connection, "", &after, BATCH as u32)?;
        let Some(last) = page.last() else { return Ok(()) };
        after.clone_from(&last.path);
        let mut txn = Txn::begin(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)?;
        for object in &page {
            match dir.stat(&object.hash)? {
                Some(meta) if meta.is_file() && meta.len() == object.size => {
                    txn.put_blob(&object.hash, object.size, allocated(&meta), true)?;
                }
                _ => txn.lose(&object.path)?,
            }
        }
        txn.commit()?;
    }
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
        let file = File::open(&path)?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        let mut newest = 0;
        lines(&file, &mut |line| {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_line_comes_back_and_a_flipped_or_torn_one_does_not() {
        let line = Line::Purge { path: "a/\"é\n".into(), seq: 7 };
        let mut bytes = Vec::new();
        line.write_to(&mut bytes).unwrap();
        assert_eq!(Line::parse(&bytes), Some(line));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 2;
            assert_eq!(Line::parse(&bad), None, "byte {at}");
            assert_eq!(Line::parse(&bytes[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn a_purge_covers_what_came_before_it_and_nothing_after() {
        let mut purges = Purges::default();
        purges.add(Line::Purge { path: "a".into(), seq: 5 });
        purges.add(Line::PurgeBelow { prefix: "f".into(), seq: 8 });
        for (path, seq, covered) in
            [("a", 5, true), ("a", 6, false), ("b", 1, false), ("f/x", 8, true), ("f/x", 9, false), ("f", 1, false)]
        {
            assert_eq!(purges.cover(path, seq), covered, "{path} {seq}");
        }
        assert_eq!((purges.highest, purges.cover("f2/x", 1)), (8, false));
    }

    #[test]
    fn a_manifest_with_garbage_in_it_still_gives_its_good_lines() {
        let mut bytes = vec![0xff; 3 * MAX_LINE as usize];
        bytes.push(b'\n');
        for seq in 0..3 {
            Line::Purge { path: "x".into(), seq }.write_to(&mut bytes).unwrap();
            bytes.extend_from_slice(b"garbage\n");
        }
        bytes.extend_from_slice(b"torn");
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        let mut seen = Vec::new();
        let bad = lines(&file, &mut |line| {
            seen.push(line.seq());
            Ok(())
        });
        assert_eq!((seen, bad.unwrap()), (vec![0, 1, 2], 3 + 1 + 3 + 1));
    }
}
