//! The decompression guard: gzip, zlib, Brotli and Zstandard under a cap, for tiles, directories and bodies alike.
//!
//! Nothing here trusts a length that the input states: output is produced piece by piece and counted, and the work ends
//! at the first byte above the cap. Truncated input and bytes after the end are errors, never a shorter answer.

use std::borrow::Cow;
use std::io::Read;

use brotli::{BrotliDecompressStream, BrotliResult, BrotliState, HeapAlloc};
use bytes::Bytes;

use super::StoreError;
use crate::rules::encoding::Coding;

/// Output that is always allowed, in bytes, however small the input: repetitive little tiles beat any fair ratio.
pub const FLOOR: u64 = 64 << 10;

/// Bytes decoded at a time; the buffer they land in is the only memory that isn't output or window.
const STEP: usize = 16 << 10;

/// The largest window a Zstandard frame may ask for, as a power of two: 16 MiB, twice what RFC 9659 lets a sender use, so
/// that a single-segment frame (whose window is its content) of any body under the default cap decodes.
const ZSTD_WINDOW_LOG: u32 = 24;

/// The bounds of one decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Output per byte of input.
    pub ratio: u32,
    /// Output in bytes, whatever the input.
    pub bytes: u64,
}

impl Default for Caps {
    /// The contract's: ten times the input, 10 MiB.
    fn default() -> Self {
        Self { ratio: 10, bytes: 10 << 20 }
    }
}

impl Caps {
    /// The most that `input` bytes may become: the smaller of `bytes` and `ratio` times the input, but at least [`FLOOR`]
    /// (or `bytes`, where that is less).
    pub fn limit(self, input: usize) -> u64 {
        (input as u64).saturating_mul(u64::from(self.ratio)).max(FLOOR).min(self.bytes)
    }
}

/// Decode all of `input`.
///
/// Errors: [`StoreError::TooLarge`] above the caps; [`StoreError::Corrupt`] where the input is malformed, cut short, followed
/// by anything else, or empty in a coding that has no empty form. Memory is the output (at most twice while it grows) and a
/// window of at most 32 KiB (gzip) or 16 MiB (Brotli, Zstandard).
pub fn decode(coding: Coding, input: &[u8], caps: Caps) -> Result<Bytes, StoreError> {
    if coding == Coding::Identity {
        return match input.len() as u64 > caps.bytes {
            true => Err(too_large()),
            false => Ok(Bytes::copy_from_slice(input)),
        };
    }
    collect(input, |sink| run(coding, input, caps.limit(input.len()), sink))
}

/// Decode a zlib stream (RFC 1950), as some MBTiles hold; bounds and errors as [`decode`].
pub fn decode_zlib(input: &[u8], caps: Caps) -> Result<Bytes, StoreError> {
    collect(input, |sink| zlib(input, caps.limit(input.len()), sink))
}

/// Decode `input` without keeping the output, and tell its length in bytes; bounds and errors as [`decode`].
pub fn check(coding: Coding, input: &[u8], caps: Caps) -> Result<u64, StoreError> {
    run(coding, input, caps.limit(input.len()), &mut |_| {})
}

/// As [`check`], for a zlib stream.
pub fn check_zlib(input: &[u8], caps: Caps) -> Result<u64, StoreError> {
    zlib(input, caps.limit(input.len()), &mut |_| {})
}

/// Where pieces of output go.
type Sink<'a> = &'a mut dyn FnMut(&[u8]);

fn collect(input: &[u8], decoder: impl FnOnce(Sink<'_>) -> Result<u64, StoreError>) -> Result<Bytes, StoreError> {
    // Four times the input is what tiles become on average; the vector grows from there as output really comes.
    let mut out = Vec::with_capacity(input.len().saturating_mul(4).min(256 << 10));
    decoder(&mut |piece| out.extend_from_slice(piece))?;
    Ok(out.into())
}

fn run(coding: Coding, input: &[u8], limit: u64, sink: Sink<'_>) -> Result<u64, StoreError> {
    match coding {
        Coding::Identity => {
            if input.len() as u64 > limit {
                return Err(too_large());
            }
            sink(input);
            Ok(input.len() as u64)
        }
        Coding::Gzip => pump(flate2::bufread::MultiGzDecoder::new(input), limit, "malformed gzip", sink),
        Coding::Brotli => unbrotli(input, limit, sink),
        Coding::Zstd => {
            if input.is_empty() {
                return Err(corrupt("malformed zstd"));
            }
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            pump(decoder, limit, "malformed zstd", sink)
        }
    }
}

fn zlib(input: &[u8], limit: u64, sink: Sink<'_>) -> Result<u64, StoreError> {
    let mut decoder = flate2::bufread::ZlibDecoder::new(input);
    let length = pump(&mut decoder, limit, "malformed zlib", sink)?;
    match decoder.into_inner().is_empty() {
        true => Ok(length),
        false => Err(corrupt("bytes after the end of a zlib stream")),
    }
}

/// Read `decoder` to its end. The input is a slice in memory, so every error of it is the input's fault.
fn pump(mut decoder: impl Read, limit: u64, malformed: &'static str, sink: Sink<'_>) -> Result<u64, StoreError> {
    let mut buf = [0; STEP];
    let mut total = 0;
    loop {
        let n = decoder.read(&mut buf).map_err(|_| corrupt(malformed))?;
        if n == 0 {
            return Ok(total);
        }
        total += n as u64;
        if total > limit {
            return Err(too_large());
        }
        sink(&buf[..n]);
    }
}

/// Brotli without the reader that comes with the crate: that one accepts "large windows" (of up to 1 GiB, no part of
/// RFC 7932) and doesn't tell whether anything follows the stream.
fn unbrotli(input: &[u8], limit: u64, sink: Sink<'_>) -> Result<u64, StoreError> {
    let mut state = BrotliState::new_strict(HeapAlloc::new(0), HeapAlloc::new(0), HeapAlloc::new(Default::default()));
    let mut buf = [0; STEP];
    let (mut left, mut at, mut total) = (input.len(), 0, 0);
    loop {
        let (mut room, mut filled) = (buf.len(), 0);
        let result =
            BrotliDecompressStream(&mut left, &mut at, input, &mut room, &mut filled, &mut buf, &mut total, &mut state);
        if total as u64 > limit {
            return Err(too_large());
        }
        sink(&buf[..filled]);
        match result {
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultSuccess if left == 0 => return Ok(total as u64),
            BrotliResult::ResultSuccess => return Err(corrupt("bytes after the end of a brotli stream")),
            BrotliResult::NeedsMoreInput | BrotliResult::ResultFailure => return Err(corrupt("malformed brotli")),
        }
    }
}

fn corrupt(what: &'static str) -> StoreError {
    StoreError::Corrupt(Cow::Borrowed(what))
}

fn too_large() -> StoreError {
    StoreError::TooLarge(Cow::Borrowed("more than a body may decode to"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    const CODINGS: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];
    const WIDE: Caps = Caps { ratio: u32::MAX, bytes: 64 << 20 };

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib_of(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn encode(coding: Coding, data: &[u8]) -> Vec<u8> {
        match coding {
            Coding::Identity => data.to_vec(),
            Coding::Gzip => gzip(data),
            Coding::Brotli => {
                let mut out = Vec::new();
                brotli::CompressorReader::new(data, 4096, 5, 22).read_to_end(&mut out).unwrap();
                out
            }
            Coding::Zstd => zstd::stream::encode_all(data, 3).unwrap(),
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_cap_and_not_when_memory_is_gone() {
        let bomb = vec![0; 32 << 20];
        for coding in CODINGS {
            let input = encode(coding, &bomb);
            assert!(matches!(decode(coding, &input, Caps::default()), Err(StoreError::TooLarge(_))), "{coding:?}");
            assert!(matches!(check(coding, &input, Caps::default()), Err(StoreError::TooLarge(_))), "{coding:?}");
            assert_eq!(check(coding, &input, WIDE).unwrap(), 32 << 20, "{coding:?}");
        }
        assert!(matches!(decode_zlib(&zlib_of(&bomb), Caps::default()), Err(StoreError::TooLarge(_))));
        assert!(matches!(decode(Coding::Identity, &bomb, Caps::default()), Err(StoreError::TooLarge(_))));
    }

    #[test]
    fn a_small_body_may_exceed_the_ratio_up_to_the_floor_and_no_further() {
        for coding in CODINGS {
            let fits = encode(coding, &vec![7; FLOOR as usize]);
            assert!(fits.len() * 10 < FLOOR as usize);
            assert_eq!(decode(coding, &fits, Caps::default()).unwrap().len() as u64, FLOOR);
            let over = encode(coding, &vec![7; FLOOR as usize + 1]);
            assert!(matches!(decode(coding, &over, Caps::default()), Err(StoreError::TooLarge(_))), "{coding:?}");
        }
    }

    #[test]
    fn gzip_members_follow_one_another_but_nothing_else_may_follow_them() {
        let mut two = gzip(b"one, ");
        two.extend(gzip(b"two"));
        assert_eq!(decode(Coding::Gzip, &two, WIDE).unwrap(), "one, two");
        for coding in CODINGS {
            let mut input = encode(coding, b"some body");
            input.extend(b"garbage");
            assert!(matches!(decode(coding, &input, WIDE), Err(StoreError::Corrupt(_))), "{coding:?}");
        }
        let mut input = zlib_of(b"some body");
        input.push(0);
        assert!(matches!(decode_zlib(&input, WIDE), Err(StoreError::Corrupt(_))));
    }

    #[test]
    fn empty_input_is_corrupt_in_every_coding_but_identity() {
        for coding in CODINGS {
            assert!(matches!(decode(coding, b"", WIDE), Err(StoreError::Corrupt(_))), "{coding:?}");
        }
        assert!(matches!(decode_zlib(b"", WIDE), Err(StoreError::Corrupt(_))));
        assert_eq!(decode(Coding::Identity, b"", WIDE).unwrap(), "");
    }

    #[test]
    fn a_zstd_frame_that_asks_for_a_gigabyte_window_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(30).unwrap();
        encoder.write_all(b"small").unwrap();
        let input = encoder.finish().unwrap();
        assert!(matches!(decode(Coding::Zstd, &input, WIDE), Err(StoreError::Corrupt(_))));
    }

    proptest! {
        #[test]
        fn what_was_encoded_decodes_to_itself(data in proptest::collection::vec(any::<u8>(), 0..5000), repeat in 1usize..20) {
            let data = data.repeat(repeat);
            for coding in CODINGS {
                let input = encode(coding, &data);
                prop_assert_eq!(&decode(coding, &input, WIDE).unwrap()[..], &data[..]);
                prop_assert_eq!(check(coding, &input, WIDE).unwrap(), data.len() as u64);
            }
            prop_assert_eq!(&decode_zlib(&zlib_of(&data), WIDE).unwrap()[..], &data[..]);
        }

        #[test]
        fn a_body_cut_anywhere_is_corrupt(data in proptest::collection::vec(any::<u8>(), 1..500), cut in any::<prop::sample::Index>()) {
            for coding in CODINGS {
                let input = encode(coding, &data);
                let cut = cut.index(input.len());
                prop_assert!(matches!(decode(coding, &input[..cut], WIDE), Err(StoreError::Corrupt(_))));
            }
        }

        #[test]
        fn damaged_bodies_never_panic_nor_pass_the_cap(
            data in proptest::collection::vec(any::<u8>(), 1..2000),
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            for coding in CODINGS {
                let mut input = encode(coding, &data.repeat(4));
                for (at, value) in &flips {
                    let at = at.index(input.len());
                    input[at] = *value;
                }
                if let Ok(body) = decode(coding, &input, Caps::default()) {
                    prop_assert!(body.len() as u64 <= Caps::default().limit(input.len()));
                }
            }
        }

        #[test]
        fn random_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            for coding in CODINGS {
                let _ = decode(coding, &data, Caps::default());
            }
            let _ = decode_zlib(&data, Caps::default());
        }
    }
}
