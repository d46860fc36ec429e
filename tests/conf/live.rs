//! Live mode: the bounds of fills, what contradicts what, and what is warned of.

use super::*;

#[test]
fn bounds_of_fills_that_contradict_each_other_are_named_at_the_one_that_was_changed() {
    for (text, place, parts) in [
        ("edge:\n  fill: {range_fill_max: 2GiB}\n", "2:26", ["`range_fill_max`", "`edge.fill.max_object_bytes`"]),
        (
            "edge:\n  fill: {max_object_bytes: 1MiB}\n",
            "2:28",
            ["`edge.fill.range_fill_max` larger", "at most as large"],
        ),
        ("edge:\n  fill: {connect_timeout: 2m}\n", "2:27", ["`edge.fill.total_timeout`", "at most as large"]),
        ("edge:\n  fill: {total_timeout: 1s}\n", "2:25", ["`edge.fill.connect_timeout` larger", "at most as large"]),
        ("edge:\n  fill: {retry: {base: 1s}}\n", "2:24", ["`edge.fill.retry.max`", "at most as large"]),
        ("edge:\n  fill: {retry: {max: 10ms}}\n", "2:23", ["`edge.fill.retry.base` larger", "at most as large"]),
        ("edge:\n  fill: {retry: {retry_on: [418]}}\n", "2:29", ["`418` is not known", "`503`, `504` or `timeout`"]),
        ("edge:\n  fill: {retry: {budget: 101}}\n", "2:26", ["out of range", "from 0 to 100"]),
        ("edge:\n  fill: {workers: 1}\n", "2:19", ["out of range", "from 2 to 4096"]),
        ("edge:\n  fill: {circuit: {failures: 0}}\n", "2:30", ["out of range", "from 1 to 1000"]),
        ("edge:\n  fill: {name: \"my edge\"}\n", "2:16", ["`my edge` is no token", "`edge-fra1`"]),
        ("edge:\n  cas: {store: memory, durability: fsync}\n", "2:36", ["nothing to sync", "allowed: `verify`"]),
    ] {
        let parts: Vec<&str> = parts.iter().map(|part| part.trim_matches('`')).collect();
        one_error(file(text), &format!("c.yaml:{place}: "), &parts);
    }
}

#[test]
fn a_contact_is_a_url_or_a_mail_address_that_fits_into_a_comment() {
    let contact =
        |text: &str| file(&format!("edge: {{fill: {{contact: {text:?}}}}}")).map(|conf| conf.edge.fill.contact);
    for text in ["https://example.org/edge", "http://example.org", "ops@example.org", "a.b+c@x"] {
        assert_eq!(contact(text).unwrap().as_deref(), Some(text));
    }
    for text in [
        "ops",
        "@",
        "ops@",
        "@example.org",
        "a@b@c",
        "ops@example.org)",
        "(ops@example.org",
        "https://example.org/(x)",
        "https://u:p@example.org/",
        "ops@exämple.org",
        "o ps@example.org",
        &format!("a@{}", "x".repeat(256)),
    ] {
        one_error(contact(text).map(|_| defaults()), "c.yaml:1:", &["neither a URL nor a mail address", "allowed: "]);
    }
}

#[test]
fn what_a_fill_is_tried_again_for_is_asked_of_the_conf() {
    let retry = file("edge: {fill: {retry: {retry_on: [502, timeout]}}}").unwrap().edge.fill.retry;
    assert!(retry.retries(RetryOn::Status(502)) && retry.retries(RetryOn::Timeout));
    assert!(!retry.retries(RetryOn::Status(503)) && !retry.retries(RetryOn::Status(404)));
}

#[test]
fn a_flag_makes_the_edge_live() {
    let flags = Flags { mode: Some("live".into()), ..Flags::default() };
    assert_eq!(load("edge: {mode: offline}", &[], &flags).unwrap().edge.mode, Mode::Live);
    assert_eq!(environment("SVC_EDGE_EDGE__MODE", "live").unwrap().edge.mode, Mode::Live);
}

#[test]
fn what_is_hardly_meant_is_warned_of_and_nothing_else_is() {
    let warnings = |text: &str| file(text).unwrap().edge.warnings();
    for (text, part) in [
        ("edge: {mode: live}", "without edge.origins every miss is a 404"),
        ("edge: {origins: [{url: \"https://o.example/\"}]}", "edge.mode is offline, so edge.origins is ignored"),
        ("edge: {mode: live, cas: {max_bytes: 1MiB}, origins: [{url: \"http://o.example/\"}]}", "never stored"),
        (
            "edge: {mode: live, origins: [{prefix: f/, url: \"http://o.example/s\"}]}",
            "http://o.example/s has no slash at its end, so that f/name is /sname there",
        ),
        (
            "edge: {mode: live, origins: [{url: \"http://o.example/\", headers: {x-key: hunter2}}]}",
            "headers are sent in clear text",
        ),
    ] {
        let found = warnings(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains(part) && !found[0].contains("hunter2"), "{found:?}");
    }
    for text in [
        "",
        "edge: {mode: live, origins: [{url: \"http://o.example/\"}]}",
        "edge: {mode: live, origins: [{url: \"http://10.0.0.1/\", allow_private: true, headers: {x-key: a}}]}",
    ] {
        assert_eq!(warnings(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn trust_anchors_that_no_connector_could_use_are_an_error_at_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    let good = std::fs::read_to_string("tests/conf/fixtures/ca.pem").unwrap();
    let with = |text: &str| {
        std::fs::write(&path, text).unwrap();
        file(&format!("ca_file: {}\n", path.display()))
    };
    assert_eq!(with(&format!("# two\n{good}\n{good}")).unwrap().server.ca_file.as_deref(), Some(path.as_path()));
    let cut = |from: &str, to: &str| good.replacen(from, to, 1);
    let body = good.lines().nth(1).unwrap();
    for (text, why) in [
        ("", "holds no certificate"),
        ("no PEM at all\n", "holds no certificate"),
        (&cut("END CERTIFICATE", "END"), "is no PEM"),
        (&cut(body, "!!!!"), "is no PEM"),
        (&cut(body, "AAAA"), "has a certificate (number 1) that can't be a trust anchor"),
        (&good.replace(" CERTIFICATE", " PRIVATE KEY"), "holds more than certificates"),
        (&format!("{good}{}", cut(body, "AAAA")), "(number 2)"),
    ] {
        one_error(with(text), "c.yaml:1:10: `ca_file` names `", &[why, "; allowed: a PEM file of certificates alone"]);
    }
    one_error(file("ca_file: none.pem"), "c.yaml:1:10: ", &["No such file"]);
    one_error(file("ca_file: ."), "c.yaml:1:10: ", &["not a regular file"]);
    one_error(file("ca_file: /dev/zero"), "c.yaml:1:10: ", &["not a regular file"]);
}
