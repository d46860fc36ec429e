//! Origins: their prefixes and URLs, what they get, and what is wrong with them.

use super::*;

fn origins(items: &str) -> Result<Vec<OriginConf>, ConfErrors> {
    file(&format!("edge:\n  origins:\n{items}")).map(|conf| conf.edge.origins)
}

/// One origin in a flow map, and what is wrong with it at its place.
#[track_caller]
fn wrong(item: &str, column: usize, parts: &[&str]) {
    one_error(origins(&format!("    - {item}\n")).map(|_| defaults()), &format!("c.yaml:3:{column}: "), parts);
}

#[test]
fn an_origin_has_its_keys_or_their_defaults() {
    let items = "    - url: https://a.example/x/\n    - prefix: fonts/noto/\n      url: [https://b.example/s/, \"http://B.example:8080\"]\n      query: keep\n      pass: true\n      negative_ttl: 0s\n      store_set_cookie: true\n      headers: {X-Key: k, cookie: a=b}\n      forward: [Save-Data]\n";
    let found = origins(items).unwrap();
    let mut second = origin("fonts/noto/", "https://b.example/s/");
    second.urls.push(OriginUrl::parse("http://b.example:8080/").unwrap());
    second.query = QueryPolicy::Keep;
    second.pass = true;
    second.caching.negative_ttl = Duration::ZERO;
    second.caching.store_set_cookie = true;
    second.headers =
        vec![("x-key".parse().unwrap(), "k".parse().unwrap()), ("cookie".parse().unwrap(), "a=b".parse().unwrap())];
    second.forward = vec!["save-data".parse().unwrap()];
    assert_eq!(found, [origin("", "https://a.example/x/"), second]);
}

#[test]
fn origins_in_a_variable_are_maps_in_brackets() {
    let found = environment("SVC_EDGE_EDGE__ORIGINS", "[{prefix: f/, url: \"https://a.example/\"}]").unwrap();
    assert_eq!(found.edge.origins, [origin("f/", "https://a.example/")]);
    let head = "SVC_EDGE_EDGE__ORIGINS: ";
    one_error(environment("SVC_EDGE_EDGE__ORIGINS", "https://a.example/"), head, &["an item that is no map"]);
    one_error(
        environment("SVC_EDGE_EDGE__ORIGINS", "[{url: \"https://a.example/\", prefx: f/}]"),
        head,
        &["did you mean `edge.origins[].prefix`?"],
    );
}

#[test]
fn a_prefix_is_canonical_as_the_keys_are_that_it_begins() {
    for (text, prefix) in [
        ("fonts/", "fonts/"),
        ("fonts/noto%20sans/", "fonts/noto sans/"),
        ("f%6Fnts/", "fonts/"),
        ("\"\"", ""),
        ("é/", "é/"),
    ] {
        let found = origins(&format!("    - {{prefix: {text}, url: \"http://o.example/\"}}\n")).unwrap();
        assert_eq!(found[0].prefix, prefix, "{text}");
    }
    for (text, part) in [
        ("fonts", "has no slash at its end"),
        ("/", "an empty segment"),
        ("/fonts/", "an empty segment"),
        ("a//b/", "an empty segment"),
        ("a/../b/", "a dot segment"),
        ("a/%2e%2e/", "a dot segment"),
        ("a%2/", "a percent sign without two hex digits"),
        ("a%00/", "a control character"),
        ("\"a\\\\b/\"", "a backslash"),
        ("\"a?b/\"", "a query or a fragment"),
        ("null", "has no value"),
    ] {
        let column = if text == "null" { 8 } else { 16 };
        wrong(
            &format!("{{prefix: {text}, url: \"http://o.example/\"}}"),
            column,
            &["`edge.origins[].prefix`", part, "; allowed: "],
        );
    }
}

#[test]
fn two_origins_of_one_prefix_are_an_error_at_the_second() {
    let items =
        "    - {prefix: a b/, url: \"http://o.example/\"}\n    - {prefix: a%20b/, url: \"http://p.example/\"}\n";
    one_error(origins(items).map(|_| defaults()), "c.yaml:4:16: ", &["`a b/`, as on line 3", "each prefix once"]);
    let items = "    - url: http://o.example/\n    - url: http://p.example/\n";
    one_error(origins(items).map(|_| defaults()), "c.yaml:4:7: ", &["is ``, as on line 3"]);
}

#[test]
fn wrong_urls_are_named_at_their_place() {
    for (item, column, part) in [
        ("{prefix: a/}", 7, "`edge.origins[].url`: is required and not here"),
        ("{url: }", 8, "has no value"),
        ("{url: []}", 13, "is empty; allowed: at least one URL"),
        ("{url: \"\"}", 13, "is empty"),
        ("{url: ftp://o.example/}", 13, "`ftp://o.example/` is no http or https URL"),
        ("{url: [http://o.example/, http://p.example./]}", 33, "has a dot behind its host"),
        ("{url: \"http://o.example/?q\"}", 13, "has a query"),
        ("{url: \"http://o.example/#f\"}", 13, "has a fragment"),
        ("{url: \"http://0x7f.1/\"}", 13, "is no dotted quad"),
        ("{url: [\"http://o.example\", \"http://O.example:80/\"]}", 13, "has http://o.example/ twice"),
        ("[http://o.example/]", 7, "an item that is no map"),
        ("http://o.example/", 7, "an item that is no map"),
    ] {
        wrong(item, column, &[part]);
    }
    let many: Vec<_> = (0..9).map(|n| format!("http://o{n}.example/")).collect();
    wrong(&format!("{{url: [{}]}}", many.join(", ")), 13, &["has 9 URLs; allowed: at most 8"]);
}

#[test]
fn a_url_with_a_user_is_refused_without_repeating_it() {
    for url in ["https://user:hunter2@o.example/", "https://hunter2@o.example/", "https://u:hunter2@o.example/\\u0007"]
    {
        let item = format!("{{url: \"{url}\"}}");
        let lines = errors(origins(&format!("    - {item}\n")).map(|_| defaults()));
        assert!(lines.len() == 1 && lines[0].contains("a URL that has") && !lines[0].contains("hunter2"), "{lines:?}");
    }
}

#[test]
fn a_host_that_will_never_be_connected_to_is_refused_when_the_conf_is_read() {
    let item = |url: &str, lifted: bool| origins(&format!("    - {{url: \"{url}\", allow_private: {lifted}}}\n"));
    for (url, what) in [
        ("http://127.0.0.1:9000/", "loopback"),
        ("http://localhost:9000/", "this machine"),
        ("http://a.localhost/", "this machine"),
        ("http://10.0.0.1/", "private"),
        ("http://100.64.0.1/", "private"),
        ("http://[::1]/", "loopback"),
        ("http://[fd00::1]/", "unique local"),
        ("http://[::ffff:10.0.0.1]/", "IPv4-mapped"),
    ] {
        let refused = item(url, false).map(|_| defaults());
        one_error(refused, "c.yaml:3:13: ", &[what, "; allowed: with `allow_private: true`"]);
        assert_eq!(item(url, true).unwrap().len(), 1, "{url}");
    }
    for (url, what) in [
        ("http://169.254.169.254/", "a metadata service"),
        ("http://0.0.0.0/", "unspecified"),
        ("http://[ff02::1]/", "multicast"),
    ] {
        for lifted in [false, true] {
            one_error(item(url, lifted).map(|_| defaults()), "c.yaml:3:13: ", &[what, "; allowed: another host"]);
        }
    }
    assert!(item("http://192.0.1.1/", false).is_ok() && item("http://localhost.example/", false).is_ok());
}

#[test]
fn fields_of_connections_and_of_the_edge_itself_are_not_set() {
    for (name, why) in [
        ("Connection", "belongs to a connection"),
        ("transfer-encoding", "belongs to a connection"),
        ("Host", "comes from the URL"),
        ("content-length", "a fill has none"),
        ("Range", "a fill is of the whole"),
        ("If-None-Match", "is a precondition"),
        ("User-Agent", "`edge.fill.contact`"),
        ("Via", "loops"),
        ("a b", "is no name of a field"),
        ("é", "is no name of a field"),
        ("\"a\\nb\"", "is no name of a field"),
    ] {
        wrong(
            &format!("{{url: \"http://o.example/\", headers: {{{name}: hunter2}}}}"),
            44,
            &["`edge.origins[].headers`", why],
        );
    }
    wrong("{url: \"http://o.example/\", headers: {X-Key: a, x-key: b}}", 54, &["`x-key` stands there twice"]);
    wrong("{url: \"http://o.example/\", headers: [x-key]}", 43, &["is no map"]);
    let many: Vec<_> = (0..33).map(|n| format!("x-{n}: a")).collect();
    wrong(
        &format!("{{url: \"http://o.example/\", headers: {{{}}}}}", many.join(", ")),
        43,
        &["has 33 fields; allowed: at most 32"],
    );
}

#[test]
fn what_tells_one_client_from_another_is_not_passed_on() {
    for (name, why) in [
        ("cookie", "tells one client from another"),
        ("Authorization", "tells one client from another"),
        ("X-Forwarded-For", "tells one client from another"),
        ("forwarded", "tells one client from another"),
        ("range", "a fill is of the whole"),
        ("if-none-match", "is a precondition"),
        ("connection", "belongs to a connection"),
        ("accept-encoding", "codings"),
        ("\"a b\"", "is no name of a field"),
    ] {
        wrong(
            &format!("{{url: \"http://o.example/\", forward: [accept, {name}]}}"),
            52,
            &["`edge.origins[].forward`", why],
        );
    }
    wrong("{url: \"http://o.example/\", forward: [accept, Accept]}", 43, &["has `accept` twice"]);
    wrong("{url: \"http://o.example/\", headers: {accept: a}, forward: [accept]}", 65, &["which `headers` sets"]);
}

#[test]
fn origins_end_at_256() {
    let items = |count: usize| {
        (0..count).map(|n| format!("    - {{prefix: p{n}/, url: \"http://o.example/\"}}\n")).collect::<String>()
    };
    assert_eq!(origins(&items(256)).unwrap().len(), 256);
    one_error(origins(&items(257)).map(|_| defaults()), "c.yaml:3:5: ", &["has 257 items; allowed: at most 256"]);
}
