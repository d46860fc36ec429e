//! Verification of a PMTiles archive: a walk through all directories feeds the tiles to the cores.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Progress, Report, Shared, parallel};
use crate::store::StoreError;
use crate::store::pack::pmtiles::directory::{Directory, Entry};
use crate::store::pack::pmtiles::{MAX_DEPTH, PmTiles, id};
use crate::store::pack::tile;

/// Entries handed to a core at a time.
const BATCH: usize = 64;

/// Contents remembered as decoded already, at 16 bytes each; later ones are decoded each time they are met.
const MAX_SEEN: usize = 4 << 20;

pub(super) fn verify(archive: &PmTiles, progress: &(dyn Fn(Progress) + Sync)) -> Result<Report, StoreError> {
    let shared = Shared::new(archive.header().tiles.length, progress);
    let bytes = AtomicU64::new(0);
    let work = |batch: Vec<Entry>| {
        for entry in batch {
            if shared.stopped() {
                return;
            }
            let checked =
                archive.read_tile(&entry).and_then(|bytes| tile::check(&bytes, archive.header().tile_compression));
            if let Err(error) = checked {
                shared.failed(Address(entry.id), error);
            }
            bytes.fetch_add(u64::from(entry.length), Relaxed);
            shared.advance(u64::from(entry.length));
        }
    };
    let mut counts = parallel(8, work, |send| {
        let mut walk = Walk {
            archive,
            shared: &shared,
            send,
            batch: Vec::with_capacity(BATCH),
            seen: HashSet::new(),
            counts: Report::default(),
        };
        walk.directory(archive.root(), 0..u64::MAX, 0);
        (walk.send)(std::mem::take(&mut walk.batch));
        walk.counts
    });
    counts.tile_bytes = bytes.into_inner();
    if !shared.stopped() {
        compare_counts(archive, &counts, &shared);
    }
    shared.finish(counts)
}

/// What the header says about the archive as a whole; 0 means that it doesn't say.
fn compare_counts(archive: &PmTiles, counts: &Report, shared: &Shared<'_>) {
    let header = archive.header();
    for (place, says, found) in [
        ("header: addressed tiles", header.addressed_tiles, counts.addressed_tiles),
        ("header: tile entries", header.tile_entries, counts.entries),
        // Past what is remembered, contents are counted more than once.
        ("header: tile contents", header.tile_contents, counts.tile_contents),
    ] {
        let comparable = !place.ends_with("contents") || (found as usize) < MAX_SEEN;
        if says != 0 && says != found && comparable {
            shared.fault(place, format_args!("says {says}, found {found}"));
        }
    }
}

struct Walk<'a, 's> {
    archive: &'a PmTiles,
    shared: &'a Shared<'s>,
    send: &'a dyn Fn(Vec<Entry>),
    batch: Vec<Entry>,
    seen: HashSet<(u64, u32)>,
    counts: Report,
}

impl Walk<'_, '_> {
    /// Walk a directory that answers for the ids `within`. A leaf must stay within its entry's ids: so none is walked twice,
    /// and one that contains itself ends at once or at the depth bound.
    fn directory(&mut self, directory: &Directory, within: Range<u64>, depth: usize) {
        self.counts.directories += 1;
        let entries = directory.entries();
        for (i, entry) in entries.iter().enumerate() {
            if self.shared.stopped() {
                return;
            }
            let next = entries.get(i + 1).map_or(within.end, |next| next.id);
            if entry.is_leaf() {
                self.leaf(entry, entry.id..next, depth + 1);
            } else if entry.id + u64::from(entry.run) > within.end {
                self.shared.fault(Address(entry.id), "a run that reaches into the next directory");
            } else {
                self.tile(entry);
            }
        }
    }

    fn leaf(&mut self, entry: &Entry, within: Range<u64>, depth: usize) {
        let place = format!("leaf directory at {} of {} bytes", entry.offset, entry.length);
        if depth > MAX_DEPTH {
            return self.shared.fault(place, "more than 4 deep");
        }
        match self.archive.read_leaf(entry) {
            Err(error) => self.shared.failed(place, error),
            Ok(leaf) => match leaf.entries() {
                [first, .., last] | [first @ last] if within.contains(&first.id) && within.contains(&last.id) => {
                    self.directory(&leaf, within, depth);
                }
                _ => self.shared.fault(place, "holds ids that its entry doesn't answer for"),
            },
        }
    }

    fn tile(&mut self, entry: &Entry) {
        self.counts.entries += 1;
        self.counts.addressed_tiles = self.counts.addressed_tiles.saturating_add(u64::from(entry.run));
        let header = self.archive.header();
        let zooms = header.min_zoom..=header.max_zoom;
        let ends = [entry.id, entry.id + u64::from(entry.run) - 1].map(id::decode);
        if !ends.iter().all(|end| end.is_some_and(|tile| zooms.contains(&tile.z()))) {
            self.shared.fault(Address(entry.id), "outside the zooms of the header");
        }
        if let Err(error) = header.tiles.place(entry.offset, u64::from(entry.length)) {
            return self.shared.failed(Address(entry.id), error);
        }
        let content = (entry.offset, entry.length);
        if self.seen.contains(&content) {
            return;
        }
        if self.seen.len() < MAX_SEEN {
            self.seen.insert(content);
        }
        self.counts.tile_contents += 1;
        self.batch.push(*entry);
        if self.batch.len() == BATCH {
            (self.send)(std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH)));
        }
    }
}

/// A tile's id as an address.
struct Address(u64);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match id::decode(self.0) {
            Some(tile) => write!(f, "tile {}/{}/{}", tile.z(), tile.x(), tile.y()),
            None => write!(f, "tile id {}", self.0),
        }
    }
}
