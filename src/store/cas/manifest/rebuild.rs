//! Rebuilding a lost index from what the manifests say.

use std::collections::HashMap;

use rusqlite::{Connection, TransactionBehavior};

use super::files;
use super::line::{Line, all_lines};
use crate::store::StoreError;
use crate::store::cas::blobs::allocated;
use crate::store::cas::dir::CasDir;
use crate::store::cas::index::{self, Txn};
use crate::store::cas::types::ObjectInfo;

/// Rows of a transaction of a rebuild.
const BATCH: usize = 1000;

/// Purges by what they reach: a line is dead if one of the same or a higher `seq` covers it.
#[derive(Default)]
struct Purges {
    paths: HashMap<String, i64>,
    below: HashMap<String, i64>,
    highest: i64,
}

impl Purges {
    fn add(&mut self, line: Line) {
        self.highest = self.highest.max(line.seq());
        let (reach, seq) = match line {
            Line::Purge { path, seq } => (self.paths.entry(path), seq),
            Line::PurgeBelow { prefix, seq } => (self.below.entry(prefix), seq),
            Line::Pin { .. } => return,
        };
        let last = reach.or_insert(seq);
        *last = seq.max(*last);
    }

    fn cover(&self, path: &str, seq: i64) -> bool {
        let covers = |purge: Option<&i64>| purge.is_some_and(|purge| *purge >= seq);
        covers(self.paths.get(path))
            || covers(self.below.get(""))
            || path.match_indices('/').any(|(end, _)| covers(self.below.get(&path[..end])))
    }
}

/// Write into a new index every pinned object that the manifests name and whose blob is there; the others are lost.
/// Can be cut short at any point and done again.
pub fn rebuild(dir: &CasDir, connection: &mut Connection) -> Result<(), StoreError> {
    let paths = files(dir)?;
    if paths.is_empty() {
        return Ok(());
    }
    let mut purges = Purges::default();
    let bad = all_lines(&paths, true, &mut |line| {
        purges.add(line);
        Ok(())
    })?;
    let (mut batch, mut count) = (Vec::with_capacity(BATCH), 0_u64);
    all_lines(&paths, false, &mut |line| {
        let seq = line.seq();
        match line.object() {
            Some(object) if !purges.cover(&object.path, seq) => batch.push((object, seq)),
            _ => return Ok(()),
        }
        count += 1;
        if batch.len() == BATCH { apply(connection, &mut batch, purges.highest) } else { Ok(()) }
    })?;
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
        let page = index::page(connection, "", &after)?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
