#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

#[test]
fn a_path_is_decoded_once_and_every_spelling_gives_one_key() {
    let table: [(&str, &str); 14] = [
        ("a", "a"),
        ("%41", "A"),
        ("fonts/Noto%20Sans/0-255.pbf", "fonts/Noto Sans/0-255.pbf"),
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("%2541", "%41"),
        ("%252e%252e", "%2e%2e"),
        ("a+b", "a+b"),
        ("a%3Fb%23c", "a?b#c"),
        ("...", "..."),
        (".well-known/x", ".well-known/x"),
        ("a../b", "a../b"),
        ("K%C3%B6ln.png", "Köln.png"),
        ("Köln.png", "Köln.png"),
    ];
    for (raw, key) in table {
        assert_eq!(canonical(raw.as_bytes()).as_deref(), Ok(key), "{raw}");
    }
}

#[test]
fn a_path_that_could_mean_two_things_is_refused_with_its_reason() {
    use KeyError::*;
    let table: [(&[u8], KeyError); 34] = [
        (b"", EmptySegment),
        (b"/a", EmptySegment),
        (b"a/", EmptySegment),
        (b"a//b", EmptySegment),
        (b"a%2F/b", EmptySegment),
        (b"a%2F", EmptySegment),
        (b".", DotSegment),
        (b"..", DotSegment),
        (b"a/../b", DotSegment),
        (b"a/./b", DotSegment),
        (b"a/%2e%2E/b", DotSegment),
        (b"a%2F..%2Fb", DotSegment),
        (b"%2e", DotSegment),
        (b"a/.%2e", DotSegment),
        (b"%", BadEscape),
        (b"a%4", BadEscape),
        (b"a%4g", BadEscape),
        (b"a%%41", BadEscape),
        (b"%u0041", BadEscape),
        (b"%+1", BadEscape),
        (b"a%00b", Control),
        (b"a\0b", Control),
        (b"a%0d%0ab", Control),
        (b"a\tb", Control),
        (b"a%7f", Control),
        (b"a%C2%80", Control),
        ("a\u{9f}b".as_bytes(), Control),
        (b"a%5Cb", Backslash),
        (b"..\\..\\etc", Backslash),
        (b"%ff", NotUtf8),
        (b"\xc3", NotUtf8),
        // Overlong spellings of `/` and `.` are no UTF-8 (RFC 3629 §3).
        (b"%c0%af%c0%ae", NotUtf8),
        (b"a?b", Delimiter),
        (b"a#b", Delimiter),
    ];
    for (raw, reason) in table {
        assert_eq!(canonical(raw), Err(reason), "{:?}", String::from_utf8_lossy(raw));
    }
}

#[test]
fn characters_next_to_c1_are_no_controls() {
    for key in ["\u{a0}", "À", "\u{1080}", "€", "\u{10c2}"] {
        assert_eq!(check(key), Ok(()), "{key:?}");
    }
}

#[test]
fn nfc_and_nfd_are_two_keys() {
    assert_ne!(canonical(b"%C3%A9").unwrap(), canonical(b"e%CC%81").unwrap());
}

#[test]
fn the_length_is_bounded_after_decoding() {
    let longest = "a".repeat(MAX_KEY_BYTES);
    assert!(canonical(longest.as_bytes()).is_ok());
    assert!(canonical("%61".repeat(MAX_KEY_BYTES).as_bytes()).is_ok());
    assert_eq!(canonical(format!("{longest}a").as_bytes()), Err(KeyError::TooLong));
    assert_eq!(canonical("%61".repeat(MAX_KEY_BYTES + 1).as_bytes()), Err(KeyError::TooLong));
    assert_eq!(check(&format!("{longest}a")), Err(KeyError::TooLong));
}

#[test]
fn a_path_without_escapes_is_borrowed() {
    assert!(matches!(canonical(b"sprites/dark.png"), Ok(Cow::Borrowed(_))));
    assert!(matches!(encode("sprites/dark.png"), Cow::Borrowed(_)));
}

/// Text made of the pieces that keys break on.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("/"),
        Just("."),
        Just(".."),
        Just("%2e"),
        Just("%2F"),
        Just("%25"),
        Just("%"),
        Just("\\"),
        Just("%00"),
        Just("%C2"),
        Just("%85"),
        Just("a"),
        Just("é"),
        Just("?"),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

/// What a segment of a key may be.
const SEGMENT: &str = "[a-zA-Z0-9 %?#&=+~._-]{0,7}[a-zA-Zäß東]";

/// One of the spellings of `key`: the bytes whose bit is set are escaped, in the case the bit beside it says.
fn spell(key: &str, choice: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    for (byte, choice) in key.bytes().zip(choice.iter().cycle()) {
        let forced = matches!(byte, b'%' | b'?' | b'#');
        match (forced || choice & 1 == 1, choice & 2 == 2) {
            (false, _) => raw.push(byte),
            (true, false) => raw.extend(format!("%{byte:02x}").bytes()),
            (true, true) => raw.extend(format!("%{byte:02X}").bytes()),
        }
    }
    raw
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_a_key_is_always_clean(raw: Vec<u8>) {
        if let Ok(key) = canonical(&raw) {
            prop_assert_eq!(check(&key), Ok(()));
        }
    }

    #[test]
    fn nothing_that_climbs_survives(raw in pieces()) {
        if let Ok(key) = canonical(&raw) {
            prop_assert!(key.split('/').all(|segment| !matches!(segment, "" | "." | "..")));
            prop_assert!(!key.contains(['\\', '\0']) && !key.chars().any(char::is_control));
            prop_assert!(key.len() <= MAX_KEY_BYTES);
        }
    }

    #[test]
    fn every_spelling_of_a_key_gives_that_key(
        segments in prop::collection::vec(SEGMENT, 1..5),
        choice in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let key = segments.join("/");
        let raw = spell(&key, &choice);
        prop_assert_eq!(canonical(&raw), Ok(Cow::Owned(key)));
    }

    #[test]
    fn canonicalization_is_idempotent_over_encoding(raw in pieces()) {
        if let Ok(key) = canonical(&raw) {
            let encoded = encode(&key).into_owned();
            prop_assert_eq!(canonical(encoded.as_bytes()), Ok(key));
        }
    }
}
