//! Validation of what is stored, and invalidation of what is stored or moves.

use svc_edge::fill::{Ask, FillKey, Stale};
use tokio::time::timeout;

use super::support::*;

/// Fill `live/a` with the first answer; then the wish to validate it.
async fn stored(bench: &Bench) -> Ask {
    get(bench.join("live/a").unwrap()).await.unwrap();
    let info = bench.cas.info("live/a").unwrap().unwrap();
    let stale = Some(Stale { info, answer: answer_at(bench, "live/a") });
    Ask { stale, ..bench.ask("live/a") }
}

fn old() -> Answer {
    Answer::ok("old").with("etag", "\"1\"").with("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT").with("x-kept", "1")
}

#[tokio::test]
async fn a_304_updates_what_is_stored_and_everybody_looks_it_up() {
    let gate = Gate::new();
    let not_modified =
        Answer::ok("").status(304).with("etag", "\"1\"").with("x-new", "2").steps(Vec::new()).behind(&gate);
    let bench = Bench::new(move |_, number| if number == 0 { old() } else { not_modified.clone() });
    let ask = stored(&bench).await;
    let mut readers: Vec<_> = (0..5).map(|_| bench.fills.join(ask.clone()).unwrap()).collect();
    gate.open();
    for reader in &mut readers {
        assert_eq!(headed(reader).await, "freshened");
    }
    assert_eq!(bench.fetches(), 2);
    let conditions = bench.fake.asked.lock().unwrap()[1].headers.clone();
    assert_eq!(conditions.get("if-none-match").unwrap(), "\"1\"");
    assert_eq!(conditions.get("if-modified-since").unwrap(), "Sun, 06 Nov 1994 08:49:37 GMT");
    let answer = answer_at(&bench, "live/a");
    assert_eq!(answer.headers.get("x-new").unwrap(), "2");
    assert_eq!(answer.headers.get("x-kept").unwrap(), "1");
    assert_eq!(bench.stored("live/a").unwrap(), "old");
}

#[tokio::test]
async fn an_answer_that_replaces_what_is_stale_is_streamed_and_stored() {
    let bench = Bench::new(|_, number| if number == 0 { old() } else { Answer::ok("new") });
    let ask = stored(&bench).await;
    assert_eq!(get(bench.fills.join(ask).unwrap()).await.unwrap(), b"new");
    assert_eq!(bench.stored("live/a").unwrap(), "new");
}

#[tokio::test]
async fn a_304_about_another_answer_is_asked_again_without_conditions() {
    let bench = Bench::new(|asked, number| match number {
        0 => old(),
        _ if asked.headers.contains_key("if-none-match") => Answer::ok("").status(304).with("etag", "\"2\""),
        _ => Answer::ok("new").with("etag", "\"2\""),
    });
    let ask = stored(&bench).await;
    assert_eq!(get(bench.fills.join(ask).unwrap()).await.unwrap(), b"new");
    assert_eq!(bench.fetches(), 3);
}

#[tokio::test]
async fn a_304_that_forbids_storing_takes_what_is_stored_away() {
    let bench = Bench::new(|asked, number| match number {
        0 => old(),
        _ if asked.headers.contains_key("if-none-match") => {
            Answer::ok("").status(304).with("etag", "\"1\"").with("cache-control", "no-store")
        }
        _ => Answer::ok("secret").with("cache-control", "no-store"),
    });
    let ask = stored(&bench).await;
    assert_eq!(headed(&mut bench.fills.join(ask).unwrap()).await, "pass");
    assert_eq!(bench.stored("live/a"), None);
}

#[tokio::test]
async fn those_who_wait_behind_a_failed_validation_do_not_each_ask_again() {
    let gate = Gate::new();
    let failing = Answer::ok("busy").status(503).with("cache-control", "no-store").behind(&gate);
    let bench = Bench::new(move |_, number| if number == 0 { old() } else { failing.clone() });
    let ask = stored(&bench).await;
    let (mut starter, mut other) = (bench.fills.join(ask.clone()).unwrap(), bench.fills.join(ask).unwrap());
    gate.open();
    assert_eq!((headed(&mut starter).await, headed(&mut other).await), ("pass", "unreachable"));
    assert_eq!(bench.stored("live/a").unwrap(), "old", "what is stale may stand in");
}

#[tokio::test]
async fn an_error_however_fresh_takes_no_place_of_what_may_stand_in_for_it() {
    for status in [500, 502, 503, 504] {
        let error = Answer::ok("error").status(status).with("cache-control", "public, max-age=3600");
        let bench = Bench::new(move |_, number| if number == 0 { old() } else { error.clone() });
        let ask = stored(&bench).await;
        assert_eq!(headed(&mut bench.fills.join(ask.clone()).unwrap()).await, "pass", "{status}");
        bench.fills.refresh_behind(ask);
        bench.until(|bench| bench.fetches() == 3 && bench.fills.under_way() == 0).await;
        assert_eq!(bench.stored("live/a").unwrap(), "old", "{status}");
        assert_eq!(bench.fills.remembered(&FillKey::path("live/a")), None, "{status}: it passes");
    }
}

#[tokio::test]
async fn what_may_not_stand_in_is_replaced_by_an_error_that_is_fresh() {
    let old_error = Answer::ok("old").status(502).with("etag", "\"1\"");
    let table = [
        ("it must be validated", old().with("cache-control", "max-age=60, must-revalidate, stale-if-error=60"), 3, 503),
        ("its window is over", old().with("cache-control", "max-age=1, stale-if-error=1"), 3, 503),
        ("it is an error itself", old_error, 0, 503),
        ("the new one is no error", old(), 0, 404),
    ];
    for (what, before, age, status) in table {
        let date = std::time::SystemTime::now() - std::time::Duration::from_secs(60 * age);
        let before = before.with("date", &httpdate::fmt_http_date(date));
        let after = Answer::ok("new").status(status).with("cache-control", "max-age=60");
        let bench = Bench::new(move |_, number| if number == 0 { before.clone() } else { after.clone() });
        let ask = stored(&bench).await;
        assert_eq!(get(bench.fills.join(ask).unwrap()).await.unwrap(), b"new", "{what}");
        assert_eq!(bench.stored("live/a").unwrap(), "new", "{what}");
    }
}

#[tokio::test]
async fn what_was_invalidated_while_it_was_filled_is_read_and_not_stored() {
    let gate = Gate::new();
    let slow = Answer::halves("before", &gate);
    let bench = Bench::new(move |_, number| if number == 0 { slow.clone() } else { Answer::ok("after") });
    let mut before = bench.join("live/a").unwrap();
    streamed(&mut before).await;
    bench.fills.invalidate(&FillKey::path("live/a")).await.unwrap();
    assert_eq!(get(bench.join("live/a").unwrap()).await.unwrap(), b"after", "later readers start anew");
    gate.open();
    assert_eq!(drain(&mut before).await.unwrap(), b"before");
    assert!(!timeout(SOON, before.finished()).await.unwrap().unwrap().stored);
    assert_eq!(bench.stored("live/a").unwrap(), "after");
    bench.fills.invalidate(&FillKey::path("live/a")).await.unwrap();
    assert_eq!(bench.stored("live/a"), None);
}

#[tokio::test]
async fn a_purge_detaches_what_it_names_and_nothing_else() {
    let gate = Gate::new();
    let slow = Answer::halves("xx", &gate);
    let bench = Bench::new(move |_, _| slow.clone());
    let query = Ask { key: FillKey { query: Some("q".into()), ..FillKey::path("live/a") }, ..bench.ask("live/a") };
    let readers = [bench.join("live/a").unwrap(), bench.fills.join(query).unwrap(), bench.join("live/b").unwrap()];
    bench.until(|bench| bench.fetches() == 3).await;
    bench.all.detach(|path| path == "live/a");
    assert_eq!(bench.fills.under_way(), 1);
    gate.open();
    for reader in readers {
        assert_eq!(get(reader).await.unwrap(), b"xx");
    }
    assert_eq!((bench.stored("live/a"), bench.stored("live/a\0?q")), (None, None));
    assert_eq!(bench.stored("live/b").unwrap(), "xx");
}
