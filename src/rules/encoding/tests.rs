#![allow(clippy::unwrap_used, clippy::panic)]

use http::HeaderValue;
use proptest::prelude::*;

use super::Choice::{AsStored, Decode};
use super::Coding::{Brotli, Gzip, Identity, Zstd};
use super::*;

fn headers(lines: &[&str]) -> HeaderMap {
    lines.iter().map(|line| (ACCEPT_ENCODING, HeaderValue::from_bytes(line.as_bytes()).unwrap())).collect()
}

#[test]
fn acceptance_is_that_of_rfc_9110_12_5_3() {
    // The field, then whether identity, gzip, br and zstd are acceptable.
    let table = [
        ("", [true, false, false, false]),
        (",", [true, false, false, false]),
        ("gzip", [true, true, false, false]),
        ("GZip, BR", [true, true, true, false]),
        ("x-gzip", [true, true, false, false]),
        ("gzip, deflate, br, zstd", [true, true, true, true]),
        ("*", [true, true, true, true]),
        ("*;q=0", [false, false, false, false]),
        ("*;q=0, br", [false, false, true, false]),
        ("*;q=0, identity", [true, false, false, false]),
        ("identity;q=0", [false, false, false, false]),
        ("identity;q=0, *", [false, true, true, true]),
        ("identity;q=0.000, gzip;q=1.000", [false, true, false, false]),
        ("gzip;q=0, *", [true, false, true, true]),
        ("gzip;q=0.001", [true, true, false, false]),
        ("gzip;q=0.0", [true, false, false, false]),
        ("gzip;q=0.", [true, false, false, false]),
        ("gzip;q=1.", [true, true, false, false]),
        ("gzip ; q=0 , br ;\tQ=1", [true, false, true, false]),
        ("gzip, gzip;q=0", [true, false, false, false]),
        ("gzip;q=0, x-gzip", [true, false, false, false]),
        ("deflate, compress", [true, false, false, false]),
        // What does not follow the grammar is as if it were not there.
        ("gzip;q=2, br", [true, false, true, false]),
        ("gzip;q=1.001, br", [true, false, true, false]),
        ("gzip;q=0.0001, br", [true, false, true, false]),
        ("gzip;q=0.5555, br", [true, false, true, false]),
        ("gzip;q=1.0000, br", [true, false, true, false]),
        ("gzip;q=-1, br", [true, false, true, false]),
        ("gzip;q=.5, br", [true, false, true, false]),
        ("gzip;q=, br", [true, false, true, false]),
        ("gzip;q, br", [true, false, true, false]),
        ("gzip;q =1, br", [true, false, true, false]),
        ("gzip;level=9, br", [true, false, true, false]),
        ("gzip;q=1;x=y, br", [true, false, true, false]),
        ("gzip;, br", [true, false, true, false]),
        ("gzip br", [true, false, false, false]),
        ("gzipped", [true, false, false, false]),
    ];
    for (line, expected) in table {
        let accepted = [Identity, Gzip, Brotli, Zstd].map(|coding| accepts(&headers(&[line]), coding));
        assert_eq!(accepted, expected, "{line:?}");
    }
}

#[test]
fn without_the_field_everything_is_acceptable_and_stored_codings_are_decoded() {
    for coding in [Identity, Gzip, Brotli, Zstd] {
        assert!(accepts(&HeaderMap::new(), coding));
        assert_eq!(choose(&HeaderMap::new(), coding), if coding == Identity { AsStored } else { Decode });
    }
}

#[test]
fn several_lines_are_one_list() {
    let lines = headers(&["br;q=0.5", "gzip, *;q=0"]);
    assert!(accepts(&lines, Gzip) && accepts(&lines, Brotli) && !accepts(&lines, Zstd) && !accepts(&lines, Identity));
    assert!(!accepts(&headers(&["gzip", "gzip;q=0"]), Gzip));
}

#[test]
fn stored_bytes_pass_through_where_they_are_wanted_and_are_decoded_elsewhere() {
    let table = [
        ("gzip", Gzip, AsStored),
        ("br", Gzip, Decode),
        ("", Gzip, Decode),
        ("identity", Gzip, Decode),
        ("gzip;q=0", Gzip, Decode),
        ("*", Zstd, AsStored),
        ("*;q=0", Zstd, Decode),
        ("identity;q=0", Gzip, Decode),
        ("identity;q=0, br", Gzip, Decode),
        ("gzip, identity", Gzip, AsStored),
        ("gzip;q=0.5, identity", Gzip, Decode),
        ("gzip;q=0.5, identity;q=0.5", Gzip, AsStored),
        ("gzip;q=0.5, *", Gzip, Decode),
        ("gzip;q=0.5, br;q=1", Gzip, AsStored),
        ("identity;q=1, *;q=0", Brotli, Decode),
        ("identity;q=0", Identity, AsStored),
        ("*;q=0", Identity, AsStored),
    ];
    for (line, stored, expected) in table {
        assert_eq!(choose(&headers(&[line]), stored), expected, "{line:?} {stored:?}");
    }
}

#[test]
fn tokens_name_codings_and_codings_tokens() {
    for coding in [Identity, Gzip, Brotli, Zstd] {
        assert_eq!(Coding::from_token(coding.token().as_bytes()), Some(coding));
        assert_eq!(Coding::from_token(coding.token().to_uppercase().as_bytes()), Some(coding));
    }
    assert_eq!(Coding::from_token(b"X-GZIP"), Some(Gzip));
    for other in ["", "*", "deflate", "x-br", " gzip", "gzip,br"] {
        assert_eq!(Coding::from_token(other.as_bytes()), None, "{other}");
    }
}

proptest! {
    #[test]
    fn arbitrary_fields_never_panic_and_what_is_sent_as_stored_is_acceptable(
        bytes: Vec<u8>,
        text in "((gzip|br|identity|\\*|x)( ?; ?q=(0|1|0\\.[0-9]{1,4}|2))?[, ]{1,2}){0,6}",
    ) {
        for value in [bytes, text.into_bytes()] {
            let Ok(value) = HeaderValue::from_bytes(&value) else { continue };
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, value)]);
            for stored in [Gzip, Brotli, Zstd] {
                prop_assert!(choose(&headers, stored) == Decode || accepts(&headers, stored));
            }
        }
    }

    #[test]
    fn weights_are_exact_to_the_thousandth(one in 0..=1000_u16, other in 0..=1000_u16) {
        let write = |weight: u16| format!("{}.{:03}", weight / 1000, weight % 1000);
        let headers = headers(&[&format!("gzip;q={}, identity;q={}", write(one), write(other))]);
        prop_assert_eq!(accepts(&headers, Gzip), one > 0);
        prop_assert_eq!(choose(&headers, Gzip) == AsStored, one > 0 && one >= other);
    }
}
