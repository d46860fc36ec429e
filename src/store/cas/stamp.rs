//! How copies of objects in RAM learn that they are wrong, for the price of two loads.
//!
//! A copy keeps the [`Stamp`] that was taken before the index was read for it. Whoever takes a row out, or writes another in its place,
//! moves a number behind the commit: one of 4096 that the path chooses, so that a fill costs few other copies anything, or the one
//! that all copies compare, where many paths changed or nobody knows which. So as long as a stamp holds, the row that was read behind
//! it stands in the index. That there is no row is nothing to keep a copy of: a first fill of a path moves nothing.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use blake3::Hash;

use super::{Cas, key};

/// Numbers that paths share: 32 KiB. A power of two.
const STRIPES: usize = 4096;

/// The state of the index as far as one path, or one blob, goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    epoch: u64,
    stripe: usize,
    mark: u64,
}

impl Cas {
    /// A stamp for a copy of what `path` answers; queries and variants behind the path share it. Take it before the index is read.
    pub fn stamp(&self, path: &str) -> Stamp {
        self.inner.index.stamps.of_path(path)
    }

    /// A stamp for a copy of a blob that was asked by its hash: it holds until the blob is removed.
    pub fn stamp_blob(&self, hash: &Hash) -> Stamp {
        self.inner.index.stamps.of_blob(hash)
    }

    /// Whether a copy with this stamp is still right: two loads. Once it isn't, it never is again. What this process changed shows
    /// at once, what another one changed after the next housekeeping.
    pub fn holds(&self, stamp: &Stamp) -> bool {
        self.inner.index.stamps.hold(stamp)
    }
}

/// The numbers.
pub(super) struct Stamps {
    epoch: AtomicU64,
    stripes: Box<[AtomicU64]>,
    /// Keyed, so that nobody can choose paths that all share one number.
    hasher: RandomState,
}

/// What a transaction made wrong, told when it is committed.
#[derive(Debug, Default)]
pub(super) struct Stale {
    all: bool,
    paths: Vec<String>,
    blobs: Vec<Hash>,
}

impl Stale {
    /// Every copy.
    pub fn all(&mut self) {
        *self = Self { all: true, ..Self::default() };
    }

    /// The copies of what the path of `key` answers.
    pub fn key(&mut self, key: &str) {
        if !self.all {
            self.paths.push(key::path_of(key).to_owned());
        }
    }

    /// The copies of a blob.
    pub fn blob(&mut self, hash: &Hash) {
        if !self.all {
            self.blobs.push(*hash);
        }
    }
}

impl Default for Stamps {
    fn default() -> Self {
        let stripes = (0..STRIPES).map(|_| AtomicU64::new(0)).collect();
        Self { epoch: AtomicU64::new(0), stripes, hasher: RandomState::new() }
    }
}

impl Stamps {
    fn of_path(&self, path: &str) -> Stamp {
        self.of_stripe(self.path_stripe(path))
    }

    fn of_blob(&self, hash: &Hash) -> Stamp {
        self.of_stripe(self.blob_stripe(hash))
    }

    fn of_stripe(&self, stripe: usize) -> Stamp {
        // The index is read behind these loads: a change that the read misses moves a number later.
        let epoch = self.epoch.load(Ordering::Acquire);
        Stamp { epoch, stripe, mark: self.mark(stripe) }
    }

    fn hold(&self, stamp: &Stamp) -> bool {
        self.epoch.load(Ordering::Acquire) == stamp.epoch && self.mark(stamp.stripe) == stamp.mark
    }

    /// Every copy may be wrong.
    pub fn move_all(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// What is stale is wrong from now on. Called behind the commit, before whoever made it hears of it.
    pub fn move_some(&self, stale: &Stale) {
        if stale.all {
            return self.move_all();
        }
        let stripes = stale.paths.iter().map(|path| self.path_stripe(path));
        for stripe in stripes.chain(stale.blobs.iter().map(|hash| self.blob_stripe(hash))) {
            if let Some(mark) = self.stripes.get(stripe) {
                mark.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    fn mark(&self, stripe: usize) -> u64 {
        self.stripes.get(stripe).map_or(0, |mark| mark.load(Ordering::Acquire))
    }

    fn path_stripe(&self, path: &str) -> usize {
        // The modulus makes it fit.
        self.hasher.hash_one(key::path_of(path).as_bytes()) as usize % STRIPES
    }

    fn blob_stripe(&self, hash: &Hash) -> usize {
        self.hasher.hash_one(hash.as_bytes()) as usize % STRIPES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_a_path_reaches_its_queries_and_variants_and_almost_nobody_else() {
        let stamps = Stamps::default();
        let family = ["a", "a\0?q", "a\0v00"].map(|path| stamps.of_path(path));
        let others: Vec<_> = (0..1000).map(|number| stamps.of_path(&format!("b/{number}"))).collect();
        let mut stale = Stale::default();
        stale.key("a\0?other");
        stamps.move_some(&stale);
        assert!(family.iter().all(|stamp| !stamps.hold(stamp)));
        let wrong = others.iter().filter(|stamp| !stamps.hold(stamp)).count();
        assert!(wrong < 10, "{wrong} of 1000 share its number");
        stale.all();
        stamps.move_some(&stale);
        assert!(others.iter().all(|stamp| !stamps.hold(stamp)));
    }

    #[test]
    fn a_removed_blob_reaches_the_copies_by_its_hash() {
        let stamps = Stamps::default();
        let (gone, other) = (blake3::hash(b"gone"), blake3::hash(b"other"));
        let copies = [stamps.of_blob(&gone), stamps.of_blob(&other)];
        let mut stale = Stale::default();
        stale.blob(&gone);
        stamps.move_some(&stale);
        assert!(!stamps.hold(&copies[0]));
        assert!(stamps.hold(&copies[1]) || stamps.blob_stripe(&gone) == stamps.blob_stripe(&other));
    }
}
