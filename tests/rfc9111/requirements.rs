//! Every MUST and MUST NOT of RFC 9111 for a shared cache, by section.

use std::collections::BTreeSet;

use http::{HeaderMap, Method, Uri};
use svc_edge::rules::caching::{
    Exchange, Freshened, Freshness, RequestDirectives, Why, conditional, freshen, invalidated, invalidates,
    no_transform, stale_if_error, storable,
};

use crate::elsewhere::ELSEWHERE;
use crate::exchange::Outcome::{self, Reused, Stale, Timeout, Unmatched, Unstored, Validated};
use crate::exchange::{CONF, FORWARDED, after, headers, second, stored};

/// Section, status, first request, its answer, seconds to the second request, that, what it is answered with.
type Row = (&'static str, u16, &'static str, &'static str, u64, &'static str, Outcome);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // A number that is too large is 2^31.
    ("1.2.2", 200, "", "cache-control: max-age=99999999999999999999", 1 << 30, "", Reused),
    ("1.2.2", 200, "", "cache-control: max-age=99999999999999999999", 1 << 31, "", Validated),
    // The method is understood, the status final; 206 and 304 would have to be understood.
    ("3", 200, "", "cache-control: max-age=60", 1, "", Reused),
    ("3", 103, "", "cache-control: max-age=60", 1, "", Unstored),
    ("3", 206, "", "cache-control: max-age=60", 1, "", Unstored),
    ("3", 304, "", "cache-control: max-age=60", 1, "", Unstored),
    ("3", 299, "", "cache-control: max-age=60", 1, "", Reused),
    ("3", 599, "", "expires: {60}", 1, "", Reused),
    // no-store, private, Authorization.
    ("3", 200, "", "cache-control: max-age=60, no-store\nexpires: {60}", 1, "", Unstored),
    ("3", 200, "", "cache-control: max-age=60, private\nexpires: {60}", 1, "", Unstored),
    ("3", 200, "authorization: x", "expires: {60}", 1, "", Unstored),
    // One of: public, private, Expires, max-age, s-maxage, a status that is cacheable by heuristics.
    ("3", 201, "", "etag: \"a\"\nlast-modified: {-1000}", 1, "", Unstored),
    ("3", 599, "", "etag: \"a\"\nlast-modified: {-1000}", 1, "", Unstored),
    ("3", 599, "", "cache-control: public\nlast-modified: {-1000}", 1, "", Reused),
    ("3", 200, "", "last-modified: {-1000}", 1, "", Reused),
    // Authorization: must-revalidate, public and s-maxage allow to store, nothing else does.
    ("3.5", 200, "authorization: x", "cache-control: max-age=60", 1, "", Unstored),
    ("3.5", 200, "authorization: x", "cache-control: max-age=60, must-revalidate", 1, "", Reused),
    ("3.5", 200, "authorization: x", "cache-control: max-age=60, public", 1, "", Reused),
    ("3.5", 200, "authorization: x", "cache-control: s-maxage=60", 1, "", Reused),
    ("3.5", 200, "authorization: x", "cache-control: s-maxage=60\netag: \"a\"", 60, "", Validated),
    // Reuse: selecting fields match, no no-cache, fresh or allowed to be stale or validated.
    ("4", 200, "", "cache-control: max-age=60", 59, "", Reused),
    ("4", 200, "", "cache-control: max-age=60", 60, "", Validated),
    ("4", 200, "", "cache-control: max-age=60, no-cache\netag: \"a\"", 1, "", Validated),
    ("4", 200, "", "cache-control: max-age=60", 1, "cache-control: no-cache", Validated),
    ("4.1", 200, "accept: a", "cache-control: max-age=60\nvary: accept", 1, "accept: a", Reused),
    ("4.1", 200, "accept: a", "cache-control: max-age=60\nvary: accept", 1, "accept: b", Unmatched),
    ("4.1", 200, "accept: a", "cache-control: max-age=60\nvary: accept", 1, "", Unmatched),
    ("4.1", 200, "", "cache-control: max-age=60\nvary: accept", 1, "accept: a", Unmatched),
    ("4.1", 200, "", "cache-control: max-age=60\nvary: accept", 1, "", Reused),
    ("4.1", 200, "accept: a, b", "cache-control: max-age=60\nvary: accept", 1, "accept: a\naccept: b", Reused),
    ("4.1", 200, "", "cache-control: max-age=60\nvary: *", 1, "", Unstored),
    ("4.1", 200, "accept: a", "cache-control: max-age=60\nvary: accept, *", 1, "accept: a", Unstored),
    // s-maxage, then max-age, then Expires; of max-age and Expires the latter is ignored.
    ("4.2.1", 200, "", "cache-control: max-age=1, s-maxage=60\nexpires: {1}", 30, "", Reused),
    ("4.2.1", 200, "", "cache-control: max-age=60, s-maxage=1\netag: \"a\"", 30, "", Validated),
    ("4.2.1", 200, "", "cache-control: max-age=60\nexpires: {-60}", 30, "", Reused),
    ("4.2.1", 200, "", "cache-control: max-age=1\nexpires: {60}", 30, "", Validated),
    ("4.2.1", 200, "", "cache-control: max-age=60, max-age=1\netag: \"a\"", 0, "", Validated),
    ("4.2.1", 200, "", "cache-control: max-age=6O\netag: \"a\"\nlast-modified: {-100000}", 0, "", Validated),
    // No heuristics where a time is explicit, nor for other statuses without `public`.
    ("4.2.2", 200, "", "cache-control: max-age=1\nlast-modified: {-100000}", 2, "", Validated),
    ("4.2.2", 200, "", "expires: 0\nlast-modified: {-100000}", 0, "", Validated),
    ("4.2.2", 403, "", "last-modified: {-100000}", 0, "", Unstored),
    ("4.2.2", 200, "", "date: {0}\nlast-modified: {-1000}", 99, "", Reused),
    ("4.2.2", 200, "", "date: {0}\nlast-modified: {-1000}", 100, "", Validated),
    // The age is that of caches upstream, of the way, and of the time here.
    ("4.2.3", 200, "", "cache-control: max-age=60\nage: 50", 9, "", Reused),
    ("4.2.3", 200, "", "cache-control: max-age=60\nage: 50", 10, "", Validated),
    ("4.2.3", 200, "", "cache-control: max-age=60\ndate: {-50}", 10, "", Validated),
    ("4.2.3", 200, "", "date: {10}\nexpires: {20}\nage: 15", 0, "", Validated),
    // Stale only where someone permits it, and never where it is prohibited.
    ("4.2.4", 200, "", "cache-control: max-age=60", 61, "", Validated),
    ("4.2.4", 200, "", "cache-control: max-age=60", 61, "cache-control: max-stale=5", Stale),
    ("4.2.4", 200, "", "cache-control: max-age=60, stale-while-revalidate=5", 61, "", Stale),
    ("4.2.4", 200, "", "cache-control: max-age=60, stale-while-revalidate=5", 66, "", Validated),
    ("4.2.4", 200, "", "cache-control: max-age=60, must-revalidate, stale-while-revalidate=5", 61, "cache-control: max-stale", Validated),
    ("4.2.4", 200, "", "cache-control: max-age=60, proxy-revalidate, stale-while-revalidate=5", 61, "cache-control: max-stale", Validated),
    ("4.2.4", 200, "", "cache-control: s-maxage=60, stale-while-revalidate=5", 61, "cache-control: max-stale", Validated),
    ("4.2.4", 200, "", "cache-control: no-cache, max-age=60, stale-while-revalidate=5\netag: \"a\"", 61, "cache-control: max-stale", Validated),
    // Of several values of Age the first counts; one that is none is ignored.
    ("5.1", 200, "", "cache-control: max-age=60\nage: 90, 0", 0, "", Validated),
    ("5.1", 200, "", "cache-control: max-age=60\nage: 0\nage: 90", 0, "", Reused),
    ("5.1", 200, "", "cache-control: max-age=60\nage: 90.0", 0, "", Reused),
    ("5.1", 200, "", "cache-control: max-age=60\nage: -90", 0, "", Reused),
    // Names of directives are without case; arguments have two forms.
    ("5.2", 200, "", "cache-control: MAX-age=60", 59, "", Reused),
    ("5.2", 200, "", "cache-control: max-age=\"60\"", 59, "", Reused),
    ("5.2", 200, "", "cache-control: max-age=60, NO-STORE", 1, "", Unstored),
    ("5.2", 200, "", "cache-control: x=\"no-store, max-age=1\", max-age=60", 59, "", Reused),
    // Directives of requests.
    ("5.2.1.1", 200, "", "cache-control: max-age=60", 11, "cache-control: max-age=10", Validated),
    ("5.2.1.2", 200, "", "cache-control: max-age=60", 70, "cache-control: max-stale=10", Stale),
    ("5.2.1.3", 200, "", "cache-control: max-age=60", 51, "cache-control: min-fresh=10", Validated),
    ("5.2.1.4", 200, "", "cache-control: max-age=60", 1, "cache-control: no-cache", Validated),
    ("5.2.1.5", 200, "cache-control: no-store", "cache-control: max-age=60", 1, "", Unstored),
    ("5.2.1.5", 200, "", "cache-control: max-age=60", 1, "cache-control: no-store", Reused),
    ("5.2.1.7", 200, "", "cache-control: max-age=60", 1, "cache-control: only-if-cached", Reused),
    ("5.2.1.7", 200, "", "cache-control: max-age=60", 61, "cache-control: only-if-cached", Timeout),
    // Directives of answers.
    ("5.2.2.1", 200, "", "cache-control: max-age=60", 60, "", Validated),
    ("5.2.2.2", 200, "", "cache-control: max-age=60, must-revalidate", 59, "", Reused),
    ("5.2.2.2", 200, "", "cache-control: max-age=60, must-revalidate", 60, "cache-control: max-stale", Validated),
    ("5.2.2.3", 599, "", "cache-control: max-age=60, must-understand", 1, "", Unstored),
    ("5.2.2.3", 599, "", "cache-control: max-age=60, no-store, must-understand", 1, "", Unstored),
    ("5.2.2.3", 200, "", "cache-control: max-age=60, no-store, must-understand", 1, "", Reused),
    ("5.2.2.4", 200, "", "cache-control: no-cache, max-age=60\netag: \"a\"", 0, "", Validated),
    ("5.2.2.4", 200, "", "cache-control: no-cache=\"\", max-age=60\netag: \"a\"", 0, "", Validated),
    ("5.2.2.4", 200, "", "cache-control: no-cache=\"x\", max-age=60", 0, "", Reused),
    ("5.2.2.5", 200, "", "cache-control: no-store", 0, "", Unstored),
    ("5.2.2.5", 200, "", "cache-control: no-store=\"x\", max-age=60", 0, "", Unstored),
    ("5.2.2.7", 200, "", "cache-control: private", 0, "", Unstored),
    ("5.2.2.7", 200, "", "cache-control: private=\"x\", max-age=60", 0, "", Reused),
    ("5.2.2.8", 200, "", "cache-control: max-age=60, proxy-revalidate", 59, "", Reused),
    ("5.2.2.8", 200, "", "cache-control: max-age=60, proxy-revalidate", 60, "cache-control: max-stale", Validated),
    ("5.2.2.9", 302, "", "cache-control: public\nlast-modified: {-1000}", 1, "", Reused),
    ("5.2.2.10", 200, "", "cache-control: s-maxage=60, max-age=10", 59, "", Reused),
    ("5.2.2.10", 200, "", "cache-control: s-maxage=60, max-age=100", 60, "cache-control: max-stale", Validated),
    // Unknown directives are ignored.
    ("5.2.3", 200, "", "cache-control: unknown, max-age=60, other=\"a, b\"", 59, "", Reused),
    // Expires: what is no date is in the past, whatever it resembles.
    ("5.3", 200, "", "expires: {60}", 59, "", Reused),
    ("5.3", 200, "", "expires: 0\netag: \"a\"", 0, "", Validated),
    ("5.3", 200, "", "expires: Thu, 18 Aug 2050 02:01:18 UTC\netag: \"a\"", 0, "", Validated),
    ("5.3", 200, "", "expires: {60}\ncache-control: s-maxage=1", 30, "", Validated),
    // Pragma is for requests, and for those without Cache-Control.
    ("5.4", 200, "", "cache-control: max-age=60", 1, "pragma: no-cache", Validated),
    ("5.4", 200, "", "cache-control: max-age=60", 1, "pragma: no-cache\ncache-control: max-age=60", Reused),
    ("5.4", 200, "", "pragma: no-cache\ncache-control: max-age=60", 1, "", Reused),
];

/// Sections with requirements that have a test of their own below.
const BELOW: [&str; 9] = ["3.1", "3.2", "4", "4.2.4", "4.3.1", "4.3.3", "4.3.4", "4.4", "5.2.2.6"];

#[test]
fn a_shared_cache_answers_as_each_section_requires() {
    let wrong: Vec<String> = ROWS
        .iter()
        .filter_map(|(section, status, first, response, seconds, request, expected)| {
            let found = second(*status, first, response, *seconds, request);
            (found != *expected)
                .then(|| format!("§{section} {response:?} then {request:?}: {found:?}, not {expected:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_section_with_a_requirement_is_tested_here_or_named_as_kept_elsewhere() {
    let required = [
        "1.2.2", "2", "3", "3.1", "3.2", "3.3", "3.4", "3.5", "4", "4.1", "4.2.1", "4.2.2", "4.2.3", "4.2.4", "4.3.1",
        "4.3.2", "4.3.3", "4.3.4", "4.3.5", "4.4", "5.1", "5.2", "5.2.2.2", "5.2.2.3", "5.2.2.4", "5.2.2.5", "5.2.2.6",
        "5.2.2.7", "5.2.2.8", "5.2.2.9", "5.2.2.10", "5.2.3", "5.3", "5.4",
    ];
    let rows = ROWS.iter().map(|row| row.0);
    let known: BTreeSet<&str> = rows.chain(BELOW).chain(ELSEWHERE.iter().map(|(section, ..)| *section)).collect();
    let missing: Vec<_> = required.iter().filter(|section| !known.contains(**section)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn section_3_only_methods_that_are_understood_are_stored() {
    for method in [Method::POST, Method::PUT, Method::HEAD, Method::OPTIONS, Method::from_bytes(b"M-SEARCH").unwrap()] {
        let (request, response) = (HeaderMap::new(), headers("cache-control: max-age=60"));
        let exchange = Exchange { method: &method, status: 200, ..exchange(&request, &response) };
        assert_eq!(storable(&exchange, &CONF), Err(Why::Method), "{method}");
        assert!(storable(&Exchange { method: &Method::GET, ..exchange }, &CONF).is_ok());
    }
}

#[test]
fn section_3_1_all_fields_are_stored_but_those_for_the_connection_and_those_that_are_listed() {
    let answer = stored(
        200,
        "",
        "connection: close, a\na: 1\nkeep-alive: x\nte: x\ntransfer-encoding: x\nupgrade: x\nproxy-authenticate: x
         proxy-authentication-info: x\nproxy-authorization: x\nproxy-connection: x\nunknown: 1\nunknown: 2\nx-b: 1
         cache-control: max-age=60, private=\"x-b\", no-cache=\"x-c\"\nx-c: 1\nx-d: 1\ndate: {0}",
    );
    let kept =
        "unknown: 1\nunknown: 2\ncache-control: max-age=60, private=\"x-b\", no-cache=\"x-c\"\nx-d: 1\ndate: {0}";
    assert_eq!(answer.unwrap().headers, headers(kept));
}

/// An exchange that brought a 304 after 100 seconds.
fn exchange<'a>(request: &'a HeaderMap, response: &'a HeaderMap) -> Exchange<'a> {
    Exchange {
        method: &Method::GET,
        request,
        directives: RequestDirectives::of(request),
        forwarded: &FORWARDED,
        status: 304,
        response,
        request_time: after(100),
        response_time: after(100),
    }
}

#[test]
fn section_3_2_a_304_replaces_fields_but_not_those_the_bytes_depend_on() {
    let old =
        stored(200, "", "etag: \"a\"\ncache-control: max-age=60\nx: 1\ny: 1\ncontent-length: 5\ncontent-type: a/b");
    let new = headers("etag: \"a\"\nx: 2\nx: 3\nz: 1\ncontent-length: 7\ncontent-type: c/d\ndate: {100}");
    let Freshened::Update(answer) = freshen(&old.unwrap(), &exchange(&HeaderMap::new(), &new), &CONF) else {
        panic!("the 304 names the stored answer")
    };
    let expected =
        "etag: \"a\"\ncache-control: max-age=60\nx: 2\nx: 3\ny: 1\nz: 1\ncontent-length: 5\ncontent-type: a/b
                    date: {100}";
    assert_eq!(answer.headers, headers(expected));
}

#[test]
fn section_4_2_4_and_5_2_2_nothing_prohibited_stands_in_for_a_failed_origin() {
    let may = |cache_control: &str, request: &str| {
        let answer = stored(200, "", &format!("etag: \"a\"\ncache-control: {cache_control}")).unwrap();
        stale_if_error(&Freshness::of(&answer, &CONF), &RequestDirectives::of(&headers(request)), after(61))
    };
    assert!(may("max-age=60", ""));
    assert!(may("max-age=60, stale-if-error=5", ""));
    for prohibited in ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"] {
        let answer = format!("max-age=60, stale-if-error=60, {prohibited}");
        assert!(!may(&answer, "cache-control: max-stale, stale-if-error=60"), "{prohibited}");
    }
}

#[test]
fn section_4_3_1_a_stored_entity_tag_is_sent() {
    let answer = stored(200, "", "etag: W/\"a\"\nlast-modified: {-100}\ncache-control: max-age=60").unwrap();
    let sent: HeaderMap = conditional(&answer).into_iter().collect();
    assert_eq!(sent, headers("if-none-match: W/\"a\"\nif-modified-since: {-100}"));
}

#[test]
fn section_4_3_3_and_4_3_4_a_304_with_another_strong_tag_updates_nothing() {
    let old = stored(200, "", "etag: \"a\"\ncache-control: max-age=60").unwrap();
    let by = |fields: &str| freshen(&old, &exchange(&HeaderMap::new(), &headers(fields)), &CONF);
    assert_eq!(by("etag: \"b\""), Freshened::Mismatch);
    assert!(matches!(by("etag: \"a\""), Freshened::Update(_)));
    assert!(matches!(by(""), Freshened::Update(_)));
    assert!(matches!(by("cache-control: no-store"), Freshened::Unstorable(..)));
}

#[test]
fn section_4_4_unsafe_methods_invalidate_their_target_and_locations_of_its_origin_only() {
    for unsafe_method in ["POST", "PUT", "DELETE", "M-SEARCH"] {
        let method = Method::from_bytes(unsafe_method.as_bytes()).unwrap();
        assert!(invalidates(&method, 204) && invalidates(&method, 303), "{method}");
        assert!(!invalidates(&method, 404) && !invalidates(&method, 500), "{method}");
    }
    assert!(!invalidates(&Method::GET, 200));
    let target: Uri = "https://o.test/a".parse().unwrap();
    let response = headers("location: /b\ncontent-location: https://other.test/c");
    assert_eq!(invalidated(&target, &response), ["/a", "/b"]);
}

#[test]
fn section_5_2_2_6_no_transform_is_seen() {
    assert!(no_transform(&headers("cache-control: max-age=60, no-transform")));
    assert!(!no_transform(&headers("cache-control: max-age=60")));
}
