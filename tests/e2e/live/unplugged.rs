//! A store that was filled in live mode, served offline, and under a lock that was made of it.

use std::path::Path;
use std::process::{Command, Stdio};

use svc_edge_origin::{Origin, Script};

use super::*;
use crate::server::BINARY;

/// The conf of an origin, in either mode, on the store in `dir`.
fn on(origin: &Origin, dir: &Path, mode: &str, cas: &str) -> Setup {
    let url = origin.url("/s/");
    setup().edge(&format!(
        "  mode: {mode}\n  cas: {{dir: {}{cas}}}\n  fill: {{{FILL}}}\n  origins:\n    \
         - {{prefix: live/, url: \"{url}\", allow_private: true, query: keep}}\n",
        dir.display()
    ))
}

/// Fill these from the origin, and stop.
fn filled(origin: &Origin, dir: &Path, names: &[&str]) {
    let server = on(origin, dir, "live", "").start();
    for name in names {
        for language in ["de", "fr"] {
            let headers = [("Accept-Language", language)];
            assert_eq!(get(&server, name, &headers).status, 200, "{name}");
            server.eventually("stored", || stored(&server, name, &headers).is_some());
        }
    }
}

/// `cas lock` of the store in `dir`: what it printed, and what it said beside that.
fn lock(dir: &Path) -> (String, String) {
    let done = Command::new(BINARY).args(["cas", "lock", "--cas-dir"]).arg(dir).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert!(done.status.success(), "{done:?}");
    (text(done.stdout), text(done.stderr))
}

/// What was filled: as long as this test takes, or for a second.
fn assets(origin: &Origin) {
    origin.route("/s/fresh", text("fresh").header("X-Own", "1"));
    origin.route("/s/stale", Script::fresh(1).body(b"stale"));
    for (name, directive) in [("must", "must-revalidate"), ("proxy", "proxy-revalidate")] {
        let script = Script::status(200).cache_control(&format!("max-age=1, {directive}")).body(b"forbidden");
        origin.route(&format!("/s/{name}"), script);
    }
    origin.route("/s/shared", Script::status(200).cache_control("s-maxage=1").body(b"forbidden"));
    origin.answer("/s/query", |request| text(&request.target));
    origin.answer("/s/varied", |request| {
        text(request.header("accept-language").unwrap_or("none")).header("Vary", "Accept-Language")
    });
}

const NAMES: [&str; 8] = ["fresh", "stale", "must", "proxy", "shared", "query?x=1", "query?x=2", "varied"];

#[test]
fn offline_what_was_filled_is_served_with_its_age_and_stale_where_that_is_allowed() {
    let (origin, dir) = (Origin::start(), tempfile::tempdir().unwrap());
    assets(&origin);
    {
        // What is stale a second later must be stored first: only-if-cached would not see it.
        let server = on(&origin, dir.path(), "live", "").start();
        for name in NAMES {
            for language in ["de", "fr"] {
                assert_eq!(get(&server, name, &[("Accept-Language", language)]).status, 200, "{name}");
            }
        }
        // Each once, and the one that varies twice.
        server.eventually("all are stored", || server.metric("edge_cas_objects") == NAMES.len() as f64 + 1.0);
    }
    become_stale();
    let connections = origin.connections();
    let server = on(&origin, dir.path(), "offline", "").start();
    let fresh = get(&server, "fresh", &[]);
    assert!(says(&fresh, "hit") && fresh.text() == "fresh" && fresh.header("x-own") == Some("1"), "{fresh:?}");
    assert!(fresh.header("age").is_some_and(|age| (2..60).contains(&age.parse::<u64>().unwrap())), "{fresh:?}");
    let stale = get(&server, "stale", &[]);
    assert_eq!((stale.status, stale.text().as_str()), (200, "stale"), "{stale:?}");
    assert!(says(&stale, "hit") && told(&stale, "ttl").is_some_and(|ttl| ttl < 0), "{stale:?}");
    for name in ["must", "proxy", "shared"] {
        assert_refused(&get(&server, name, &[]), 504, "only_if_cached");
        assert_refused(&get(&server, name, &[("Cache-Control", "max-stale")]), 504, "only_if_cached");
    }
    assert_eq!(get(&server, "query?x=2", &[]).text(), "/s/query?x=2");
    assert_eq!(get(&server, "varied", &[("Accept-Language", "fr")]).text(), "fr");
    for (name, headers) in
        [("query", &[][..]), ("query?x=3", &[]), ("varied", &[("Accept-Language", "it")]), ("none", &[])]
    {
        assert_refused(&get(&server, name, headers), 404, "not_found");
    }
    let part = get(&server, "stale", &[("Range", "bytes=1-2")]);
    assert_eq!((part.status, part.text().as_str()), (206, "ta"));
    assert_eq!(origin.connections(), connections, "the origin was not connected to");
}

#[test]
fn offline_a_filled_store_is_served_without_a_connect() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        eprintln!("strace is not installed: nothing was watched");
        return;
    }
    let (origin, dir) = (Origin::start(), tempfile::tempdir().unwrap());
    let swr = Script::status(200).cache_control("max-age=0, stale-while-revalidate=600").body(b"behind");
    origin.route("/s/behind", swr);
    origin.route("/s/fresh", text("fresh"));
    origin.route("/s/stale", Script::status(200).cache_control("max-age=0, stale-if-error=600").body(b"stale"));
    {
        let server = on(&origin, dir.path(), "live", "").start();
        ["behind", "fresh", "stale"].iter().for_each(|name| assert_eq!(get(&server, name, &[]).status, 200));
        server.eventually("all are stored", || server.metric("edge_cas_objects") == 3.0);
    }
    let trace = dir.path().join("trace");
    let server = on(&origin, dir.path(), "offline", "").start_under_strace(&trace);
    for name in ["behind", "fresh", "stale"] {
        for headers in [&[][..], &[("Cache-Control", "max-stale")], &[("Range", "bytes=0-1")]] {
            let answer = get(&server, name, headers);
            assert!(matches!(answer.status, 200 | 206) && says(&answer, "hit"), "{name} {headers:?}: {answer:?}");
        }
    }
    let own = [server.address.port(), server.admin.port()].map(|port| format!("htons({port})"));
    drop(server);
    let trace = std::fs::read_to_string(&trace).unwrap();
    assert!(trace.contains("socket("), "the server was traced");
    for line in trace.lines().filter(|line| line.contains("connect(")) {
        assert!(own.iter().any(|port| line.contains(port.as_str())) || line.contains("resumed"), "{line}");
    }
    assert!(!trace.contains("SOCK_DGRAM"), "no resolver was asked");
}

#[test]
fn a_lock_of_a_filled_store_lets_its_hits_through_and_nothing_else() {
    let (origin, dir) = (Origin::start(), tempfile::tempdir().unwrap());
    origin.fallback(|request| text(&request.target));
    origin.answer("/s/varied", |request| {
        text(request.header("accept-language").unwrap_or("none")).header("Vary", "Accept-Language")
    });
    filled(&origin, dir.path(), &["a", "gone", "query?x=1", "varied"]);
    let (pins, said) = lock(dir.path());
    assert_eq!(pins.lines().count(), 2, "{pins}");
    assert!(pins.contains("  live/a\n") && pins.contains("  live/gone\n"), "{pins}");
    assert!(said.contains("left out 3 objects"), "one by its query, two by Vary: {said:?}");
    let file = dir.path().join("assets.lock");
    std::fs::write(&file, &pins).unwrap();
    let pinned = format!(", lock: {}", file.display());
    let before = origin.all_requests().len();
    let server = on(&origin, dir.path(), "live", &pinned).start();
    claim_faults(&server);
    assert!(says(&get(&server, "a", &[]), "hit"));
    assert_eq!(origin.all_requests().len(), before);
    // The origin has changed, and the store has lost it.
    origin.route("/s/gone", text("other bytes"));
    server.command(&["cas", "purge", "live/gone"]);
    server.eventually("purged", || get(&server, "gone", &[]).status == 502);
    assert_refused(&get(&server, "gone", &[]), 502, "corrupt");
    assert_not_stored(&server, "gone");
    assert!(server.metric("edge_verify_failures_total{kind=\"pin\"}") >= 1.0);
    assert_eq!(get(&server, "query?x=1", &[]).text(), "/s/query?x=1", "what is not locked is served as ever");
}

#[test]
fn a_hit_that_is_not_what_the_lock_says_is_not_served() {
    let (origin, dir) = (Origin::start(), tempfile::tempdir().unwrap());
    origin.fallback(|request| text(&request.target));
    filled(&origin, dir.path(), &["a", "b", "query?x=1"]);
    let pin = |bytes: &[u8], path: &str| format!("{}  {path}\n", blake3::hash(bytes).to_hex());
    let file = dir.path().join("assets.lock");
    std::fs::write(&file, pin(b"pinned", "live/a") + &pin(b"/s/b", "live/b") + &pin(b"pinned", "live/query")).unwrap();
    let pinned = format!(", lock: {}", file.display());
    let offline = on(&origin, dir.path(), "offline", &pinned).start();
    for _ in 0..2 {
        assert_refused(&get(&offline, "a", &[]), 404, "not_found");
        assert_refused(&get(&offline, "a", &[("Range", "bytes=0-1")]), 404, "not_found");
        assert_refused(&get(&offline, "query?x=1", &[]), 404, "not_found");
        assert!(says(&get(&offline, "b", &[]), "hit"));
    }
    drop(offline);
    let live = on(&origin, dir.path(), "live", &pinned).start();
    claim_faults(&live);
    assert_refused(&get(&live, "a", &[]), 502, "corrupt");
    // The origin comes round: what is pinned replaces what was stored.
    origin.route("/s/a", text("pinned"));
    assert_eq!(get(&live, "a", &[]).text(), "pinned");
    assert_eq!(await_stored(&live, "a").text(), "pinned");
    drop(live);
    let offline = on(&origin, dir.path(), "offline", &pinned).start();
    assert_eq!(get(&offline, "a", &[]).text(), "pinned");
}
