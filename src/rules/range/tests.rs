#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use http::HeaderValue;
use http_range_header::{RangeRejected, RangeUnsatisfiableError, parse_range_header_with_max_ranges};
use proptest::prelude::*;

use http::HeaderMap;

use super::*;

const HUGE: &str = "99999999999999999999999999999999999999999999";

fn one(header: &str, len: u64) -> Selection {
    evaluate(header.as_bytes(), len, false)
}

fn many(header: &str, len: u64) -> Selection {
    evaluate(header.as_bytes(), len, true)
}

#[test]
fn one_range_selects_what_rfc_9110_14_1_2_says() {
    use Selection::{One, Unsatisfiable};
    let table = [
        ("bytes=0-0", 10, One(0..1)),
        ("bytes=0-9", 10, One(0..10)),
        ("bytes=0-10", 10, One(0..10)),
        ("bytes=9-", 10, One(9..10)),
        ("bytes=10-", 10, Unsatisfiable),
        ("bytes=10-20", 10, Unsatisfiable),
        ("bytes=0-", 10, One(0..10)),
        ("bytes=-1", 10, One(9..10)),
        ("bytes=-10", 10, One(0..10)),
        ("bytes=-11", 10, One(0..10)),
        ("bytes=-0", 10, Unsatisfiable),
        ("bytes=-000", 10, Unsatisfiable),
        ("bytes=007-0008", 10, One(7..9)),
        ("BYTES=1-2", 10, One(1..3)),
        (" bytes=1-2 ", 10, One(1..3)),
        ("bytes=,1-2,", 10, One(1..3)),
        ("bytes= , 1-2 \t,", 10, One(1..3)),
        ("bytes=0-0", 0, Unsatisfiable),
        ("bytes=0-", 0, Unsatisfiable),
        ("bytes=-1", 0, Unsatisfiable),
        ("bytes=-0", 0, Unsatisfiable),
        ("bytes=0-18446744073709551615", 10, One(0..10)),
        ("bytes=0-18446744073709551616", 10, One(0..10)),
        ("bytes=18446744073709551615-", u64::MAX, Unsatisfiable),
        ("bytes=18446744073709551614-", u64::MAX, One(u64::MAX - 1..u64::MAX)),
        ("bytes=18446744073709551616-", 10, Unsatisfiable),
        ("bytes=-18446744073709551616", 10, One(0..10)),
        ("bytes=0-", u64::MAX, One(0..u64::MAX)),
    ];
    for (header, len, expected) in table {
        assert_eq!(one(header, len), expected, "{header} of {len}");
        assert_eq!(many(header, len), expected, "{header} of {len}");
    }
}

#[test]
fn a_number_beyond_u64_is_past_the_end_and_never_a_suffix() {
    assert_eq!(one(&format!("bytes={HUGE}-"), 10), Selection::Unsatisfiable);
    assert_eq!(one(&format!("bytes={HUGE}-{HUGE}"), 10), Selection::Unsatisfiable);
    assert_eq!(one(&format!("bytes={HUGE}-{HUGE}0"), 10), Selection::Unsatisfiable);
    assert_eq!(one(&format!("bytes=5-{HUGE}"), 10), Selection::One(5..10));
    assert_eq!(one(&format!("bytes=-{HUGE}"), 10), Selection::One(0..10));
    // The order of two such numbers still counts.
    assert_eq!(one(&format!("bytes={HUGE}0-{HUGE}"), 10), Selection::Ignored);
    assert_eq!(one(&format!("bytes={HUGE}-5"), 10), Selection::Ignored);
}

#[test]
fn bad_syntax_and_other_units_are_ignored() {
    let table = [
        "",
        "bytes",
        "bytes=",
        "bytes= ",
        "bytes=,",
        "bytes=-",
        "bytes=--1",
        "bytes=1",
        "bytes=a-b",
        "bytes=1-2-3",
        "bytes=2-1",
        "bytes=+1-2",
        "bytes=1-+2",
        "bytes=1 -2",
        "bytes=1- 2",
        "bytes=0x1-2",
        "bytes= 1-2",
        "bytes=\t1-2",
        "bytes =1-2",
        "bytes:1-2",
        "byte=1-2",
        "items=1-2",
        "=1-2",
        "1-2",
        "bytes=1-2;3-4",
        "bytes=١-٢",
        "bytes=1.0-2",
        "bytes=1-2 3-4",
        "bytes=\u{b}1-2",
        "bytes=1-\0",
    ];
    for header in table {
        assert_eq!(one(header, 10), Selection::Ignored, "{header:?}");
        assert_eq!(many(header, 10), Selection::Ignored, "{header:?}");
    }
    assert_eq!(evaluate(b"bytes=0-\xff", 10, true), Selection::Ignored);
}

#[test]
fn one_bad_range_spoils_the_others() {
    for bad in
        ["-", "--1", "1", "a-b", "1-2-3", "2-1", "+1-2", "1 -2", "1- 2", "0x1-2", "bytes=1-2", "1-2;3-4", "\u{b}1-2"]
    {
        assert_eq!(many(&format!("bytes=0-1,{bad}"), 10), Selection::Ignored, "{bad:?}");
        assert_eq!(many(&format!("bytes={bad},0-1"), 10), Selection::Ignored, "{bad:?}");
    }
}

#[test]
fn several_ranges_are_ignored_unless_they_are_wanted() {
    for header in ["bytes=0-1,4-5", "bytes=0-1,0-1", "bytes=0-1,100-", "bytes=100-,200-", "bytes=-0,-0"] {
        assert_eq!(one(header, 10), Selection::Ignored, "{header}");
    }
}

#[test]
fn wanted_ranges_are_merged_dropped_and_kept_in_order() {
    use Selection::{Ignored, Many, One, Unsatisfiable};
    let table = [
        ("bytes=0-1,4-5", Many(vec![0..2, 4..6])),
        ("bytes=4-5 , 0-1", Many(vec![4..6, 0..2])),
        ("bytes=0-1,1-2", One(0..3)),
        ("bytes=0-1,2-3", One(0..4)),
        ("bytes=2-3,0-1", One(0..4)),
        ("bytes=0-1,3-4", Many(vec![0..2, 3..5])),
        ("bytes=0-9,3-4,-1", One(0..10)),
        ("bytes=8-,0-0,4-4,1-3", Many(vec![8..10, 0..5])),
        ("bytes=0-1,8-9,4-5,2-3", Many(vec![0..6, 8..10])),
        ("bytes=4-5,0-1,8-9,1-8", One(0..10)),
        ("bytes=100-,3-3", One(3..4)),
        ("bytes=100-,3-3,-0,7-7", Many(vec![3..4, 7..8])),
        ("bytes=100-,-0", Unsatisfiable),
        ("bytes=0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0", One(0..1)),
        ("bytes=0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0", Ignored),
        ("bytes=0-0,,2-2,,4-4,,6-6,,8-8,,,,,", Many(vec![0..1, 2..3, 4..5, 6..7, 8..9])),
        ("bytes=0-1,a-b", Ignored),
        ("bytes=0-1,5-4", Ignored),
    ];
    for (header, expected) in table {
        assert_eq!(many(header, 10), expected, "{header}");
    }
    let eight = "bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14";
    assert!(matches!(many(eight, 100), Many(ranges) if ranges.len() == MAX_RANGES));
    assert_eq!(many(&format!("{eight},100-"), 100), Ignored);
}

#[test]
fn several_lines_of_the_field_are_ignored() {
    let mut headers = HeaderMap::new();
    assert_eq!(select(&headers, 10, true), Selection::Ignored);
    headers.append(RANGE, HeaderValue::from_static("bytes=0-1"));
    assert_eq!(field(&headers), Some(&b"bytes=0-1"[..]));
    assert_eq!(select(&headers, 10, true), Selection::One(0..2));
    headers.append(RANGE, HeaderValue::from_static("bytes=0-1"));
    assert_eq!((field(&headers), select(&headers, 10, true)), (None, Selection::Ignored));
}

#[test]
fn content_range_never_says_a_range_that_is_none() {
    assert_eq!(content_range(&(0..5), 10), "bytes 0-4/10");
    assert_eq!(
        content_range(&(u64::MAX - 1..u64::MAX), u64::MAX),
        format!("bytes {0}-{0}/{1}", u64::MAX - 1, u64::MAX)
    );
    assert_eq!(content_range(&(0..0), 0), "bytes */0");
    assert_eq!(unsatisfied(u64::MAX), "bytes */18446744073709551615");
}

/// Headers near the grammar, with numbers near `len`, near u64 and beyond.
fn headers() -> impl Strategy<Value = String> {
    let number = || {
        prop_oneof![
            4 => (0_u64..40).prop_map(|number| number.to_string()),
            1 => any::<u64>().prop_map(|number| number.to_string()),
            1 => "[0-9]{1,30}",
        ]
    };
    let spec = prop_oneof![
        4 => (number(), number()).prop_map(|(first, last)| format!("{first}-{last}")),
        2 => number().prop_map(|first| format!("{first}-")),
        2 => number().prop_map(|suffix| format!("-{suffix}")),
        1 => "[0-9 -]{0,5}",
    ];
    let separator = prop_oneof![3 => Just(","), 1 => Just(" ,\t"), 1 => Just(",,")];
    prop::collection::vec((spec, separator), 1..11).prop_map(|specs| {
        let mut header = String::from("bytes=");
        for (index, (spec, separator)) in specs.iter().enumerate() {
            if index > 0 {
                header.push_str(separator);
            }
            header.push_str(spec);
        }
        header
    })
}

/// The rules told a second time, as plainly as possible: numbers are u128, a set of selected bytes is a vector of bool.
fn model(header: &str, len: usize, multi: bool) -> Option<Vec<bool>> {
    let set = header.strip_prefix("bytes=")?;
    let specs: Vec<&str> =
        set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty()).collect();
    if specs.is_empty()
        || specs.len() > if multi { 8 } else { 1 }
        || (set.starts_with([' ', '\t']) && !set.trim().starts_with(','))
    {
        return None;
    }
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u128>().ok()).flatten();
    let mut selected = vec![false; len];
    for spec in specs {
        let (first, last) = spec.split_once('-')?;
        let range = match (first, last) {
            ("", suffix) => (len as u128).saturating_sub(number(suffix)?)..len as u128,
            (first, "") => number(first)?..len as u128,
            (first, last) if number(first)? <= number(last)? => number(first)?..(number(last)? + 1).min(len as u128),
            _ => return None,
        };
        for byte in range {
            selected[byte as usize] = true;
        }
    }
    Some(selected)
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(header: Vec<u8>, len: u64, multi: bool) {
        evaluate(&header, len, multi);
        evaluate(&[b"bytes=", &header[..]].concat(), len, multi);
    }

    #[test]
    fn the_selected_bytes_are_those_of_a_naive_model(header in headers(), len in 0_usize..40, multi: bool) {
        let selection = evaluate(header.as_bytes(), len as u64, multi);
        let ranges = match &selection {
            Selection::Ignored => None,
            Selection::Unsatisfiable => Some(vec![]),
            Selection::One(range) => Some(vec![range.clone()]),
            Selection::Many(ranges) => Some(ranges.clone()),
        };
        let bytes = ranges.as_ref().map(|ranges| {
            let mut selected = vec![false; len];
            for byte in ranges.iter().flat_map(|range| range.clone()) {
                // Each byte is sent once.
                assert!(!std::mem::replace(&mut selected[byte as usize], true), "{header} of {len}: {selection:?}");
            }
            selected
        });
        prop_assert_eq!(bytes, model(&header, len, multi), "{:?}", selection);
        // Runs of selected bytes are as long as they can be: nothing that touches was left apart.
        let ranges = ranges.unwrap_or_default();
        for (index, range) in ranges.iter().enumerate() {
            prop_assert!(range.start < range.end && range.end <= len as u64);
            prop_assert!(ranges.iter().skip(index + 1).all(|other| other.end < range.start || range.end < other.start));
        }
        prop_assert_eq!(matches!(selection, Selection::Many(_)), ranges.len() > 1);
    }

    /// Where `http-range-header` has an opinion, it is ours, except that it allows a space behind `=` (the grammar does
    /// not), refuses numbers of more than 30 digits and several overlaps (we merge), forgets the order of two numbers
    /// beyond u64, and calls a suffix of an empty representation satisfiable. The first two cases are skipped, and
    /// `len` is at least 1. White space around the field is not part of its value, and it is handed over without.
    #[test]
    fn http_range_header_agrees(header in headers(), len in 1_u64..40) {
        let header = header.trim_matches([' ', '\t']);
        let beyond_u64 = |number: &str| number.trim().parse::<u128>().is_ok_and(|number| number > u64::MAX.into());
        let both_beyond = |spec: &str| spec.split('-').filter(|number| beyond_u64(number)).count() == 2;
        prop_assume!(!header.starts_with("bytes= ") && !header.split(['=', ',']).any(both_beyond));
        let most = NonZeroUsize::new(MAX_RANGES).unwrap();
        let theirs = parse_range_header_with_max_ranges(header, most).and_then(|ranges| ranges.validate(len));
        match (theirs, many(header, len)) {
            (Err(RangeUnsatisfiableError::Unsatisfiable), ours) => prop_assert_eq!(ours, Selection::Unsatisfiable),
            (Err(RangeUnsatisfiableError::Rejected(RangeRejected::TooManyOverlapping)), ours) => {
                prop_assert!(matches!(ours, Selection::One(_) | Selection::Many(_)), "{:?}", ours);
            }
            (Err(_), ours) => prop_assert_eq!(ours, Selection::Ignored),
            (Ok(theirs), ours) => {
                let theirs: BTreeSet<u64> = theirs.into_iter().flatten().collect();
                let ours: BTreeSet<u64> = match ours {
                    Selection::One(range) => range.collect(),
                    Selection::Many(ranges) => ranges.into_iter().flatten().collect(),
                    other => return Err(TestCaseError::fail(format!("{other:?}"))),
                };
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}
