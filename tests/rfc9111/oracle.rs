//! `http-cache-semantics` as an oracle: another engine that was written from the same specification by somebody else.
//!
//! It is the oracle and not the engine because it has no `CDN-Cache-Control` (RFC 9213), no answers that are stale on
//! purpose (RFC 5861), no qualified directives and no `must-understand`; splits fields at every comma; reads neither
//! obsolete forms of dates nor refuses what is none; and builds maps and strings for each request. Where both have an
//! opinion they must agree; where they differ, a row says so, with what each does and why ours is as it is.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, Request, Response};
use http_cache_semantics::{AfterResponse, BeforeRequest, CacheOptions, CachePolicy};
use proptest::prelude::*;
use svc_edge::rules::caching::{Exchange, Freshened, Freshness, RequestDirectives, freshen};

use crate::exchange::Outcome::{self, Reused, Stale, Unmatched, Unstored, Validated};
use crate::exchange::{CONF, FORWARDED, after, headers, second, stored};

const OPTIONS: CacheOptions = CacheOptions {
    shared: true,
    cache_heuristic: 0.1,
    immutable_min_time_to_live: Duration::ZERO,
    ignore_cargo_cult: false,
};

fn request(fields: &str) -> Request<()> {
    let mut request = Request::get("http://origin.test/a").body(()).unwrap();
    *request.headers_mut() = headers(fields);
    request
}

fn response(status: u16, fields: &str) -> Response<()> {
    let mut response = Response::builder().status(status).body(()).unwrap();
    *response.headers_mut() = headers(fields);
    response
}

/// What the oracle remembers of the first answer.
fn policy(status: u16, first: &str, fields: &str) -> CachePolicy {
    CachePolicy::new_options(&request(first), &response(status, fields), after(0), OPTIONS)
}

/// What the oracle answers the second request with.
fn oracle(status: u16, first: &str, fields: &str, seconds: u64, second: &str) -> Outcome {
    let policy = policy(status, first, fields);
    if !policy.is_storable() {
        return Unstored;
    }
    match policy.before_request(&request(second), after(seconds)) {
        BeforeRequest::Fresh(_) if policy.is_stale(after(seconds)) => Stale,
        BeforeRequest::Fresh(_) => Reused,
        BeforeRequest::Stale { matches: false, .. } => Unmatched,
        BeforeRequest::Stale { .. } => Validated,
    }
}

/// Status, first request, answer, seconds, second request; what the oracle does, what we do, and why.
type Difference = (u16, &'static str, &'static str, u64, &'static str, Outcome, Outcome, &'static str);

#[rustfmt::skip]
const DIFFERENCES: &[Difference] = &[
    (200, "", "cache-control: No-Store, max-age=60", 0, "", Reused, Unstored,
        "§5.2: names of directives are without case"),
    (200, "", "cache-control: x=\"a, no-store, b\", max-age=60", 0, "", Unstored, Reused,
        "§5.2: what stands in a quoted string is no directive"),
    (200, "", "cache-control: max-age=60, proxy-revalidate", 0, "", Validated, Reused,
        "§5.2.2.8: it forbids stale answers, not fresh ones"),
    (200, "", "cache-control: max-age=60, max-age=10\netag: \"a\"", 5, "", Reused, Validated,
        "§4.2.1 leaves a choice between the first and none: what contradicts itself is not trusted"),
    (200, "", "cache-control: max-age\nexpires: {60}\netag: \"a\"", 5, "", Reused, Validated,
        "§4.2.1: invalid freshness information is stale, and keeps Expires out (§5.3)"),
    (200, "", "cache-control: private=\"x\", max-age=60", 0, "", Unstored, Reused,
        "§5.2.2.7: only the listed fields are private; they are not stored"),
    (200, "", "cache-control: no-cache=\"x\", max-age=60", 0, "", Validated, Reused,
        "§5.2.2.4: only the listed fields need validation; they are not stored"),
    (200, "", "cache-control: max-age=60, no-store, must-understand", 0, "", Unstored, Reused,
        "§5.2.2.3: who understands the status ignores no-store"),
    (599, "", "cache-control: max-age=60", 0, "", Unstored, Reused,
        "§3: a status need not be understood where must-understand does not ask for it"),
    (201, "", "cache-control: max-age=60", 0, "", Unstored, Reused, "the same"),
    (200, "", "set-cookie: a=b\ncache-control: max-age=60", 0, "", Validated, Unstored,
        "the contract: not stored unless the conf says so"),
    (200, "", "set-cookie: a=b\ncache-control: max-age=60, public", 0, "", Reused, Unstored, "the same"),
    (200, "", "vary: *\ncache-control: max-age=60", 0, "", Unmatched, Unstored,
        "§4.1: it would match no request, so it is not stored"),
    (200, "", "pragma: no-cache\nexpires: {60}", 0, "", Validated, Reused, "§5.4: Pragma is for requests"),
    (200, "", "cache-control: max-age=0", 0, "", Validated, Unstored,
        "it could never be used: not fresh, and nothing to validate it by"),
    (200, "", "age: 90, 0\ncache-control: max-age=60\netag: \"a\"", 0, "", Reused, Validated, "§5.1: the first member counts"),
    (200, "", "date: {-90}\ncache-control: max-age=60", 0, "", Reused, Validated,
        "§4.2.3: the apparent age counts"),
    (200, "", "cache-control: max-age=99999999999999999999", 0, "", Validated, Reused, "§1.2.2: too much is 2^31"),
    (200, "", "expires: Sunday, 06-Nov-94 08:50:37 GMT", 0, "", Validated, Reused,
        "RFC 9110 §5.6.7: the obsolete forms are dates"),
    (200, "", "expires: Sun Nov  6 08:50:37 1994", 0, "", Validated, Reused, "the same"),
    (200, "", "expires: Sun, 06 Nov 1994 08:50:37 +0000\netag: \"a\"", 0, "", Reused, Validated,
        "RFC 9110 §5.6.7: no other form is"),
    (200, "", "date: {0}\nlast-modified: Thu, 01 Jan 1970 00:00:00 GMT", 100_000, "", Reused, Validated,
        "§4.2.2: a heuristic lifetime is capped at a day"),
    (200, "", "cache-control: s-maxage=60", 61, "cache-control: max-stale", Stale, Validated,
        "§5.2.2.10: stale answers with s-maxage are forbidden, whatever the request takes"),
    (200, "", "cache-control: max-age=60", 61, "cache-control: max-stale=1", Validated, Stale,
        "§5.2.1.2: no more than that many seconds, so just as many will do"),
    (200, "", "cache-control: max-age=60, stale-while-revalidate=10", 61, "", Validated, Stale, "RFC 5861 §3"),
    (200, "", "cache-control: max-age=60, immutable", 5, "cache-control: max-age=0", Validated, Reused, "RFC 8246 §2.1"),
    (200, "", "cdn-cache-control: max-age=60\ncache-control: no-store", 5, "", Unstored, Reused, "RFC 9213 §2.2"),
    (200, "", "cache-control: max-age=60", 5, "pragma: no-cache\ncache-control: max-age=60", Validated, Reused,
        "§5.4: Pragma counts where there is no Cache-Control"),
    (200, "accept: a, b", "cache-control: max-age=60\nvary: accept", 5, "accept: a,b", Unmatched, Reused,
        "§4.1: white space around commas does not count"),
    (200, "x: 1", "cache-control: max-age=60\nvary: x", 5, "x: 2", Unmatched, Reused,
        "§4.1: no origin is shown this field, so it selects nothing"),
];

#[test]
fn where_the_oracle_and_we_differ_each_does_what_is_written_here() {
    let wrong: Vec<String> = DIFFERENCES
        .iter()
        .filter_map(|(status, first, fields, seconds, request, theirs, ours, why)| {
            let found =
                (oracle(*status, first, fields, *seconds, request), second(*status, first, fields, *seconds, request));
            (found != (*theirs, *ours) || theirs == ours).then(|| format!("{fields:?} {request:?}: {found:?} ({why})"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// One of some texts, or nothing.
fn maybe(texts: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop_oneof![2 => Just(""), 3 => prop::sample::select(texts)]
}

/// Answers about which the two have an opinion and no known difference: a lifetime of tens of seconds or none, in one
/// of the ways that both read; `Date` at the answer or missing; always a validator.
fn answer() -> impl Strategy<Value = (u16, String)> {
    let lifetime = maybe(&[
        "max-age=0",
        "max-age=20",
        "max-age=\"40\"",
        "max-age=20, s-maxage=40",
        "s-maxage=20, max-age=0",
        "max-age=-20",
        "max-age=a20",
        "max-age=20, max-age=20",
        "s-maxage=0",
        "max-age=2147483648",
    ]);
    let flags = prop::sample::subsequence(
        vec!["no-store", "no-cache", "private", "public", "must-revalidate", "no-transform", "unknown", "x=y"],
        0..3,
    );
    let expires = maybe(&["expires: {20}", "expires: {0}", "expires: {-20}", "expires: 0", "expires: tomorrow"]);
    let modified =
        maybe(&["last-modified: {-200}", "last-modified: {-400}", "last-modified: {20}", "last-modified: x"]);
    let date = prop_oneof![Just(""), Just("date: {0}"), Just("date: x")];
    let age = maybe(&["age: 0", "age: 10", "age: 30", "age: x", "age: -10", "age: 10.5"]);
    let vary = maybe(&["vary: accept", "vary: accept, accept-language", "vary: , Accept-Language"]);
    let status = prop::sample::select(vec![200_u16, 203, 204, 206, 300, 301, 308]);
    (status, lifetime, flags, expires, modified, date, age, vary).prop_map(
        |(status, lifetime, flags, expires, modified, date, age, vary)| {
            let mut directives = flags;
            if !lifetime.is_empty() {
                directives.insert(directives.len() / 2, lifetime);
            }
            let cache_control = match directives.is_empty() {
                true => String::new(),
                false => format!("cache-control: {}", directives.join(", ")),
            };
            let fields = [&cache_control, "etag: \"a\"", expires, modified, date, age, vary].join("\n");
            (status, fields)
        },
    )
}

fn first_request() -> impl Strategy<Value = String> {
    let parts = (
        maybe(&["accept: a", "accept: b"]),
        maybe(&["accept-language: en", "accept-language: de"]),
        maybe(&["authorization: x"]),
        maybe(&["cache-control: no-store"]),
    );
    parts.prop_map(|(accept, language, authorization, cache)| [accept, language, authorization, cache].join("\n"))
}

fn second_request() -> impl Strategy<Value = String> {
    let wants = maybe(&[
        "cache-control: no-cache",
        "cache-control: max-age=0",
        "cache-control: max-age=15",
        "cache-control: min-fresh=15",
        "cache-control: max-age=25, min-fresh=5",
        "pragma: no-cache",
        "cache-control: max-age=x",
        "cache-control: unknown",
    ]);
    (maybe(&["accept: a", "accept: b"]), maybe(&["accept-language: en"]), wants)
        .prop_map(|(accept, language, wants)| [accept, language, wants].join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn where_both_have_an_opinion_they_agree(
        (status, fields) in answer(), first in first_request(), then in second_request(),
        seconds in prop::sample::select(vec![0_u64, 10, 20, 30, 40, 100]),
    ) {
        let ours = second(status, &first, &fields, seconds, &then);
        let theirs = oracle(status, &first, &fields, seconds, &then);
        prop_assert_eq!(ours, theirs);
        if let Ok(answer) = stored(status, &first, &fields) {
            let freshness = Freshness::of(&answer, &CONF);
            let policy = policy(status, &first, &fields);
            let now: SystemTime = after(seconds);
            prop_assert_eq!(freshness.age(now), policy.age(now));
            prop_assert_eq!(freshness.is_fresh(now) && !fields.contains("no-cache"), !policy.is_stale(now));
            if !fields.contains("no-cache") {
                prop_assert_eq!(freshness.lifetime().saturating_sub(freshness.age(now)), policy.time_to_live(now));
            }
        }
    }

    #[test]
    fn what_a_request_takes_stale_is_the_same(
        seconds in prop::sample::select(vec![0_u64, 10, 20, 30, 40, 100]), stale in prop::sample::select(vec!["", "=5", "=15", "=25"]),
        flag in maybe(&["must-revalidate", "public"]),
    ) {
        let fields = format!("cache-control: max-age=20, {flag}");
        let then = format!("cache-control: max-stale{stale}");
        prop_assert_eq!(second(200, "", &fields, seconds, &then), oracle(200, "", &fields, seconds, &then));
    }
}

/// Whether a 304 updates the stored answer: ours, the oracle's.
fn updates(old: &str, new: &str) -> (bool, bool) {
    let old_fields = format!("cache-control: max-age=60\n{old}");
    let request_fields = HeaderMap::new();
    let not_modified = headers(new);
    let exchange = Exchange {
        method: &Method::GET,
        request: &request_fields,
        directives: RequestDirectives::none(),
        forwarded: &FORWARDED,
        status: 304,
        response: &not_modified,
        request_time: after(100),
        response_time: after(100),
    };
    let ours = freshen(&stored(200, "", &old_fields).unwrap(), &exchange, &CONF);
    let theirs = policy(200, "", &old_fields).after_response(&request(""), &response(304, new), after(100));
    (matches!(ours, Freshened::Update(_)), matches!(theirs, AfterResponse::NotModified(..)))
}

#[test]
fn a_304_selects_what_the_oracle_says_but_where_tags_are_strong_or_missing() {
    let dated = "last-modified: {-100}";
    let agreed = [
        ("etag: \"a\"", "etag: \"a\"", true),
        ("etag: \"a\"", "etag: \"b\"", false),
        ("etag: \"a\"", "etag: W/\"a\"", true),
        ("etag: W/\"a\"", "etag: W/\"b\"", false),
        (dated, dated, true),
        (dated, "last-modified: {-90}", false),
        ("", "", true),
    ];
    for (old, new, expected) in agreed {
        assert_eq!(updates(old, new), (expected, expected), "{old} {new}");
    }
    // §4.3.4: a strong validator in the 304 must be the stored one, and a weak one is not.
    assert_eq!(updates("etag: W/\"a\"", "etag: \"a\""), (false, true));
    // RFC 9110 §15.4.5 lets a 304 leave Last-Modified out; we asked about one answer, so it can be about no other.
    assert_eq!(updates(dated, ""), (true, false));
    assert_eq!(updates("etag: \"a\"", ""), (true, false));
}
