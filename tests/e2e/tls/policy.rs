//! What answers say of TLS: HSTS, and the scheme of URLs.

use svc_edge_origin::{Origin, Script};

use super::*;
use crate::authority::Authority;
use crate::fixtures::sample;
use crate::http::Client;
use crate::server::setup;

const HSTS: &str = "strict-transport-security";

#[test]
fn hsts_stands_on_every_answer_over_tls_and_on_none_in_clear_text() {
    let origin = Origin::start();
    // What an origin says of its own host is not passed on.
    origin.route("/s/a", Script::fresh(60).header("Strict-Transport-Security", "max-age=1; preload").body(b"hello"));
    origin.route("/s/bad", Script::garbage(b"nonsense\r\n\r\n"));
    origin.route("/s/post", Script::status(200).body(b"posted"));
    let live = format!(
        "  mode: live\n  fill: {{retry: {{base: 10ms, max: 50ms}}}}\n  origins:\n    - {{prefix: live/, url: \"{}\", allow_private: true, pass: true}}\n",
        origin.url("/s/")
    );
    let (authority, setup) = (Authority::new(), setup().asset("a", b"hello").edge(&live));
    let pair = authority.write(setup.dir.path(), "edge", &[HOST], 90);
    let setup = setup.pack("tile", &sample("tile.pmtiles"), "");
    let server = setup.bind(&[&format!("{{addr: 127.0.0.1:0, tls: {}}}", pair.yaml()), "127.0.0.1:0"]).start();
    for event in ["fill_failed", "origin", "pingora", "fill"] {
        server.claim(event);
    }
    for (method, target, headers, status) in [
        ("GET", "/edge/assets/site/a", &[][..], 200),
        ("HEAD", "/edge/assets/site/a", &[], 200),
        ("GET", "/edge/assets/site/a", &[("Range", "bytes=1-2")], 206),
        ("GET", "/edge/assets/site/a", &[("Range", "bytes=9-")], 416),
        ("GET", "/edge/assets/site/a", &[("If-None-Match", "*")], 304),
        ("GET", "/edge/assets/site/a", &[("If-Match", "\"no\"")], 412),
        ("GET", "/edge/assets/nothing", &[], 404),
        ("GET", "/edge/assets/..%2f", &[], 400),
        ("OPTIONS", "/edge/assets/site/a", &[], 204),
        ("DELETE", "/edge/assets/site/a", &[], 405),
        ("GET", "/edge/assets/tile.json", &[], 200),
        ("GET", "/edge/assets/tile/0/0/0", &[], 200),
        ("GET", "/healthz", &[], 200),
        ("GET", "/edge/assets/live/a", &[], 200),
        ("GET", "/edge/assets/live/a", &[], 200),
        ("GET", "/edge/assets/live/bad", &[], 502),
        ("POST", "/edge/assets/live/post", &[("Content-Length", "0")], 200),
    ] {
        let over_tls = browser(&server, &authority).fetch(method, target, headers).unwrap();
        assert_eq!((over_tls.status, over_tls.header(HSTS)), (status, Some("max-age=31536000")), "{method} {target}");
        let plain = Client::connect(server.addresses[1]).fetch(method, target, headers).unwrap();
        assert_eq!((plain.status, plain.header(HSTS)), (status, None), "{method} {target}");
    }
    assert_eq!(server.admin("/healthz").header(HSTS), None);
}

#[test]
fn hsts_can_be_turned_off() {
    let (setup, authority, _) = secure(setup().asset("a", b"hello").edge("  http: {hsts: false}\n"));
    let server = setup.start();
    let answer = browser(&server, &authority).request("GET", "/edge/assets/site/a", &[]);
    assert_eq!((answer.status, answer.header(HSTS)), (200, None));
}

#[test]
fn urls_in_tilejson_have_the_scheme_by_which_they_are_reached() {
    let tiles = |answer: crate::http::Response| answer.json()["tiles"][0].as_str().unwrap().to_owned();
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let pair = authority.write(dir.path(), "edge", &[HOST], 90);
    let tls = format!("{{addr: 127.0.0.1:0, tls: {}}}", pair.yaml());
    let with =
        |binds: &[&str], lines: &str| setup().pack("tile", &sample("tile.pmtiles"), "").bind(binds).edge(lines).start();
    let ask = |address, secure: bool| {
        let mut client = match secure {
            true => Client::through(connect(address, client(&authority, &VERSIONS, &[]), HOST).unwrap()),
            false => Client::connect(address),
        };
        tiles(client.request("GET", "/edge/assets/tile.json", &[]))
    };
    // The address of the first listener, whichever is asked.
    let server = with(&[&tls, "127.0.0.1:0"], "");
    let base = format!("https://{}/edge/assets/tile/", server.address);
    assert!(ask(server.addresses[0], true).starts_with(&base));
    assert!(ask(server.addresses[1], false).starts_with(&base));
    let server = with(&["127.0.0.1:0", &tls], "");
    let base = format!("http://{}/edge/assets/tile/", server.address);
    assert!(ask(server.addresses[1], true).starts_with(&base));
    // A listed host, by the way that the request came.
    let server = with(&[&tls, "127.0.0.1:0"], &format!("  http: {{hosts: [{HOST}]}}\n"));
    assert!(ask(server.addresses[0], true).starts_with(&format!("https://{HOST}/")));
    assert!(ask(server.addresses[1], false).starts_with(&format!("http://{HOST}/")));
}
