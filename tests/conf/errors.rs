//! What is wrong is named at its exact place, with what is allowed.

use super::*;

#[test]
fn wrong_values_are_named_at_their_place_with_what_is_allowed() {
    for (text, place, parts) in [
        ("threads: many\n", "1:10", &["`threads`", "`many` is no whole number", "from 1 to 1024"][..]),
        ("threads: 0\n", "1:10", &["out of range"]),
        ("version: 2\n", "1:10", &["out of range", "allowed: `1`"]),
        ("edge:\n  cas:\n    max_bytes: 10 gigs\n", "3:16", &["`edge.cas.max_bytes`", "`10 gigs`", "such as `64KiB`"]),
        ("edge:\n  cas:\n    max_bytes: 10G\n", "3:16", &["`KiB` is 1024 of them, `KB` 1000"]),
        ("edge:\n  ingress: {timeout: 5}\n", "2:22", &["`5` is no duration", "`50ms`"]),
        ("edge:\n  ingress:\n    timeout:\n", "3:5", &["`edge.ingress.timeout`: has no value"]),
        ("edge:\n  http: {multi_range: yes}\n", "2:23", &["neither true nor false", "`true` or `false`"]),
        ("edge:\n  http: {chunk_bytes: 8KiB}\n", "2:23", &["out of range", "from 16KiB to 1MiB"]),
        ("edge:\n  http: {cache_control: \"a\\r\\nSet-Cookie: b\"}\n", "2:25", &["control character"]),
        ("edge:\n  http: {cors: {allow_origins: [\"*\", \"https://a.example\"]}}\n", "2:32", &["`*` alone"]),
        ("edge:\n  http: {cors: {allow_origins: [a.example]}}\n", "2:33", &["`a.example` is no origin"]),
        ("edge:\n  http: {hosts: [\"a/b\"]}\n", "2:18", &["`a/b` is no host"]),
        ("edge:\n  bind: [127.0.0.1:1, here]\n", "2:23", &["`here` is no address", "`IP:port`"]),
        ("edge:\n  bind: []\n", "2:9", &["at least one"]),
        ("edge:\n  bind: [127.0.0.1:1, localhost:1]\n", "2:9", &["127.0.0.1:1 twice"]),
        ("edge:\n  metrics: localhost:8080\n", "2:12", &["as `edge.bind`"]),
        ("edge:\n  mode: online\n", "2:9", &["`online` is not known", "allowed: `offline` or `live`"]),
        ("edge:\n  public_url: ftp://a.example\n", "2:15", &["no http or https URL"]),
        ("edge:\n  log: {level: loud}\n", "2:16", &["`loud` is not known", "`debug` or `trace`"]),
        ("edge:\n  ingress: {uri_bytes: 64KiB}\n", "2:24", &["larger than `header_bytes`"]),
        ("edge:\n  ingress: {header_bytes: 4KiB}\n", "2:27", &["larger than `header_bytes`"]),
        ("edge: 5\n", "1:7", &["`edge` is a map", "bind"]),
        ("- 1\n", "1:1", &["`the conf` is a map", "edge"]),
        ("edge: {cas: {}, cas: {}}\n", "1:17", &["`cas` stands here again", "line 1"]),
        ("edge:\n\tbind: x\n", "2:2", &["not YAML: tabs"]),
    ] {
        one_error(file(text), &format!("c.yaml:{place}: "), parts);
    }
}

#[test]
fn every_error_of_a_file_is_found_at_once_and_in_its_order() {
    let text = "threads: no\nedgy: 1\nedge:\n  tls: {cert: 1}\n  bind: [a, b]\n  packs:\n    - {nam: x}\n  log:\n    level: loud\n    sample: 0\n";
    let lines =
        errors(load(text, &[("SVC_EDGE_THREADSX", "1")], &Flags { mode: Some("online".into()), ..Flags::default() }));
    let places: Vec<_> = lines.iter().map(|line| line.split(": ").next().unwrap()).collect();
    let wanted = [
        "c.yaml:1:10",
        "c.yaml:2:1",
        "c.yaml:4:3",
        "c.yaml:5:10",
        "c.yaml:5:13",
        "c.yaml:7:7",
        "c.yaml:7:8",
        "c.yaml:9:12",
        "c.yaml:10:13",
        "SVC_EDGE_THREADSX",
        "--mode",
    ];
    assert_eq!(places, wanted, "{lines:#?}");
}

#[test]
fn errors_end_at_a_hundred() {
    let text: String = (0..5000).map(|n| format!("unknown{n}: 1\n")).collect();
    assert!(errors(file(&text)).len() <= 101);
}

#[test]
fn keys_of_later_versions_are_refused_as_such_and_not_as_unknown() {
    for (text, place, path) in [
        ("max_retries: 3\n", "1:1", "max_retries"),
        ("working_directory: /\n", "1:1", "working_directory"),
        ("user: www\n", "1:1", "user"),
        ("group: www\n", "1:1", "group"),
        ("daemon_wait_for_ready: true\n", "1:1", "daemon_wait_for_ready"),
        ("daemon_notify_timeout_seconds: 1\n", "1:1", "daemon_notify_timeout_seconds"),
        ("upgrade_sock_connect_accept_max_retries: 1\n", "1:1", "upgrade_sock_connect_accept_max_retries"),
    ] {
        one_error(file(text), &format!("c.yaml:{place}: "), &[&format!("`{path}` is not in this version of svc-edge")]);
    }
    one_error(environment("SVC_EDGE_USER", "www"), "SVC_EDGE_USER: ", &["`user` is not in this version of svc-edge"]);
}

#[test]
fn a_public_url_is_a_base_without_a_trailing_slash() {
    let url = |text: &str| file(&format!("edge: {{public_url: \"{text}\"}}")).map(|conf| conf.edge.public_url);
    for (text, base) in [
        ("https://tiles.example/", "https://tiles.example"),
        ("http://127.0.0.1:8080/base//", "http://127.0.0.1:8080/base"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ] {
        assert_eq!(url(text).unwrap().as_deref(), Some(base), "{text}");
    }
    for text in [
        "tiles.example",
        "/base",
        "ftp://a",
        "https://",
        "https://u@a.example",
        "https://u:p@a.example",
        "https://a.example?q",
        "https://a.example/#f",
        "https://a.example:99999",
        "https://a.example:",
        "https://a b",
        "mailto:a@b",
    ] {
        assert!(url(text).is_err(), "{text}");
    }
}

#[test]
fn a_daemon_whose_log_nobody_would_see_is_refused() {
    let loaded = file("daemon: true\nerror_log: e.log\n").unwrap();
    assert!(loaded.server.daemon);
    one_error(file("daemon: true\n"), "c.yaml:1:9: ", &["`daemon` is true without `error_log`"]);
    let flags = Flags { daemon: true, ..Flags::default() };
    one_error(Conf::from_parts(None, [], &flags), "--daemon: ", &["without `error_log`"]);
    let loaded = Conf::from_parts(Some(("c.yaml", b"daemon: false\nerror_log: e.log\n")), [], &flags).unwrap();
    assert!(loaded.server.daemon, "a flag stands over the file");
}

#[test]
fn a_socket_for_upgrades_needs_a_path_that_fits_and_a_directory() {
    let path = |path: &str| file(&format!("upgrade_sock: {path}\n"));
    for bad in ["u.sock", "/", "x/.."] {
        one_error(path(bad), "c.yaml:1:15: ", &["`upgrade_sock` names no directory"]);
    }
    assert!(path(&format!("/{}/u", "d".repeat(104))).is_ok());
    one_error(path(&format!("/{}/u", "d".repeat(105))), "c.yaml:1:15: ", &["longer", "107 bytes"]);
}

#[test]
fn more_listeners_than_an_upgrade_can_hand_over_are_refused() {
    let bind = |count: usize| {
        let list: Vec<_> = (0..count).map(|number| format!("127.0.0.1:{}", 10_000 + number)).collect();
        file(&format!("edge:\n  bind: [{}]\n", list.join(", ")))
    };
    assert!(bind(31).is_ok());
    one_error(bind(32), "c.yaml:2:9: ", &["`edge.bind` has 32 items", "at most 31"]);
}
