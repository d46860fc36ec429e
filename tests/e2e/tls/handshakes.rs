//! Versions, protocols, sessions: what is agreed on, and what is refused.

use rustls::{AlertDescription, HandshakeKind, ProtocolVersion};

use super::*;
use crate::authority::Authority;
use crate::http::Client;

/// What the server's alert said.
fn alert(error: &std::io::Error) -> AlertDescription {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        _ => panic!("no alert: {error:?}"),
    }
}

#[test]
fn both_versions_are_served_and_the_newest_is_preferred() {
    let (server, authority, _) = started();
    for (versions, agreed) in [
        (&VERSIONS[..1], ProtocolVersion::TLSv1_2),
        (&VERSIONS[1..], ProtocolVersion::TLSv1_3),
        (&VERSIONS[..], ProtocolVersion::TLSv1_3),
    ] {
        let connection = connect(server.address, client(&authority, versions, &["http/1.1"]), HOST).unwrap();
        assert_eq!(connection.conn.protocol_version(), Some(agreed));
        assert_eq!(Client::through(connection).request("GET", "/edge/assets/site/a", &[]).text(), "hello");
    }
    assert_eq!(handshakes(&server, "done"), 3.0);
}

#[test]
fn http_2_is_chosen_where_it_is_offered_and_an_unknown_protocol_is_refused() {
    let (server, authority, _) = started();
    for (offered, chosen) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&["http/1.1"], Some(b"http/1.1")),
        (&["http/1.0", "http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let connection = connect(server.address, client(&authority, &VERSIONS, offered), HOST).unwrap();
        assert_eq!(connection.conn.alpn_protocol(), chosen, "{offered:?}");
    }
    // RFC 7301 §3.2: nothing in common is a fatal alert.
    for offered in [&["spdy/3"][..], &["http/1.0"], &["h2c"], &["h3"]] {
        let refused = connect(server.address, client(&authority, &VERSIONS, offered), HOST).unwrap_err();
        assert_eq!(alert(&refused), AlertDescription::NoApplicationProtocol, "{offered:?}");
    }
    // The alert is sent before it is counted.
    server.eventually("counted", || handshakes(&server, "incompatible") == 4.0);
    // Without ALPN, HTTP/1.1 is spoken.
    let connection = connect(server.address, client(&authority, &VERSIONS, &[]), HOST).unwrap();
    assert_eq!(Client::through(connection).request("GET", "/edge/assets/site/a", &[]).text(), "hello");
}

#[test]
fn a_session_is_resumed_and_nothing_of_it_is_sent_early() {
    let (server, authority, _) = started();
    for version in VERSIONS {
        let config = client(&authority, &[version], &["http/1.1"]);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            let connection = connect(server.address, config.clone(), HOST).unwrap();
            assert_eq!(connection.conn.handshake_kind(), Some(kind), "{version:?}");
            assert!(!connection.conn.is_early_data_accepted());
            // TLS 1.3 sends its tickets behind the handshake: they come with the answer.
            assert_eq!(Client::through(connection).request("GET", "/edge/assets/site/a", &[]).status, 200);
        }
    }
}

#[test]
fn a_session_is_not_resumed_under_another_name() {
    let (authority, setup) = (Authority::new(), crate::server::setup());
    let one = authority.write(setup.dir.path(), "one", &["one.test"], 90);
    let two = authority.write(setup.dir.path(), "two", &["two.test"], 90);
    let bind = format!("{{addr: 127.0.0.1:0, tls: [{}, {}]}}", one.yaml(), two.yaml());
    let server = setup.bind(&[&bind]).start();
    let config = client(&authority, &VERSIONS, &["http/1.1"]);
    for name in ["one.test", "two.test", "one.test"] {
        let connection = connect(server.address, config.clone(), name).unwrap();
        let shown = connection.conn.peer_certificates().unwrap()[0].clone();
        assert_eq!(shown, if name == "one.test" { one.der.clone() } else { two.der.clone() });
        assert_eq!(Client::through(connection).request("GET", "/healthz", &[]).status, 200);
    }
}

#[test]
fn a_client_that_does_not_trust_the_certificate_is_counted_as_one_that_refuses() {
    let (server, _, _) = started();
    let stranger = Authority::new();
    assert!(connect(server.address, client(&stranger, &VERSIONS, &[]), HOST).is_err());
    server.eventually("counted", || handshakes(&server, "refused") == 1.0);
}
