//! The store where the disk fails on purpose: real commands with `SVC_EDGE_FAULTS` set, and the store whole behind each.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// `svc-edge cas …` on the store at `dir` with these faults.
fn cas(dir: &Path, faults: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_svc-edge"));
    command.arg("cas").args(args).arg("--cas-dir").arg(dir).env_clear().env("SVC_EDGE_FAULTS", faults);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Import a few files with these faults; what came of it.
fn import(dir: &Path, faults: &str) -> Output {
    let source = tempfile::tempdir().unwrap();
    for number in 0..20 {
        fs::write(source.path().join(number.to_string()), format!("contents {number}")).unwrap();
    }
    cas(dir, faults, &["import", source.path().to_str().unwrap(), "--prefix", "p"])
}

#[track_caller]
fn assert_whole(dir: &Path, what: &str) {
    let verify = cas(dir, "", &["verify"]);
    assert!(verify.status.success(), "{what}: {}{}", text(&verify.stdout), text(&verify.stderr));
    let again = import(dir, "");
    assert!(again.status.success(), "{what}: {}", text(&again.stderr));
    assert_eq!(text(&cas(dir, "", &["list"]).stdout).lines().count(), 20, "{what}");
}

#[test]
fn a_write_or_a_commit_that_fails_fails_the_command_with_the_disks_words_and_leaves_the_store_whole() {
    for (faults, says) in [
        ("cas.write=eio@2", "Input/output error"),
        ("cas.write=enospc", "No space left"),
        ("cas.commit=eio@1", "Input/output error"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let failed = import(dir.path(), faults);
        assert_eq!(failed.status.code(), Some(1), "{faults}");
        assert!(text(&failed.stderr).contains(says), "{faults}: {}", text(&failed.stderr));
        assert_whole(dir.path(), faults);
    }
}

#[test]
fn a_disk_that_stalls_and_a_panic_within_a_commit_leave_the_store_whole() {
    let dir = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    assert!(import(dir.path(), "cas.commit=stall:700ms@1").status.success());
    assert!(begin.elapsed() >= Duration::from_millis(700));
    assert_whole(dir.path(), "stalled");
    let dir = tempfile::tempdir().unwrap();
    let panicked = import(dir.path(), "cas.commit=panic@1");
    assert!(!panicked.status.success() && text(&panicked.stderr).contains("on purpose"), "{}", text(&panicked.stderr));
    assert_whole(dir.path(), "panicked");
}

#[test]
fn a_rule_that_cannot_be_understood_stops_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let refused = import(dir.path(), "cas.rite=eio");
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("cas.rite: no such point"), "{}", text(&refused.stderr));
}
