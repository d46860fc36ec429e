//! Certificates that change while they are served.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;

use super::*;
use crate::authority::put;
use crate::server::Server;

/// More looks than it takes to take up what can be used, and fewer than it takes to call it a fault.
const LOOKS: Duration = Duration::from_millis(2500);

fn serves(server: &Server, der: &CertificateDer<'static>) -> bool {
    shown(server.address, Some(HOST)) == *der
}

#[test]
fn a_new_certificate_is_served_without_a_restart_and_no_request_fails() {
    let (server, authority, old) = started();
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut under_way = browser(&server, &authority);
    assert_eq!(under_way.request("GET", "/edge/assets/site/a", &[]).text(), "hello");
    std::thread::scope(|scope| {
        let load = || {
            while !stop.load(Relaxed) {
                assert_eq!(browser(&server, &authority).request("GET", "/edge/assets/site/a", &[]).text(), "hello");
                asked.fetch_add(1, Relaxed);
            }
        };
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(load)).collect();
        let mut last = old;
        for _ in 0..3 {
            assert!(serves(&server, &last.der));
            let next = authority.write(server.dir.path(), "edge", &[HOST], 90);
            server.eventually("taken up", || serves(&server, &next.der));
            last = next;
        }
        stop.store(true, Relaxed);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert!(asked.load(Relaxed) > 10);
    // A connection that was there before goes on.
    assert_eq!(under_way.request("GET", "/edge/assets/site/a", &[]).text(), "hello");
    server.eventually("told", || server.logged("certificates_reloaded").len() == 3);
    let told = &server.logged("certificates_reloaded")[0];
    assert_eq!(told["listener"].as_str(), Some(server.address.to_string().as_str()), "{told}");
    assert!(told.to_string().contains(HOST), "{told}");
}

#[test]
fn a_key_that_is_written_before_its_certificate_is_no_fault() {
    let (server, authority, old) = started();
    let (cert, key) = authority.sign(&[HOST]);
    put(&old.key, &key);
    std::thread::sleep(LOOKS);
    assert!(serves(&server, &old.der), "the old one stays while they don't match");
    put(&old.cert, &cert);
    server.eventually("taken up", || !serves(&server, &old.der));
    assert!(server.logged("certificates_refused").is_empty());
    // And the other way round, half a file at first.
    let (before, (cert, key)) = (shown(server.address, Some(HOST)), authority.sign(&[HOST]));
    std::fs::write(&old.cert, &cert[..cert.len() / 2]).unwrap();
    std::thread::sleep(Duration::from_millis(1200));
    assert!(serves(&server, &before));
    std::fs::write(&old.cert, &cert).unwrap();
    std::thread::sleep(Duration::from_millis(1200));
    put(&old.key, &key);
    server.eventually("taken up", || !serves(&server, &before));
    assert!(server.logged("certificates_refused").is_empty());
}

#[test]
fn files_that_stay_wrong_are_told_once_and_the_old_certificate_stays() {
    let (server, authority, old) = started();
    server.claim("certificates_refused");
    let (cert, key) = authority.sign(&[HOST]);
    put(&old.cert, &cert);
    server.eventually("told", || !server.logged("certificates_refused").is_empty());
    let cause = server.logged("certificates_refused")[0]["cause"].to_string();
    assert!(cause.contains("no key of the certificate"), "{cause}");
    std::thread::sleep(LOOKS);
    assert_eq!(server.logged("certificates_refused").len(), 1, "once, not at each look");
    assert!(serves(&server, &old.der));
    std::fs::remove_file(&old.key).unwrap();
    server.eventually("told", || server.logged("certificates_refused").len() == 2);
    assert!(serves(&server, &old.der));
    put(&old.key, &key);
    server.eventually("taken up", || !serves(&server, &old.der));
}

#[test]
fn an_expired_certificate_takes_no_other_ones_place() {
    let (server, authority, old) = started();
    server.claim("certificates_refused");
    let expired = authority.write(server.dir.path(), "edge", &[HOST], -1);
    server.eventually("told", || !server.logged("certificates_refused").is_empty());
    assert!(server.logged("certificates_refused")[0]["cause"].to_string().contains("has expired"));
    assert!(serves(&server, &old.der) && !serves(&server, &expired.der));
}

#[test]
fn a_hangup_takes_up_certificates_at_once_and_tells_of_those_that_can_t_be_used() {
    let (server, authority, old) = started();
    let next = authority.write(server.dir.path(), "edge", &[HOST], 90);
    server.signal("HUP");
    server.eventually("taken up", || serves(&server, &next.der));
    server.claim("certificates_refused");
    // The conf names them, and is read again too.
    server.claim("conf_refused");
    put(&old.cert, "nothing");
    server.signal("HUP");
    server.eventually("told", || !server.logged("certificates_refused").is_empty());
    assert!(serves(&server, &next.der));
}

#[test]
fn one_pair_that_is_wrong_keeps_no_other_from_being_taken_up() {
    let (authority, setup) = (crate::authority::Authority::new(), crate::server::setup());
    let dir = setup.dir.path().to_owned();
    let one = authority.write(&dir, "one", &["one.test"], 90);
    let two = authority.write(&dir, "two", &["two.test"], 90);
    let bind = format!("{{addr: 127.0.0.1:0, tls: [{}, {}]}}", one.yaml(), two.yaml());
    let server = setup.bind(&[&bind]).start();
    server.claim("certificates_refused");
    put(&one.key, "nothing");
    let next = authority.write(&dir, "two", &["two.test", "three.test"], 90);
    server.eventually("taken up", || shown(server.address, Some("two.test")) == next.der);
    assert_eq!(shown(server.address, Some("three.test")), next.der);
    assert_eq!(shown(server.address, Some("one.test")), one.der);
    server.eventually("told", || !server.logged("certificates_refused").is_empty());
}

#[test]
fn how_long_certificates_are_valid_is_measured_and_warned_of() {
    let (setup, authority, _) = secure(crate::server::setup());
    authority.write(setup.dir.path(), "edge", &[HOST], 5);
    let server = setup.start();
    server.claim("certificate_validity");
    server.eventually("warned", || server.logged("certificate_validity").len() == 1);
    let warning = server.logged("certificate_validity")[0].to_string();
    assert!(warning.contains(HOST) && warning.contains("it expires in"), "{warning}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let days =
        || (server.metric(&format!("edge_tls_certificate_not_after_seconds{{name=\"{HOST}\"}}")) - now) / 86_400.0;
    assert!((4.9..5.1).contains(&days()), "{}", days());
    authority.write(server.dir.path(), "edge", &[HOST], 90);
    server.eventually("measured", || (89.9..90.1).contains(&days()));
    assert_eq!(server.logged("certificate_validity").len(), 1, "the new one is good for long");
}
