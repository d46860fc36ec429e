//! What a client's Cache-Control asks for (RFC 9111 §5.2.1, §5.4).

use svc_edge_origin::{Origin, Script};

use super::*;

/// A server that has an answer stored, fresh for a minute.
fn filled(origin: &Origin, options: &str) -> Server {
    origin.route("/s/a", [text("old"), text("new")]);
    let server = live_with(origin, options, FILL).start();
    assert_eq!(get(&server, "a", &[]).text(), "old");
    await_stored(&server, "a");
    server
}

#[test]
fn a_client_may_ask_for_what_is_newer() {
    let table: [&[(&str, &str)]; 5] = [
        &[("Cache-Control", "no-cache")],
        &[("Cache-Control", "max-age=0")],
        &[("Cache-Control", "min-fresh=1000")],
        &[("Cache-Control", "NO-CACHE")],
        &[("Pragma", "no-cache")],
    ];
    for headers in table {
        let origin = Origin::start();
        let server = filled(&origin, "");
        // What is younger than a second has an age of 0, which `max-age=0` takes.
        std::thread::sleep(Duration::from_millis(1100));
        let answer = get(&server, "a", headers);
        assert_eq!(answer.text(), "new", "{headers:?}: {answer:?}");
        assert_eq!(origin.requests("/s/a").len(), 2, "{headers:?}");
    }
}

#[test]
fn what_is_fresh_enough_for_the_client_is_a_hit() {
    let origin = Origin::start();
    let server = filled(&origin, "");
    for value in ["max-age=30", "min-fresh=10", "max-stale=5", "no-transform", "max-age=30, min-fresh=5"] {
        let answer = get(&server, "a", &[("Cache-Control", value)]);
        assert!(says(&answer, "hit") && answer.text() == "old", "{value}: {answer:?}");
    }
    // Pragma says nothing where Cache-Control stands (RFC 9111 §5.4).
    let both = get(&server, "a", &[("Pragma", "no-cache"), ("Cache-Control", "max-age=30")]);
    assert!(says(&both, "hit"), "{both:?}");
    assert_eq!(origin.requests("/s/a").len(), 1);
}

#[test]
fn an_origin_may_be_kept_from_what_clients_ask_for() {
    let origin = Origin::start();
    let server = filled(&origin, ", ignore_client_cache_control: true");
    for value in ["no-cache", "max-age=0", "no-store"] {
        let answer = get(&server, "a", &[("Cache-Control", value)]);
        assert!(says(&answer, "hit") && answer.text() == "old", "{value}: {answer:?}");
    }
    assert_eq!(origin.requests("/s/a").len(), 1);
}

#[test]
fn only_if_cached_asks_nobody() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello"));
    let server = live(&origin);
    let answer = get(&server, "a", &[("Cache-Control", "only-if-cached")]);
    assert_refused(&answer, 504, "only_if_cached");
    assert_eq!(origin.connections(), 0);
    get(&server, "a", &[]);
    assert_eq!(await_stored(&server, "a").text(), "hello");
}

#[test]
fn max_stale_takes_what_is_stale_and_no_more_so_than_it_says() {
    let origin = Origin::start();
    origin.route("/s/a", [Script::fresh(1).body(b"old"), text("new")]);
    let server = live(&origin);
    get(&server, "a", &[]);
    server.eventually("committed", || server.metric("edge_cas_objects") == 1.0);
    become_stale();
    for value in ["max-stale=100", "max-stale", "only-if-cached, max-stale=100"] {
        let answer = get(&server, "a", &[("Cache-Control", value)]);
        assert_eq!(answer.text(), "old", "{value}: {answer:?}");
    }
    assert_eq!(origin.requests("/s/a").len(), 1);
    let stale = get(&server, "a", &[("Cache-Control", "only-if-cached, max-stale=0")]);
    assert_refused(&stale, 504, "only_if_cached");
    assert_eq!(get(&server, "a", &[]).text(), "new");
}

#[test]
fn must_revalidate_forbids_what_max_stale_asks_for() {
    let origin = Origin::start();
    let script = Script::status(200).cache_control("max-age=1, must-revalidate").body(b"old");
    origin.route("/s/a", [script, text("new")]);
    let server = live(&origin);
    get(&server, "a", &[]);
    server.eventually("committed", || server.metric("edge_cas_objects") == 1.0);
    become_stale();
    assert_eq!(get(&server, "a", &[("Cache-Control", "max-stale=100")]).text(), "new");
}
