//! Every key, by file and by environment: its default, another value, its misspelling.

use super::*;

/// One value of each key that is right and is not its default.
pub const OTHERS: &[(&str, &str)] = &[
    ("threads", "3"),
    ("listener_tasks_per_fd", "2"),
    ("work_stealing", "false"),
    ("max_blocking_threads", "7"),
    ("blocking_threads_ttl_seconds", "7"),
    ("fast_timeout_to_tokio_threshold_seconds", "null"),
    ("grace_period_seconds", "0"),
    ("graceful_shutdown_timeout_seconds", "7"),
    ("daemon_ready_timeout_seconds", "7"),
    ("error_log", "var/error.log"),
    ("pid_file", "var/edge.pid"),
    ("upgrade_sock", "null"),
    ("ca_file", "tests/conf/fixtures/ca.pem"),
    ("edge.bind", "[\"[::1]:0\", localhost:81]"),
    ("edge.bind[].tls", "{cert: tests/conf/fixtures/cert.pem, key: tests/conf/fixtures/key.pem}"),
    ("edge.bind[].h2c", "true"),
    ("edge.metrics", "off"),
    ("edge.mode", "live"),
    ("edge.upgrade_timeout", "5s"),
    ("edge.public_url", "https://tiles.example/base/"),
    ("edge.packs", "[{path: x.pmtiles}]"),
    ("edge.packs[].name", "q"),
    ("edge.packs[].verify", "full"),
    ("edge.packs[].missing_tile", "not_found"),
    ("edge.packs[].cache_control", "no-store"),
    ("edge.origins", "[{url: \"http://o.example/\"}]"),
    ("edge.origins[].prefix", "fonts/"),
    ("edge.origins[].allow_private", "true"),
    ("edge.origins[].query", "keep"),
    ("edge.origins[].pass", "true"),
    ("edge.origins[].default_ttl", "0s"),
    ("edge.origins[].negative_ttl", "1m"),
    ("edge.origins[].stale_if_error", "0s"),
    ("edge.origins[].store_set_cookie", "true"),
    ("edge.origins[].ignore_client_cache_control", "true"),
    ("edge.origins[].headers", "{X-Key: \"a b\"}"),
    ("edge.origins[].forward", "[]"),
    ("edge.cas.dir", "elsewhere"),
    ("edge.cas.max_bytes", "1GB"),
    ("edge.cas.max_objects", "7"),
    ("edge.cas.memory_bytes", "0"),
    ("edge.cas.store", "memory"),
    ("edge.cas.durability", "fsync"),
    ("edge.cas.lock", "tests/conf/fixtures/assets.lock"),
    ("edge.fill.queue", "1"),
    ("edge.fill.workers", "2"),
    ("edge.fill.connect_timeout", "1s"),
    ("edge.fill.read_timeout", "1s"),
    ("edge.fill.total_timeout", "2s"),
    ("edge.fill.min_rate", "null"),
    ("edge.fill.max_object_bytes", "2GiB"),
    ("edge.fill.range_fill_max", "0"),
    ("edge.fill.max_passthrough", "1"),
    ("edge.fill.finish_max", "1MiB"),
    ("edge.fill.hash_on_runtime", "false"),
    ("edge.fill.contact", "ops@example.org"),
    ("edge.fill.name", "edge-fra1"),
    ("edge.fill.dns_ttl", "1s"),
    ("edge.fill.retry.base", "10ms"),
    ("edge.fill.retry.max", "1s"),
    ("edge.fill.retry.count", "0"),
    ("edge.fill.retry.jitter", "false"),
    ("edge.fill.retry.retry_on", "[timeout, 502]"),
    ("edge.fill.retry.budget", "0"),
    ("edge.fill.circuit.failures", "1"),
    ("edge.fill.circuit.open_for", "1s"),
    ("edge.admin.token", "{file: tests/conf/fixtures/token}"),
    ("edge.ingress.timeout", "50ms"),
    ("edge.ingress.header_timeout", "1s"),
    ("edge.ingress.write_timeout", "1h"),
    ("edge.ingress.min_send_rate", "null"),
    ("edge.ingress.keepalive", "null"),
    ("edge.ingress.keepalive_requests", "null"),
    ("edge.ingress.max_connections", "1"),
    ("edge.ingress.max_connections_per_client", "7"),
    ("edge.ingress.shutdown_delay", "5s"),
    ("edge.ingress.header_bytes", "8KiB"),
    ("edge.ingress.uri_bytes", "1KiB"),
    ("edge.ingress.body_bytes", "0"),
    ("edge.http.hsts", "false"),
    ("edge.ingress.rps_limit", "null"),
    ("edge.ingress.rps_per_client", "10"),
    ("edge.ingress.max_inflight", "1"),
    ("edge.ingress.trusted_proxies", "[10.0.0.0/8, \"fd00::/8\", 192.0.2.1]"),
    ("edge.http.multi_range", "true"),
    ("edge.http.direct", "false"),
    ("edge.http.chunk_bytes", "16KiB"),
    ("edge.http.cache_control", "no-cache"),
    ("edge.http.hosts", "[Tiles.example, \"[::1]:8443\"]"),
    ("edge.http.decode.ratio", "20"),
    ("edge.http.decode.bytes", "1MiB"),
    ("edge.http.cors.allow_origins", "[\"https://maps.example\"]"),
    ("edge.log.format", "text"),
    ("edge.log.level", "debug"),
    ("edge.log.access", "all"),
    ("edge.log.sample", "1"),
    ("edge.log.audit", "var/audit.log"),
];

/// `version` has one value; a daemon and the PROXY protocol need a second key; what items can't be without is in every document.
pub const WITHOUT_OTHERS: &[&str] = &[
    "version",
    "daemon",
    "edge.bind[].proxy_protocol",
    "edge.bind[].addr",
    "edge.bind[].tls[].cert",
    "edge.bind[].tls[].key",
    "edge.packs[].path",
    "edge.origins[].url",
];
/// The defaults, with the item that a document of `key` has.
pub fn base(key: &Key) -> Conf {
    let mut base = defaults();
    match key.section() {
        "edge.bind[]" => base.edge.bind = vec![bind("127.0.0.1:1")],
        "edge.bind[].tls[]" => base.edge.bind = vec![BindConf { tls: vec![certificate()], ..bind("127.0.0.1:1") }],
        "edge.packs[]" => base.edge.packs = vec![pack("p.pmtiles", "p")],
        "edge.origins[]" => base.edge.origins = vec![origin("", "http://o.example/")],
        _ => {}
    }
    base
}

#[test]
fn a_conf_that_says_nothing_is_the_default() {
    for text in ["", "# nothing\n", "edge:\n", "edge: {cas: null, http: {cors: {}}}\n", "version: 1\n"] {
        assert_eq!(file(text).unwrap(), defaults(), "{text:?}");
    }
    assert_eq!(Conf::from_parts(None, [], &Flags::default()).unwrap(), defaults());
}

#[test]
fn every_key_at_its_default_is_the_default() {
    for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
        let (text, ..) = document(key, key.name(), key.default);
        let loaded = file(&text).unwrap_or_else(|errors| panic!("{text}{errors}"));
        let wanted = base(key);
        assert_eq!(loaded, wanted, "{text}");
        if let Some(variable) = key.variable() {
            assert_eq!(environment(&variable, key.default).unwrap(), wanted, "{variable}");
        }
    }
}

#[test]
fn every_key_changes_something_by_file_and_by_environment() {
    for key in KEYS.iter().filter(|key| !WITHOUT_OTHERS.contains(&key.path)) {
        let (_, value) = OTHERS.iter().find(|(path, _)| *path == key.path).unwrap_or_else(|| panic!("{}", key.path));
        let (text, ..) = document(key, key.name(), value);
        let loaded = file(&text).unwrap_or_else(|errors| panic!("{text}{errors}"));
        assert_ne!(loaded, base(key), "{text}");
        if let Some(variable) = key.variable() {
            assert_eq!(environment(&variable, value).unwrap(), loaded, "{variable}");
        }
    }
}

#[test]
fn every_misspelt_key_is_named_at_its_place_with_the_right_one() {
    for key in KEYS {
        let name = key.name();
        let half = name.len() / 2;
        for misspelt in [format!("{name}x"), name[1..].to_owned(), format!("{}{}", &name[..half], &name[half - 1..])] {
            let (text, line, column) = document(key, &misspelt, "1");
            let head = format!("c.yaml:{line}:{column}: unknown key `");
            one_error(file(&text), &head, &[&misspelt, &format!("did you mean `{}`?", key.path), "; allowed "]);
        }
    }
}

#[test]
fn every_misspelt_variable_is_named_with_the_right_one() {
    for variable in KEYS.iter().filter_map(Key::variable).chain(["SVC_EDGE_CONF".to_owned()]) {
        let misspelt = format!("{variable}X");
        let suggestion = format!("did you mean `{variable}`?");
        one_error(environment(&misspelt, "1"), &format!("{misspelt}: "), &[&suggestion, "allowed"]);
    }
    one_error(
        environment("SVC_EDGE_EDGE_MODE", "offline"),
        "SVC_EDGE_EDGE_MODE: ",
        &["did you mean `SVC_EDGE_EDGE__MODE`?"],
    );
    one_error(environment("SVC_EDGE_threads", "1"), "SVC_EDGE_threads: ", &["did you mean `SVC_EDGE_THREADS`?"]);
}

#[test]
fn every_key_refuses_a_map_at_its_place() {
    // Fields have the names that they are given; a listener and a certificate are maps.
    let maps = ["edge.origins[].headers", "edge.bind", "edge.bind[].tls"];
    for key in KEYS.iter().filter(|key| !maps.contains(&key.path)) {
        let (text, line, column) = document(key, key.name(), "{a: 1}");
        let head = format!("c.yaml:{line}:{}: `{}`: ", column + key.name().len() + 2, key.path);
        one_error(file(&text), &head, &["; allowed: "]);
    }
}

#[test]
fn every_kind_says_what_it_allows() {
    for key in KEYS {
        let text = key.kind.to_string();
        assert!(!text.is_empty() && !text.contains('\n'), "{}", key.path);
        assert_eq!(matches!(key.kind, Kind::OrNull(_)), text.ends_with("or `null`"), "{}", key.path);
    }
}
