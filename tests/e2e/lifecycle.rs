//! Start and stop.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::fixtures::{noise, sample};
use crate::server::{BINARY, await_answer, free_address, setup};

#[test]
fn the_line_of_the_readme_serves_the_sample_pack() {
    let (address, admin) = (free_address(), free_address());
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(BINARY)
        .args(["--bind", &address.to_string(), "--metrics", &admin.to_string(), "--mode", "offline", "--pack"])
        .arg(sample("tile.pmtiles"))
        .current_dir(dir.path())
        .spawn()
        .unwrap();
    await_answer(address);
    let answer = crate::http::Client::connect(address).request("GET", "/edge/assets/tile/0/0/0.mvt", &[]);
    assert_eq!(answer.status, 200);
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_port_in_use_ends_the_process_at_once_with_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    for (public, admin) in [(address.as_str(), "127.0.0.1:0"), ("127.0.0.1:0", address.as_str())] {
        let since = Instant::now();
        let done =
            Command::new(BINARY).args(["--bind", public, "--metrics", admin]).current_dir(dir.path()).output().unwrap();
        assert!(!done.status.success());
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(said.contains(&address), "{said}");
        assert!(since.elapsed() < Duration::from_secs(10), "Pingora would have tried for half a minute");
    }
}

#[test]
fn sigterm_finishes_what_is_in_flight_and_exits_zero() {
    let large = noise(20_000_000, 1);
    for signal in ["TERM", "INT"] {
        let mut server = setup().asset("large", &large).start();
        let mut client = server.client();
        client.send(b"GET /edge/assets/site/large HTTP/1.1\r\nHost: edge.test\r\n\r\n");
        // Let it begin; most of it still has to be sent, for we don't read yet.
        std::thread::sleep(Duration::from_millis(200));
        server.signal(signal);
        server.eventually("draining", || !server.logged("draining").is_empty());
        assert_eq!(server.admin("/readyz").status, 503);
        let answer = client.response(false).unwrap();
        assert!(answer.body == large, "SIG{signal}");
        assert!(server.wait().success(), "SIG{signal}");
    }
}

#[test]
fn sighup_does_not_end_the_process() {
    let mut server = setup().start();
    server.signal("HUP");
    std::thread::sleep(Duration::from_millis(300));
    assert!(server.alive());
    assert_eq!(server.get("/healthz", &[]).status, 200);
}

#[test]
fn a_client_that_leaves_in_the_middle_leaves_nothing_behind() {
    let large = noise(20_000_000, 4);
    let server = setup().asset("large", &large).start();
    for _ in 0..20 {
        let mut client = server.client();
        client.send(b"GET /edge/assets/site/large HTTP/1.1\r\nHost: edge.test\r\n\r\n");
        std::thread::sleep(Duration::from_millis(10));
        drop(client);
    }
    server.eventually("nothing in flight", || server.metric("edge_inflight") == 0.0);
    assert_eq!(server.get("/edge/assets/site/large", &[("Range", "bytes=0-9")]).body, large[..10]);
}

#[test]
fn a_stop_closes_idle_connections_and_answers_a_request_that_is_on_its_way() {
    let mut server = setup().asset("a.txt", b"hello").start();
    let (mut idle, mut busy) = (server.client(), server.client());
    for client in [&mut idle, &mut busy] {
        let answer = client.request("GET", "/edge/assets/site/a.txt", &[]);
        assert_eq!((answer.status, answer.header("connection")), (200, Some("keep-alive")));
    }
    server.signal("TERM");
    server.eventually("draining", || !server.logged("draining").is_empty());
    let answer = busy.request("GET", "/edge/assets/site/a.txt", &[]);
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(server.wait().success());
    assert!(idle.rest().unwrap().is_empty(), "closed, without a word");
}

#[test]
fn a_stop_refuses_connections_at_once_and_the_admin_says_so_until_the_end() {
    let large = noise(20_000_000, 9);
    let mut server = setup().asset("large", &large).start();
    let mut client = server.client();
    client.send(b"GET /edge/assets/site/large HTTP/1.1\r\nHost: edge.test\r\n\r\n");
    server.eventually("in flight", || server.metric("edge_inflight") > 0.0);
    server.signal("TERM");
    server.eventually("refused", || std::net::TcpStream::connect(server.address).is_err());
    let answer = server.admin("/readyz");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("not_draining"), "{answer:?}");
    assert!(client.response(false).unwrap().body == large);
    assert!(server.wait().success());
}

#[test]
fn with_a_shutdown_delay_connections_are_accepted_while_readiness_is_gone_already() {
    let mut server = setup().asset("a.txt", b"hello").edge("  ingress: {shutdown_delay: 1h}\n").start();
    server.signal("TERM");
    server.eventually("not ready", || server.get("/readyz", &[]).status == 503);
    let answer = server.get("/edge/assets/site/a.txt", &[]);
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(server.alive(), "an hour has not passed");
    // Whoever asks twice does not want to wait.
    server.signal("INT");
    assert!(server.wait().success());
}

#[test]
fn a_second_signal_ends_the_drain() {
    let large = noise(50_000_000, 10);
    let mut server = setup().asset("large", &large).top("grace_period_seconds: 3600\n").start();
    server.claim("body_cut");
    let mut client = server.client();
    client.send(b"GET /edge/assets/site/large HTTP/1.1\r\nHost: edge.test\r\n\r\n");
    server.eventually("in flight", || server.metric("edge_inflight") > 0.0);
    server.signal("TERM");
    server.eventually("draining", || !server.logged("draining").is_empty());
    // A signal of a kind that is pending already is one signal.
    server.signal("INT");
    assert!(server.wait().success());
    assert!(client.response(false).is_err(), "half of it is not ended as if it were all");
}
