#![allow(clippy::unwrap_used, clippy::panic)]

use http::HeaderValue;
use http::header::{ACCEPT, ACCEPT_LANGUAGE};
use proptest::prelude::*;

use super::*;
use crate::rules::caching::fixture::headers;

const FOO: HeaderName = HeaderName::from_static("foo");
const BAR: HeaderName = HeaderName::from_static("bar");

fn select(vary: &str, request: &str) -> Option<Selecting> {
    let forwarded = [FOO, BAR, ACCEPT, ACCEPT_LANGUAGE, header::ACCEPT_ENCODING];
    selecting(&headers(&format!("vary: {vary}")), &headers(request), &forwarded)
}

/// Whether an answer that varies by `vary` and was got with `first` answers `second` too.
fn reused(vary: &str, first: &str, second: &str) -> bool {
    matches(&select(vary, first).unwrap(), &headers(second))
}

#[test]
fn what_vary_names_selects_by_its_value_in_this_request() {
    assert_eq!(select("Foo, bar", "foo: 1\nbaz: 2"), Some(vec![(BAR, None), (FOO, Some(b"1".to_vec()))]));
    assert_eq!(
        select("foo\nvary: BAR,, foo", "foo: 1\nbar:"),
        Some(vec![(BAR, Some(vec![])), (FOO, Some(b"1".to_vec()))])
    );
    assert_eq!(select("", "foo: 1"), Some(vec![]));
    assert_eq!(selecting(&HeaderMap::new(), &headers("foo: 1"), &[FOO]), Some(vec![]));
}

#[test]
fn a_field_that_no_origin_sees_selects_nothing() {
    for constant in
        ["accept-encoding", "user-agent", "cookie", "authorization", "host", "origin", "baz", "via", "range"]
    {
        assert_eq!(select(constant, "cookie: a\nbaz: 1\naccept-encoding: gzip"), Some(vec![]), "{constant}");
    }
    assert!(reused("baz", "baz: 1", "baz: 2"));
}

#[test]
fn a_vary_that_can_not_be_followed_matches_nothing() {
    for vary in
        ["*", "*, *", "*\nvary: *", ", *", "\nvary: *", "*, foo", "foo, *", "foo bar", "\"foo\"", "foo;q=1", "f\u{e9}"]
    {
        assert_eq!(select(vary, "foo: 1"), None, "{vary}");
    }
    let names = |count: usize| (0..count).map(|at| format!("n{at}")).collect::<Vec<_>>().join(",");
    assert!(select(&names(NAMES_MAX), "").is_some());
    assert!(select(&names(NAMES_MAX + 1), "").is_none());
}

#[test]
fn a_request_matches_if_every_selecting_field_does() {
    let table = [
        ("foo", "foo: 1", "foo: 1", true),
        ("foo", "foo: 1", "foo: 2", false),
        ("foo", "foo: 1", "", false),
        ("foo", "", "foo: 1", false),
        ("foo", "", "foo:", false),
        ("foo", "foo:", "", false),
        ("foo", "", "", true),
        ("foo", "foo: 1\nother: 2", "foo: 1\nother: 3", true),
        ("foo, bar", "foo: 1\nbar: a", "bar: a\nfoo: 1", true),
        ("foo, bar", "foo: 1\nbar: a", "foo: 1\nbar: b", false),
        ("foo, bar", "foo: 1", "foo: 1", true),
        ("foo, bar", "foo: 1", "foo: 1\nbar: a", false),
        ("foo", "foo: a", "foo: A", false),
    ];
    for (vary, first, second, expected) in table {
        assert_eq!(reused(vary, first, second), expected, "{vary} | {first} | {second}");
    }
}

#[test]
fn lines_are_combined_and_white_space_around_commas_does_not_count() {
    for (first, second) in [
        ("foo: 1,2", "foo:  1,\t2 "),
        ("foo: 1, 2", "foo: 1\nfoo: 2"),
        ("foo: \"a, b\" ,c", "foo: \"a, b\",c"),
        ("accept-language: en, de", "accept-language: eN ,   De"),
        ("accept-language: en;q=0.5,de", "accept-language: en; q=0.5\naccept-language: de"),
    ] {
        assert!(reused("foo, accept-language", first, second), "{first} | {second}");
        assert!(reused("foo, accept-language", second, first), "{first} | {second}");
    }
    for (first, second) in [
        ("foo: 1,2", "foo: 2,1"),
        ("foo: 1,2", "foo: 12"),
        ("foo: a b", "foo: ab"),
        ("foo: \"a, b\"", "foo: \"a,b\""),
        ("foo: 1,,2", "foo: 1,2"),
        // An origin may take the order for a preference.
        ("accept-language: en, de", "accept-language: de, en"),
    ] {
        assert!(!reused("foo, accept-language", first, second), "{first} | {second}");
    }
}

#[test]
fn variants_have_names_of_their_own_whatever_the_order_in_vary() {
    let name = |vary: &str, request: &str| variant(&select(vary, request).unwrap());
    let one = name("foo, bar", "foo: 1\nbar: 2").unwrap();
    assert_eq!(name("bar, foo", "bar: 2\nfoo: 1"), Some(one));
    let pinned = 0x6449_fe66_70d9_0110_c874_3868_1805_215d_u128.to_be_bytes();
    assert_eq!(one, pinned, "names of variants are in the index");
    let others = ["foo: 1", "foo: 2\nbar: 1", "foo: 1\nbar:", "foo: 12\nbar:", "bar: 2", "", "foo: -\nbar: 2"];
    let all: std::collections::BTreeSet<_> = others.iter().map(|request| name("foo, bar", request)).collect();
    assert_eq!(all.len(), others.len());
    assert!(!all.contains(&Some(one)));
    assert_eq!(name("cookie", "cookie: a"), None);
}

proptest! {
    #[test]
    fn a_request_always_matches_what_was_stored_for_it(
        vary in "[fobar, *\"-]{0,24}", foo in prop::collection::vec("[a-c,\" \t;=]{0,12}", 0..3), bar in "[a-c, ]{0,8}",
    ) {
        let mut request = HeaderMap::new();
        for value in foo {
            request.append(FOO, HeaderValue::try_from(value).unwrap());
        }
        request.append(BAR, HeaderValue::try_from(bar).unwrap());
        let mut response = HeaderMap::new();
        response.insert(VARY, HeaderValue::try_from(vary).unwrap());
        if let Some(selecting) = selecting(&response, &request, &[FOO, BAR]) {
            prop_assert!(matches(&selecting, &request));
            prop_assert!(selecting.is_empty() || !matches(&selecting, &HeaderMap::new()) || selecting.iter().all(|(_, value)| value.is_none()));
        }
    }
}
