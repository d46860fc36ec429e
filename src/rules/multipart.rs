//! `multipart/byteranges` (RFC 9110 §14.6): the framing around the parts, made before the first byte goes out so that
//! `Content-Length` is exact. The bytes of the parts are the caller's business.

use std::ops::Range;

use bytes::Bytes;

use super::range::content_range;

/// The shortest boundary that is accepted, in bytes: long enough that a random one does not occur in the bytes it
/// separates.
pub const MIN_BOUNDARY: usize = 24;

/// The longest boundary (RFC 2046 §5.1.1), in bytes.
pub const MAX_BOUNDARY: usize = 70;

/// The framing of one answer. The body is, for each of [`Multipart::parts`], its head and its bytes, then
/// [`Multipart::closing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multipart {
    content_type: String,
    parts: Vec<Part>,
    closing: Bytes,
    total_len: u64,
}

/// One part: what goes out before its bytes, and which bytes they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The delimiter and the part's header section.
    pub head: Bytes,
    /// The bytes of the representation, half-open.
    pub range: Range<u64>,
}

/// Why there can be no framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Not [`MIN_BOUNDARY`] to [`MAX_BOUNDARY`] of `[A-Za-z0-9._-]`, or a last `.` that some parsers drop.
    #[error("not a boundary")]
    Boundary,
    /// The media type holds a control character, which would end its header line.
    #[error("a control character in the media type")]
    MediaType,
    /// No part, an empty one, or one past the end of the representation.
    #[error("a range that is empty or past the end")]
    Range,
    /// Longer than a u64 can say.
    #[error("the answer is too long")]
    TooLong,
}

impl Multipart {
    /// Frame `ranges` of a representation of `len` bytes and of media type `media_type`. `boundary` must be
    /// unpredictable: who can guess it could write it into an asset.
    pub fn new(boundary: &str, media_type: &str, ranges: Vec<Range<u64>>, len: u64) -> Result<Self, FramingError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if !(MIN_BOUNDARY..=MAX_BOUNDARY).contains(&boundary.len())
            || !boundary.bytes().all(plain)
            || boundary.ends_with('.')
        {
            return Err(FramingError::Boundary);
        }
        if media_type.chars().any(char::is_control) {
            return Err(FramingError::MediaType);
        }
        if ranges.is_empty() || ranges.iter().any(|range| range.start >= range.end || range.end > len) {
            return Err(FramingError::Range);
        }
        let closing = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        let mut total_len = closing.len() as u64;
        let mut parts = Vec::with_capacity(ranges.len());
        for range in ranges {
            // Only between parts does a line end belong to the delimiter (RFC 2046 §5.1.1).
            let before = if parts.is_empty() { "" } else { "\r\n" };
            let content_range = content_range(&range, len);
            let head = Bytes::from(format!(
                "{before}--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {content_range}\r\n\r\n"
            ));
            total_len = total_len
                .checked_add(head.len() as u64)
                .and_then(|total| total.checked_add(range.end - range.start))
                .ok_or(FramingError::TooLong)?;
            parts.push(Part { head, range });
        }
        Ok(Self { content_type: format!("multipart/byteranges; boundary={boundary}"), parts, closing, total_len })
    }

    /// `Content-Type` of the answer.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// `Content-Length` of the answer: every head, every part's bytes, and the closing.
    pub fn total_len(&self) -> u64 {
        self.total_len
    }

    /// The parts, in the order in which they go out.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// What goes out after the last part's bytes.
    pub fn closing(&self) -> Bytes {
        self.closing.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    const BOUNDARY: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

    /// The whole body, over `bytes`.
    fn rendered(multipart: &Multipart, bytes: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        for part in multipart.parts() {
            body.extend_from_slice(&part.head);
            body.extend_from_slice(&bytes[part.range.start as usize..part.range.end as usize]);
        }
        body.extend_from_slice(&multipart.closing());
        body
    }

    #[test]
    fn two_parts_are_framed_as_rfc_9110_14_6_shows() {
        let multipart = Multipart::new(BOUNDARY, "text/plain; charset=utf-8", vec![6..9, 0..1], 10).unwrap();
        assert_eq!(multipart.content_type(), "multipart/byteranges; boundary=01ARZ3NDEKTSV4RRFFQ69G5FAV");
        let body = String::from_utf8(rendered(&multipart, b"0123456789")).unwrap();
        let expected = "--01ARZ3NDEKTSV4RRFFQ69G5FAV\r\nContent-Type: text/plain; charset=utf-8\r\n\
                        Content-Range: bytes 6-8/10\r\n\r\n678\r\n\
                        --01ARZ3NDEKTSV4RRFFQ69G5FAV\r\nContent-Type: text/plain; charset=utf-8\r\n\
                        Content-Range: bytes 0-0/10\r\n\r\n0\r\n\
                        --01ARZ3NDEKTSV4RRFFQ69G5FAV--\r\n";
        assert_eq!(body, expected);
        assert_eq!(multipart.total_len(), expected.len() as u64);
    }

    #[test]
    fn what_can_not_be_framed_is_refused() {
        let framed = |boundary: &str, media_type: &str, range: Range<u64>| {
            Multipart::new(boundary, media_type, vec![0..1, range], 10).map(|_| ())
        };
        assert_eq!(framed(BOUNDARY, "image/png", 2..10), Ok(()));
        let line_end = format!("{BOUNDARY}\r\n");
        let dot = format!("{BOUNDARY}.");
        for boundary in ["", "short", &BOUNDARY[..23], &"x".repeat(71), &line_end, &dot] {
            assert_eq!(framed(boundary, "image/png", 2..10), Err(FramingError::Boundary), "{boundary:?}");
        }
        assert_eq!(framed(BOUNDARY, "image/png\r\nX: y", 2..10), Err(FramingError::MediaType));
        for range in [3..3, 2..11, 10..11, 11..12] {
            assert_eq!(framed(BOUNDARY, "image/png", range.clone()), Err(FramingError::Range), "{range:?}");
        }
        assert_eq!(Multipart::new(BOUNDARY, "image/png", vec![], 10), Err(FramingError::Range));
        let most = u64::MAX - 1;
        assert_eq!(Multipart::new(BOUNDARY, "image/png", vec![0..1, 2..most], most), Err(FramingError::TooLong));
    }

    proptest! {
        #[test]
        fn the_total_length_is_the_sum_of_what_is_rendered(
            bytes in prop::collection::vec(any::<u8>(), 1..300),
            cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..9),
            boundary in "[A-Za-z0-9._-]{23,69}[A-Za-z0-9]",
        ) {
            let ranges: Vec<_> = cuts.iter().map(|(start, length)| {
                let start = start.index(bytes.len());
                start as u64..(start + 1 + length.index(bytes.len() - start)) as u64
            }).collect();
            let multipart = Multipart::new(&boundary, "image/png", ranges.clone(), bytes.len() as u64).unwrap();
            prop_assert_eq!(rendered(&multipart, &bytes).len() as u64, multipart.total_len());
            let sent: Vec<_> = multipart.parts().iter().map(|part| part.range.clone()).collect();
            prop_assert_eq!(sent, ranges);
        }
    }
}
