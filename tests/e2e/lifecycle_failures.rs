//! Upgrades that come to nothing: the old process goes on as if nothing had been, and says why.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;

use crate::server::{BINARY, Server, setup};

/// The server went on after an upgrade that failed for this reason, and can be asked again.
fn goes_on(server: &mut Server, failures: usize, why: &str) {
    server.claim("upgrade_failed");
    server.eventually("told", || server.logged("upgrade_failed").len() == failures);
    let cause = server.logged("upgrade_failed").pop().unwrap()["cause"].as_str().unwrap().to_owned();
    assert!(cause.contains(why), "{cause}");
    assert!(server.alive());
    assert_eq!(server.get("/edge/assets/site/a.txt", &[]).text(), "hello");
    assert_eq!(server.admin("/readyz").status, 200);
    server.counts("upgrades_total{result=\"failed\"}", failures as f64);
    assert!(server.logged("retiring").is_empty());
}

/// What a process says in plain text as it ends.
fn says(server: &Server, what: &str) {
    server.eventually(what, || {
        server.logged("no_json").iter().any(|line| line["message"].as_str().is_some_and(|text| text.contains(what)))
    });
}

/// A directory for the socket, as a successor would make it.
fn run_directory(server: &Server) -> std::path::PathBuf {
    let run = server.dir.path().join("var/run");
    std::fs::create_dir_all(&run).unwrap();
    std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o700)).unwrap();
    run
}

#[test]
fn without_a_successor_the_old_process_goes_on_and_can_be_asked_again() {
    let mut server = setup().asset("a.txt", b"hello").start();
    server.signal("QUIT");
    goes_on(&mut server, 1, "no new process waits at var/run/upgrade.sock");
    let successor = server.upgraded();
    successor.await_ready();
    assert_eq!(successor.get("/edge/assets/site/a.txt", &[]).text(), "hello");
}

#[test]
fn a_successor_that_dies_leaves_the_old_process_serving() {
    let mut server = setup().asset("a.txt", b"hello").start();
    // One that takes the listeners and ends.
    let listener = UnixListener::bind(run_directory(&server).join("upgrade.sock")).unwrap();
    server.signal("QUIT");
    drop(listener.accept().unwrap());
    goes_on(&mut server, 1, "the new process ended before it had the listeners");
    // One that has them, and ends before it serves.
    server.signal("QUIT");
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(b"hello\n").unwrap();
    server.eventually("handed over", || server.logged("upgrade_handed_over").len() == 1);
    drop(stream);
    goes_on(&mut server, 2, "the new process ended before it served");
    // One that speaks otherwise.
    server.signal("QUIT");
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    goes_on(&mut server, 3, "in place of");
}

#[test]
fn a_real_successor_that_is_killed_while_it_has_the_listeners_leaves_the_old_process_serving() {
    let mut server = setup().asset("a.txt", b"hello").start();
    // A pack that is not there keeps it from being ready.
    let mut successor = server.successor(&["--pack", "later=absent.pmtiles"]);
    successor.claim("no_json");
    let status = successor.wait();
    assert_eq!(status.code(), Some(1), "verify is header: it does not even ask for the listeners");
    let conf = std::fs::read_to_string(&server.conf).unwrap();
    let never = server.dir.path().join("never.yaml");
    std::fs::write(&never, format!("{conf}  packs: [{{path: absent.pmtiles, verify: none}}]\n")).unwrap();
    let mut successor = server.successor_with(&never);
    successor.claim("pack_rejected");
    successor.eventually("waiting", || !successor.logged("upgrade_waiting").is_empty());
    server.signal("QUIT");
    successor.learn_addresses();
    // It accepts beside the old one, and isn't ready.
    successor.signal("KILL");
    assert!(!successor.wait().success());
    goes_on(&mut server, 1, "the new process ended before it served");
}

#[test]
fn a_successor_that_is_never_ready_is_given_up_and_ends() {
    let mut server = setup().asset("a.txt", b"hello").edge("  upgrade_timeout: 2s\n").start();
    let conf = std::fs::read_to_string(&server.conf).unwrap();
    let never = server.dir.path().join("never.yaml");
    let packs = "  upgrade_timeout: 1h\n  packs: [{path: absent.pmtiles, verify: none}]\n";
    std::fs::write(&never, conf.replace("  upgrade_timeout: 2s\n", packs)).unwrap();
    let mut successor = server.successor_with(&never);
    ["pack_rejected", "failed"].iter().for_each(|event| successor.claim(event));
    successor.eventually("waiting", || !successor.logged("upgrade_waiting").is_empty());
    server.signal("QUIT");
    goes_on(&mut server, 1, "the new process does not serve within 2s");
    assert_eq!(successor.wait().code(), Some(1), "never two for good");
    successor.eventually("told", || !successor.logged("failed").is_empty());
    let why = successor.logged("failed")[0]["cause"].as_str().unwrap().to_owned();
    assert!(why.contains("gave the upgrade up"), "{why}");
    assert_eq!(server.get("/edge/assets/site/a.txt", &[]).text(), "hello");
}

#[test]
fn a_successor_whose_conf_is_refused_never_asks_for_the_listeners() {
    let mut server = setup().asset("a.txt", b"hello").start();
    let mut successor = server.successor(&["--mode", "lively"]);
    successor.claim("no_json");
    assert_eq!(successor.wait().code(), Some(2));
    assert!(!server.dir.path().join("var/run/upgrade.sock").exists());
    // What SIGUSR2 starts reads the conf that is there now.
    std::fs::write(&server.conf, "edge: {mood: offline}\n").unwrap();
    server.claim("no_json");
    server.signal("USR2");
    goes_on(&mut server, 1, "the new process ended before it took anything: exit status: 2");
}

#[test]
fn an_address_that_the_successor_cannot_bind_ends_it_and_not_the_old_process() {
    let mut server = setup().asset("a.txt", b"hello").start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut successor = server.successor(&["--bind", &address]);
    successor.claim("no_json");
    successor.eventually("waiting", || !successor.logged("upgrade_waiting").is_empty());
    server.signal("QUIT");
    assert_eq!(successor.wait().code(), Some(1));
    says(&successor, &format!("cannot listen on {address}"));
    goes_on(&mut server, 1, "the new process ended before it served");
}

#[test]
fn a_directory_that_others_may_enter_is_refused_by_both() {
    let mut server = setup().asset("a.txt", b"hello").start();
    let run = run_directory(&server);
    std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut successor = server.successor(&[]);
    successor.claim("no_json");
    assert_eq!(successor.wait().code(), Some(1));
    says(&successor, "mode 0755 lets others in; allowed: 0700");
    // Whoever could enter it could have put this there.
    let _trap = UnixListener::bind(run.join("upgrade.sock")).unwrap();
    server.signal("QUIT");
    goes_on(&mut server, 1, "mode 0755 lets others in");
}

#[test]
fn without_a_socket_in_the_conf_there_are_no_upgrades() {
    let mut server = setup().asset("a.txt", b"hello").top("upgrade_sock: null\n").start();
    server.signal("USR2");
    goes_on(&mut server, 1, "upgrade_sock is null");
    let done = Command::new(BINARY).args(["--upgrade", "--conf"]).arg(&server.conf).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("upgrade_sock is null"));
}

#[test]
fn a_successor_that_nobody_hands_anything_to_ends() {
    let server = setup().edge("  upgrade_timeout: 1s\n").start();
    let mut successor = server.successor(&[]);
    successor.claim("no_json");
    assert_eq!(successor.wait().code(), Some(1));
    says(&successor, "no running server handed its listeners over");
}
