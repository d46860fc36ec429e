//! What is stored, for how long, and with which fields (RFC 9111 §3, §4.2, §5; RFC 9213; RFC 9211).

use svc_edge_origin::{Origin, Script};

use super::*;

/// Whether a second request is answered from the store: an answer with these fields, and the status it has.
fn is_reused(status: u16, fields: &[(&str, &str)]) -> bool {
    let origin = Origin::start();
    let script = fields.iter().fold(Script::status(status), |script, (name, value)| script.header(name, value));
    origin.route("/s/a", script.body(b"body"));
    let server = live(&origin);
    claim_faults(&server);
    let first = get(&server, "a", &[]);
    assert_eq!((first.status, first.text().as_str()), (status, "body"), "{fields:?}");
    if says(&first, "stored") {
        server.eventually("committed", || server.metric("edge_cas_objects") == 1.0);
    } else {
        std::thread::sleep(Duration::from_millis(200));
    }
    let second = get(&server, "a", &[]);
    assert_eq!((second.status, second.text().as_str()), (status, "body"), "{fields:?}");
    let reused = says(&second, "hit");
    assert_eq!(origin.requests("/s/a").len(), if reused { 1 } else { 2 }, "{fields:?}");
    reused
}

#[test]
fn freshness_is_taken_from_the_most_specific_field() {
    let table: [(&[(&str, &str)], bool); 10] = [
        (&[("Cache-Control", "max-age=60")], true),
        (&[("Cache-Control", "max-age=0")], false),
        (&[("Cache-Control", "max-age=0, s-maxage=60")], true),
        (&[("Cache-Control", "max-age=60, s-maxage=0")], false),
        (&[("Cache-Control", "max-age=0"), ("CDN-Cache-Control", "max-age=60")], true),
        (&[("Cache-Control", "max-age=60"), ("CDN-Cache-Control", "max-age=0")], false),
        (&[("Cache-Control", "max-age=60"), ("CDN-Cache-Control", "max-age=\"broken")], true),
        (&[("Expires", "Fri, 31 Dec 2100 23:59:59 GMT")], true),
        (&[("Expires", "0")], false),
        (&[("Cache-Control", "max-age=60"), ("Age", "100")], false),
    ];
    for (fields, reused) in table {
        assert_eq!(is_reused(200, fields), reused, "{fields:?}");
    }
}

#[test]
fn without_any_freshness_the_default_of_the_origin_holds() {
    assert!(is_reused(200, &[]), "default_ttl is an hour");
    assert!(is_reused(404, &[]), "negative_ttl is ten seconds");
    assert!(!is_reused(500, &[]), "a status that is not heuristically cacheable");
    assert!(is_reused(500, &[("Cache-Control", "max-age=60")]), "any final status that is explicitly fresh");
}

#[test]
fn what_is_not_there_is_remembered_for_negative_ttl() {
    let origin = Origin::start();
    origin.route("/s/a", Script::status(404).header("Content-Type", "text/plain").body(b"no such thing"));
    let server = live_with(&origin, ", negative_ttl: 1s", FILL).start();
    assert_eq!(get(&server, "a", &[]).status, 404);
    let again = await_stored(&server, "a");
    assert_eq!((again.status, again.text().as_str()), (404, "no such thing"), "the origin's own words");
    assert_eq!(origin.requests("/s/a").len(), 1);
    become_stale();
    assert_eq!(get(&server, "a", &[]).status, 404);
    assert_eq!(origin.requests("/s/a").len(), 2);
}

#[test]
fn what_is_stale_and_has_no_validator_is_asked_for_anew() {
    let origin = Origin::start();
    let old = Script::fresh(1).body(b"old");
    origin.route("/s/a", [old, text("new")]);
    let server = live(&origin);
    assert_eq!(get(&server, "a", &[]).text(), "old");
    server.eventually("committed", || server.metric("edge_cas_objects") == 1.0);
    become_stale();
    let answer = get(&server, "a", &[]);
    assert_eq!(answer.text(), "new");
    assert!(says(&answer, "fwd=stale") && says(&answer, "fwd-status=200"), "{answer:?}");
    assert_eq!(await_stored(&server, "a").text(), "new");
}

#[test]
fn age_counts_from_the_origin_on() {
    let origin = Origin::start();
    origin.route("/s/a", Script::fresh(1000).header("Age", "100").body(b"a"));
    let server = live(&origin);
    let age = |answer: &Response| answer.header("age").and_then(|age| age.parse::<u64>().ok());
    let miss = get(&server, "a", &[]);
    assert!(age(&miss).is_some_and(|age| (100..=105).contains(&age)), "{miss:?}");
    await_stored(&server, "a");
    std::thread::sleep(Duration::from_millis(1100));
    let hit = get(&server, "a", &[]);
    assert!(age(&hit).is_some_and(|age| (101..=110).contains(&age)), "{hit:?}");
    assert!(told(&hit, "ttl").is_some_and(|ttl| (890..=899).contains(&ttl)), "{hit:?}");
}

#[test]
fn fields_are_kept_as_they_came_and_those_of_the_connection_are_not() {
    let origin = Origin::start();
    let script = text("hello")
        .header("X-Own", "one, two")
        .header("Content-Language", "de")
        .header("Content-Disposition", "attachment; filename=\"a\"")
        .header("Last-Modified", "Sat, 01 Jan 2000 00:00:00 GMT")
        .header("Connection", "X-Named")
        .header("X-Named", "1")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Authenticate", "Basic")
        .header("Upgrade", "h2c");
    origin.route("/s/a", script);
    let server = live(&origin);
    let miss = get(&server, "a", &[]);
    let hit = await_stored(&server, "a");
    for answer in [miss, hit] {
        for (name, value) in [
            ("x-own", "one, two"),
            ("content-language", "de"),
            ("content-disposition", "attachment; filename=\"a\""),
            ("last-modified", "Sat, 01 Jan 2000 00:00:00 GMT"),
            ("content-type", "text/plain"),
            ("cache-control", "max-age=60"),
            ("x-content-type-options", "nosniff"),
            ("access-control-allow-origin", "*"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name} of {answer:?}");
        }
        for name in ["x-named", "keep-alive", "proxy-authenticate", "upgrade"] {
            assert_eq!(answer.header(name), None, "{name} of {answer:?}");
        }
        assert!(answer.header("connection").is_none_or(|value| !value.contains("X-Named")));
        assert!(answer.header("date").is_some());
    }
}

#[test]
fn every_directive_reaches_the_client_as_the_origin_wrote_it() {
    const DIRECTIVES: &str = "max-age=3153600000, Unknown=\"a, b\", no-transform, stale-if-error=60";
    const UNSTORED: &str = "no-store, Unknown=1";
    let origin = Origin::start();
    for (name, directives) in [("stored", DIRECTIVES), ("passed", UNSTORED)] {
        let script = Script::status(200).cache_control(directives).header("Pragma", "x-unknown").body(b"a");
        origin.route(&format!("/s/{name}"), script);
    }
    let server = live(&origin);
    let miss = get(&server, "stored", &[]);
    let answers =
        [(miss, DIRECTIVES), (await_stored(&server, "stored"), DIRECTIVES), (get(&server, "passed", &[]), UNSTORED)];
    for (answer, directives) in answers {
        let told = (answer.header("cache-control"), answer.header("pragma"));
        assert_eq!(told, (Some(directives), Some("x-unknown")), "{answer:?}");
    }
}

#[test]
fn the_date_of_an_answer_is_when_it_is_sent_and_its_age_begins_at_the_origins() {
    let origin = Origin::start();
    // Sent long ago, fresh for a century.
    let script = Script::status(200).undated().header("Date", "Sat, 01 Jan 2000 00:00:00 GMT");
    origin.route("/s/a", script.cache_control("max-age=3153600000").body(b"a"));
    let server = live(&origin);
    get(&server, "a", &[]);
    let hit = await_stored(&server, "a");
    let date = httpdate::parse_http_date(hit.header("date").unwrap()).unwrap();
    let off = date.elapsed().unwrap_or_else(|ahead| ahead.duration());
    assert!(off < Duration::from_secs(10), "{hit:?}");
    // RFC 9111 §4.2.3: whoever takes the greater of the two ages gets this one.
    assert!(hit.header("age").is_some_and(|age| age.parse::<u64>().unwrap() > 800_000_000), "{hit:?}");
}

#[test]
fn a_redirect_is_passed_on_and_never_followed() {
    let origin = Origin::start();
    for status in [301, 302, 303, 307, 308] {
        let (name, path) = (status.to_string(), format!("/s/{status}"));
        origin.route(&path, Script::status(status).header("Location", "/s/target").cache_control("max-age=60"));
        let server = live(&origin);
        for _ in 0..2 {
            let answer = get(&server, &name, &[]);
            assert_eq!((answer.status, answer.header("location")), (status, Some("/s/target")));
            server.eventually("stored", || stored(&server, &name, &[]).is_some());
        }
        assert_eq!(origin.requests(&path).len(), 1, "explicitly fresh, so stored");
    }
    assert_eq!(origin.requests("/s/target").len(), 0);
}

#[test]
fn a_status_without_a_body_is_stored_as_one() {
    let origin = Origin::start();
    origin.route("/s/a", Script::status(204).cache_control("max-age=60"));
    let server = live(&origin);
    assert_eq!(get(&server, "a", &[]).status, 204);
    assert_eq!(await_stored(&server, "a").status, 204);
    assert_eq!(origin.requests("/s/a").len(), 1);
}

#[test]
fn a_partial_answer_that_nobody_asked_for_is_not_stored() {
    let origin = Origin::start();
    let part = Script::status(206).cache_control("max-age=60").header("Content-Range", "bytes 0-3/100").body(b"body");
    origin.route("/s/a", part);
    let server = live(&origin);
    claim_faults(&server);
    // It is passed on or refused; what it may not be is taken for the whole.
    let answer = get(&server, "a", &[]);
    assert!(matches!(answer.status, 206 | 502), "{answer:?}");
    assert_not_stored(&server, "a");
}
