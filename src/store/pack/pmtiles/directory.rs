//! Directories of a PMTiles archive (v3 §4): from ids to places, and the bounds that keep a hostile one small.

use std::borrow::Cow;

use crate::store::StoreError;

/// The most bytes of a directory, as it stands in the file and after decompression. A planet's leaf directory has about 40,000
/// entries in some hundred KiB.
pub const MAX_BYTES: u64 = 4 << 20;
/// The most entries of one directory: 6 MiB of memory.
pub const MAX_ENTRIES: u64 = 1 << 18;

/// One entry: where a run of equal tiles is, or a leaf directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Id of the first tile.
    pub id: u64,
    /// Where the bytes start, from the start of the tile data (or of the leaf directories).
    pub offset: u64,
    /// Their length in bytes, never 0.
    pub length: u32,
    /// For how many ids, from `id` on, the tile stands; 0 for a leaf directory.
    pub run: u32,
}

impl Entry {
    /// Whether this points to a leaf directory.
    pub fn is_leaf(&self) -> bool {
        self.run == 0
    }

    /// Whether the entry answers for `id`, given that it is the last one that doesn't start after it.
    fn covers(&self, id: u64) -> bool {
        self.is_leaf() || id - self.id < u64::from(self.run)
    }
}

/// A parsed directory: entries in ascending order of ids, whose runs don't overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    entries: Box<[Entry]>,
}

impl Directory {
    /// Parse a directory after decompression.
    ///
    /// Errors: [`StoreError::TooLarge`] above [`MAX_ENTRIES`]; [`StoreError::Corrupt`] for no entry at all, more entries than the
    /// bytes can hold, numbers that overflow, ids out of order, runs that overlap, an empty tile, bytes left over.
    /// Nothing is allocated before the count was checked against the bytes there are.
    pub fn parse(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut rest = bytes;
        let count = varint(&mut rest)?;
        if count == 0 {
            return Err(corrupt("a directory without entries"));
        }
        // Each entry takes four numbers of at least a byte.
        if count > rest.len() as u64 / 4 {
            return Err(corrupt("a directory of more entries than its bytes hold"));
        }
        if count > MAX_ENTRIES {
            return Err(StoreError::TooLarge(Cow::Borrowed("more entries than a directory may have")));
        }
        let mut entries = vec![Entry { id: 0, offset: 0, length: 0, run: 0 }; count as usize];
        read_ids(&mut rest, &mut entries)?;
        for entry in &mut entries {
            entry.run = varint32(&mut rest)?;
        }
        for entry in &mut entries {
            entry.length = varint32(&mut rest)?;
        }
        read_offsets(&mut rest, &mut entries)?;
        if !rest.is_empty() {
            return Err(corrupt("bytes after the end of a directory"));
        }
        check(&entries)?;
        Ok(Self { entries: entries.into() })
    }

    /// The entry that answers for `id`: a run that holds it, or the leaf directory that may.
    pub fn find(&self, id: u64) -> Option<&Entry> {
        let after = self.entries.partition_point(|entry| entry.id <= id);
        self.entries.get(after.checked_sub(1)?).filter(|entry| entry.covers(id))
    }

    /// All entries, in ascending order of ids.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Memory that it takes, in bytes.
    pub fn weight(&self) -> u64 {
        (size_of::<Self>() + size_of_val(&*self.entries)) as u64
    }

    /// A directory as it stands in a file before compression: the reverse of [`Directory::parse`]. Ids must ascend.
    pub fn encode(entries: &[Entry]) -> Vec<u8> {
        let mut out = Vec::with_capacity(entries.len() * 6 + 10);
        put(&mut out, entries.len() as u64);
        let mut last = 0;
        for entry in entries {
            put(&mut out, entry.id.wrapping_sub(last));
            last = entry.id;
        }
        entries.iter().for_each(|entry| put(&mut out, u64::from(entry.run)));
        entries.iter().for_each(|entry| put(&mut out, u64::from(entry.length)));
        let mut next = None;
        for entry in entries {
            put(&mut out, if next == Some(entry.offset) { 0 } else { entry.offset.wrapping_add(1) });
            next = entry.offset.checked_add(u64::from(entry.length));
        }
        out
    }
}

/// Ids are written as distances from the one before.
fn read_ids(rest: &mut &[u8], entries: &mut [Entry]) -> Result<(), StoreError> {
    let mut id = 0u64;
    for entry in entries {
        id = id.checked_add(varint(rest)?).ok_or_else(|| corrupt("a tile id overflows"))?;
        entry.id = id;
    }
    Ok(())
}

/// An offset is written as itself plus one, or as 0 where it follows the entry before.
fn read_offsets(rest: &mut &[u8], entries: &mut [Entry]) -> Result<(), StoreError> {
    let mut next = None;
    for entry in entries {
        entry.offset = match varint(rest)?.checked_sub(1) {
            Some(offset) => offset,
            None => next.ok_or_else(|| corrupt("the first offset of a directory follows nothing"))?,
        };
        let end = entry.offset.checked_add(u64::from(entry.length));
        next = Some(end.ok_or_else(|| corrupt("an offset overflows"))?);
    }
    Ok(())
}

/// What the search relies on: ids ascend, and no run reaches into the next entry.
fn check(entries: &[Entry]) -> Result<(), StoreError> {
    for entry in entries {
        if entry.length == 0 {
            return Err(corrupt("an entry of no bytes"));
        }
        if entry.id.checked_add(u64::from(entry.run)).is_none() {
            return Err(corrupt("a run overflows"));
        }
    }
    match entries.windows(2).all(|pair| pair[1].id > pair[0].id && pair[1].id - pair[0].id >= u64::from(pair[0].run)) {
        true => Ok(()),
        false => Err(corrupt("tile ids out of order")),
    }
}

/// Read a little-endian base-128 number of at most 64 bits.
fn varint(rest: &mut &[u8]) -> Result<u64, StoreError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let Some((&byte, tail)) = rest.split_first() else {
            return Err(corrupt("a directory that ends within a number"));
        };
        *rest = tail;
        let bits = u64::from(byte & 0x7f);
        if (bits << shift) >> shift != bits {
            break;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(corrupt("a number of more than 64 bits"))
}

fn varint32(rest: &mut &[u8]) -> Result<u32, StoreError> {
    u32::try_from(varint(rest)?).map_err(|_| corrupt("a length of more than 32 bits"))
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        // The low seven bits, marked as not the last.
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn corrupt(what: &'static str) -> StoreError {
    StoreError::Corrupt(Cow::Borrowed(what))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn directories() -> impl Strategy<Value = Vec<Entry>> {
        let entry = (1u64..1 << 50, 0u32..9, 1u32.., 0u64..1 << 60, any::<bool>());
        proptest::collection::vec(entry, 1..200).prop_map(|raw| {
            let (mut id, mut next) = (0, 0);
            let entries = raw.into_iter().map(|(gap, run, length, offset, follows)| {
                let offset = if follows { next } else { offset };
                let entry = Entry { id, offset, length, run };
                id += gap + u64::from(run);
                next = offset + u64::from(length);
                entry
            });
            entries.collect()
        })
    }

    proptest! {
        #[test]
        fn a_directory_survives_the_round_trip(entries in directories()) {
            let directory = Directory::parse(&Directory::encode(&entries)).unwrap();
            prop_assert_eq!(directory.entries(), &entries[..]);
        }

        #[test]
        fn a_search_finds_what_a_walk_finds(entries in directories(), pick in any::<prop::sample::Index>(), near in 0u64..12) {
            let directory = Directory::parse(&Directory::encode(&entries)).unwrap();
            let id = (pick.get(&entries).id + near).saturating_sub(2);
            let walked = entries.iter().rev().find(|entry| entry.id <= id)
                .filter(|entry| entry.run == 0 || id < entry.id + u64::from(entry.run));
            prop_assert_eq!(directory.find(id), walked);
        }

        #[test]
        fn no_bytes_make_it_panic_or_allocate_more_than_they_hold(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(directory) = Directory::parse(&bytes) {
                prop_assert!(directory.entries().len() <= bytes.len() / 4);
            }
        }

        #[test]
        fn damaged_directories_never_panic(entries in directories(), at in any::<prop::sample::Index>(), value in any::<u8>()) {
            let mut bytes = Directory::encode(&entries);
            let at = at.index(bytes.len());
            bytes[at] = value;
            let _ = Directory::parse(&bytes).map(|directory| directory.find(entries[0].id).copied());
        }

        #[test]
        fn a_directory_cut_anywhere_is_corrupt(entries in directories(), cut in any::<prop::sample::Index>()) {
            let bytes = Directory::encode(&entries);
            let cut = cut.index(bytes.len());
            prop_assert!(matches!(Directory::parse(&bytes[..cut]), Err(StoreError::Corrupt(_))));
        }
    }

    fn refusal(bytes: &[u8]) -> String {
        Directory::parse(bytes).unwrap_err().to_string()
    }

    #[test]
    fn a_count_is_believed_only_as_far_as_there_are_bytes() {
        let mut bytes = Vec::new();
        put(&mut bytes, u64::MAX);
        bytes.extend([1; 64]);
        assert!(refusal(&bytes).contains("more entries than its bytes hold"));
        let mut bytes = Vec::new();
        put(&mut bytes, MAX_ENTRIES + 1);
        bytes.resize(bytes.len() + 4 * (MAX_ENTRIES as usize + 1), 1);
        assert!(matches!(Directory::parse(&bytes), Err(StoreError::TooLarge(_))));
    }

    #[test]
    fn what_the_specification_forbids_is_refused() {
        let one = Entry { id: 5, offset: 0, length: 1, run: 1 };
        assert!(refusal(&[0]).contains("without entries"));
        assert!(refusal(&[]).contains("ends within"));
        assert!(refusal(&Directory::encode(&[Entry { length: 0, ..one }])).contains("no bytes"));
        assert!(refusal(&Directory::encode(&[one, one])).contains("out of order"));
        assert!(
            refusal(&Directory::encode(&[Entry { run: 3, ..one }, Entry { id: 7, ..one }])).contains("out of order")
        );
        assert!(refusal(&Directory::encode(&[Entry { id: u64::MAX, run: 1, ..one }])).contains("a run overflows"));
        assert!(refusal(&Directory::encode(&[Entry { offset: u64::MAX - 1, length: 9, ..one }])).contains("overflows"));
        assert!(refusal(&[1, 5, 1, 1, 0]).contains("follows nothing"));
        assert!(refusal(&[1, 5, 1, 1, 1, 0]).contains("after the end"));
        assert!(refusal(&[0xff; 20]).contains("64 bits"));
        let mut long = vec![1, 5, 1];
        put(&mut long, 1 << 32);
        long.push(1);
        assert!(refusal(&long).contains("32 bits"));
    }

    #[test]
    fn a_run_answers_for_its_ids_and_not_for_the_next() {
        let entries = [Entry { id: 3, offset: 0, length: 1, run: 2 }, Entry { id: 9, offset: 1, length: 1, run: 0 }];
        let directory = Directory::parse(&Directory::encode(&entries)).unwrap();
        assert_eq!(directory.find(2), None);
        assert_eq!(directory.find(4), Some(&entries[0]));
        assert_eq!(directory.find(5), None);
        assert_eq!(directory.find(1 << 40), Some(&entries[1]));
    }
}
