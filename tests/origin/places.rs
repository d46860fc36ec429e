//! Where tries go: URLs, addresses, and addresses that may not be asked.

use std::net::{IpAddr, TcpListener};
use std::time::Instant;

use svc_edge::fill::fetch::{Fetch as _, FetchError, Wanted};
use svc_edge::origin::{Host, OriginUrl};

use super::support::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// A port at which nobody listens.
fn dead() -> OriginUrl {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    url(listener.local_addr().unwrap())
}

#[tokio::test]
async fn behind_a_dead_port_the_next_url_is_tried_and_then_asked_first() {
    let server = always(OK);
    let origins = origins(vec![dead(), server.url()], |conf| {
        conf.retry.base = 100 * MS;
        conf.retry.jitter = false;
    });
    let begun = Instant::now();
    assert_eq!(whole(&origins).await, (200, "hello".into()));
    assert!(begun.elapsed() >= 100 * MS, "a wait lies between the tries");
    let begun = Instant::now();
    assert_eq!(whole(&origins).await, (200, "hello".into()));
    assert!(begun.elapsed() < 100 * MS, "the dead one rests: {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_dead_origin_is_unreachable_and_its_address_is_in_no_message() {
    let url = dead();
    let (port, origins) = (url.port.to_string(), origins(vec![url], |_| {}));
    let FetchError::Unreachable(why) = refused(&origins).await else { panic!("not unreachable") };
    assert!(why.contains("refused") && !why.contains(&port), "{why}");
}

#[tokio::test]
async fn an_address_that_may_not_be_asked_is_never_connected_to() {
    let server = always(OK);
    let name = OriginUrl { host: Host::Name("localhost".into()), ..server.url() };
    for url in [server.url(), name] {
        let origins = origins(vec![url], |conf| conf.origins[0].allow_private = false);
        assert!(matches!(refused(&origins).await, FetchError::NotAllowed(_)));
        assert!(matches!(origins.peer_for(0).await, Err(FetchError::NotAllowed(_))));
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn of_several_addresses_those_that_may_be_asked_are() {
    let server = always(OK);
    let name = OriginUrl { host: Host::Name("localhost".into()), ..server.url() };
    let origins = origins(vec![name], |conf| {
        conf.refuse_address = |address: IpAddr, _| address.is_ipv6().then_some("version 6");
    });
    assert_eq!(whole(&origins).await, (200, "hello".into()));
}

#[tokio::test]
async fn a_name_is_resolved_and_each_of_its_addresses_tried() {
    // It listens on one family alone: where the name has both, the other is refused first or never.
    let server = always(OK);
    let name = OriginUrl { host: Host::Name("localhost".into()), ..server.url() };
    assert_eq!(whole(&origins(vec![name], |_| {})).await, (200, "hello".into()));
    assert!(server.heads()[0].contains(&format!("Host: localhost:{}\r\n", server.address.port())));
}

#[tokio::test]
async fn a_name_without_addresses_is_unreachable() {
    let name = OriginUrl { https: false, host: Host::Name("nowhere.invalid".into()), port: 80, path: "/".into() };
    let origins = origins(vec![name], |conf| conf.retry.count = 0);
    let FetchError::Unreachable(why) = refused(&origins).await else { panic!("not unreachable") };
    assert!(why.starts_with("nowhere.invalid: "), "{why}");
}

#[tokio::test]
async fn an_ipv6_origin_is_reached_by_its_literal() {
    let server = serve_at("[::1]:0", |conn| while conn.request().is_some() && conn.send(OK) {});
    assert_eq!(whole(&one(&server)).await, (200, "hello".into()));
    assert!(server.heads()[0].contains(&format!("Host: [::1]:{}\r\n", server.address.port())));
}

#[tokio::test]
async fn tls_is_never_left_out_where_the_url_says_https() {
    let server = always(OK);
    let origins = origins(vec![OriginUrl { https: true, ..server.url() }], |conf| conf.retry.count = 1);
    assert!(matches!(refused(&origins).await, FetchError::Unreachable(_) | FetchError::TimedOut(_)));
    assert!(server.connections() >= 1 && server.requests() == 0, "a handshake came, and no request");
}

#[tokio::test]
async fn an_origin_that_the_conf_does_not_have_is_unreachable() {
    let server = always(OK);
    let asked = one(&server).fetch(Wanted { origin: 1, ..wanted("a") }).await;
    assert!(matches!(asked, Err(FetchError::Unreachable(_))));
    assert!(one(&server).peer_for(1).await.is_err());
}
