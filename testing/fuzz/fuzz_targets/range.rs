//! Whatever a `Range` field says, the ranges it selects are within the representation, apart, few, and can be framed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use svc_edge::rules::multipart::Multipart;
use svc_edge::rules::range::{MAX_RANGES, Selection, content_range, evaluate};

const BOUNDARY: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

fuzz_target!(|input: (u64, bool, &[u8])| {
    let (len, multi, header) = input;
    let ranges = match evaluate(header, len, multi) {
        Selection::Ignored | Selection::Unsatisfiable => return,
        Selection::One(range) => vec![range],
        Selection::Many(ranges) => {
            assert!(multi && (2..=MAX_RANGES).contains(&ranges.len()));
            ranges
        }
    };
    for (index, range) in ranges.iter().enumerate() {
        assert!(range.start < range.end && range.end <= len);
        assert!(!content_range(range, len).starts_with("bytes *"));
        assert!(ranges[..index].iter().all(|other| other.end < range.start || range.end < other.start));
    }
    let selected: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    if let Ok(multipart) = Multipart::new(BOUNDARY, "image/png", ranges, len) {
        let framing: usize = multipart.parts().iter().map(|part| part.head.len()).sum();
        assert_eq!(multipart.total_len(), selected + (framing + multipart.closing().len()) as u64);
    }
});
