#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::rules::caching::RequestDirectives;
use crate::rules::caching::fixture::{CONF, FORWARDED, after, date, headers, store, store_with};

/// Whether a 200 is stored, and why not.
fn why(response: &str) -> Result<(), Why> {
    store(200, response).map(drop)
}

fn why_for(request: &str, response: &str) -> Result<(), Why> {
    store_with(&CONF, 200, request, response).map(drop)
}

#[test]
fn only_answers_to_get_are_stored() {
    for method in ["GET", "HEAD", "POST", "PUT", "OPTIONS", "get", "QUERY"] {
        let exchange = Exchange {
            method: &Method::from_bytes(method.as_bytes()).unwrap(),
            request: &HeaderMap::new(),
            directives: RequestDirectives::none(),
            forwarded: &FORWARDED,
            status: 200,
            response: &headers("cache-control: max-age=60"),
            request_time: after(0),
            response_time: after(0),
        };
        let expected = if method == "GET" { Ok(()) } else { Err(Why::Method) };
        assert_eq!(storable(&exchange, &CONF).map(drop), expected, "{method}");
    }
}

#[test]
fn any_final_status_is_stored_when_it_is_explicitly_fresh() {
    for status in 0..1000 {
        let expected = match status {
            206 => Err(Why::Partial),
            ..200 | 304 | 428 | 429 | 431 | 511 | 600.. => Err(Why::Status),
            _ => Ok(()),
        };
        for explicit in ["cache-control: max-age=60", "cache-control: s-maxage=60", &format!("expires: {}", date(60))] {
            assert_eq!(store(status, explicit).map(drop), expected, "{status} {explicit}");
        }
        assert_eq!(store(status, "cache-control: public").map(drop), expected, "{status} public");
    }
}

#[test]
fn without_explicit_freshness_only_some_statuses_are_stored() {
    for status in (200..600).filter(|status| ![206, 304, 428, 429, 431, 511].contains(status)) {
        let heuristic = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501].contains(&status);
        let expected = if heuristic { Ok(()) } else { Err(Why::NoFreshness) };
        for fields in ["", "etag: \"a\"", "cache-control: must-revalidate", "cdn-cache-control: foo\nexpires: 0"] {
            assert_eq!(store(status, fields).map(drop), expected, "{status} {fields}");
        }
    }
}

#[test]
fn no_store_of_the_answer_or_of_the_request_is_obeyed() {
    assert_eq!(why("cache-control: no-store"), Err(Why::NoStore));
    assert_eq!(why("cache-control: max-age=60, No-StOrE"), Err(Why::NoStore));
    assert_eq!(why("cache-control: max-age=60\ncache-control: no-store"), Err(Why::NoStore));
    assert_eq!(why("cdn-cache-control: no-store\ncache-control: max-age=60"), Err(Why::NoStore));
    assert_eq!(why("cdn-cache-control: max-age=60\ncache-control: no-store"), Ok(()));
    assert_eq!(why("cdn-cache-control: max-age=60, &\ncache-control: no-store"), Err(Why::NoStore));
    assert_eq!(why("cdn-cache-control: max-age=\"60\"\ncache-control: no-store"), Err(Why::NoStore));
    assert_eq!(why_for("cache-control: no-store", "cache-control: max-age=60"), Err(Why::RequestNoStore));
    assert_eq!(why_for("cache-control: no-cache", "cache-control: max-age=60"), Ok(()));
}

#[test]
fn private_answers_are_not_stored_but_for_the_fields_that_are() {
    assert_eq!(why("cache-control: private, max-age=60"), Err(Why::Private));
    assert_eq!(why("cache-control: private, public, s-maxage=60"), Err(Why::Private));
    assert_eq!(why("cdn-cache-control: private\ncache-control: max-age=60"), Err(Why::Private));
    let stored = store(200, "cache-control: private=\"a, B\", max-age=60\na: 1\nb: 2\nb: 3\nc: 4").unwrap();
    assert!(!stored.headers.contains_key("a") && !stored.headers.contains_key("b"));
    assert_eq!(stored.headers["c"], "4");
    let stored = store(200, "cache-control: no-cache=\"a\"\na: 1\ncache-control: max-age=3600\nb: 2").unwrap();
    assert!(!stored.headers.contains_key("a"));
    assert_eq!(stored.headers["b"], "2");
}

#[test]
fn must_understand_stores_what_is_understood_in_spite_of_no_store() {
    let fields = "cache-control: max-age=60, no-store, must-understand";
    for status in [200, 203, 301, 302, 404, 410, 501] {
        assert_eq!(store(status, fields).map(drop), Ok(()), "{status}");
    }
    for status in [207, 226, 299, 306, 418, 451, 499, 506, 599] {
        assert_eq!(store(status, fields).map(drop), Err(Why::StatusNotUnderstood), "{status}");
        let alone = store(status, "cache-control: max-age=60, must-understand");
        assert_eq!(alone.map(drop), Err(Why::StatusNotUnderstood), "{status}");
    }
}

#[test]
fn answers_to_authorization_are_stored_only_when_they_say_that_others_may_have_them() {
    let request = "authorization: Basic x";
    for kept_from in ["max-age=60", "proxy-revalidate, max-age=60", "no-cache", "immutable, max-age=60"] {
        let response = format!("etag: \"a\"\ncache-control: {kept_from}");
        assert_eq!(why_for(request, &response), Err(Why::Authorization), "{kept_from}");
    }
    assert_eq!(why_for(request, &format!("expires: {}", date(60))), Err(Why::Authorization));
    for open_to in ["max-age=60, public", "max-age=60, must-revalidate", "s-maxage=60"] {
        assert_eq!(why_for(request, &format!("cache-control: {open_to}")), Ok(()), "{open_to}");
    }
}

#[test]
fn cookies_are_stored_only_if_the_conf_says_so() {
    let response = "cache-control: max-age=60\nset-cookie: a=b\nset-cookie: c=d";
    assert_eq!(why(response), Err(Why::SetCookie));
    let allowed = CachingConf { store_set_cookie: true, ..CONF };
    let stored = store_with(&allowed, 200, "", response).unwrap();
    assert_eq!(stored.headers.get_all(SET_COOKIE).iter().collect::<Vec<_>>(), ["a=b", "c=d"]);
}

#[test]
fn an_answer_that_would_match_no_request_is_not_stored() {
    for vary in ["*", "*, *", ", *", "*, accept", "accept, *", "accept\nvary: *", "a b", "\"accept\""] {
        assert_eq!(why(&format!("cache-control: max-age=60\nvary: {vary}")), Err(Why::Vary), "{vary}");
    }
    assert_eq!(why("cache-control: max-age=60\nvary: , accept,"), Ok(()));
}

#[test]
fn an_answer_that_would_never_be_used_is_not_stored() {
    for useless in ["max-age=0", "no-cache", "max-age=60, no-cache", "s-maxage=0, stale-if-error=60", "max-age=x"] {
        let fields = format!("cache-control: {useless}");
        assert_eq!(why(&fields), Err(Why::NoFreshness), "{useless}");
        assert_eq!(why(&format!("{fields}\netag: abc\nlast-modified: 0")), Err(Why::NoFreshness), "{useless}");
        assert_eq!(why(&format!("{fields}\netag: W/\"a\"")), Ok(()), "{useless}");
        assert_eq!(why(&format!("{fields}\nlast-modified: {}", date(0))), Ok(()), "{useless}");
    }
    assert_eq!(why("expires: 0"), Err(Why::NoFreshness));
    assert_eq!(why("cache-control: max-age=0, stale-if-error=60"), Ok(()));
    assert_eq!(why("cache-control: max-age=0, stale-while-revalidate=60"), Ok(()));
    assert_eq!(why("cache-control: max-age=60\nage: 100"), Ok(()), "a client may take it stale");
    let nothing_by_default = CachingConf { default_ttl: std::time::Duration::ZERO, ..CONF };
    assert_eq!(store_with(&nothing_by_default, 200, "", "").map(drop), Err(Why::NoFreshness));
    assert_eq!(store_with(&nothing_by_default, 200, "", "etag: \"a\"").map(drop), Ok(()));
}

#[test]
fn what_can_not_be_read_is_not_stored() {
    assert_eq!(why("cache-control: max-age=60, a=\"b"), Err(Why::Malformed));
    for taken in ["cache-control", "Expires", "vary", "date", "age", "set-cookie", "cdn-cache-control", "content-type"]
    {
        let fields = format!("connection: close, {taken}\ncache-control: max-age=60");
        assert_eq!(why(&fields), Err(Why::Malformed), "{taken}");
    }
    assert_eq!(why("connection: close, x-hop\nx-hop: 1\ncache-control: max-age=60"), Ok(()));
}

#[test]
fn pragma_of_an_answer_says_nothing() {
    assert_eq!(why("pragma: no-cache\ncache-control: max-age=60"), Ok(()));
    assert_eq!(why("pragma: no-cache"), Ok(()));
}

#[test]
fn reasons_are_tokens_and_no_two_are_alike() {
    let all = [
        Why::Method,
        Why::Status,
        Why::Partial,
        Why::StatusNotUnderstood,
        Why::NoStore,
        Why::RequestNoStore,
        Why::Private,
        Why::Authorization,
        Why::SetCookie,
        Why::Vary,
        Why::NoFreshness,
        Why::Malformed,
        Why::TooLarge,
    ];
    let words: std::collections::BTreeSet<_> = all.into_iter().map(Why::as_str).collect();
    assert_eq!(words.len(), all.len());
    assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
}

#[test]
fn no_store_of_a_request_that_the_conf_does_not_listen_to_is_not_obeyed() {
    let exchange = Exchange {
        method: &Method::GET,
        request: &headers("cache-control: no-store"),
        directives: RequestDirectives::none(),
        forwarded: &FORWARDED,
        status: 200,
        response: &headers("cache-control: max-age=60"),
        request_time: after(0),
        response_time: after(0),
    };
    assert!(storable(&exchange, &CONF).is_ok());
}
