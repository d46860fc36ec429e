//! Which addresses are asked at all.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::process::Command;

use svc_edge_origin::Origin;

use super::*;
use crate::server::{BINARY, free_address};

/// A name that is not `localhost` and resolves to this machine or its network alone, where the machine has one.
fn private_name() -> Option<String> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let private = |address: SocketAddr| match address.ip() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback(),
    };
    let names = [host.trim(), "ip6-localhost", "ip6-loopback"];
    let found = names.into_iter().find(|name| {
        let addresses: Vec<_> = (*name, 80).to_socket_addrs().map(Iterator::collect).unwrap_or_default();
        !addresses.is_empty() && addresses.into_iter().all(private)
    });
    found.map(str::to_owned)
}

/// `svc-edge check` of an origin with this URL: exit code, and what was said.
fn check(url: &str) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("c.yaml");
    std::fs::write(&conf, format!("edge:\n  origins:\n    - {{prefix: live/, url: \"{url}\"}}\n")).unwrap();
    let done = Command::new(BINARY).args(["check", "--conf"]).arg(&conf).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned() + &String::from_utf8_lossy(&done.stdout);
    (done.status.code(), said)
}

#[test]
fn a_private_address_is_refused_after_its_name_was_resolved() {
    let Some(name) = private_name() else {
        eprintln!("no name of this machine resolves to a private address: nothing was asked");
        return;
    };
    let origin = Origin::start();
    let url = format!("http://{name}:{}/s/", origin.address().port());
    let server = origins(&[("live/", &url, "")], FILL).start();
    claim_faults(&server);
    server.claim("not_allowed");
    assert_refused(&get(&server, "a", &[]), 403, "not_allowed");
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_name_is_resolved_and_asked_by_its_name() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello"));
    let host = format!("localhost:{}", origin.address().port());
    let server = origins(&[("live/", &format!("http://{host}/s/"), ", allow_private: true")], FILL).start();
    assert_eq!(get(&server, "a", &[]).text(), "hello");
    assert_eq!(origin.requests("/s/a")[0].header("host"), Some(host.as_str()));
}

#[test]
fn a_url_that_can_not_be_meant_is_an_error_of_the_conf_with_its_line() {
    for url in [
        "http://user:secret@origin.example/",
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://localhost/",
        "http://0x7f.1/",
        "http://169.254.169.254/",
        "ftp://origin.example/",
    ] {
        let (code, said) = check(url);
        assert_eq!(code, Some(2), "{url}: {said}");
        assert!(said.contains(":3:"), "{url}: {said}");
    }
    let (code, said) = check("https://origin.example/");
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn of_several_urls_the_next_is_tried_when_one_does_not_answer() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello"));
    let urls = format!("[\"http://{}/s/\", \"{}\"]", free_address(), origin.url("/s/"));
    let yaml = format!(
        "  mode: live\n  fill: {{{FILL}}}\n  origins:\n    - {{prefix: live/, url: {urls}, allow_private: true}}\n"
    );
    let server = setup().edge(&yaml).start();
    claim_faults(&server);
    for name in ["a", "b"] {
        origin.route(&format!("/s/{name}"), text(name));
        assert_eq!(get(&server, name, &[]).text(), name);
    }
}

#[test]
fn of_several_addresses_of_one_name_the_next_is_tried_when_one_does_not_answer() {
    // Whichever family the name's first address is of, in one of the two rounds nobody listens there.
    let resolved: Vec<_> = ("localhost", 80).to_socket_addrs().map(Iterator::collect).unwrap_or_default();
    let families = [true, false].map(|v4| resolved.iter().any(|address: &SocketAddr| address.is_ipv4() == v4));
    if families != [true, true] {
        eprintln!("localhost has addresses of one family here, {resolved:?}: only that was asked");
    }
    for (present, origin) in families.into_iter().zip([Ok(Origin::start()), Origin::start_on_v6()]) {
        let (true, Ok(origin)) = (present, origin) else { continue };
        origin.fallback(|request| text(&request.target));
        let url = format!("http://localhost:{}/s/", origin.address().port());
        let server = origins(&[("live/", &url, ", allow_private: true")], FILL).start();
        claim_faults(&server);
        for name in ["a", "b", "c"] {
            assert_eq!(get(&server, name, &[]).text(), format!("/s/{name}"), "{}", origin.address());
        }
    }
}

#[test]
fn an_origin_of_ipv6_is_asked_like_any_other() {
    let Ok(origin) = Origin::start_on_v6() else {
        // Seen from here, so would it be from the server.
        eprintln!("this machine has no IPv6: nothing was asked");
        return;
    };
    origin.route("/s/a", text("hello"));
    let server = live(&origin);
    assert_eq!(get(&server, "a", &[]).text(), "hello");
    assert_eq!(origin.requests("/s/a")[0].header("host"), Some(origin.address().to_string().as_str()));
}
