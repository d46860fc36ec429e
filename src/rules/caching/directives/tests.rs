#![allow(clippy::unwrap_used, clippy::panic)]

use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::rules::caching::fixture::headers;

fn response(lines: &str) -> ResponseDirectives {
    ResponseDirectives::of(&headers(lines))
}

fn request(line: &str) -> RequestDirectives {
    RequestDirectives::of(&headers(&format!("cache-control: {line}")))
}

fn max_age(line: &str) -> Option<u32> {
    response(&format!("cache-control: {line}")).max_age
}

#[test]
fn a_number_of_seconds_is_digits_and_nothing_else() {
    let table = [
        ("max-age=60", Some(60)),
        ("MaX-aGe=60", Some(60)),
        ("max-age=\"60\"", Some(60)),
        ("max-age=\"6\\0\"", Some(60)),
        ("max-age=0060", Some(60)),
        ("max-age=0", Some(0)),
        ("foo, max-age=60", Some(60)),
        ("foo=bar;baz, max-age=60", Some(60)),
        (",, \tmax-age=60\t ,", Some(60)),
        ("max-age=2147483647", Some(2_147_483_647)),
        ("max-age=2147483648", Some(DELTA_MAX)),
        ("max-age=2147483649", Some(DELTA_MAX)),
        ("max-age=99999999999", Some(DELTA_MAX)),
        ("max-age=99999999999999999999999999999999", Some(DELTA_MAX)),
        ("max-age", Some(0)),
        ("max-age=", Some(0)),
        ("max-age=\"\"", Some(0)),
        ("max-age=-60", Some(0)),
        ("max-age=+60", Some(0)),
        ("max-age=60.0", Some(0)),
        ("max-age=60a", Some(0)),
        ("max-age=a60", Some(0)),
        ("max-age='60'", Some(0)),
        ("max-age =60", Some(0)),
        ("max-age= 60", Some(0)),
        ("max-age=60 s", Some(0)),
        ("max-age=\"60\"0", Some(0)),
        ("max-age=\" 60\"", Some(0)),
        ("max-age:60", Some(0)),
        ("max-age/60", Some(0)),
        ("xmax-age=60", None),
        ("max-age-x=60", None),
        ("extension=\"max-age=60\"", None),
        ("extension=\"a, max-age=60, b\"", None),
        ("extension=\"\\\", max-age=60\"", None),
        ("=60", None),
        ("", None),
    ];
    for (line, expected) in table {
        assert_eq!(max_age(line), expected, "{line}");
    }
}

#[test]
fn numbers_that_contradict_each_other_are_over() {
    assert_eq!(max_age("max-age=60, max-age=60"), Some(60));
    assert_eq!(max_age("max-age=60, max-age=70"), Some(0));
    assert_eq!(max_age("max-age=70, max-age=60, max-age=70"), Some(0));
    assert_eq!(max_age("max-age=60, max-age=x"), Some(0));
    let two_lines = response("cache-control: max-age=60\ncache-control: max-age=70");
    assert_eq!(two_lines.max_age, Some(0));
    let other = response("cache-control: max-age=60, s-maxage=70, stale-while-revalidate=1, stale-if-error=2");
    assert_eq!((other.max_age, other.s_maxage), (Some(60), Some(70)));
    assert_eq!((other.stale_while_revalidate, other.stale_if_error), (Some(1), Some(2)));
}

#[test]
fn what_forbids_counts_whatever_stands_behind_it_and_what_permits_does_not() {
    for tail in ["", "=x", "=\"x\"", "=", " x", "=x y"] {
        let line = |name: &str| response(&format!("cache-control: a, {name}{tail}, b"));
        assert!(line("no-store").no_store, "{tail}");
        assert!(line("must-revalidate").must_revalidate, "{tail}");
        assert!(line("proxy-revalidate").proxy_revalidate, "{tail}");
        assert_eq!(line("public").public, tail.is_empty(), "{tail}");
        assert_eq!(line("immutable").immutable, tail.is_empty(), "{tail}");
        assert_eq!(line("must-understand").must_understand, tail.is_empty(), "{tail}");
    }
    assert!(response("cache-control: No-StOrE").no_store);
    assert!(!response("cache-control: no-store2, x=no-store").no_store);
}

#[test]
fn private_and_no_cache_are_about_all_or_about_the_fields_they_list() {
    let names = |names: &[&str]| Scope::Fields(names.iter().map(|name| name.parse().unwrap()).collect());
    let table = [
        ("", Scope::Nothing),
        ("private", Scope::Whole),
        ("PRIVATE", Scope::Whole),
        ("private=\"a\"", names(&["a"])),
        ("private=\"A , set-cookie,, b\"", names(&["a", "set-cookie", "b"])),
        ("private=a", names(&["a"])),
        ("private=\"a\", private=\"b\"", names(&["a", "b"])),
        ("private=\"a\", private", Scope::Whole),
        ("private, private=\"a\"", Scope::Whole),
        ("private=\"\"", Scope::Whole),
        ("private=\" , \"", Scope::Whole),
        ("private=", Scope::Whole),
        ("private=\"a b\"", Scope::Whole),
        ("private=\"a, (\"", Scope::Whole),
    ];
    for (line, expected) in table {
        assert_eq!(response(&format!("cache-control: {line}")).private, expected, "{line}");
        let line = line.replace("private", "no-cache").replace("PRIVATE", "No-Cache");
        assert_eq!(response(&format!("cache-control: {line}")).no_cache, expected, "{line}");
    }
}

#[test]
fn a_quote_without_a_place_or_an_end_breaks_the_field() {
    for line in ["a=\"b", "max-age=60, a=\"b, no-store", "a b\"c, no-store", "\"a, no-store", "max-age=\"60\\\""] {
        assert!(response(&format!("cache-control: {line}")).broken, "{line}");
    }
    for line in ["a=\"b\"", "a=\"\\\"\"", "a b", "=a", "a==b", "max-age=60"] {
        assert!(!response(&format!("cache-control: {line}")).broken, "{line}");
    }
}

#[test]
fn a_valid_cdn_cache_control_is_all_that_counts() {
    let both = response("cdn-cache-control: max-age=60\ncache-control: no-store, max-age=1");
    assert_eq!(both, ResponseDirectives { max_age: Some(60), targeted: true, ..ResponseDirectives::default() });
    let all = response(
        "cdn-cache-control: max-age=1;x=y, s-maxage=2, stale-while-revalidate=3, stale-if-error=4
         cdn-cache-control: no-store, must-revalidate, proxy-revalidate, public, immutable, must-understand
         cdn-cache-control: private=\"a, b\", no-cache=c, unknown=(1 2), no-store=?0",
    );
    let expected = ResponseDirectives {
        max_age: Some(1),
        s_maxage: Some(2),
        stale_while_revalidate: Some(3),
        stale_if_error: Some(4),
        no_store: false,
        must_revalidate: true,
        proxy_revalidate: true,
        public: true,
        immutable: true,
        must_understand: true,
        private: Scope::Fields(vec!["a".parse().unwrap(), "b".parse().unwrap()]),
        no_cache: Scope::Fields(vec!["c".parse().unwrap()]),
        targeted: true,
        broken: false,
    };
    assert_eq!(all, expected);
    for (line, seconds) in [("2147483648", DELTA_MAX), ("999999999999999", DELTA_MAX), ("-1", 0), ("0", 0)] {
        assert_eq!(response(&format!("cdn-cache-control: max-age={line}")).max_age, Some(seconds), "{line}");
    }
    assert_eq!(response("cdn-cache-control: max-age=60, max-age=70").max_age, Some(70), "the last of a key counts");
    assert!(response("cdn-cache-control: foo").targeted, "nothing known, but valid");
}

#[test]
fn a_cdn_cache_control_that_is_empty_or_invalid_does_not_count() {
    for line in [
        "",
        "max-age=10, &&&",
        "MaX-aGe=10",
        "max-age =10",
        "max-age= 10",
        "max-age=10,",
        "max-age=\"10\"",
        "max-age=1.5",
        "max-age",
        "max-age=a",
        "no-store=1",
        "no-store=\"x\"",
        "private=1",
        "max-age=10, s-maxage=x",
        "max-age=1000000000000000",
    ] {
        let found = response(&format!("cdn-cache-control: {line}\ncache-control: max-age=5"));
        assert_eq!(found, ResponseDirectives { max_age: Some(5), ..ResponseDirectives::default() }, "{line}");
    }
}

#[test]
fn no_transform_holds_whatever_a_targeted_field_says() {
    assert!(no_transform(&headers("cache-control: max-age=60, No-Transform")));
    assert!(no_transform(&headers("cdn-cache-control: max-age=60\ncache-control: no-transform=x")));
    assert!(!no_transform(&headers("cache-control: a=\"no-transform\"")));
    assert!(!no_transform(&HeaderMap::new()));
}

#[test]
fn a_request_says_what_it_wants_in_a_few_numbers() {
    let none = RequestDirectives::none();
    let table = [
        ("no-cache", RequestDirectives { no_cache: true, ..none }),
        ("No-Store", RequestDirectives { no_store: true, ..none }),
        ("only-if-cached", RequestDirectives { only_if_cached: true, ..none }),
        ("max-age=0", RequestDirectives { max_age: Some(0), ..none }),
        ("max-age=\"5\", max-age=3", RequestDirectives { max_age: Some(3), ..none }),
        ("min-fresh=5, min-fresh=7", RequestDirectives { min_fresh: Some(7), ..none }),
        ("max-stale", RequestDirectives { max_stale: Some(u32::MAX), ..none }),
        ("max-stale=7", RequestDirectives { max_stale: Some(7), ..none }),
        ("max-stale, max-stale=7", RequestDirectives { max_stale: Some(7), ..none }),
        ("stale-if-error=9", RequestDirectives { stale_if_error: Some(9), ..none }),
        ("no-transform, foo=\"no-cache\"", none),
        ("max-age=x, min-fresh=-1, max-stale=, stale-if-error", none),
    ];
    for (line, expected) in table {
        assert_eq!(request(line), expected, "{line}");
    }
    assert_eq!(RequestDirectives::of(&HeaderMap::new()), none);
    assert_eq!(RequestDirectives::default(), none);
}

#[test]
fn pragma_counts_where_there_is_no_cache_control() {
    let no_cache = |lines| RequestDirectives::of(&headers(lines)).no_cache;
    assert!(no_cache("pragma: no-cache"));
    assert!(no_cache("pragma: foo=\"a, b\", No-Cache"));
    assert!(!no_cache("pragma: foo"));
    assert!(!no_cache("pragma: no-cache=x"));
    assert!(!no_cache("pragma: no-cache\ncache-control: max-age=5"));
    assert!(!no_cache("pragma: no-cache\ncache-control:"));
}

proptest! {
    #[test]
    fn arbitrary_fields_never_panic_and_never_loosen(
        line in prop::collection::vec(
            prop_oneof![
                Just("no-store"), Just("max-age"), Just("private"), Just("="), Just("\""), Just("\\"), Just(","),
                Just(" "), Just("60"), Just("x"), Just("\u{e9}"), Just("public"),
            ],
            0..24,
        ).prop_map(|parts| parts.concat()),
    ) {
        let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
        let mut fields = HeaderMap::new();
        fields.insert(CACHE_CONTROL, value.clone());
        fields.insert("cdn-cache-control", value);
        let _ = ResponseDirectives::of(&fields);
        let _ = RequestDirectives::of(&fields);
        fields.remove("cdn-cache-control");
        // A directive in front of anything is read as it stands there alone.
        let mut joined = b"no-store, ".to_vec();
        joined.extend(line.as_bytes());
        fields.insert(CACHE_CONTROL, HeaderValue::from_bytes(&joined).unwrap());
        prop_assert!(ResponseDirectives::of(&fields).no_store);
        // Behind anything too, unless what is in front does not end; then nothing is stored either.
        let behind = [line.as_bytes(), b", no-store"].concat();
        fields.insert(CACHE_CONTROL, HeaderValue::from_bytes(&behind).unwrap());
        let found = ResponseDirectives::of(&fields);
        prop_assert!(found.no_store || found.broken, "{}", line);
    }

    #[test]
    fn any_number_of_digits_is_capped_and_never_wraps(digits in "[0-9]{1,40}") {
        let exact = digits.trim_start_matches('0').parse::<u128>().unwrap_or(if digits.contains(|c| c != '0') { u128::MAX } else { 0 });
        let expected = u32::try_from(exact.min(u128::from(DELTA_MAX))).unwrap();
        prop_assert_eq!(max_age(&format!("max-age={digits}")), Some(expected));
    }
}
