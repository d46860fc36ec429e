//! Two real processes: a handle that stays open, as a server's, and `svc-edge cas …` beside it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::support::*;
use svc_edge::store::Store;
use svc_edge::store::cas::*;

/// `svc-edge cas …` on the store at `dir`.
fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_svc-edge"));
    command.arg("cas").args(args).arg("--cas-dir").arg(dir).env_clear().stdout(Stdio::null());
    command
}

fn run(dir: &Path, args: &[&str]) {
    let output = command(dir, args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Keep house once in a while, as a server does, until `done`; at most the 3 s that a change may take to show.
fn within_3_s(cas: &Cas, what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(3);
    loop {
        cas.poll().unwrap();
        if done() {
            return;
        }
        assert!(Instant::now() < until, "{what} does not show");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

#[test]
fn what_a_child_imports_and_purges_shows_in_an_open_handle_within_3_s() {
    let (dir, source) = (temp(), temp());
    let from = source.path().to_str().unwrap();
    let server = Cas::open(&conf(dir.path())).unwrap();
    put(&server, "filled", b"filled", false);
    server.poll().unwrap();
    for number in 0..300 {
        write(&source.path().join(format!("{number}")), format!("one {number}").as_bytes());
    }
    write(&source.path().join("big"), &bytes(700_000));
    let stamp = server.stamp("filled");
    run(dir.path(), &["import", from, "--prefix", "p"]);
    within_3_s(&server, "the import", || !server.holds(&stamp));
    assert_eq!(read(&server, "p/299").unwrap(), b"one 299");
    let open = server.head("p/big").unwrap().unwrap();
    assert_eq!(open.read(0..700_000).unwrap(), bytes(700_000));

    let stamp = server.stamp("filled");
    write(&source.path().join("7"), b"changed");
    run(dir.path(), &["import", from, "--prefix", "p"]);
    within_3_s(&server, "the change", || !server.holds(&stamp) && read(&server, "p/7").unwrap() == b"changed");

    let stamp = server.stamp("filled");
    run(dir.path(), &["purge", "p/7"]);
    within_3_s(&server, "the purge of a path", || !server.holds(&stamp) && server.head("p/7").unwrap().is_none());
    let stamp = server.stamp("filled");
    run(dir.path(), &["purge", "--prefix", "p"]);
    within_3_s(&server, "the purge of a prefix", || !server.holds(&stamp) && server.info("p/299").unwrap().is_none());
    assert_eq!(paths(&server), ["filled"]);
    assert!(server.head("p/big").unwrap().is_none());
    assert_eq!(open.read(0..700_000).unwrap(), bytes(700_000), "who reads it may end");
    run(dir.path(), &["verify"]);
    assert_eq!(verify(&server, false), []);
}

#[test]
fn fills_and_housekeeping_beside_children_that_import_and_purge_leave_a_whole_store() {
    let (dir, source) = (temp(), temp());
    for number in 0..120 {
        write(&source.path().join(format!("{number}")), format!("shared {}", number % 40).as_bytes());
    }
    let server = Cas::open(&conf(dir.path())).unwrap();
    let from = source.path().to_str().unwrap();
    let commands: [&[&str]; 5] = [
        &["import", from, "--prefix", "kept"],
        &["import", from, "--prefix", "gone"],
        &["gc"],
        &["purge", "--prefix", "gone"],
        &["verify"],
    ];
    for round in 0..3 {
        for command_line in commands {
            let mut child = command(dir.path(), command_line).stderr(Stdio::null()).spawn().unwrap();
            let status = loop {
                // The same blobs by other names, as fills would.
                put(&server, &format!("filled/{round}"), format!("shared {round}").as_bytes(), false);
                server.poll().unwrap();
                if let Some(status) = child.try_wait().unwrap() {
                    break status;
                }
            };
            assert!(status.success(), "{command_line:?}: {status}");
        }
    }
    server.poll().unwrap();
    assert_eq!(verify(&server, false), []);
    let left = paths(&server);
    let below = |prefix: &str| left.iter().filter(|path| path.starts_with(prefix)).count();
    assert_eq!((below("kept/"), below("gone/"), below("filled/")), (120, 0, 3));
    assert_eq!(server.stat().unwrap().blobs, 40, "each of the shared contents once");
    assert_eq!(fs::read_dir(dir.path().join("quarantine")).unwrap().count(), 0);
}
