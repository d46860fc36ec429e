//! Directories of PMTiles archives: no bytes panic or take more memory than they can fill, and what parses survives the round
//! trip and is found again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use svc_edge::store::pack::pmtiles::directory::Directory;

fuzz_target!(|bytes: &[u8]| {
    let Ok(directory) = Directory::parse(bytes) else { return };
    let entries = directory.entries();
    assert!(entries.len() <= bytes.len() / 4);
    assert_eq!(Directory::parse(&Directory::encode(entries)).ok().as_ref(), Some(&directory));
    for entry in entries {
        assert_eq!(directory.find(entry.id), Some(entry));
    }
});
