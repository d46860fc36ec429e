//! How many connections there may be.

use std::io::Read;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::http::Client;
use crate::server::{Server, setup};

const PATH: &str = "/edge/assets/site/a.txt";

/// As many connections as are asked for, on which nothing is said.
fn idle(server: &Server, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| TcpStream::connect(server.address).unwrap()).collect()
}

/// A refusal for want of a place, whole.
fn is_refused(mut client: Client) {
    let answer = client.response(false).unwrap();
    assert_eq!((answer.status, answer.header("x-reason")), (503, Some("connections")), "{answer:?}");
    let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3).contains(&after));
    assert_eq!((answer.header("connection"), answer.header("cache-control")), (Some("close"), Some("no-store")));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "a page can see why");
    assert!(client.closed());
}

#[test]
fn a_connection_above_the_bound_is_refused_with_a_reason_and_the_next_one_finds_a_place() {
    let server = setup().asset("a.txt", b"hello").edge("  ingress: {max_connections: 10}\n").start();
    server.eventually("nobody", || server.metric("edge_connections") == 0.0);
    let before = server.metric("edge_connections_accepted_total");
    let mut held = idle(&server, 10);
    server.eventually("ten", || server.metric("edge_connections") == 10.0);
    // Whether it has asked already or not.
    is_refused(server.client());
    let mut asking = server.client();
    asking.send(format!("GET {PATH} HTTP/1.1\r\nHost: edge.test\r\n\r\n").as_bytes());
    is_refused(asking);
    server.counts("rejected_total{reason=\"connections\"}", 2.0);
    held.pop();
    server.eventually("nine", || server.metric("edge_connections") == 9.0);
    assert_eq!(server.get(PATH, &[]).body, b"hello");
    // Probes have a listener of their own.
    assert_eq!(server.admin("/readyz").status, 200);
    drop(held);
    server.eventually("none", || server.metric("edge_connections") == 0.0);
    server.counts("edge_connections_accepted_total", before + 13.0);
}

#[test]
fn a_flood_above_the_bound_costs_no_places_that_stay_taken() {
    let server = setup().asset("a.txt", b"hello").edge("  ingress: {max_connections: 5}\n").start();
    let held = idle(&server, 5);
    server.eventually("five", || server.metric("edge_connections") == 5.0);
    // More at a time than are told why.
    let refused = idle(&server, 300);
    server.eventually("all are refused", || server.metric("rejected_total{reason=\"connections\"}") == 300.0);
    let told = refused
        .into_iter()
        .filter(|stream| {
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut first = [0; 12];
            let mut stream = stream;
            stream.read_exact(&mut first).is_ok_and(|()| &first == b"HTTP/1.1 503")
        })
        .count();
    assert!(told >= 64, "{told} were told why");
    drop(held);
    server.eventually("none", || server.metric("edge_connections") == 0.0);
    assert_eq!(server.get(PATH, &[]).body, b"hello");
}

#[test]
fn one_client_takes_no_more_than_its_share() {
    let bounds = "  ingress: {max_connections: 100, max_connections_per_client: 3}\n";
    let server = setup().bind(&["0.0.0.0:0"]).asset("a.txt", b"hello").edge(bounds).start();
    let port = server.address.port();
    let from = |ip: &str| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(format!("{ip}:0").parse().unwrap()).unwrap();
            socket.connect(([127, 0, 0, 1], port).into()).await.unwrap().into_std().unwrap()
        });
        stream.set_nonblocking(false).unwrap();
        Client::over(stream)
    };
    let mut held: Vec<_> = (0..3).map(|_| from("127.0.0.7")).collect();
    server.eventually("three", || server.metric("edge_connections") == 3.0);
    is_refused(from("127.0.0.7"));
    assert_eq!(from("127.0.0.8").request("GET", PATH, &[]).body, b"hello");
    held.pop();
    server.eventually("two", || server.metric("edge_connections") == 2.0);
    assert_eq!(from("127.0.0.7").request("GET", PATH, &[]).body, b"hello");
}

#[test]
fn a_connection_is_closed_after_its_last_request_and_says_so() {
    let server = setup().asset("a.txt", b"hello").edge("  ingress: {keepalive_requests: 3}\n").start();
    let mut client = server.client();
    for last in [false, false, true] {
        let answer = client.request("GET", PATH, &[]);
        assert_eq!(answer.body, b"hello");
        assert_eq!(answer.header("connection") == Some("close"), last, "{answer:?}");
    }
    assert!(client.closed());
}

#[test]
fn two_thousand_idle_connections_cost_little_and_are_in_nobodys_way() {
    let server = setup().asset("a.txt", b"hello").start();
    assert_eq!(server.get(PATH, &[]).body, b"hello");
    let before = server.rss();
    let held = idle(&server, 2000);
    server.eventually("all of them", || server.metric("edge_connections") == 2000.0);
    assert_eq!(server.get(PATH, &[]).body, b"hello");
    let each = server.rss().saturating_sub(before) / 2000;
    // Buffers of 12 KiB, and futures that are larger without optimization.
    assert!(each < 64 << 10, "{each} bytes a connection");
    drop(held);
    server.eventually("none", || server.metric("edge_connections") == 0.0);
}

#[test]
fn without_descriptors_the_server_recovers_by_itself() {
    let mut server = setup().asset("a.txt", b"hello").start();
    let mut held = idle(&server, 30);
    server.eventually("thirty", || server.metric("edge_connections") == 30.0);
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    // What the bound on connections keeps from happening is made to happen: fewer descriptors than there are already.
    let limit = |soft: usize| {
        let set = format!("--nofile={soft}:20000");
        let done = Command::new("prlimit").args(["--pid", &server.pid().to_string(), &set]).status().unwrap();
        assert!(done.success());
    };
    limit(open - 5);
    held.extend(idle(&server, 5));
    server.eventually("it finds none", || !server.logged("accept_failed").is_empty());
    server.claim("accept_failed");
    let said = server.logged("accept_failed");
    assert!(said.iter().all(|line| line["cause"].as_str().unwrap().contains("os error 24")), "{said:#?}");
    drop(held);
    server.eventually("it serves again", || {
        let mut client = server.client();
        client.send(format!("GET {PATH} HTTP/1.1\r\nHost: edge.test\r\nConnection: close\r\n\r\n").as_bytes());
        client.response(false).is_ok_and(|answer| answer.body == b"hello")
    });
    assert!(server.alive());
}

#[test]
fn fewer_descriptors_than_connections_are_said_at_the_start_and_never_run_out() {
    // The limit is inherited: the server raises it as far as it may, which is not at all.
    let server = setup().asset("a.txt", b"hello").start_with_descriptors(300);
    server.claim("max_connections");
    let said = server.logged("max_connections");
    assert_eq!((said[0]["asked"].as_u64(), said[0]["max"].as_u64()), (Some(10_000), Some(75)));
    let mut held = Vec::new();
    // Accepting comes before the bound: more at once than there are descriptors would be beyond any.
    for of_all in [80.0, 160.0, 240.0, 320.0, 400.0] {
        held.extend(idle(&server, 80));
        server.eventually("all are taken or refused", || {
            server.metric("edge_connections") + server.metric("rejected_total{reason=\"connections\"}") == of_all
        });
    }
    server.counts("edge_connections", 75.0);
    let said = server.logged("accept_failed");
    assert!(said.is_empty(), "it ran out of descriptors: {said:#?}");
    drop(held);
    server.eventually("none", || server.metric("edge_connections") == 0.0);
    assert_eq!(server.get(PATH, &[]).body, b"hello");
}
