#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::rules::caching::CachingConf;
use crate::rules::caching::fixture::{CONF, after, date, headers, store};

const STALE: Serve = Serve::Revalidate { forward: Forward::Stale };
const REQUEST: Serve = Serve::Revalidate { forward: Forward::Request };

/// An answer with a validator and the given `Cache-Control`.
fn freshness(cache_control: &str) -> Freshness {
    let answer = store(200, &format!("date: {}\netag: \"a\"\ncache-control: {cache_control}", date(0)));
    Freshness::of(&answer.unwrap(), &CONF)
}

fn request(cache_control: &str) -> RequestDirectives {
    RequestDirectives::of(&headers(&format!("cache-control: {cache_control}")))
}

fn served(answer: &str, wanted: &str, seconds: u64) -> Serve {
    serve(&freshness(answer), &request(wanted), after(seconds))
}

#[test]
fn a_fresh_answer_is_answered_with_and_a_stale_one_validated() {
    assert_eq!(served("max-age=60", "", 59), Serve::Fresh);
    assert_eq!(served("max-age=60", "", 60), STALE);
    assert_eq!(served("max-age=60, must-revalidate", "", 59), Serve::Fresh);
    assert_eq!(served("max-age=60, must-revalidate", "", 60), STALE);
    assert_eq!(served("s-maxage=60", "", 59), Serve::Fresh);
    assert_eq!(served("s-maxage=60", "", 60), STALE);
    assert_eq!(served("max-age=60, proxy-revalidate", "", 60), STALE);
    assert_eq!(served("max-age=60, no-cache", "", 0), STALE);
    assert_eq!(served("max-age=60, no-cache=\"a\"", "", 0), Serve::Fresh);
}

#[test]
fn a_request_may_want_more_than_freshness() {
    assert_eq!(served("max-age=60", "no-cache", 0), REQUEST);
    assert_eq!(served("max-age=60", "no-cache, stale-if-error=1", 0), REQUEST);
    assert_eq!(served("max-age=60", "max-age=0", 1), REQUEST);
    assert_eq!(served("max-age=60", "max-age=10", 10), Serve::Fresh);
    assert_eq!(served("max-age=60", "max-age=10", 11), REQUEST);
    assert_eq!(served("max-age=60", "min-fresh=10", 50), Serve::Fresh);
    assert_eq!(served("max-age=60", "min-fresh=10", 51), REQUEST);
    assert_eq!(served("max-age=60", "min-fresh=2147483648", 0), REQUEST);
    assert_eq!(served("max-age=60", "no-store", 0), Serve::Fresh);
    let pragma = RequestDirectives::of(&headers("pragma: no-cache"));
    assert_eq!(serve(&freshness("max-age=60"), &pragma, after(0)), REQUEST);
    assert_eq!(serve(&freshness("max-age=60"), &RequestDirectives::none(), after(0)), Serve::Fresh);
}

#[test]
fn max_stale_takes_a_stale_answer_unless_the_answer_forbids_it() {
    assert_eq!(served("max-age=60", "max-stale", 1_000_000), Serve::Stale);
    assert_eq!(served("max-age=60", "max-stale=10", 59), Serve::Fresh);
    assert_eq!(served("max-age=60", "max-stale=10", 70), Serve::Stale);
    assert_eq!(served("max-age=60", "max-stale=10", 71), STALE);
    assert_eq!(served("max-age=60", "max-stale=10, max-age=100", 70), Serve::Stale);
    assert_eq!(served("max-age=60", "max-stale=10, max-age=65", 70), STALE);
    assert_eq!(served("max-age=60", "max-stale=10, min-fresh=1", 70), STALE);
    for forbids in ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"] {
        assert_eq!(served(&format!("max-age=60, {forbids}"), "max-stale", 61), STALE, "{forbids}");
    }
}

#[test]
fn stale_while_revalidate_answers_within_its_window_only() {
    let answer = "max-age=60, stale-while-revalidate=10";
    assert_eq!(served(answer, "", 59), Serve::Fresh);
    assert_eq!(served(answer, "", 60), Serve::StaleWhileRevalidate);
    assert_eq!(served(answer, "", 70), Serve::StaleWhileRevalidate);
    assert_eq!(served(answer, "", 71), STALE);
    assert_eq!(served(answer, "only-if-cached", 65), Serve::StaleWhileRevalidate);
    assert_eq!(served("max-age=60, stale-while-revalidate=0", "", 60), STALE);
    assert_eq!(served("max-age=60, stale-while-revalidate=x", "", 60), STALE);
    for wanted in ["no-cache", "max-age=1000", "min-fresh=1"] {
        assert!(matches!(served(answer, wanted, 65), Serve::Revalidate { .. }), "{wanted}");
    }
    for forbids in ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"] {
        assert_eq!(served(&format!("{answer}, {forbids}"), "", 65), STALE, "{forbids}");
    }
}

#[test]
fn a_fresh_immutable_answer_is_validated_for_no_cache_only() {
    let answer = "max-age=60, immutable";
    assert_eq!(served(answer, "max-age=0", 30), Serve::Fresh);
    assert_eq!(served(answer, "no-cache", 30), REQUEST);
    assert_eq!(served(answer, "min-fresh=40", 30), REQUEST);
    assert_eq!(served(answer, "", 60), STALE);
    assert_eq!(served(answer, "max-age=0", 60), STALE);
}

#[test]
fn only_if_cached_gets_what_is_stored_or_nothing() {
    assert_eq!(served("max-age=60", "only-if-cached", 59), Serve::Fresh);
    assert_eq!(served("max-age=60", "only-if-cached", 60), Serve::OnlyIfCached);
    assert_eq!(served("max-age=60", "only-if-cached, max-stale", 60), Serve::Stale);
    assert_eq!(served("max-age=60", "only-if-cached, no-cache", 0), Serve::OnlyIfCached);
    assert_eq!(served("no-cache", "only-if-cached", 0), Serve::OnlyIfCached);
}

#[test]
fn a_stale_answer_stands_in_for_a_failed_origin_as_long_as_someone_permits_it() {
    let day = 86_400;
    let table = [
        // The answer, the request, seconds since, whether it may stand in.
        ("max-age=60", "", 60, true),
        ("max-age=60", "", 60 + day, true),
        ("max-age=60", "", 61 + day, false),
        ("max-age=60, stale-if-error=10", "", 70, true),
        ("max-age=60, stale-if-error=10", "", 71, false),
        ("max-age=60, stale-if-error=0", "", 60, false),
        ("max-age=60, stale-if-error=x", "", 61, false),
        ("max-age=60, stale-if-error=10", "stale-if-error=100", 160, true),
        ("max-age=60, stale-if-error=10", "stale-if-error=100", 161, false),
        ("max-age=60, stale-if-error=10", "max-stale=100", 160, true),
        ("max-age=60, stale-if-error=10", "max-stale", 1_000_000, true),
        ("max-age=60", "no-cache", 61, false),
        ("max-age=60", "no-cache", 1, false),
        ("max-age=60", "no-cache, stale-if-error=10", 61, true),
        ("max-age=60", "no-cache, stale-if-error=0", 1, true),
        ("max-age=60", "max-age=0", 61, true),
        // Fresh, and kept from the client only by what it asked.
        ("max-age=60, must-revalidate", "max-age=0", 59, true),
        ("max-age=60, must-revalidate, stale-if-error=1000", "", 60, false),
        ("max-age=60, proxy-revalidate, stale-if-error=1000", "", 60, false),
        ("s-maxage=60, stale-if-error=1000", "", 60, false),
        ("max-age=60, no-cache, stale-if-error=1000", "", 0, false),
        ("max-age=60, must-revalidate", "stale-if-error=1000, max-stale", 60, false),
    ];
    for (answer, wanted, seconds, expected) in table {
        let found = stale_if_error(&freshness(answer), &request(wanted), after(seconds));
        assert_eq!(found, expected, "{answer} | {wanted} | {seconds}");
    }
}

#[test]
fn without_a_window_in_the_conf_only_the_answer_permits_to_stand_in() {
    let conf = CachingConf { stale_if_error: Duration::ZERO, ..CONF };
    let of = |cache_control: &str| {
        Freshness::of(&store(200, &format!("etag: \"a\"\ncache-control: {cache_control}")).unwrap(), &conf)
    };
    let none = RequestDirectives::none();
    assert!(!stale_if_error(&of("max-age=60"), &none, after(60)));
    assert!(stale_if_error(&of("max-age=60, stale-if-error=5"), &none, after(65)));
}

#[test]
fn an_error_is_one_of_the_four_statuses_of_rfc_5861() {
    let errors: Vec<u16> = (100..600).filter(|status| is_error(*status)).collect();
    assert_eq!(errors, [500, 502, 503, 504]);
}
