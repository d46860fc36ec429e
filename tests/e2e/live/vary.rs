//! Variants by Vary (RFC 9111 §4.1).

use svc_edge_origin::{Gate, Origin, Script};

use super::*;

/// Answer with the language that was asked for.
fn by_language(origin: &Origin, gate: &Gate) {
    let gate = gate.clone();
    origin.answer("/s/a", move |request| {
        let language = request.header("accept-language").unwrap_or("none").to_owned();
        Script::fresh(60).header("Vary", "Accept-Language").wait(&gate).body(language.as_bytes())
    });
}

fn open() -> Gate {
    let gate = Gate::new();
    gate.open();
    gate
}

fn ask(server: &Server, language: Option<&str>) -> Response {
    let headers: Vec<_> = language.map(|language| ("Accept-Language", language)).into_iter().collect();
    get(server, "a", &headers)
}

fn await_variant(server: &Server, language: &str) {
    let headers = [("Accept-Language", language)];
    server.eventually("stored", || stored(server, "a", &headers).is_some());
}

#[test]
fn each_language_has_its_own_variant_and_is_asked_for_once() {
    let origin = Origin::start();
    by_language(&origin, &open());
    let server = live(&origin);
    for language in ["de", "fr", "en"] {
        assert_eq!(ask(&server, Some(language)).text(), language);
        await_variant(&server, language);
    }
    for _ in 0..2 {
        for language in ["de", "fr", "en"] {
            let hit = ask(&server, Some(language));
            assert!(says(&hit, "hit") && hit.text() == language, "{language}: {hit:?}");
            assert!(hit.list("vary").iter().any(|name| name.eq_ignore_ascii_case("accept-language")), "{hit:?}");
        }
    }
    assert_eq!(origin.requests("/s/a").len(), 3);
    // A request without the field is none of them.
    assert_eq!(ask(&server, None).text(), "none");
    assert_eq!(origin.requests("/s/a").len(), 4);
}

#[test]
fn whoever_waits_for_a_variant_of_another_starts_a_fill_of_their_own() {
    let (origin, gate) = (Origin::start(), Gate::new());
    by_language(&origin, &gate);
    let server = live(&origin);
    std::thread::scope(|scope| {
        let readers: Vec<_> = ["de", "fr", "de", "fr", "de"]
            .map(|language| {
                (
                    language,
                    scope.spawn({
                        let server = &server;
                        move || ask(server, Some(language))
                    }),
                )
            })
            .into();
        server.eventually("all are waiting", || server.metric("edge_inflight") >= 5.0);
        gate.open();
        for (language, reader) in readers {
            assert_eq!(reader.join().unwrap().text(), language);
        }
    });
    let asked = origin.requests("/s/a").len();
    assert!((2..=3).contains(&asked), "{asked} requests for two variants: those of one language share a fill");
}

#[test]
fn of_more_than_sixteen_variants_the_oldest_goes() {
    let origin = Origin::start();
    by_language(&origin, &open());
    let server = live(&origin);
    let languages: Vec<_> = (0..17).map(|n| format!("x-{n}")).collect();
    for language in &languages {
        ask(&server, Some(language));
        await_variant(&server, language);
        if language == "x-0" {
            // Older than the others by any clock.
            std::thread::sleep(Duration::from_millis(1100));
        }
    }
    for language in &languages[1..] {
        assert!(says(&ask(&server, Some(language)), "hit"), "{language}");
    }
    assert_eq!(origin.requests("/s/a").len(), 17);
    assert_eq!(ask(&server, Some("x-0")).text(), "x-0");
    assert_eq!(origin.requests("/s/a").len(), 18, "the oldest had gone");
}
