//! Correlation ids: which of a client's `X-Corr-ID` values are taken over, and how ours are written.

/// The longest id that is taken over, in bytes.
pub const MAX_BYTES: usize = 128;

/// Whether a client's id may be echoed and logged: 1–128 of `[A-Za-z0-9._-]`, which needs no escaping in a header, a
/// JSON string, a URI or a shell.
pub fn acceptable(value: &[u8]) -> bool {
    (1..=MAX_BYTES).contains(&value.len())
        && value.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Crockford's base 32: no I, L, O or U.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A ULID: 48 bits of milliseconds since the Unix epoch, then 80 random bits, in 26 digits that sort by time.
/// What does not fit (the high bits of either) is dropped; a time fits until the year 10889.
pub fn ulid(now_ms: u64, random: u128) -> [u8; 26] {
    let mut bits = u128::from(now_ms) << 80 | random & ((1 << 80) - 1);
    let mut digits = [0; 26];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(bits & 31) as usize];
        bits >>= 5;
    }
    digits
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_short_plain_ids_are_taken_over() {
        for good in ["a", "0", "-", "req-42.a_B", &"x".repeat(128)] {
            assert!(acceptable(good.as_bytes()), "{good}");
        }
        for bad in ["", " ", "a b", "a\n", "a\0", "a\"", "a/b", "a%", "é", "a;b", &"x".repeat(129)] {
            assert!(!acceptable(bad.as_bytes()), "{bad:?}");
        }
        assert!(!acceptable(b"\xff"));
    }

    #[test]
    fn a_ulid_is_written_as_its_specification_shows() {
        // The time of the example in the ULID specification, and its smallest and largest values.
        assert_eq!(&ulid(1_469_918_176_385, 0)[..10], b"01ARYZ6S41");
        assert_eq!(&ulid(0, 0), b"00000000000000000000000000");
        assert_eq!(&ulid(u64::MAX, u128::MAX), b"7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
        assert_eq!(&ulid(0, 31), b"0000000000000000000000000Z");
    }

    proptest! {
        #[test]
        fn our_own_ids_are_acceptable_and_sort_by_time(a in 0..1_u64 << 48, b in 0..1_u64 << 48, x: u128, y: u128) {
            let (first, second) = (ulid(a, x), ulid(b, y));
            prop_assert!(acceptable(&first));
            if a != b {
                prop_assert_eq!(a < b, first < second);
            }
        }

        #[test]
        fn what_is_acceptable_is_visible_ascii(value: Vec<u8>) {
            if acceptable(&value) {
                prop_assert!(value.iter().all(u8::is_ascii_graphic));
            }
        }
    }
}
