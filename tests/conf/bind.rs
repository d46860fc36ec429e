//! `edge.bind`: addresses, listeners with TLS, and what is wrong with a certificate at its exact place.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;

const CERT: &str = "tests/conf/fixtures/cert.pem";
const KEY: &str = "tests/conf/fixtures/key.pem";

/// A directory with a good pair, `cert.pem` and `key.pem`, for files that are wrong to stand beside.
fn pair() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["a.example".into()]).unwrap().self_signed(&key).unwrap();
    put(&dir, "cert.pem", &cert.pem());
    put(&dir, "key.pem", &key.serialize_pem());
    dir
}

fn put(dir: &TempDir, name: &str, text: &str) {
    std::fs::write(dir.path().join(name), text).unwrap();
    std::fs::set_permissions(dir.path().join(name), PermissionsExt::from_mode(0o600)).unwrap();
}

/// A conf with one listener with TLS of the files in a directory.
fn listener(dir: &TempDir, cert: &str, key: &str) -> String {
    let dir = dir.path().display();
    format!("edge:\n  bind: {{addr: 127.0.0.1:1, tls: {{cert: {dir}/{cert}, key: {dir}/{key}}}}}\n")
}

#[test]
fn a_listener_is_an_address_or_a_map_alone_or_in_a_list() {
    let tls = |address| BindConf { tls: vec![certificate()], ..bind(address) };
    let trusted = "  ingress: {trusted_proxies: [127.0.0.1]}\n";
    let of = |text: &str| file(&format!("edge:\n  bind: {text}\n{trusted}")).unwrap().edge.bind;
    let pair = format!("{{cert: {CERT}, key: {KEY}}}");
    assert_eq!(of("localhost:1"), [bind("127.0.0.1:1")]);
    assert_eq!(of("{addr: localhost:1}"), [bind("127.0.0.1:1")]);
    assert_eq!(of(&format!("{{addr: localhost:1, tls: {pair}}}")), [tls("127.0.0.1:1")]);
    assert_eq!(
        of(&format!("[{{addr: \"[::1]:1\", tls: [{pair}]}}, localhost:2]")),
        [tls("[::1]:1"), bind("127.0.0.1:2")]
    );
    let more = BindConf { h2c: true, proxy_protocol: true, ..bind("127.0.0.1:1") };
    assert_eq!(of("{addr: localhost:1, tls: null, h2c: true, proxy_protocol: true}"), [more]);
    assert_eq!(of("[localhost:0, localhost:0]").len(), 2, "on port 0 each takes one of its own");
    assert_eq!((bind("127.0.0.1:1").scheme(), tls("127.0.0.1:1").scheme()), ("http", "https"));
}

#[test]
fn what_is_wrong_with_a_listener_is_named_at_its_place() {
    let pair = format!("cert: {CERT}, key: {KEY}");
    // What is wrong stands behind the caret.
    for (text, parts) in [
        ("bind: ^{}", &["`edge.bind[].addr`: is required and not here"][..]),
        ("bind: [{addr: ^here}]", &["`edge.bind[].addr`: `here` is no address", "`IP:port`"]),
        ("bind: [^[127.0.0.1:1]]", &["`edge.bind`: is a list", "or a map with an `addr`"]),
        ("^bind:", &["`edge.bind`: has no value"]),
        (
            "bind: {addr: localhost:1, ^tsl: null}",
            &["unknown key `edge.bind[].tsl`", "`edge.bind[].tls`?", "addr, tls, h2c, proxy_protocol"],
        ),
        ("bind: {addr: localhost:1, tls: ^yes}", &["`edge.bind[].tls`: is no map", "a `cert` and a `key`"]),
        ("bind: {addr: localhost:1, tls: ^[]}", &["`edge.bind[].tls` is empty", "or `null`"]),
        ("bind: {addr: localhost:1, tls: [^c.pem]}", &["an item that is no map"]),
        ("bind: {addr: localhost:1, tls: ^{CERT}}", &["`edge.bind[].tls[].key`: is required"]),
        (
            "bind: {addr: localhost:1, tls: [{PAIR, ^kye: 1}]}",
            &["unknown key `edge.bind[].tls[].kye`", "`edge.bind[].tls[].key`?"],
        ),
        ("bind: {addr: localhost:1, tls: {PAIR}, h2c: ^true}", &["`edge.bind[].h2c` is set beside `tls`"]),
        ("bind: {addr: localhost:1, tls: [{PAIR}, {cert: ^PAIR}]}", &["twice", "each certificate once"]),
        ("bind: ^[localhost:1, {addr: localhost:1}]", &["has 127.0.0.1:1 twice"]),
        ("bind: {addr: localhost:1}\n  metrics: ^localhost:1", &["as `edge.bind`"]),
        (
            "bind: ^[localhost:1, {addr: localhost:2, proxy_protocol: true}]",
            &["`edge.bind` has `proxy_protocol`", "`edge.ingress.trusted_proxies`", "allowed: both, or none"],
        ),
    ] {
        let text = text.replace("cert: ^PAIR", &format!("cert: ^{CERT}, key: {KEY}"));
        let text = format!("edge:\n  {}\n", text.replace("PAIR", &pair).replace("CERT", &format!("cert: {CERT}")));
        let before = text.split('^').next().unwrap();
        let column = before.rsplit('\n').next().unwrap().len() + 1;
        let place = format!("c.yaml:{}:{column}: ", before.matches('\n').count() + 1);
        one_error(file(&text.replace('^', "")), &place, parts);
    }
    let many: Vec<_> = (1..=32).map(|port| format!("localhost:{port}")).collect();
    one_error(
        file(&format!("edge: {{bind: [{}]}}", many.join(", "))),
        "c.yaml:1:14: ",
        &["has 32 items", "at most 31"],
    );
}

#[test]
fn a_variable_and_a_flag_give_addresses_and_a_variable_maps_in_brackets() {
    let by_variable = environment("SVC_EDGE_EDGE__BIND", "127.0.0.1:1, localhost:2").unwrap().edge.bind;
    assert_eq!(by_variable, [bind("127.0.0.1:1"), bind("127.0.0.1:2")]);
    let by_map = environment("SVC_EDGE_EDGE__BIND", "[{addr: localhost:1, h2c: true}]").unwrap().edge.bind;
    assert_eq!(by_map, [BindConf { h2c: true, ..bind("127.0.0.1:1") }]);
    one_error(
        environment("SVC_EDGE_EDGE__BIND", "[{addr: localhost:1, h2: true}]"),
        "SVC_EDGE_EDGE__BIND: ",
        &["unknown key `edge.bind[].h2`", "`edge.bind[].h2c`?"],
    );
}

#[test]
fn what_is_wrong_with_the_files_of_a_certificate_is_named_at_the_one_that_is_wrong() {
    let dir = pair();
    let good = std::fs::read_to_string(dir.path().join("key.pem")).unwrap();
    let cert = std::fs::read_to_string(dir.path().join("cert.pem")).unwrap();
    let rest = |text: &str| text.lines().skip(1).collect::<Vec<_>>().join("\n");
    for (name, text) in [
        ("none.pem", String::new()),
        ("text.pem", "a text\n".into()),
        ("half.pem", cert[..cert.len() / 2].to_owned()),
        ("other.pem", KeyPair::generate().unwrap().serialize_pem()),
        ("junk.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into()),
        ("junkkey.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".into()),
        (
            "locked.pem",
            format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{}", rest(&good).replace("PRIVATE", "ENCRYPTED PRIVATE")),
        ),
        (
            "oldlock.pem",
            format!(
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n{}",
                rest(&good)
            ),
        ),
        ("public.pem", KeyPair::generate().unwrap().public_key_pem()),
    ] {
        put(&dir, name, &text);
    }
    for (cert, key, wrong, why) in [
        ("missing.pem", "key.pem", "cert", "cannot be read: No such file"),
        (".", "key.pem", "cert", "cannot be read: not a regular file"),
        ("none.pem", "key.pem", "cert", "holds no certificate"),
        ("text.pem", "key.pem", "cert", "holds no certificate"),
        ("key.pem", "key.pem", "cert", "holds no certificate"),
        ("half.pem", "key.pem", "cert", "is no PEM"),
        ("junk.pem", "key.pem", "cert", "holds a certificate that is none"),
        ("cert.pem", "missing.pem", "key", "cannot be read: No such file"),
        ("cert.pem", "none.pem", "key", "holds no private key"),
        ("cert.pem", "cert.pem", "key", "holds a certificate and no key"),
        ("cert.pem", "public.pem", "key", "holds no private key"),
        ("cert.pem", "junkkey.pem", "key", "holds a key that can't be used"),
        ("cert.pem", "locked.pem", "key", "holds a key that is encrypted"),
        ("cert.pem", "oldlock.pem", "key", "holds a key that is encrypted"),
        ("cert.pem", "other.pem", "key", "holds no key of the certificate in"),
    ] {
        let text = listener(&dir, cert, key);
        let lines = errors(file(&text));
        let before = text
            .lines()
            .nth(1)
            .unwrap()
            .split(&format!(" {wrong}: "))
            .next()
            .unwrap()
            .split(&format!("{{{wrong}: "))
            .next()
            .unwrap();
        let place = format!("2:{}", before.len() + wrong.len() + ": ".len() + 2);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(
            lines[0].starts_with(&format!("c.yaml:{place}: ")) && lines[0].contains(why),
            "{cert} {key}: {lines:#?}"
        );
        assert!(lines[0].contains("; allowed: a PEM file"), "{lines:#?}");
        for secret in good.lines().filter(|line| line.len() > 30 && !line.starts_with('-')) {
            assert!(!lines[0].contains(secret), "{lines:#?}");
        }
    }
}

#[test]
fn a_command_on_the_cas_needs_no_certificate() {
    let dir = tempfile::tempdir().unwrap();
    put(&dir, "c.yaml", &listener(&dir, "cert.pem", "key.pem"));
    assert!(resolve_cas(Some(&dir.path().join("c.yaml")), None).is_ok());
}

#[test]
fn what_is_hardly_meant_with_a_certificate_is_warned_of() {
    let dir = pair();
    let now = SystemTime::now();
    let day = Duration::from_secs(86_400);
    let warned = |now| file(&listener(&dir, "cert.pem", "key.pem")).unwrap().edge.certificate_warnings(now);
    let make = |names: &[&str], from: SystemTime, until: SystemTime| {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        (params.not_before, params.not_after) = (from.into(), until.into());
        put(&dir, "cert.pem", &params.self_signed(&key).unwrap().pem());
        put(&dir, "key.pem", &key.serialize_pem());
    };
    make(&["b.example", "a.example"], now - day / 2, now + 90 * day + day / 2);
    assert_eq!(warned(now), Vec::<String>::new());
    assert_eq!(warned(now + 93 * day), ["the certificate of b.example: it expired 2 days ago"]);
    assert_eq!(warned(now - 4 * day), ["the certificate of b.example: it is valid only in 3 days"]);
    assert_eq!(warned(now + 80 * day), ["the certificate of b.example: it expires in 10 days"]);
    std::fs::set_permissions(dir.path().join("key.pem"), PermissionsExt::from_mode(0o644)).unwrap();
    let open = warned(now);
    assert!(open.len() == 1 && open[0].contains("can be read by everybody"), "{open:?}");
    make(&[], now - day, now + 90 * day);
    let nameless = warned(now);
    assert!(
        nameless.len() == 1 && nameless[0].starts_with("the certificate of cert: it has no subjectAltName"),
        "{nameless:?}"
    );
    make(&["a.example"], now - day, now + 90 * day);
    let chain = std::fs::read_to_string(dir.path().join("cert.pem")).unwrap() + &std::fs::read_to_string(CERT).unwrap();
    put(&dir, "cert.pem", &chain);
    let order = warned(now);
    assert!(order.len() == 1 && order[0].contains("its chain is not in order"), "{order:?}");
}

#[test]
fn a_certificate_that_two_listeners_share_is_warned_of_once() {
    let dir = pair();
    std::fs::set_permissions(dir.path().join("key.pem"), PermissionsExt::from_mode(0o644)).unwrap();
    let pair = format!("{{cert: {0}/cert.pem, key: {0}/key.pem}}", dir.path().display());
    let text = format!("edge:\n  bind: [{{addr: localhost:1, tls: {pair}}}, {{addr: localhost:2, tls: {pair}}}]\n");
    assert_eq!(file(&text).unwrap().edge.certificate_warnings(SystemTime::now()).len(), 1);
}
