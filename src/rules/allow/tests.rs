//! URLs that have one reading, targets that stay below them, prefixes.

#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::rules::asset_key::{canonical, check};

fn url(text: &str) -> OriginUrl {
    OriginUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn a_url_has_one_spelling() {
    for (text, written, authority) in [
        ("https://fonts.example/s/", "https://fonts.example/s/", "fonts.example"),
        ("https://fonts.example", "https://fonts.example/", "fonts.example"),
        ("HTTPS://Fonts.EXAMPLE:443/S", "https://fonts.example/S", "fonts.example"),
        ("http://fonts.example:443/", "http://fonts.example:443/", "fonts.example:443"),
        ("http://a:00080/", "http://a/", "a"),
        ("https://münchen.example/", "https://xn--mnchen-3ya.example/", "xn--mnchen-3ya.example"),
        ("https://MÜNCHEN.example/", "https://xn--mnchen-3ya.example/", "xn--mnchen-3ya.example"),
        ("https://xn--mnchen-3ya.example/", "https://xn--mnchen-3ya.example/", "xn--mnchen-3ya.example"),
        ("https://ｆｏｎｔｓ。example/", "https://fonts.example/", "fonts.example"),
        ("https://my_bucket.r3---sn.example/", "https://my_bucket.r3---sn.example/", "my_bucket.r3---sn.example"),
        ("http://192.0.2.7:9000/a%20b/", "http://192.0.2.7:9000/a%20b/", "192.0.2.7:9000"),
        ("https://[2001:DB8:0:0::7]/", "https://[2001:db8::7]/", "[2001:db8::7]"),
        ("https://[::1]:8443/a;b=c/@:", "https://[::1]:8443/a;b=c/@:", "[::1]:8443"),
        ("https://1.example.x0/", "https://1.example.x0/", "1.example.x0"),
    ] {
        let parsed = url(text);
        assert_eq!((parsed.to_string().as_str(), parsed.authority().as_str()), (written, authority), "{text}");
        assert_eq!(url(written), parsed, "{text}");
    }
    assert_eq!(url("https://a/").port, 443);
    assert_eq!(url("http://a/").port, 80);
    assert_eq!(url("http://127.0.0.1").host, Host::V4(Ipv4Addr::LOCALHOST));
}

#[test]
fn a_url_that_another_parser_could_read_otherwise_is_none() {
    use UrlError::*;
    for (text, error) in [
        ("fonts.example/s/", Scheme),
        ("//fonts.example/", Scheme),
        ("ftp://fonts.example/", Scheme),
        ("https:/fonts.example/", Scheme),
        ("x-https://fonts.example/", Scheme),
        ("https://user@fonts.example/", User),
        ("https://user:secret@fonts.example/", User),
        ("https://fonts.example:443@evil.example/", User),
        ("https://fonts.example\\@evil.example/", Character),
        ("https://fonts.example\t/", Character),
        ("https://fonts.example /", Character),
        ("https://fonts.example/\n", Character),
        ("https://fonts.example/\0", Character),
        ("https://fonts.example/\u{85}", Character),
        ("https://fonts.example/\u{3000}", Character),
        ("https://", NoHost),
        ("https:///s/", NoHost),
        ("https://:443/", NoHost),
        ("https://fonts.example./", TrailingDot),
        ("https://fonts.example。/", TrailingDot),
        ("https://.example/", NoName),
        ("https://fonts..example/", NoName),
        ("https://fonts%2eexample/", EscapedHost),
        ("https://127.0.0.1%00.example/", EscapedHost),
        ("https://-a.example/", NoName),
        ("https://a-.example/", NoName),
        ("https://a$b.example/", NoName),
        ("https://a,b.example/", NoName),
        // A-labels that are none: not Punycode, of ASCII alone, of what maps to something else, of nothing.
        ("https://xn--a.example/", NoName),
        ("https://xn--example-.example/", NoName),
        ("https://xn--/", NoName),
        ("https://xn--zn7c.com/", NoName),
        // A soft hyphen alone maps to nothing; a joiner without context is not allowed.
        ("https://\u{ad}/", NoName),
        ("https://a\u{200d}b.example/", NoName),
        ("https://0x7f.1/", NoQuad),
        ("https://127.1/", NoQuad),
        ("https://0177.0.0.1/", NoQuad),
        ("https://127.0.0.01/", NoQuad),
        ("https://127.0.0.0x1/", NoQuad),
        ("https://2130706433/", NoQuad),
        ("https://0x7f000001/", NoQuad),
        ("https://0x/", NoQuad),
        ("https://256.0.0.1/", NoQuad),
        ("https://1.2.3.4.5/", NoQuad),
        ("https://example.09/", NoQuad),
        ("https://１２７.0.0.1/", NoQuad),
        ("https://127。0。0。1/", NoQuad),
        ("https://①②⑦.0.0.1/", NoQuad),
        ("https://[::1/", NoV6),
        ("https://[::1]x/", NoV6),
        ("https://[fe80::1%25eth0]/", NoV6),
        ("https://[127.0.0.1]/", NoV6),
        ("https://[v1.a]/", NoV6),
        ("https://::1/", NoHost),
        ("https://a:b/", Port),
        ("https://a:/", Port),
        ("https://a:0/", Port),
        ("https://a:65536/", Port),
        ("https://a:000443/", Port),
        ("https://a:+80/", Port),
        ("https://a:80:80/", Port),
        ("https://a/?q", Query),
        ("https://a?q", Query),
        ("https://a/#f", Fragment),
        ("https://a/?q#f", Fragment),
        ("https://a/é/", PathCharacter),
        ("https://a/\"/", PathCharacter),
        ("https://a/[/", PathCharacter),
        ("https://a/{x}/", PathCharacter),
        ("https://a//", Path(KeyError::EmptySegment)),
        ("https://a//s/", Path(KeyError::EmptySegment)),
        ("https://a/s/../t/", Path(KeyError::DotSegment)),
        ("https://a/s/%2e%2E/", Path(KeyError::DotSegment)),
        ("https://a/./", Path(KeyError::DotSegment)),
        ("https://a/%2f", Path(KeyError::EmptySegment)),
        ("https://a/%5c/", Path(KeyError::Backslash)),
        ("https://a/%00/", Path(KeyError::Control)),
        ("https://a/%ff/", Path(KeyError::NotUtf8)),
        ("https://a/%zz/", Path(KeyError::BadEscape)),
        ("https://a/%", Path(KeyError::BadEscape)),
    ] {
        assert_eq!(OriginUrl::parse(text), Err(error), "{text}");
    }
    let long = format!("https://a/{}", "x".repeat(MAX_URL_BYTES));
    assert_eq!(OriginUrl::parse(&long), Err(TooLong));
    assert_eq!(OriginUrl::parse(&format!("https://{}.example/", "a".repeat(64))), Err(NoName));
    assert_eq!(OriginUrl::parse(&format!("https://{}/", vec!["a"; 128].join("."))), Err(NoName));
}

#[test]
fn what_is_wrong_with_a_url_never_repeats_it() {
    let error = OriginUrl::parse("https://user:hunter2@a/").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[test]
fn the_url_stands_in_place_of_the_prefix() {
    for (base, rest, query, wanted) in [
        ("https://a/s/", "noto/0-255.pbf", None, "/s/noto/0-255.pbf"),
        ("https://a", "noto/0-255.pbf", None, "/noto/0-255.pbf"),
        // As nginx: what the URL lacks at its end is not added.
        ("https://a/s", "x", None, "/sx"),
        ("https://a/a%20b/", "c d", None, "/a%20b/c%20d"),
        ("https://a/", "a?b#c%41é", None, "/a%3Fb%23c%2541%C3%A9"),
        ("https://a/", "a@2x:b;c=d+e&f", None, "/a@2x:b;c=d+e&f"),
        ("https://a/", "x", Some("v=1&w=%20/?"), "/x?v=1&w=%20/?"),
        ("https://a/", "x", Some(""), "/x?"),
        ("https://a/", "x", Some("a#b c\"é\r\n"), "/x?a%23b%20c%22%C3%A9%0D%0A"),
    ] {
        assert_eq!(url(base).target(rest, query), wanted, "{base} {rest}");
    }
}

#[test]
fn the_longest_prefix_gets_the_key() {
    let prefixes = ["", "fonts/", "fonts/noto/", "f/"];
    for (key, at, rest) in [
        ("fonts/noto/x", 2, "x"),
        ("fonts/x", 1, "x"),
        ("fonts", 0, "fonts"),
        ("fontsx/y", 0, "fontsx/y"),
        ("f/fonts/noto/x", 3, "fonts/noto/x"),
    ] {
        assert_eq!(longest_prefix(prefixes, key), Some((at, rest)), "{key}");
    }
    assert_eq!(longest_prefix(["fonts/"], "fontsx/y"), None);
    assert_eq!(longest_prefix([], "x"), None);
}

/// Keys of odd characters, with and without several segments.
fn keys() -> impl Strategy<Value = String> {
    let part = proptest::prop_oneof!["[a-z.%?#&=;:@+~é日 \"<>|^`{}\\[\\]-]{1,12}", "\\PC{1,8}"];
    proptest::collection::vec(part, 1..4)
        .prop_map(|parts| parts.join("/"))
        .prop_filter("a canonical key", |key| check(key).is_ok())
}

proptest! {
    #[test]
    fn a_target_decodes_to_its_key_and_stays_below_its_url(
        key in keys(),
        query in proptest::option::of("\\PC{0,20}"),
        base in proptest::sample::select(vec!["/", "/s/", "/a%20b/c", "/x."]),
    ) {
        let target = target(base, &key, query.as_deref());
        let (path, found) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target.as_str(), None),
        };
        let rest = path.strip_prefix(base).unwrap();
        prop_assert_eq!(canonical(rest.as_bytes()).unwrap(), key.as_str());
        prop_assert_eq!(found.is_some(), query.is_some());
        prop_assert!(target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
        prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
        let parsed: http::Uri = target.parse().unwrap();
        prop_assert_eq!((parsed.path(), parsed.query()), (path, found));
    }

    #[test]
    fn arbitrary_urls_never_panic_and_are_written_as_they_are_read(
        text in proptest::prop_oneof![
            "\\PC{0,40}",
            "https?://[a-z0-9.:@%\\[\\]xX-]{0,20}[/?#a-z%0-9.]{0,12}",
            "https://\\PC{0,12}/",
            "http://(0?x?[0-9a-f]{1,4}\\.?){1,5}(:[0-9]{0,6})?/",
        ],
    ) {
        if let Ok(parsed) = OriginUrl::parse(&text) {
            let written = parsed.to_string();
            prop_assert_eq!(OriginUrl::parse(&written), Ok(parsed.clone()), "{}", written);
            let as_others_read_it: http::Uri = written.parse().unwrap();
            let host = parsed.host.to_string();
            prop_assert_eq!(as_others_read_it.host(), Some(host.as_str()));
            prop_assert_eq!(as_others_read_it.path(), parsed.path.as_str());
        }
    }

    #[test]
    fn only_the_four_numbers_of_an_address_are_read_as_one(text in "((0x|0)?[0-9a-f]{1,3}\\.){0,4}(0x|0)?[0-9]{1,10}") {
        match OriginUrl::parse(&format!("http://{text}/")) {
            Ok(parsed) => prop_assert_eq!(parsed.host, Host::V4(text.parse().unwrap())),
            Err(error) => prop_assert!(matches!(error, UrlError::NoQuad | UrlError::NoName), "{text}: {error}"),
        }
    }

    #[test]
    fn a_longer_prefix_always_wins(key in keys(), cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6)) {
        let ends: Vec<usize> = std::iter::once(0).chain(key.match_indices('/').map(|(at, _)| at + 1)).collect();
        let prefixes: Vec<&str> = cuts.iter().map(|cut| &key[..ends[cut.index(ends.len())]]).collect();
        match longest_prefix(prefixes.iter().copied(), &key) {
            None => prop_assert!(prefixes.is_empty()),
            Some((at, rest)) => {
                prop_assert_eq!(format!("{}{rest}", prefixes[at]), key.as_str());
                prop_assert!(prefixes.iter().all(|other| other.len() <= prefixes[at].len()));
            }
        }
    }
}
