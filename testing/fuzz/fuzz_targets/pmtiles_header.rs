//! Headers of PMTiles archives: no bytes panic, and what parses survives the round trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use svc_edge::store::pack::pmtiles::header::{Header, ROOT_END};

fuzz_target!(|bytes: &[u8]| {
    let Ok(header) = Header::parse(bytes) else { return };
    assert!(header.root.offset + header.root.length <= ROOT_END);
    let _ = (header.bounds_degrees(), header.center_degrees(), header.check_length(bytes.len() as u64));
    for (_, section) in header.sections() {
        if let Ok(place) = section.place(header.root.offset, header.metadata.length) {
            assert!(place.end <= section.offset + section.length);
        }
    }
    assert_eq!(Header::parse(&header.encode()).ok(), Some(header));
});
