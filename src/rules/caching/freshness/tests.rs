#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::UNIX_EPOCH;

use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::rules::caching::fixture::{CONF, after, date, fresh, headers, lifetime};

fn answer(response: &str, request_time: SystemTime, response_time: SystemTime) -> StoredAnswer {
    StoredAnswer { status: 200, headers: headers(response), request_time, response_time, vary: Vec::new() }
}

#[test]
fn the_first_source_of_a_lifetime_counts() {
    let (date, past, future) = (date(0), date(-100), date(100));
    let modified = self::date(-1000);
    let common = format!("date: {date}\netag: \"a\"\nlast-modified: {modified}");
    let table = [
        ("cdn-cache-control: max-age=5\ncache-control: s-maxage=6, max-age=7", 5),
        ("cdn-cache-control: s-maxage=4, max-age=5", 4),
        ("cache-control: s-maxage=6, max-age=7", 6),
        ("cache-control: max-age=7\ncache-control: s-maxage=6", 6),
        ("cache-control: max-age=0, s-maxage=6", 6),
        ("cache-control: max-age=7, s-maxage=x", 0),
        ("cache-control: max-age=7", 7),
        ("cache-control: foo", 100),
        ("", 100),
    ];
    for (fields, expected) in table {
        assert_eq!(lifetime(200, &format!("{fields}\n{common}\nexpires: {future}")), expected, "{fields}");
    }
    assert_eq!(lifetime(200, &format!("cache-control: max-age=7\n{common}\nexpires: {past}")), 7);
    assert_eq!(lifetime(200, &format!("cache-control: max-age=7\n{common}\nexpires: 0")), 7);
    assert_eq!(lifetime(200, &format!("cache-control: max-age=0\n{common}\nexpires: {future}")), 0);
    // A targeted field without a lifetime leaves none of the others but the heuristic one (RFC 9213 §2.2).
    assert_eq!(lifetime(200, &format!("cdn-cache-control: foo\n{common}\nexpires: {future}")), 100);
    assert_eq!(lifetime(200, &format!("cdn-cache-control: foo\n{common}\nexpires: {past}")), 100);
    assert_eq!(lifetime(200, &common), 100, "a tenth of the time since it was modified");
    assert_eq!(lifetime(200, "etag: \"a\""), 3600, "the origin's default");
}

#[test]
fn expires_is_a_date_in_one_of_three_forms_or_it_is_over() {
    let with = |expires: &str| lifetime(200, &format!("date: {}\netag: \"a\"\nexpires: {expires}", date(0)));
    for form in ["Sun, 06 Nov 1994 08:50:37 GMT", "Sunday, 06-Nov-94 08:50:37 GMT", "Sun Nov  6 08:50:37 1994"] {
        assert_eq!(with(form), 60, "{form}");
    }
    for invalid in [
        "0",
        "-1",
        "",
        "tomorrow",
        "784111837",
        "Sun, 06 Nov 1994 08:50:37 UTC",
        "Sun, 06 Nov 1994 08:50:37 AEST",
        "Sun, 06 Nov 94 08:50:37 GMT",
        "Sun 06 Nov 1994 08:50:37 GMT",
        "Sun, 06  Nov  1994 08:50:37 GMT",
        "Sun, 06-Nov-1994 08:50:37 GMT",
        "Sun, 06 Nov 1994 08.50.37 GMT",
        "Sun, 06 Nov 1994 8:50:37 GMT",
        "Sun, 06 Nov 1994 08:48:37 GMT",
    ] {
        assert_eq!(with(invalid), 0, "{invalid}");
    }
    let twice = format!("{}\nexpires: {}", date(60), date(60));
    assert_eq!(with(&twice), 60);
    let contradicting = format!("{}\nexpires: {}", date(60), date(61));
    assert_eq!(with(&contradicting), 0);
}

#[test]
fn expires_counts_from_date_and_from_the_answer_where_that_is_missing() {
    let expires = date(60);
    for (date, expected) in [(date(0), 60), (date(-40), 100), (date(40), 20), (date(60), 0), (date(100), 0)] {
        assert_eq!(lifetime(200, &format!("date: {date}\netag: \"a\"\nexpires: {expires}")), expected, "{date}");
    }
    assert_eq!(lifetime(200, &format!("expires: {expires}")), 60);
    assert_eq!(lifetime(200, &format!("date: foo\nexpires: {expires}")), 60);
}

#[test]
fn a_heuristic_lifetime_is_for_statuses_that_allow_it() {
    let modified = format!("date: {}\nlast-modified: {}", date(0), date(-1000));
    for status in 200..600 {
        let found = crate::rules::caching::fixture::store(status, &modified);
        let expected = match status {
            200 | 203 | 204 | 300 | 301 | 308 => Some(100),
            404 | 405 | 410 | 414 | 501 => Some(10),
            _ => None,
        };
        let lifetime = found.ok().map(|answer| Freshness::of(&answer, &CONF).lifetime().as_secs());
        assert_eq!(lifetime, expected, "{status}");
        if !matches!(status, 206 | 304 | 428 | 429 | 431 | 511) {
            let public = self::lifetime(status, &format!("{modified}\ncache-control: public"));
            assert_eq!(public, if status < 400 { 100 } else { 10 }, "{status} and public");
        }
    }
}

#[test]
fn a_heuristic_lifetime_is_capped_and_never_negative() {
    let with = |modified: &str| lifetime(200, &format!("date: {}\nlast-modified: {modified}\netag: \"a\"", date(0)));
    assert_eq!(with(&date(-5)), 0, "half a second");
    assert_eq!(with(&date(-86_400)), 8640);
    assert_eq!(with(&date(-864_000)), 86_400);
    assert_eq!(with(&date(-864_010)), 86_400);
    assert_eq!(with("Thu, 01 Jan 1970 00:00:00 GMT"), 86_400);
    assert_eq!(with(&date(0)), 0);
    assert_eq!(with(&date(1)), 3600, "modified in the future says nothing");
    assert_eq!(with("foo"), 3600);
}

#[test]
fn the_age_is_what_caches_upstream_and_the_way_here_made_it() {
    let table = [
        // Age, Date (seconds before the answer), seconds the answer took, initial age.
        ("", 0, 0, 0),
        ("age: 30", 0, 0, 30),
        ("age: 30", 0, 5, 35),
        ("age: 30", 100, 5, 100),
        ("age: 200", 100, 5, 205),
        ("", 7200, 0, 7200),
        ("", -50, 0, 0),
        ("", 0, 5, 5),
    ];
    for (age, before, took, expected) in table {
        let response = format!("{age}\ndate: {}\ncache-control: max-age=60", date(1000 - before));
        let freshness = Freshness::of(&answer(&response, after(1000 - took), after(1000)), &CONF);
        assert_eq!(freshness.age(after(1000)).as_secs(), expected, "{age} {before} {took}");
        assert_eq!(freshness.age(after(1007)).as_secs(), expected + 7, "{age} {before} {took}");
    }
}

#[test]
fn age_is_its_first_member_and_a_number_or_it_is_ignored() {
    let table = [
        ("age: 7200", 7200),
        ("age: 2147483647", 2_147_483_647),
        ("age: 2147483648", 2_147_483_648),
        ("age: 2147483649", 2_147_483_648),
        ("age: 7200, 0", 7200),
        ("age: 0, 7200", 0),
        ("age: 7200\nage: 0", 7200),
        ("age: 0\nage: 7200", 0),
        ("age: , 7200", 7200),
        ("age: 0, 0", 0),
        ("age: abc", 0),
        ("age: abc, 7200", 0),
        ("age: -7200", 0),
        ("age: +7200", 0),
        ("age: 7200.0", 0),
        ("age: 7200;foo=bar", 0),
        ("age: \"7200\"", 0),
        ("age: 0x10", 0),
    ];
    for (line, expected) in table {
        let freshness = Freshness::of(&answer(line, after(0), after(0)), &CONF);
        assert_eq!(freshness.age(after(0)).as_secs(), expected, "{line}");
    }
}

#[test]
fn a_clock_that_jumps_back_makes_no_age_negative_and_nothing_panic() {
    let response = format!("date: {}\ncache-control: max-age=60\nage: 10", date(1000));
    let jumped_while_asking = Freshness::of(&answer(&response, after(5000), after(1000)), &CONF);
    assert_eq!(jumped_while_asking.age(after(1000)).as_secs(), 10);
    assert_eq!(jumped_while_asking.age(after(0)).as_secs(), 10, "jumped since");
    assert_eq!(jumped_while_asking.age(UNIX_EPOCH).as_secs(), 10);
    assert_eq!(jumped_while_asking.ttl(UNIX_EPOCH), 50);
}

#[test]
fn what_is_left_is_rounded_down_and_negative_when_stale() {
    let freshness = fresh(&format!("date: {}\ncache-control: max-age=60", date(0)));
    let half = Duration::from_millis(500);
    let table = [
        (after(0), 60),
        (after(0) + half, 59),
        (after(59) + half, 0),
        (after(60), 0),
        (after(60) + half, -1),
        (after(70), -10),
    ];
    for (now, expected) in table {
        assert_eq!(freshness.ttl(now), expected, "{now:?}");
    }
    assert!(freshness.is_fresh(after(59) + half));
    assert!(!freshness.is_fresh(after(60)), "fresh as long as the lifetime is greater than the age (§4.2)");
}

proptest! {
    #[test]
    fn time_only_makes_older_and_never_overflows(
        age in "[0-9]{0,12}", max_age in "[0-9]{1,12}", date in 0..=253_402_300_799_u64, response in 0..=u64::from(u32::MAX),
        took in 0..=u64::from(u32::MAX), now in 0..=253_402_300_799_u64, later in 0..=u64::from(u32::MAX),
    ) {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let mut answer = answer("", at(response.saturating_sub(took)), at(response));
        answer.headers.insert(AGE, HeaderValue::try_from(age).unwrap());
        answer.headers.insert(DATE, HeaderValue::try_from(date::format(at(date)).unwrap()).unwrap());
        answer.headers.insert("cache-control", HeaderValue::try_from(format!("max-age={max_age}")).unwrap());
        let freshness = Freshness::of(&answer, &CONF);
        let (now, later) = (at(now), at(now) + Duration::from_secs(later));
        prop_assert!(freshness.age(now) <= freshness.age(later));
        prop_assert!(freshness.ttl(now) >= freshness.ttl(later));
        prop_assert!(!freshness.is_fresh(now) || freshness.ttl(now) >= 0);
        prop_assert!(freshness.is_fresh(now) || freshness.ttl(now) <= 0);
        prop_assert_eq!(freshness.ttl(now) < 0, freshness.staleness(now) > Duration::ZERO);
    }
}
