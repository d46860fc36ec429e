//! What fills ask of the index besides commits: which objects could answer a key, and what became of one.

use blake3::Hash;
use rusqlite::Connection;

use super::commit::bounded;
use super::index::Named;
use super::types::{ObjectInfo, now};
use super::{Cas, index, key};
use crate::store::StoreError;

impl Cas {
    /// The objects that could answer `key`: the one that Vary doesn't touch and the variants, newest first, at most 17. Those of other
    /// queries are not among them; a pinned object of the path is, before all others: it answers whatever the query. One read of the index.
    pub fn candidates(&self, key: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        self.inner.index.read(|connection| index::candidates(connection, key))
    }

    /// Whether an import put something at `path` whose bytes were lost since: they were corrupt, or gone, and nobody imported them again or
    /// purged the path. One read of the index.
    pub fn is_lost(&self, path: &str) -> Result<bool, StoreError> {
        self.inner.index.read(|connection| index::is_lost(connection, path))
    }

    /// The origin said that the object at `key`, a variant with its variant, is still right, and told `extra` of it: from now on that is
    /// its metadata, and it was stored now. `false` where the key has another blob by now, or a pinned object.
    pub fn refresh(&self, key: &str, hash: &Hash, extra: &[u8]) -> Result<bool, StoreError> {
        bounded(extra)?;
        self.inner.index.write(false, |txn| Ok(txn.refresh(key, hash, extra, now())?))
    }

    /// Something changed at the origin what `key` answers: remove the object and its variants, unless it is pinned. Whether there was
    /// one. Without one this is a read of the index, else two transactions that do not wait for the disk.
    pub fn drop_object(&self, key: &str) -> Result<bool, StoreError> {
        let inner = &self.inner;
        let key = key::unvaried(key);
        let found = |connection: &Connection| {
            let mut found = index::variants(connection, key)?;
            found.extend(index::named_at(connection, key)?);
            found.retain(|object| !object.pinned);
            Ok(found)
        };
        if inner.index.read(found)?.is_empty() {
            return Ok(false);
        }
        let gone = inner.index.write(false, |txn| {
            let gone: Vec<Named> = found(txn.read())?;
            gone.iter().try_for_each(|object| txn.delete(&object.path).map(drop))?;
            Ok(gone)
        })?;
        inner.release(&gone.iter().map(|object| object.hash).collect::<Vec<_>>())?;
        Ok(!gone.is_empty())
    }
}
