//! The tree of a large blob: one BLAKE3 chaining value for each segment, so that a window verifies only what it touches.
//!
//! A list of chaining values is worth what its root is worth: [`Segments::decode`] merges them and compares the root with
//! the blob's name, so a list from a disk is trusted no further than the blob itself. Pure: reads and writes nothing.

use std::ops::Range;

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use blake3::{Hash, Hasher};

/// Bytes of a segment, and the largest blob that is read whole: a power of two, so that a segment is a whole subtree.
/// Hashing one took 40 µs where this was measured (6.6 GB/s, AVX-512).
pub const SEGMENT: u64 = 256 * 1024;

/// First bytes of an encoded list; the digit is the version of the layout.
const MAGIC: &[u8; 8] = b"b3segs1\n";

/// Magic, segment size, length of the blob.
const HEADER: usize = 24;

/// The chaining values of a blob of more than one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    len: u64,
    values: Box<[ChainingValue]>,
}

impl Segments {
    /// Length of the blob in bytes: more than [`SEGMENT`].
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Number of segments: at least two.
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// Bytes of the blob that segment `index`, one of [`Segments::count`], covers; only the last may be shorter than [`SEGMENT`].
    pub fn range(&self, index: usize) -> Range<u64> {
        let start = index as u64 * SEGMENT;
        start..self.len.min(start + SEGMENT)
    }

    /// Whether `bytes` are those of segment `index`.
    pub fn holds(&self, index: usize, bytes: &[u8]) -> bool {
        let Some(value) = self.values.get(index) else { return false };
        let range = self.range(index);
        bytes.len() as u64 == range.end - range.start && *value == value_of(range.start, bytes)
    }

    /// The blob's name, merged from its segments.
    pub fn root(&self) -> Hash {
        let (left, right) = self.values.split_at(left_of(self.values.len()));
        merge_subtrees_root(&merge(left), &merge(right), Mode::Hash)
    }

    /// Size of the encoded list for a blob of `len` bytes.
    pub fn encoded_len(len: u64) -> u64 {
        HEADER as u64 + len.div_ceil(SEGMENT) * 32
    }

    /// The list as it is kept beside the blob.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.values.len() * 32);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&SEGMENT.to_le_bytes());
        bytes.extend_from_slice(&self.len.to_le_bytes());
        self.values.iter().for_each(|value| bytes.extend_from_slice(value));
        bytes
    }

    /// Read a list that claims to be of the blob `name` of `len` bytes; `None` unless it merges to that very name.
    pub fn decode(bytes: &[u8], len: u64, name: &Hash) -> Option<Self> {
        let mut head = [0; HEADER];
        head[..8].copy_from_slice(MAGIC);
        head[8..16].copy_from_slice(&SEGMENT.to_le_bytes());
        head[16..].copy_from_slice(&len.to_le_bytes());
        let values = bytes.strip_prefix(&head)?;
        if len <= SEGMENT || bytes.len() as u64 != Self::encoded_len(len) {
            return None;
        }
        let values = values.chunks_exact(32).filter_map(|value| value.try_into().ok()).collect();
        let segments = Self { len, values };
        (segments.root() == *name).then_some(segments)
    }
}

/// Hashes a blob as its bytes come, and keeps the chaining value of each segment.
pub struct TreeHasher {
    values: Vec<ChainingValue>,
    current: Hasher,
    filled: u64,
    len: u64,
}

impl Default for TreeHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl TreeHasher {
    /// Nothing hashed yet.
    pub fn new() -> Self {
        Self { values: Vec::new(), current: Hasher::new(), filled: 0, len: 0 }
    }

    /// Bytes hashed so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Hash the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            // A full segment is closed when a byte follows it, not before: alone, it is the root, which hashes differently.
            if self.filled == SEGMENT {
                self.values.push(self.current.finalize_non_root());
                // A new one: `reset` of blake3 1.8 keeps the old input offset, which `set_input_offset` then refuses.
                self.current = Hasher::new();
                self.current.set_input_offset(self.len);
                self.filled = 0;
            }
            // At most one segment: fits a usize.
            let take = bytes.len().min((SEGMENT - self.filled) as usize);
            self.current.update(&bytes[..take]);
            self.filled += take as u64;
            self.len += take as u64;
            bytes = &bytes[take..];
        }
    }

    /// The blob's name, and its segments where it has more than one.
    pub fn finish(mut self) -> (Hash, Option<Segments>) {
        if self.values.is_empty() {
            return (self.current.finalize(), None);
        }
        self.values.push(self.current.finalize_non_root());
        let segments = Segments { len: self.len, values: self.values.into() };
        (segments.root(), Some(segments))
    }
}

/// Chaining value of the segment that starts at `offset`. `bytes` isn't empty: a segment never is.
fn value_of(offset: u64, bytes: &[u8]) -> ChainingValue {
    Hasher::new().set_input_offset(offset).update(bytes).finalize_non_root()
}

/// Segments in the left subtree of `count` ≥ 2: the largest power of two below `count` (BLAKE3 §2.1).
fn left_of(count: usize) -> usize {
    count.next_power_of_two() / 2
}

fn merge(values: &[ChainingValue]) -> ChainingValue {
    match values {
        [one] => *one,
        _ => {
            let (left, right) = values.split_at(left_of(values.len()));
            merge_subtrees_non_root(&merge(left), &merge(right), Mode::Hash)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    const SEG: usize = SEGMENT as usize;

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
    }

    fn tree(data: &[u8], step: usize) -> (Hash, Option<Segments>) {
        let mut hasher = TreeHasher::new();
        data.chunks(step).for_each(|chunk| hasher.update(chunk));
        assert_eq!(hasher.len(), data.len() as u64);
        hasher.finish()
    }

    #[test]
    fn merged_segments_give_the_hash_of_the_whole_at_every_bound() {
        let sizes = [0, 1, 1023, 1024, 1025, SEG - 1, SEG, SEG + 1, SEG + 1024, 2 * SEG - 1, 2 * SEG, 2 * SEG + 1]
            .into_iter()
            .chain([3 * SEG + 17, 4 * SEG, 5 * SEG + 1023, 7 * SEG, 8 * SEG + 1, 9 * SEG]);
        for size in sizes {
            let data = bytes(size);
            let (root, segments) = tree(&data, 40_961);
            assert_eq!(root, blake3::hash(&data), "{size} bytes");
            assert_eq!(segments.is_some(), size > SEG, "{size} bytes");
            let Some(segments) = segments else { continue };
            assert_eq!((segments.count(), segments.root()), (size.div_ceil(SEG), root), "{size} bytes");
            for index in 0..segments.count() {
                let range = segments.range(index);
                let part = &data[range.start as usize..range.end as usize];
                assert!(segments.holds(index, part), "{size} bytes, segment {index}");
                assert!(!segments.holds((index + 1) % segments.count(), part), "{size} bytes, segment {index}");
            }
        }
    }

    #[test]
    fn the_steps_in_which_bytes_come_do_not_matter() {
        let data = bytes(2 * SEG + 5000);
        let one = tree(&data, data.len());
        for step in [1000, SEG - 1, SEG, SEG + 1] {
            assert_eq!(tree(&data, step), one, "steps of {step}");
        }
    }

    #[test]
    fn a_flipped_byte_fails_its_own_segment_and_no_other() {
        let mut data = bytes(3 * SEG + 17);
        let segments = tree(&data, data.len()).1.unwrap();
        data[SEG + 5] ^= 1;
        let verdicts: Vec<_> = data.chunks(SEG).enumerate().map(|(index, part)| segments.holds(index, part)).collect();
        assert_eq!(verdicts, [true, false, true, true]);
        assert!(!segments.holds(3, &data[3 * SEG..3 * SEG + 16]), "a short segment");
        assert!(!segments.holds(4, b"x"), "a segment past the end");
    }

    #[test]
    fn a_list_comes_back_from_its_bytes_and_a_changed_one_does_not() {
        let data = bytes(2 * SEG + 1);
        let (name, segments) = tree(&data, data.len());
        let segments = segments.unwrap();
        let encoded = segments.encode();
        let len = data.len() as u64;
        assert_eq!(encoded.len() as u64, Segments::encoded_len(len));
        assert_eq!(Segments::decode(&encoded, len, &name), Some(segments));
        for at in 0..encoded.len() {
            let mut bad = encoded.clone();
            bad[at] ^= 4;
            assert_eq!(Segments::decode(&bad, len, &name), None, "byte {at}");
        }
        for cut in 0..encoded.len() {
            assert_eq!(Segments::decode(&encoded[..cut], len, &name), None, "cut at {cut}");
        }
        assert_eq!(Segments::decode(&encoded, len + 1, &name), None);
        assert_eq!(Segments::decode(b"", 0, &blake3::hash(b"")), None);
    }
}
