//! Bodies of any length that nobody holds: byte `i` is a function of `i`.

use std::ops::Range;
use std::sync::LazyLock;

/// The pattern repeats after this many bytes: a prime, so that no power of two by which bytes could be misplaced maps it onto itself.
const PERIOD: usize = 65_521;

static TABLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    // Xorshift (Marsaglia 2003): bytes that don't compress.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..PERIOD).map(|_| byte()).collect()
});

/// Write the bytes from `at` on into `buffer`.
pub fn fill(at: u64, buffer: &mut [u8]) {
    let mut from = offset(at);
    let mut rest = buffer;
    while !rest.is_empty() {
        let length = rest.len().min(PERIOD - from);
        let (piece, behind) = rest.split_at_mut(length);
        piece.copy_from_slice(&TABLE[from..from + length]);
        (rest, from) = (behind, 0);
    }
}

/// Whether `bytes` are those from `at` on.
pub fn is_at(at: u64, bytes: &[u8]) -> bool {
    let mut from = offset(at);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rest.len().min(PERIOD - from));
        if *piece != TABLE[from..from + piece.len()] {
            return false;
        }
        (rest, from) = (behind, 0);
    }
    true
}

/// The bytes of a range, in memory.
pub fn bytes(range: Range<u64>) -> Vec<u8> {
    let mut bytes = vec![0; range.end.saturating_sub(range.start) as usize];
    fill(range.start, &mut bytes);
    bytes
}

fn offset(at: u64) -> usize {
    (at % PERIOD as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_depends_on_its_place_alone_and_a_misplaced_one_is_seen() {
        let whole = bytes(0..300_000);
        for (from, to) in [(0, 0), (0, 1), (65_520, 65_523), (65_521, 131_100), (1, 299_999)] {
            assert_eq!(bytes(from..to), whole[from as usize..to as usize], "{from}..{to}");
            assert!(is_at(from, &whole[from as usize..to as usize]));
        }
        for shift in [1_u64, 2, 512, 4096, 65_536, 131_072] {
            assert!(!is_at(shift, &whole[..100]), "shifted by {shift}");
        }
        assert!(!is_at(0, &[&whole[..70_000], &[whole[70_000] ^ 1][..]].concat()));
    }
}
