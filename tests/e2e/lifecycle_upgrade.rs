//! A new process takes the place of the running one.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::fixtures::noise;
use crate::http::Client;
use crate::server::{Server, setup};

/// Ask for `path` again and again, over new connections and over one that is kept, until told to end; how often that was. Every answer must be
/// whole: no connection refused, none cut.
fn load(address: SocketAddr, path: &str, body: &[u8], end: &AtomicBool, answers: &AtomicU64) {
    let mut kept: Option<Client> = None;
    while !end.load(Ordering::Relaxed) {
        for keep in [false, true] {
            let reused = keep && kept.is_some();
            let mut client = kept.take().filter(|_| keep).unwrap_or_else(|| {
                Client::over(std::net::TcpStream::connect(address).unwrap_or_else(|error| panic!("refused: {error}")))
            });
            let answer = client.fetch("GET", path, &[]).unwrap_or_else(|error| panic!("cut, reused {reused}: {error}"));
            assert!(answer.status == 200 && answer.body == body, "{}", answer.status);
            answers.fetch_add(1, Ordering::Relaxed);
            if keep && answer.header("connection") != Some("close") {
                kept = Some(client);
            }
        }
    }
}

/// Ends the load however its test ends.
struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The value of a series in the process that answers now.
fn counted(server: &Server, result: &str) -> f64 {
    server.metric(&format!("upgrades_total{{result=\"{result}\"}}"))
}

#[test]
fn upgrades_in_a_row_under_load_refuse_nobody_and_cut_nothing() {
    const UPGRADES: usize = 3;
    let (small, large) = (noise(3000, 1), noise(1_500_000, 2));
    let mut server = setup().unlimited().asset("small", &small).asset("large", &large).start();
    let (address, admin) = (server.address, server.admin);
    let (end, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut successors = Vec::new();
    thread::scope(|scope| {
        let _end = EndOnDrop(&end);
        for (path, body) in [("small", &small), ("large", &large), ("small", &small)] {
            let path = format!("/edge/assets/site/{path}");
            let (end, answers) = (&end, &answers);
            scope.spawn(move || load(address, &path, body, end, answers));
        }
        for _ in 0..UPGRADES {
            let before = answers.load(Ordering::Relaxed);
            let last = successors.last_mut().unwrap_or(&mut server);
            last.eventually("asked", || answers.load(Ordering::Relaxed) > before + 10);
            let next = last.upgraded();
            assert_eq!((next.address, next.admin), (address, admin), "its ports of 0 stay");
            next.await_ready();
            assert_eq!(counted(&next, "ok"), 1.0);
            successors.push(next);
        }
        let last = successors.last().unwrap();
        let before = answers.load(Ordering::Relaxed);
        last.eventually("asked", || answers.load(Ordering::Relaxed) > before + 10);
    });
    assert!(server.logged("retiring").len() == 1 && server.logged("draining").is_empty());
    // Drop them in the order of their birth: the last one stops as asked.
}

#[test]
fn an_answer_that_is_under_way_is_finished_by_the_old_process_while_the_new_one_serves() {
    let large = noise(30_000_000, 3);
    let mut server = setup().asset("large", &large).asset("a.txt", b"hello").start();
    let mut reader = server.client();
    reader.send(b"GET /edge/assets/site/large HTTP/1.1\r\nHost: edge.test\r\n\r\n");
    server.eventually("in flight", || server.metric("edge_inflight") > 0.0);
    let mut idle = server.client();
    assert_eq!(idle.request("GET", "/readyz", &[]).status, 200);
    let mut successor = server.successor(&[]);
    server.signal("QUIT");
    successor.learn_addresses();
    server.eventually("retiring", || !server.logged("retiring").is_empty());
    // On a connection of before, the old one speaks for the place, which is served.
    let answer = idle.request("GET", "/readyz", &[]);
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(server.alive(), "it has an answer to finish");
    assert_eq!(successor.get("/edge/assets/site/a.txt", &[]).text(), "hello");
    assert!(reader.response(false).unwrap().body == large);
    assert!(server.wait().success());
    assert!(successor.alive());
}

#[test]
fn an_address_that_is_new_is_bound_and_one_that_is_gone_is_closed() {
    let mut server = setup().asset("a.txt", b"hello").start();
    let (kept, extra) = (server.address, crate::server::free_address());
    let binds = ["--bind", &kept.to_string(), "--bind", &extra.to_string()];
    let mut wider = server.successor(&[&binds[..], &["--metrics", &server.admin.to_string()]].concat());
    wider.eventually("waiting", || !wider.logged("upgrade_waiting").is_empty());
    server.signal("QUIT");
    assert!(server.wait().success());
    for address in [kept, extra] {
        assert_eq!(Client::connect(address).request("GET", "/edge/assets/site/a.txt", &[]).text(), "hello");
    }
    let mut narrower = wider.successor(&["--bind", &extra.to_string(), "--metrics", &server.admin.to_string()]);
    narrower.eventually("waiting", || !narrower.logged("upgrade_waiting").is_empty());
    wider.signal("QUIT");
    assert!(wider.wait().success());
    narrower.learn_addresses();
    assert_eq!(narrower.get("/edge/assets/site/a.txt", &[]).text(), "hello");
    narrower.eventually("closed", || std::net::TcpStream::connect(kept).is_err());
    assert_eq!(narrower.logged("listener_left").len(), 1);
}

#[test]
fn the_running_process_starts_its_successor_itself_when_it_is_told_to() {
    let mut server = setup().asset("a.txt", b"hello").start();
    let first = server.pid();
    server.signal("USR2");
    assert!(server.wait().success());
    // The child has its parent's standard error, and with it the log that we read.
    server.eventually("upgraded", || server.logged("serving").iter().any(|line| line["upgraded"] == true));
    assert_eq!(server.get("/edge/assets/site/a.txt", &[]).text(), "hello");
    let successor = server.logged("retiring")[0]["successor"].as_u64().unwrap();
    assert_ne!(successor, u64::from(first));
    assert_eq!(counted(&server, "ok"), 1.0);
    server.signal_to(successor, "TERM");
    server.eventually("ended", || std::net::TcpStream::connect(server.admin).is_err());
}

#[test]
fn the_directory_of_the_socket_is_made_for_us_alone() {
    let mut server = setup().start();
    let successor = server.upgraded();
    let run = server.dir.path().join("var/run");
    assert_eq!(std::fs::metadata(run).unwrap().permissions().mode() & 0o7777, 0o700);
    successor.await_ready();
}

#[test]
fn an_idle_connection_ends_with_the_old_process_and_not_with_the_handover() {
    let mut server = setup().asset("a.txt", b"hello").start();
    let mut idle = server.client();
    assert_eq!(idle.request("GET", "/edge/assets/site/a.txt", &[]).status, 200);
    let successor = server.upgraded();
    assert!(idle.rest().unwrap().is_empty());
    assert_eq!(successor.get("/edge/assets/site/a.txt", &[]).text(), "hello");
    thread::sleep(Duration::from_millis(50));
}
