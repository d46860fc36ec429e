//! Whatever a path says, its key is clean, and encoding the key and reading it again gives the same key.

#![no_main]

use libfuzzer_sys::fuzz_target;
use svc_edge::rules::asset_key::{MAX_KEY_BYTES, canonical, check, encode};

fuzz_target!(|raw: &[u8]| {
    let Ok(key) = canonical(raw) else { return };
    assert!(key.len() <= MAX_KEY_BYTES);
    assert!(!key.contains('\\') && !key.chars().any(char::is_control));
    assert!(key.split('/').all(|segment| !matches!(segment, "" | "." | "..")));
    assert_eq!(check(&key), Ok(()));
    assert_eq!(canonical(encode(&key).as_bytes()).as_deref(), Ok(&*key));
});
