//! What only the inside of `conf` can be asked: the YAML subset, scalars, the table against the code that reads it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, Instant};

use super::kind::Kind;
use super::layers::is_service_link;
use super::nearest::nearest_key;
use super::table::{KEYS, Known, PREFIX, SECTIONS, look_up, names_in};
use super::value::{self, Choice};
use super::yaml::{Mark, Node, Value, parse};

fn at(line: usize, column: usize) -> Mark {
    Mark { line, column }
}

/// The first fault of a text that must have one.
fn fault(text: impl AsRef<[u8]>) -> (usize, usize, String) {
    let faults = parse(text.as_ref()).unwrap_err();
    (faults[0].mark.line, faults[0].mark.column, faults[0].what.clone())
}

fn scalar(text: &str) -> Node {
    Node { mark: Mark::default(), value: Value::Scalar(text.to_owned()) }
}

#[test]
fn every_node_knows_its_line_and_column() {
    let root = parse("# é\nedge:\n  bind: [a,\n    \"b\"]\n".as_bytes()).unwrap();
    let Value::Map(top) = &root.value else { panic!("{root:?}") };
    assert_eq!((top[0].key.as_str(), top[0].mark), ("edge", at(2, 1)));
    let Value::Map(edge) = &top[0].node.value else { panic!("{top:?}") };
    assert_eq!((edge[0].key.as_str(), edge[0].mark, edge[0].node.mark), ("bind", at(3, 3), at(3, 9)));
    let Value::List(items) = &edge[0].node.value else { panic!("{edge:?}") };
    assert_eq!(items.iter().map(|item| item.mark).collect::<Vec<_>>(), [at(3, 10), at(4, 5)]);
}

#[test]
fn columns_count_characters_and_not_bytes() {
    let root = parse("{é: 1, b: 2}".as_bytes()).unwrap();
    let Value::Map(top) = &root.value else { panic!("{root:?}") };
    assert_eq!(top[1].mark, at(1, 8));
}

#[test]
fn an_empty_text_and_a_comment_are_null() {
    for text in ["", "# nothing\n", "---\n", "~", "null\n", "\u{feff}# with a byte order mark\n"] {
        assert_eq!(parse(text.as_bytes()).unwrap().value, Value::Null, "{text:?}");
    }
}

#[test]
fn a_quoted_null_is_text() {
    assert_eq!(parse(b"\"null\"").unwrap().value, Value::Scalar("null".into()));
}

#[test]
fn what_yaml_has_beyond_maps_lists_and_scalars_is_refused_at_its_place() {
    for (text, line, column, what) in [
        ("a: 1\nb: *x\n", 2, 4, "unknown anchor"),
        ("a: &x 1\n", 1, 4, "anchor"),
        ("a: !!str 1\n", 1, 4, "tag"),
        ("a: !include b\n", 1, 4, "tag"),
        ("a: &x [1]\n", 1, 4, "anchor"),
        ("a: 1\n---\nb: 1\n", 2, 1, "second document"),
        ("? [a]\n: 1\n", 1, 3, "as a key"),
        ("a: 1\n  b: 2\n", 2, 4, "mapping values"),
        ("a: \u{7}\n", 1, 4, "control character"),
        ("a: 1\nb: \0\nc: 1\n", 2, 4, "control character"),
    ] {
        let found = fault(text);
        assert_eq!((found.0, found.1), (line, column), "{text:?}: {found:?}");
        assert!(found.2.contains(what), "{text:?}: {found:?}");
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_refused_at_their_place() {
    assert_eq!(fault(b"a: 1\nb: \xff\n"), (2, 4, "not UTF-8".into()));
}

#[test]
fn every_duplicate_key_is_found_with_the_line_of_the_first() {
    let faults = parse(b"a: 1\nb: 1\na: 2\nb: {c: 1, c: 2}\n").unwrap_err();
    let found: Vec<_> = faults.iter().map(|fault| (fault.mark, fault.what.as_str())).collect();
    let said = |key, line| format!("`{key}` stands here again; first on line {line}");
    let wanted = [(at(3, 1), said("a", 1)), (at(4, 11), said("c", 4)), (at(4, 1), said("b", 2))];
    assert_eq!(found, wanted.iter().map(|(mark, what)| (*mark, what.as_str())).collect::<Vec<_>>());
}

/// A mebibyte of each must end in a time that nobody notices; the bound is wide for slow builders.
#[test]
fn hostile_texts_end_quickly() {
    let mib = 1 << 20;
    let fill = |piece: &str| piece.repeat(mib / piece.len());
    let keys: String = (0..90_000).map(|n| format!("k{n}: 1\n")).collect();
    let bomb = "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n";
    let texts = [
        fill("["),
        fill("{"),
        fill("- "),
        fill("? "),
        fill("a: "),
        fill("{a: "),
        fill("[a,"),
        fill("\""),
        fill("'"),
        fill("!"),
        fill("&a "),
        fill("*a "),
        fill("%"),
        fill("|"),
        fill("#"),
        fill("a"),
        fill("\t"),
        fill("\r"),
        fill("- a\n"),
        fill("a: 1\n"),
        fill("\\"),
        fill(" [\n"),
        keys,
        bomb.into(),
        "a".repeat(mib + 1),
    ];
    for text in texts {
        let start = Instant::now();
        let _ = parse(text.as_bytes()).map(drop);
        let head: String = text.chars().take(8).collect();
        assert!(start.elapsed() < Duration::from_secs(10), "{head:?} took {:?}", start.elapsed());
    }
}

#[test]
fn a_text_over_a_mebibyte_is_refused() {
    assert!(fault(" ".repeat((1 << 20) + 1)).2.contains("larger than 1024 KiB"));
    assert!(parse(" ".repeat(1 << 20).as_bytes()).is_ok());
}

#[test]
fn nesting_ends_at_sixteen_levels() {
    let nested = |levels| "[".repeat(levels) + &"]".repeat(levels);
    assert!(parse(nested(16).as_bytes()).is_ok());
    assert_eq!(fault(nested(17)), (1, 17, "nested deeper than 16 levels".into()));
}

#[test]
fn sizes_are_exact_or_refused() {
    let kind = Kind::Size(0, u64::MAX);
    for (text, bytes) in [
        ("0", 0),
        ("4096", 4096),
        ("1B", 1),
        ("1KiB", 1024),
        ("1kib", 1024),
        ("1KB", 1000),
        ("1 MiB", 1 << 20),
        ("10GiB", 10 << 30),
        ("2TB", 2_000_000_000_000),
        ("9007199254740993B", 9_007_199_254_740_993),
        ("18446744073709551615", u64::MAX),
    ] {
        assert_eq!(value::size(&kind, &scalar(text)), Ok(bytes), "{text}");
    }
    for text in [
        "-1",
        "-1KiB",
        "+1",
        "1.5GiB",
        ".5",
        "1K",
        "1k",
        "10g",
        "KiB",
        "1 KiB x",
        "1e3",
        "0x10",
        "1_000",
        "18446744073709551616",
        "20EiB",
        "99999999999999999999KiB",
        "١KiB",
        "",
    ] {
        assert!(value::size(&kind, &scalar(text)).is_err(), "{text}");
    }
}

#[test]
fn durations_have_units_and_no_sign() {
    let kind = Kind::Time(Duration::ZERO, Duration::from_secs(86_400));
    for (text, ms) in
        [("50ms", 50), ("5s", 5_000), ("1h", 3_600_000), ("1h 30m", 5_400_000), ("0s", 0), ("1.5s", 1_500)]
    {
        assert_eq!(value::time(&kind, &scalar(text)), Ok(Duration::from_millis(ms)), "{text}");
    }
    for text in ["5", "-5s", "s", "5 parsecs", "2days", "99999999999999999999s", "584942417355y", ""] {
        assert!(value::time(&kind, &scalar(text)).is_err(), "{text}");
    }
}

#[test]
fn numbers_are_digits_within_bounds() {
    let kind = Kind::Number(1, 10);
    assert_eq!(value::number(&kind, &scalar("10")), Ok(10));
    for text in ["0", "11", "-1", "+1", "1.0", "1e1", "ten", "99999999999999999999"] {
        assert!(value::number(&kind, &scalar(text)).is_err(), "{text}");
    }
}

#[test]
fn names_of_packs_are_safe_in_urls() {
    for name in ["a", "world-v2.1_x", &"a".repeat(64)] {
        assert!(value::is_pack_name(name), "{name}");
    }
    for name in ["", ".", ".hidden", "a/b", "a b", "é", "a%41", &"a".repeat(65)] {
        assert!(!value::is_pack_name(name), "{name}");
    }
}

#[test]
fn an_echo_is_short_and_has_no_control_characters() {
    assert_eq!(value::echo("a\u{1b}[31m\nb"), "a\u{fffd}[31m\u{fffd}b");
    assert_eq!(value::echo(&"é".repeat(1000)).chars().count(), 61);
}

#[test]
fn the_words_of_the_table_are_those_that_the_code_knows() {
    fn words<T: Choice>() -> Vec<&'static str> {
        T::ALL.iter().map(|(word, _)| *word).collect()
    }
    let known = [
        ("edge.mode", words::<super::Mode>()),
        ("edge.packs[].verify", words::<super::Verify>()),
        ("edge.packs[].missing_tile", words::<super::MissingTile>()),
        ("edge.origins[].query", words::<super::QueryPolicy>()),
        ("edge.cas.durability", words::<super::Durability>()),
        ("edge.fill.retry.retry_on", words::<super::RetryOn>()),
        ("edge.cas.store", words::<super::CasBacking>()),
        ("edge.log.format", words::<super::LogFormat>()),
        ("edge.log.level", words::<log::LevelFilter>()),
        ("edge.log.access", words::<super::AccessLog>()),
    ];
    for key in KEYS {
        if let Kind::Choice(words) | Kind::List(&Kind::Choice(words)) = key.kind {
            let (_, code) = known.iter().find(|(path, _)| *path == key.path).unwrap_or_else(|| panic!("{}", key.path));
            assert_eq!(words, code.as_slice(), "{}", key.path);
        }
    }
}

#[test]
fn the_table_is_sound() {
    for (index, key) in KEYS.iter().enumerate() {
        assert!(KEYS[..index].iter().all(|other| other.path != key.path), "{} stands twice", key.path);
        assert!(SECTIONS.iter().any(|section| section.path == key.section()), "{} is in no section", key.path);
        assert!(names_in(key.section()).contains(&key.name()), "{}", key.path);
        assert!(key.help.ends_with('.') && !key.help.contains('|'), "{}: one sentence", key.path);
        assert!(parse(key.default.as_bytes()).is_ok(), "{}", key.path);
        assert!(matches!(look_up(key.path), Known::Key(found) if found.path == key.path), "{}", key.path);
        if let Some(variable) = key.variable() {
            assert!(
                !is_service_link(variable.strip_prefix(PREFIX).unwrap(), "tcp://a"),
                "{variable} would be taken for a service link"
            );
        }
    }
}

#[test]
fn a_misspelling_suggests_the_nearest_key_and_a_stranger_none() {
    for (section, name, near) in [
        ("edge", "csa", Some("edge.cas")),
        ("edge", "Bind", Some("edge.bind")),
        ("edge.http", "chunk-bytes", Some("edge.http.chunk_bytes")),
        ("edge", "dir", Some("edge.cas.dir")),
        ("", "cas", Some("edge.cas")),
        ("edge.http", "osts", Some("edge.http.hosts")),
        ("edge.http", "hssts", Some("edge.http.hsts")),
        ("edge.log", "lvl", None),
        ("edge", "frobnicate", None),
    ] {
        assert_eq!(nearest_key(section, name).as_deref(), near, "{section}.{name}");
    }
    assert_eq!(nearest_key("edge", &"a".repeat(1 << 20)), None);
}

#[test]
fn the_links_that_kubernetes_makes_for_services_are_told_from_keys() {
    for (link, value) in [
        ("SERVICE_HOST", "10.0.0.1"),
        ("SERVICE_PORT", "8080"),
        ("SERVICE_PORT_HTTP", "8080"),
        ("PORT", "tcp://10.0.0.1:8080"),
        ("PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("PORT_8080_TCP_PROTO", "tcp"),
        ("PORT_8080_TCP_PORT", "8080"),
        ("PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("PORT_53_UDP_ADDR", "10.0.0.1"),
        ("METRICS_SERVICE_HOST", "10.0.0.1"),
        ("METRICS_PORT", "tcp://10.0.0.1:9090"),
    ] {
        assert!(is_service_link(link, value), "{link}");
    }
    for name in
        ["EDGE__MODE", "THREADS", "PORT", "METRICS_PORT", "EDGE__METRICS_SERVICE_HOST", "PORT_X_TCP", "TCP", "HOST"]
    {
        assert!(!is_service_link(name, "8080"), "{name}");
    }
}
