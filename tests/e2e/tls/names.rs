//! Which certificate a client is shown.

use super::*;
use crate::authority::Authority;
use crate::server::setup;

#[test]
fn a_client_is_shown_the_certificate_for_the_name_that_it_asks_for_else_the_first() {
    let (authority, setup) = (Authority::new(), setup());
    let dir = setup.dir.path().to_owned();
    let first = authority.write(&dir, "first", &["first.test"], 90);
    let second = authority.write(&dir, "second", &["a.test", "b.test", "xn--mnchen-3ya.test"], 90);
    let wild = authority.write(&dir, "wild", &["*.wild.test"], 90);
    let other = authority.write(&dir, "other", &["a.test"], 90);
    let several = format!("{{addr: 127.0.0.1:0, tls: [{}, {}, {}]}}", first.yaml(), second.yaml(), wild.yaml());
    let alone = format!("{{addr: 127.0.0.1:0, tls: {}}}", other.yaml());
    let server = setup.bind(&[&several, &alone]).start();
    for (name, pair) in [
        (Some("first.test"), &first),
        (Some("a.test"), &second),
        (Some("A.TEST"), &second),
        (Some("b.test"), &second),
        (Some("xn--mnchen-3ya.test"), &second),
        (Some("c.wild.test"), &wild),
        (Some("x.y.wild.test"), &first),
        (Some("wild.test"), &first),
        (Some("nobody.example"), &first),
        (None, &first),
    ] {
        assert_eq!(shown(server.addresses[0], name), pair.der, "{name:?}");
        assert_eq!(shown(server.addresses[1], name), other.der, "each listener has its own: {name:?}");
    }
    // And clients that verify are content.
    for name in ["first.test", "b.test", "c.wild.test"] {
        connect(server.address, client(&authority, &VERSIONS, &[]), name).unwrap();
    }
    let refused = connect(server.address, client(&authority, &VERSIONS, &[]), "nobody.example").unwrap_err();
    assert!(refused.to_string().contains("not valid for name"), "{refused}");
}

#[test]
fn a_listener_in_clear_text_beside_one_with_tls_stays_so() {
    let (authority, setup) = (Authority::new(), setup().asset("a", b"hello"));
    let pair = authority.write(setup.dir.path(), "edge", &[HOST], 90);
    let server = setup.bind(&["127.0.0.1:0", &format!("{{addr: 127.0.0.1:0, tls: {}}}", pair.yaml())]).start();
    assert_eq!(server.get("/edge/assets/site/a", &[]).text(), "hello");
    let over_tls = connect(server.addresses[1], client(&authority, &VERSIONS, &[]), HOST).unwrap();
    let answer = crate::http::Client::through(over_tls).request("GET", "/edge/assets/site/a", &[]);
    assert_eq!(answer.text(), "hello");
}
