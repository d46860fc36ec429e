#![allow(clippy::unwrap_used, clippy::panic)]

use http::header::DATE;

use super::*;
use crate::rules::caching::fixture::{CONF, FORWARDED, after, date, headers, store_with};
use crate::rules::caching::{Freshness, RequestDirectives};
use http::Method;

/// An answer as it stands in the store.
fn stored(response: &str) -> StoredAnswer {
    let keep_cookies = CachingConf { store_set_cookie: true, ..CONF };
    store_with(&keep_cookies, 200, "accept: a", &format!("date: {}\n{response}", date(0))).unwrap()
}

/// What a 304 that comes 100 seconds later makes of it.
fn freshened_for(stored: &StoredAnswer, request: &str, not_modified: &str) -> Freshened {
    let exchange = Exchange {
        method: &Method::GET,
        request: &headers(request),
        directives: RequestDirectives::of(&headers(request)),
        forwarded: &FORWARDED,
        status: 304,
        response: &headers(not_modified),
        request_time: after(99),
        response_time: after(100),
    };
    freshen(stored, &exchange, &CONF)
}

fn freshened(response: &str, not_modified: &str) -> Freshened {
    freshened_for(&stored(response), "accept: a", not_modified)
}

fn updated(response: &str, not_modified: &str) -> StoredAnswer {
    match freshened(response, not_modified) {
        Freshened::Update(answer) => answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_origin_is_asked_by_what_validators_there_are() {
    let conditions = |response: &str| {
        let found = conditional(&stored(&format!("cache-control: max-age=60\n{response}")));
        found.into_iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect::<Vec<_>>()
    };
    let modified = date(-1000);
    assert_eq!(conditions("etag: \"a\""), ["if-none-match: \"a\""]);
    assert_eq!(conditions("etag: W/\"a\""), ["if-none-match: W/\"a\""]);
    assert_eq!(conditions(&format!("last-modified: {modified}")), [format!("if-modified-since: {modified}")]);
    let both = conditions(&format!("last-modified: {modified}\netag: \"a\""));
    assert_eq!(both, ["if-none-match: \"a\"".to_owned(), format!("if-modified-since: {modified}")]);
    for none in ["", "etag: a", "etag: w/\"a\"", "last-modified: yesterday", "last-modified: 0"] {
        assert_eq!(conditions(none), Vec::<String>::new(), "{none}");
    }
    let obsolete = conditions("last-modified: Sunday, 06-Nov-94 08:49:37 GMT");
    assert_eq!(obsolete, ["if-modified-since: Sunday, 06-Nov-94 08:49:37 GMT"], "a date is sent back as it came");
}

#[test]
fn fields_of_a_304_replace_the_stored_ones_but_those_of_the_bytes() {
    let old =
        "cache-control: max-age=2\netag: \"a\"\ncontent-encoding: gzip\ncontent-type: text/plain\ncontent-range: x
        content-length: 5\nx: 1\nx: 2\nkept: k\nage: 50\ncontent-foo: 1\nexpires: 0\ncontent-location: /a";
    let new =
        "cache-control: max-age=3600\netag: \"a\"\ncontent-encoding: br\ncontent-type: text/html\ncontent-range: y
        content-length: 10\nx: 3\nadded: a\ncontent-foo: 2\nexpires: 1\ncontent-location: /b\nset-cookie: a=b
        connection: x-hop\nx-hop: 1\nkeep-alive: a";
    let answer = updated(old, new);
    let expected = headers(&format!(
        "date: {}\ncache-control: max-age=3600\netag: \"a\"\ncontent-encoding: gzip\ncontent-type: text/plain
        content-range: x\ncontent-length: 5\nx: 3\nkept: k\nadded: a\ncontent-foo: 2\nexpires: 1\ncontent-location: /b",
        date(100)
    ));
    assert_eq!(answer.headers, expected);
    assert_eq!((answer.status, answer.request_time, answer.response_time), (200, after(99), after(100)));
    let freshness = Freshness::of(&answer, &CONF);
    assert_eq!(freshness.age(after(100)).as_secs(), 1, "the age of the 304, not the stored one");
    assert_eq!(freshness.lifetime().as_secs(), 3600);
}

#[test]
fn a_304_says_its_own_date_and_age() {
    let answer = updated("etag: \"a\"\ncache-control: max-age=60", &format!("date: {}\nage: 7", date(98)));
    assert_eq!(answer.headers[DATE], date(98)[..]);
    assert_eq!(answer.headers[AGE], "7");
    assert_eq!(Freshness::of(&answer, &CONF).age(after(100)).as_secs(), 8);
}

#[test]
fn a_304_updates_only_the_answer_it_names() {
    let modified = date(-1000);
    let other = date(-900);
    let strong = format!("etag: \"a\"\nlast-modified: {modified}");
    let weak = format!("etag: W/\"a\"\nlast-modified: {modified}");
    let dated = format!("last-modified: {modified}");
    let same_date = format!("last-modified: {modified}");
    let other_date = format!("last-modified: {other}");
    let table = [
        (&strong, "etag: \"a\"", true),
        (&strong, "etag: \"b\"", false),
        (&strong, "etag: W/\"a\"", true),
        (&strong, "etag: W/\"b\"", false),
        (&weak, "etag: W/\"a\"", true),
        (&weak, "etag: \"a\"", false),
        (&dated, "etag: \"a\"", false),
        (&dated, "etag: W/\"a\"", false),
        (&strong, "", true),
        (&dated, "", true),
        (&dated, &same_date, true),
        (&dated, &other_date, false),
        (&dated, "last-modified: foo", true),
        (&strong, &same_date, true),
        (&strong, &other_date, false),
    ];
    for (old, new, expected) in table {
        let found = freshened(&format!("cache-control: max-age=60\n{old}"), new);
        assert_eq!(matches!(found, Freshened::Update(_)), expected, "{old} | {new}");
        assert_eq!(found == Freshened::Mismatch, !expected, "{old} | {new}");
    }
    let tagged = freshened("cache-control: max-age=60\netag: \"a\"", &same_date);
    assert!(matches!(tagged, Freshened::Update(_)), "a date where there was none says nothing against the tag");
}

#[test]
fn a_304_may_take_back_that_the_answer_is_stored() {
    let table =
        [("no-store", Why::NoStore), ("private", Why::Private), ("no-store, max-age=60, a=\"b", Why::Malformed)];
    for (cache_control, why) in table {
        let found = freshened("etag: \"a\"\ncache-control: max-age=60", &format!("cache-control: {cache_control}"));
        match found {
            Freshened::Unstorable(answer, found) => {
                assert_eq!(found, why);
                assert_eq!(answer.headers["cache-control"], cache_control);
            }
            other => panic!("{other:?}"),
        }
    }
    let star = freshened("etag: \"a\"\ncache-control: max-age=60", "vary: *");
    assert!(matches!(star, Freshened::Unstorable(_, Why::Vary)));
    let answer = stored("etag: \"a\"\ncache-control: max-age=60");
    let for_request = freshened_for(&answer, "cache-control: no-store", "");
    assert!(matches!(for_request, Freshened::Unstorable(_, Why::RequestNoStore)));
}

#[test]
fn a_304_may_change_what_selects() {
    let varying = updated("etag: \"a\"\ncache-control: max-age=60", "vary: accept");
    assert_eq!(varying.vary, [(http::header::ACCEPT, Some(b"a".to_vec()))]);
    let kept = updated("etag: \"a\"\ncache-control: max-age=60\nvary: accept", "x: 1");
    assert_eq!(kept.vary, [(http::header::ACCEPT, Some(b"a".to_vec()))]);
}

#[test]
fn fields_that_may_not_be_answered_again_are_not_stored_from_a_304_either() {
    let answer = updated("etag: \"a\"\ncache-control: max-age=60, private=\"x\"\nx: 1", "x: 2\ny: 3");
    assert!(!answer.headers.contains_key("x"));
    assert_eq!(answer.headers["y"], "3");
    let listed = updated("etag: \"a\"\ncache-control: max-age=60\nx: 1", "cache-control: max-age=60, no-cache=x");
    assert!(!listed.headers.contains_key("x"));
}
