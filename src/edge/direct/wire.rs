//! Headers of answers as the bytes that go over the wire: what is the same for every request is written once an object.

use std::io::Write as _;
use std::ops::Range;

use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;

use crate::edge::moment::Moment;
use crate::edge::settings::Settings;
use crate::edge::{cors, hsts};

/// The headers of one object, as far as they are the same for every request: up to the lines that differ.
#[derive(Debug)]
pub struct Wire {
    /// Of the whole representation.
    pub full: Box<[u8]>,
    /// Of a part of it, without `Content-Length` and `Content-Range`.
    pub partial: Box<[u8]>,
    /// Of a 304.
    pub not_modified: Box<[u8]>,
}

impl Wire {
    /// From the prepared headers.
    pub fn new(full: &ResponseHeader, not_modified: &ResponseHeader) -> Self {
        let mut partial = full.clone();
        partial.remove_header(&header::CONTENT_LENGTH);
        // An origin's on a 200 means nothing (RFC 9110 §14.4).
        partial.remove_header(&header::CONTENT_RANGE);
        // The status is one that there is.
        let _ = partial.set_status(StatusCode::PARTIAL_CONTENT);
        Self { full: written(full), partial: written(&partial), not_modified: written(not_modified) }
    }
}

/// The status line and the field lines of `header`, without the empty line.
pub fn written(header: &ResponseHeader) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(1024);
    let phrase = header.status.canonical_reason().unwrap_or_default();
    // Writing to a Vec does not fail.
    let _ = write!(bytes, "HTTP/1.1 {} {phrase}\r\n", header.status.as_u16());
    header.header_to_h1_wire(&mut bytes);
    bytes.into()
}

/// What differs from request to request on every answer.
pub struct Personal<'a> {
    /// What the conf says.
    pub settings: &'a Settings,
    /// `Origin` of the request.
    pub origin: Option<&'a [u8]>,
    /// Whether it came over TLS.
    pub secure: bool,
    /// Its id.
    pub id: &'a HeaderValue,
    /// When it came.
    pub at: Moment,
    /// Whether the connection is closed behind the answer.
    pub closes: bool,
}

impl Personal<'_> {
    /// Write its lines, and the empty one.
    pub fn end(&self, to: &mut Vec<u8>) {
        if let Some(list) = &self.settings.allow_origins {
            line(to, "Vary", b"Origin");
            if let Some(allowed) = self.origin.and_then(|origin| list.iter().find(|allowed| *allowed == origin)) {
                line(to, "Access-Control-Allow-Origin", allowed.as_bytes());
                line(to, "Access-Control-Expose-Headers", cors::EXPOSED.as_bytes());
            }
        }
        if self.secure && self.settings.hsts {
            line(to, "Strict-Transport-Security", hsts::POLICY.as_bytes());
        }
        line(to, "x-corr-id", self.id.as_bytes());
        to.extend_from_slice(b"Date: ");
        self.at.write_date(to);
        to.extend_from_slice(match self.closes {
            true => b"\r\nConnection: close\r\n\r\n",
            false => b"\r\nConnection: keep-alive\r\n\r\n",
        });
    }
}

/// Write a field line.
pub fn line(to: &mut Vec<u8>, name: &str, value: &[u8]) {
    to.extend_from_slice(name.as_bytes());
    to.extend_from_slice(b": ");
    to.extend_from_slice(value);
    to.extend_from_slice(b"\r\n");
}

/// Write a field line whose value is a number.
pub fn number(to: &mut Vec<u8>, name: &HeaderName, value: u64) {
    to.extend_from_slice(name.as_str().as_bytes());
    to.extend_from_slice(b": ");
    decimal(to, value);
    to.extend_from_slice(b"\r\n");
}

/// Write `Content-Length` and `Content-Range` of a part of `len` bytes (RFC 9110 §14.4).
pub fn part(to: &mut Vec<u8>, range: &Range<u64>, len: u64) {
    number(to, &header::CONTENT_LENGTH, range.end - range.start);
    to.extend_from_slice(b"Content-Range: bytes ");
    decimal(to, range.start);
    to.push(b'-');
    decimal(to, range.end.saturating_sub(1));
    to.push(b'/');
    decimal(to, len);
    to.extend_from_slice(b"\r\n");
}

/// Write a number.
fn decimal(to: &mut Vec<u8>, mut value: u64) {
    // 20 digits are the most that 64 bits have.
    let (mut digits, mut at) = ([b'0'; 20], 20);
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    to.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::rules::range;

    proptest! {
        #[test]
        fn a_part_is_named_as_the_rules_name_it(start in any::<u64>(), more in 1..u64::MAX, len in any::<u64>()) {
            let range = start..start.saturating_add(more).max(start.saturating_add(1));
            prop_assume!(range.end > range.start);
            let mut bytes = Vec::new();
            part(&mut bytes, &range, len);
            let length = range.end - range.start;
            let expected = format!("content-length: {length}\r\nContent-Range: {}\r\n", range::content_range(&range, len));
            prop_assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        }
    }

    #[test]
    fn a_part_has_the_lines_of_the_whole_but_for_its_length() {
        let mut full = ResponseHeader::build_no_case(StatusCode::OK, None).unwrap();
        full.insert_header(header::CONTENT_LENGTH, "5").unwrap();
        full.insert_header(header::ETAG, "\"x\"").unwrap();
        full.insert_header(header::CONTENT_RANGE, "bytes 7-9/10").unwrap();
        let not_modified = ResponseHeader::build_no_case(StatusCode::NOT_MODIFIED, None).unwrap();
        let wire = Wire::new(&full, &not_modified);
        assert_eq!(
            &*wire.full,
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\netag: \"x\"\r\ncontent-range: bytes 7-9/10\r\n"
        );
        assert_eq!(&*wire.partial, b"HTTP/1.1 206 Partial Content\r\netag: \"x\"\r\n");
        assert_eq!(&*wire.not_modified, b"HTTP/1.1 304 Not Modified\r\n");
    }
}
