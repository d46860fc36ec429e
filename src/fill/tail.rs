//! The end of a growing body that is not in its file yet: readers at the tip read it from here, and the file is written in batches.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// What was received and is not written yet. The pump bounds it.
#[derive(Default)]
pub(super) struct Tail(Mutex<State>);

#[derive(Default)]
struct State {
    /// Bytes in the file.
    written: u64,
    /// What follows them, piece by piece, each with its offset.
    pieces: VecDeque<(u64, Bytes)>,
}

/// Where the bytes at an offset are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Here they are, as many as stand in one piece.
    Here(Bytes),
    /// In the file, which has so many bytes.
    File(u64),
}

impl Tail {
    /// Append what was received; the length of the body so far.
    pub fn push(&self, bytes: Bytes) -> u64 {
        let mut state = self.state();
        let at = state.pieces.back().map_or(state.written, |(at, piece)| at + piece.len() as u64);
        let length = at + bytes.len() as u64;
        state.pieces.push_back((at, bytes));
        length
    }

    /// Let go of what is in the file, which has `length` bytes now.
    pub fn written(&self, length: u64) {
        let mut state = self.state();
        state.written = length;
        while state.pieces.front().is_some_and(|(at, piece)| at + piece.len() as u64 <= length) {
            state.pieces.pop_front();
        }
    }

    /// The bytes at `offset`, at most `most` of them; the offset is below the length that [`Tail::push`] told.
    pub fn at(&self, offset: u64, most: usize) -> Place {
        let state = self.state();
        let behind = state.pieces.partition_point(|(at, _)| *at <= offset);
        let piece = behind.checked_sub(1).and_then(|index| state.pieces.get(index));
        match piece {
            Some((at, piece)) if offset < at + piece.len() as u64 => {
                // Within the piece, whose length is a usize.
                let start = (offset - at) as usize;
                Place::Here(piece.slice(start..piece.len().min(start.saturating_add(most))))
            }
            _ => Place::File(state.written),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole after each of its verbs, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_written_is_here_and_what_is_written_is_in_the_file() {
        let tail = Tail::default();
        assert_eq!(tail.push(Bytes::from_static(b"abcd")), 4);
        assert_eq!(tail.push(Bytes::from_static(b"efg")), 7);
        assert_eq!(tail.at(0, 100), Place::Here(Bytes::from_static(b"abcd")));
        assert_eq!(tail.at(2, 1), Place::Here(Bytes::from_static(b"c")));
        assert_eq!(tail.at(4, 100), Place::Here(Bytes::from_static(b"efg")));
        tail.written(4);
        assert_eq!(tail.at(3, 100), Place::File(4));
        assert_eq!(tail.at(6, 100), Place::Here(Bytes::from_static(b"g")));
        tail.written(7);
        assert_eq!(tail.at(6, 100), Place::File(7));
        assert_eq!(tail.push(Bytes::from_static(b"h")), 8);
        assert_eq!(tail.at(7, 100), Place::Here(Bytes::from_static(b"h")));
    }

    proptest! {
        #[test]
        fn every_received_byte_is_in_the_file_or_here(steps in prop::collection::vec((1_usize..20, any::<bool>()), 1..40)) {
            let (tail, mut all, mut file) = (Tail::default(), Vec::new(), 0_u64);
            for (length, write) in steps {
                let piece: Vec<u8> = (0..length).map(|n| (all.len() + n) as u8).collect();
                all.extend_from_slice(&piece);
                prop_assert_eq!(tail.push(piece.into()), all.len() as u64);
                if write {
                    file = all.len() as u64;
                    tail.written(file);
                }
                for offset in 0..all.len() {
                    match tail.at(offset as u64, 7) {
                        Place::Here(bytes) => prop_assert_eq!(&bytes[..], &all[offset..offset + bytes.len()]),
                        Place::File(has) => prop_assert!(has == file && (offset as u64) < has),
                    }
                }
            }
        }
    }
}
