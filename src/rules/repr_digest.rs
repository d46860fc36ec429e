//! `Want-Repr-Digest` and `Repr-Digest` (RFC 9530): whether a client asks for SHA-256 of a representation, and how it
//! is written.

use http::HeaderMap;

use super::structured::{Value, dictionary};

/// Whether the client wants `sha-256`: its `Want-Repr-Digest` gives it a preference from 1 to 10 (RFC 9530 §4). 0 and
/// anything that is no such number means no; a field that is no Dictionary is ignored.
pub fn wants_sha256(headers: &HeaderMap) -> bool {
    let lines = headers.get_all("want-repr-digest").iter().map(http::HeaderValue::as_bytes);
    let mut wanted = false;
    let read = dictionary(lines, |key, value| {
        if key == "sha-256" {
            wanted = matches!(value, Value::Integer(1..=10));
        }
    });
    read.is_ok() && wanted
}

/// The value of `Repr-Digest` for a SHA-256 digest: `sha-256=:<base64>:` (RFC 9530 §3).
pub fn sha256(digest: &[u8; 32]) -> String {
    let mut field = String::with_capacity(54);
    field.push_str("sha-256=:");
    push_base64(&mut field, digest);
    field.push(':');
    field
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Append `bytes` in base64 with padding (RFC 4648 §4).
fn push_base64(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().chain(&[0; 2]).take(3).fold(0, |group, byte| group << 8 | usize::from(*byte));
        for place in 0..4 {
            if place <= chunk.len() {
                text.push(char::from(ALPHABET[group >> (18 - 6 * place) & 63]));
            } else {
                text.push('=');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn wants(lines: &[&str]) -> bool {
        wants_sha256(
            &lines
                .iter()
                .map(|line| {
                    (
                        http::HeaderName::from_static("want-repr-digest"),
                        HeaderValue::from_bytes(line.as_bytes()).unwrap(),
                    )
                })
                .collect(),
        )
    }

    fn base64(bytes: &[u8]) -> String {
        let mut text = String::new();
        push_base64(&mut text, bytes);
        text
    }

    #[test]
    fn a_digest_is_sent_to_those_who_want_it() {
        for line in [
            "sha-256=10",
            "sha-256=1",
            "sha-512=3, sha-256=10, unixsum=0",
            "sha-256=0, sha-256=2",
            "sha-256=10;x=y",
            " sha-256=5 ",
        ] {
            assert!(wants(&[line]), "{line}");
        }
        let unwanted = [
            "",
            "sha-512=10",
            "sha-256=0",
            "sha-256=-1",
            "sha-256=11",
            "sha-256",
            "sha-256=?1",
            "sha-256=1.0",
            "sha-256=\"10\"",
            "sha-256=10, sha-256=0",
            "SHA-256=10",
            "sha-256 = 10",
            "sha-256=10,",
            "sha-256=10, SHA-512=1",
            "sha-256=10 sha-512=1",
        ];
        for line in unwanted {
            assert!(!wants(&[line]), "{line}");
        }
        assert!(!wants(&[]));
        assert!(wants(&["sha-512=1", "sha-256=10"]));
        assert!(!wants(&["sha-256=10", "sha-256=0"]));
        assert!(!wants(&["sha-256=10", "!"]));
    }

    #[test]
    fn base64_gives_the_vectors_of_rfc_4648_10() {
        let table = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, coded) in table {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
    }

    #[test]
    fn a_digest_is_written_as_rfc_9530_b_1_shows() {
        use sha2::Digest;
        let digest = sha2::Sha256::digest(b"{\"hello\": \"world\"}\n");
        assert_eq!(sha256(&digest.into()), "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:");
    }

    proptest! {
        #[test]
        fn base64_keeps_every_bit(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let text = base64(&bytes);
            prop_assert_eq!(text.len(), bytes.len().div_ceil(3) * 4);
            let mut bits = Vec::new();
            for digit in text.bytes().filter(|byte| *byte != b'=') {
                let value = ALPHABET.iter().position(|other| *other == digit).unwrap();
                bits.extend((0..6).rev().map(|bit| value >> bit & 1 == 1));
            }
            let byte = |bits: &[bool]| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
            let decoded: Vec<u8> = bits.chunks_exact(8).map(byte).collect();
            prop_assert_eq!(decoded, bytes);
        }
    }
}
