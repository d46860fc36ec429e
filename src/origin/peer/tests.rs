#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::Peer as _;

use super::*;
use crate::origin::{CircuitConf, OriginUrl, OriginsConf, RetryConf, Timeouts};

/// Two origins with the same URLs: a name and an address, both with TLS.
fn origins() -> Arc<Origins> {
    let url = |host| OriginUrl { https: true, host, port: 443, path: "/".into() };
    let urls = || vec![url(Host::Name("a.example".into())), url(Host::Ip([192, 0, 2, 1].into()))];
    let origin =
        |prefix: &str| OriginConf { prefix: prefix.into(), urls: urls(), allow_private: false, headers: Vec::new() };
    let second = Duration::from_secs(1);
    let conf = OriginsConf {
        origins: vec![origin("peer-a/"), origin("peer-b/")],
        name: "edge".into(),
        version: "1".into(),
        contact: None,
        timeouts: Timeouts { connect: second, read: 2 * second, total: 3 * second, min_rate: None },
        retry: RetryConf {
            base: second,
            max: second,
            count: 0,
            jitter: false,
            statuses: Vec::new(),
            timeouts: false,
            budget: 0,
        },
        circuit: CircuitConf { failures: 0, open_for: second },
        dns_ttl: second,
        target: |_, _, _| String::new(),
        refuse_address: |_, _| None,
    };
    let server = ServerConf { ca_file: Some("/dev/null".into()), ..ServerConf::default() };
    Origins::new(conf, &Arc::new(server))
}

fn stop(origin: usize, url: usize) -> Stop {
    Stop { origin, url, address: ([192, 0, 2, 1], 443).into() }
}

#[test]
fn a_connection_verifies_speaks_h1_and_has_every_deadline() {
    let peer = origins().peer(&stop(0, 0), Reuse::Allowed).unwrap();
    assert!(peer.is_tls() && peer.verify_cert() && peer.verify_hostname());
    assert_eq!((peer.sni(), &peer.options.alpn), ("a.example", &ALPN::H1));
    let second = Some(Duration::from_secs(1));
    assert_eq!((peer.options.connection_timeout, peer.options.total_connection_timeout), (second, second));
    assert_eq!(peer.options.read_timeout, Some(Duration::from_secs(2)));
    assert!(peer.options.write_timeout.is_some() && peer.options.idle_timeout.is_some());
    assert_eq!(origins().peer(&stop(0, 1), Reuse::Allowed).unwrap().sni(), "192.0.2.1");
    assert!(origins().peer(&stop(0, 2), Reuse::Allowed).is_err());
}

#[test]
fn a_connection_is_shared_only_by_requests_of_one_origin_to_one_name() {
    let origins = origins();
    let hash = |stop| origins.peer(&stop, Reuse::Allowed).unwrap().reuse_hash();
    assert_eq!(hash(stop(0, 0)), hash(stop(0, 0)));
    assert_ne!(hash(stop(0, 0)), hash(stop(0, 1)), "another name");
    assert_ne!(hash(stop(0, 0)), hash(stop(1, 0)), "another origin");
    let alone = || origins.peer(&stop(0, 0), Reuse::Never).unwrap();
    assert_ne!(alone().reuse_hash(), alone().reuse_hash());
    assert_eq!(alone().options.idle_timeout, Some(Duration::ZERO));
}

#[tokio::test]
async fn places_come_round_again_and_those_that_failed_come_last() {
    let origins = origins();
    let now = Instant::now();
    // The name has no address here: the resolver says so, or doesn't answer.
    let mut route = Route::new(&origins, 0).unwrap();
    assert_eq!(route.next(now).await.unwrap(), stop(0, 1));
    assert_eq!(route.next(now).await.unwrap(), stop(0, 1), "the only one, again");
    origins.states[0].rest(stop(0, 1).address, now);
    let mut route = Route::new(&origins, 0).unwrap();
    assert_eq!(route.next(now).await.unwrap(), stop(0, 1), "a failed one is better than none");
    assert!(Route::new(&origins, 2).is_err());
}
