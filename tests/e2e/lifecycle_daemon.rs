//! Daemons: processes that go on behind the command that started them.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::http::Client;
use crate::server::{BINARY, free_address};

/// A daemon's conf in a directory of its own.
fn conf(dir: &Path, address: std::net::SocketAddr, more: &str) {
    let text = format!(
        "pid_file: edge.pid\nerror_log: edge.log\n{more}\nedge:\n  bind: {address}\n  metrics: null\n  cas: {{dir: cas}}\n"
    );
    std::fs::write(dir.join("c.yaml"), text).unwrap();
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).args(["--conf", "c.yaml"]).current_dir(dir).output().unwrap()
}

fn pid(dir: &Path) -> Option<u32> {
    std::fs::read_to_string(dir.join("edge.pid")).ok()?.trim().parse().ok()
}

fn eventually(dir: &Path, what: &str, check: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !check() {
        let log = std::fs::read_to_string(dir.join("edge.log")).unwrap_or_default();
        assert!(Instant::now() < until, "not {what}; the log: {log}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Send a signal to a process that the test's daemon said is itself.
fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().unwrap().success());
}

fn get(address: std::net::SocketAddr) -> u16 {
    Client::connect(address).request("GET", "/readyz", &[]).status
}

#[test]
fn the_command_returns_when_the_daemon_serves_and_the_pid_file_names_it() {
    let (dir, address) = (tempfile::tempdir().unwrap(), free_address());
    conf(dir.path(), address, "");
    let done = run(dir.path(), &["--daemon"]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(done.stdout.is_empty() && done.stderr.is_empty(), "{done:?}");
    assert_eq!(get(address), 200, "it serves when the command returns");
    let daemon = pid(dir.path()).unwrap();
    // In a session of its own, whose relative paths mean what they did.
    let stat = std::fs::read_to_string(format!("/proc/{daemon}/stat")).unwrap();
    let session: u32 = stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap().parse().unwrap();
    let own = std::fs::read_to_string("/proc/self/stat").unwrap();
    assert_ne!(Some(session.to_string().as_str()), own.rsplit(')').next().unwrap().split_whitespace().nth(3));
    assert!(dir.path().join("cas/index.sqlite").exists());
    signal(daemon, "TERM");
    eventually(dir.path(), "ended", || pid(dir.path()).is_none());
    eventually(dir.path(), "gone", || !Path::new(&format!("/proc/{daemon}")).exists());
    let log = std::fs::read_to_string(dir.path().join("edge.log")).unwrap();
    assert!(log.contains("\"event\":\"serving\"") && log.contains("\"event\":\"draining\""), "{log}");
    assert!(!log.contains("\"level\":\"error\"") && !log.contains("\"level\":\"warn\""), "{log}");
}

#[test]
fn a_daemon_that_cannot_start_tells_its_reason_to_the_command() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (dir, address) = (tempfile::tempdir().unwrap(), taken.local_addr().unwrap());
    conf(dir.path(), address, "daemon: true");
    let done = run(dir.path(), &[]);
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.starts_with(&format!("svc-edge: cannot listen on {address}: ")), "{said}");
    assert_eq!(pid(dir.path()), None);
    // Before it detaches: a conf that is wrong.
    let done = run(dir.path(), &["--mode", "lively"]);
    assert_eq!(done.status.code(), Some(2));
    // And a log that can't be opened.
    conf(dir.path(), free_address(), "daemon: true");
    std::fs::remove_file(dir.path().join("edge.log")).unwrap();
    std::fs::create_dir(dir.path().join("edge.log")).unwrap();
    let done = run(dir.path(), &[]);
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("error_log: edge.log: "), "{done:?}");
}

#[test]
fn a_daemon_is_upgraded_by_one_signal_and_the_pid_file_follows() {
    let (dir, address) = (tempfile::tempdir().unwrap(), free_address());
    conf(dir.path(), address, "daemon: true");
    assert_eq!(run(dir.path(), &[]).status.code(), Some(0));
    let first = pid(dir.path()).unwrap();
    signal(first, "USR2");
    eventually(dir.path(), "upgraded", || pid(dir.path()).is_some_and(|pid| pid != first));
    eventually(dir.path(), "retired", || !Path::new(&format!("/proc/{first}")).exists());
    assert_eq!(get(address), 200);
    // The file that the old one wrote is the new one's now, and stays.
    let second = pid(dir.path()).unwrap();
    // By hand, the command waits until it serves.
    let waiting = Command::new(BINARY).args(["--upgrade", "--conf", "c.yaml"]).current_dir(dir.path()).spawn().unwrap();
    eventually(dir.path(), "waiting", || {
        let log = std::fs::read_to_string(dir.path().join("edge.log")).unwrap();
        log.matches("upgrade_waiting").count() == 2
    });
    signal(second, "QUIT");
    assert!(waiting.wait_with_output().unwrap().status.success());
    let third = pid(dir.path()).unwrap();
    assert!(third != second && third != first);
    assert_eq!(get(address), 200);
    signal(third, "TERM");
    eventually(dir.path(), "ended", || pid(dir.path()).is_none());
}

#[test]
fn a_log_that_was_moved_away_is_opened_anew() {
    let (dir, address) = (tempfile::tempdir().unwrap(), free_address());
    conf(dir.path(), address, "daemon: true");
    assert_eq!(run(dir.path(), &[]).status.code(), Some(0));
    let daemon = pid(dir.path()).unwrap();
    std::fs::rename(dir.path().join("edge.log"), dir.path().join("edge.log.1")).unwrap();
    signal(daemon, "USR1");
    eventually(dir.path(), "opened anew", || {
        std::fs::read_to_string(dir.path().join("edge.log")).is_ok_and(|log| log.contains("log_reopened"))
    });
    signal(daemon, "TERM");
    eventually(dir.path(), "told there", || {
        std::fs::read_to_string(dir.path().join("edge.log")).unwrap().contains("draining")
    });
    eventually(dir.path(), "ended", || pid(dir.path()).is_none());
}
