//! Vary: who is told that the answer is another's, and where variants are stored.

use http::header::ACCEPT_LANGUAGE;
use http::{HeaderMap, HeaderValue};
use svc_edge::fill::{Ask, FillKey, FillsConf, Headed, Remembered};
use svc_edge::rules::caching;
use tokio::time::timeout;

use super::support::*;

fn ask(bench: &Bench, language: &'static str) -> Ask {
    let request = HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static(language))]);
    Ask { request: request.into(), ..bench.ask("live/a") }
}

/// An origin that answers in the language it is asked in.
fn polyglot(asked: &Asked) -> Answer {
    let language = asked.headers.get(ACCEPT_LANGUAGE).map_or("none", |language| language.to_str().unwrap());
    Answer::ok(language.to_owned()).with("vary", "Accept-Language")
}

fn key(language: &'static str) -> String {
    let request = HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static(language))]);
    let vary = HeaderMap::from_iter([(http::header::VARY, HeaderValue::from_static("accept-language"))]);
    let variant = caching::selecting(&vary, &request, &[ACCEPT_LANGUAGE]);
    FillKey { variant, ..FillKey::path("live/a") }.index_key()
}

#[tokio::test]
async fn a_waiter_that_vary_excludes_starts_a_fill_of_its_own_and_the_others_share() {
    let gate = Gate::new();
    let held = gate.clone();
    let bench = Bench::new(move |asked, number| match number {
        0 => polyglot(asked).behind(&held),
        _ => polyglot(asked),
    });
    let german = bench.fills.join(ask(&bench, "de")).unwrap();
    let same = bench.fills.join(ask(&bench, "DE")).unwrap();
    let mut english = [(); 2].map(|()| bench.fills.join(ask(&bench, "en")).unwrap());
    gate.open();
    assert_eq!(get(german).await.unwrap(), b"de");
    assert_eq!(get(same).await.unwrap(), b"de", "case makes no language");
    let mut again = Vec::new();
    for reader in &mut english {
        let Headed::Excluded(key) = timeout(SOON, reader.head()).await.unwrap().unwrap() else { panic!("excluded") };
        again.push(bench.fills.join(Ask { key, ..ask(&bench, "en") }).unwrap());
    }
    for reader in again {
        assert_eq!(get(reader).await.unwrap(), b"en");
    }
    assert_eq!(bench.fetches(), 2, "one for each variant");
    assert_eq!((bench.stored(&key("de")).unwrap(), bench.stored(&key("en")).unwrap()), ("de".into(), "en".into()));
    assert_eq!(bench.stored("live/a"), None, "no variant answers for all");
}

#[tokio::test]
async fn what_is_known_to_vary_is_filled_by_variant_from_the_start() {
    let gates = [Gate::new(), Gate::new()];
    let held = gates.clone();
    let bench = Bench::new(move |asked, number| match number {
        0 => polyglot(asked),
        _ => polyglot(asked).behind(&held[number - 1]),
    });
    get(bench.fills.join(ask(&bench, "de")).unwrap()).await.unwrap();
    let readers = ["en", "fr", "en", "fr"].map(|language| bench.fills.join(ask(&bench, language)).unwrap());
    bench.until(|bench| bench.fetches() == 3).await;
    gates.iter().for_each(Gate::open);
    for (reader, language) in readers.into_iter().zip(["en", "fr", "en", "fr"]) {
        assert_eq!(get(reader).await.unwrap(), language.as_bytes());
    }
    assert_eq!(bench.fetches(), 3);
}

#[tokio::test]
async fn what_is_too_long_for_a_range_is_still_known_to_vary() {
    let gate = Gate::new();
    let held = gate.clone();
    let conf = FillsConf { range_fill_max: 1, ..conf() };
    let bench = Bench::with(conf, &memory_store(), move |asked, number| match number {
        0 => polyglot(asked),
        _ => polyglot(asked).behind(&held),
    });
    get(bench.fills.join(ask(&bench, "de")).unwrap()).await.unwrap();
    assert_eq!(bench.fills.remembered(&FillKey::path("live/a")), Some(Remembered::Large(2)));
    let readers = ["en", "fr"].map(|language| bench.fills.join(ask(&bench, language)).unwrap());
    bench.until(|bench| bench.fetches() == 3).await;
    gate.open();
    for (reader, language) in readers.into_iter().zip(["en", "fr"]) {
        assert_eq!(get(reader).await.unwrap(), language.as_bytes(), "nobody is told to join again");
    }
}

#[tokio::test]
async fn a_fill_that_turned_out_to_be_a_variant_is_found_by_those_who_know() {
    let gate = Gate::new();
    let held = gate.clone();
    let bench =
        Bench::new(move |asked, _| Answer { headers: polyglot(asked).headers, ..Answer::halves("variant", &held) });
    let mut first = bench.fills.join(ask(&bench, "de")).unwrap();
    streamed(&mut first).await;
    let late = bench.fills.join(ask(&bench, "de")).unwrap();
    assert!(late.collapsed());
    gate.open();
    assert_eq!(get(late).await.unwrap(), b"variant");
    assert_eq!(get(first).await.unwrap(), b"variant");
    assert_eq!((bench.fetches(), bench.fills.under_way()), (1, 0));
}

#[tokio::test]
async fn a_field_that_the_origin_never_sees_makes_no_variants() {
    let bench = Bench::new(|_, _| Answer::ok("x").with("vary", "x-client, user-agent"));
    let request = HeaderMap::from_iter([("x-client".parse().unwrap(), HeaderValue::from_static("1"))]);
    get(bench.fills.join(Ask { request: request.into(), ..bench.ask("live/a") }).unwrap()).await.unwrap();
    assert_eq!(bench.stored("live/a").unwrap(), "x");
}
