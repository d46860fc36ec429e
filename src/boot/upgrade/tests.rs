//! Both sides of an upgrade, against each other and against what is neither.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::future::{pending, ready};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;

use super::predecessor::hand_over;
use super::successor::{Predecessor, take_over};
use super::wire;
use super::*;
use crate::boot::sockets::{Role, Socket, Sockets};
use crate::conf::{Conf, Flags};

const SOON: Duration = Duration::from_secs(20);

/// Two listeners, as a running server has them.
fn sockets() -> Sockets {
    let flags = Flags { bind: vec!["127.0.0.1:0".into()], metrics: Some("127.0.0.1:0".into()), ..Flags::default() };
    Sockets::open(&mut Conf::from_parts(None, [], &flags).unwrap(), Vec::new()).unwrap()
}

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/upgrade.sock");
    (dir, path)
}

/// A successor that waits, on a thread of its own.
fn waiting(path: &Path, patience: Duration) -> tokio::task::JoinHandle<Result<(Vec<Socket>, Predecessor), String>> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || take_over(&path, patience))
}

#[tokio::test]
async fn the_listeners_go_over_and_each_side_knows_of_the_other() {
    let (_dir, path) = place();
    let (sockets, told) = (sockets(), Mutex::new(Vec::new()));
    let successor = waiting(&path, SOON);
    let old = hand_over(&path, &sockets, None, SOON, |pid| told.lock().unwrap().push(pid));
    let new = async {
        let (inherited, predecessor) = successor.await.unwrap().unwrap();
        predecessor.relieve(ready(())).await.unwrap();
        inherited
    };
    let (old, inherited) = tokio::join!(old, new);
    assert_eq!(old.unwrap(), std::process::id());
    assert_eq!(*told.lock().unwrap(), [std::process::id()]);
    let had: Vec<_> = sockets.lock().iter().map(|socket| (socket.role, socket.address)).collect();
    assert_eq!(inherited.iter().map(|socket| (socket.role, socket.address)).collect::<Vec<_>>(), had);
    // The old one's are closed; the new one's live.
    sockets.close(Role::Edge);
    std::net::TcpStream::connect(had[0].1).unwrap();
    drop(inherited);
    assert!(std::net::TcpStream::connect(had[0].1).is_err());
    assert!(!path.exists(), "nobody waits any more");
}

#[tokio::test]
async fn a_successor_that_dies_before_it_serves_leaves_the_old_one_serving() {
    let (_dir, path) = place();
    let (sockets, told) = (sockets(), Mutex::new(0));
    let successor = waiting(&path, SOON);
    let old = hand_over(&path, &sockets, None, SOON, |_| *told.lock().unwrap() += 1);
    let (old, ()) = tokio::join!(old, async { drop(successor.await.unwrap().unwrap()) });
    assert_eq!(old.unwrap_err(), "the new process ended before it served");
    assert_eq!(*told.lock().unwrap(), 0);
    std::net::TcpStream::connect(sockets.addresses(Role::Edge)[0]).unwrap();
}

#[tokio::test]
async fn a_successor_that_takes_too_long_is_given_up_and_told_so() {
    let (_dir, path) = place();
    let sockets = sockets();
    let successor = waiting(&path, SOON);
    let old = async { hand_over(&path, &sockets, None, Duration::from_millis(500), |_| {}).await };
    let new = async {
        let (_inherited, predecessor) = successor.await.unwrap().unwrap();
        predecessor.relieve(pending()).await
    };
    let (old, new) = tokio::join!(old, new);
    assert!(old.unwrap_err().starts_with("the new process does not serve within"));
    assert!(new.unwrap_err().contains("gave the upgrade up"));
}

#[tokio::test]
async fn a_successor_that_nobody_hands_anything_to_gives_up() {
    let (_dir, path) = place();
    let error = waiting(&path, Duration::from_millis(50)).await.unwrap().err().unwrap();
    assert!(error.contains("no running server handed its listeners over"), "{error}");
    assert!(!path.exists());
}

#[tokio::test]
async fn of_two_successors_the_second_goes_away() {
    let (_dir, path) = place();
    let first = waiting(&path, SOON);
    while !path.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let error = waiting(&path, SOON).await.unwrap().err().unwrap();
    assert!(error.starts_with("another process waits for the listeners at"), "{error}");
    let sockets = sockets();
    let old = hand_over(&path, &sockets, None, SOON, |_| {});
    let (old, ()) = tokio::join!(old, async { first.await.unwrap().unwrap().1.relieve(ready(())).await.unwrap() });
    old.unwrap();
}

#[tokio::test]
async fn a_directory_that_others_may_enter_is_refused_by_both_sides() {
    let (dir, path) = place();
    let run = dir.path().join("run");
    std::fs::create_dir(&run).unwrap();
    for mode in [0o701, 0o710, 0o755, 0o777] {
        std::fs::set_permissions(&run, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = waiting(&path, SOON).await.unwrap().err().unwrap();
        assert!(error.ends_with("lets others in; allowed: 0700"), "{error}");
        let error = hand_over(&path, &sockets(), None, SOON, |_| {}).await.unwrap_err();
        assert!(error.ends_with("lets others in; allowed: 0700"), "{error}");
    }
    std::fs::remove_dir(&run).unwrap();
    std::fs::write(&run, b"").unwrap();
    assert!(waiting(&path, SOON).await.unwrap().err().unwrap().contains("is no directory"));
    // A link could lead anywhere.
    let other = tempfile::tempdir().unwrap();
    std::fs::remove_file(&run).unwrap();
    std::os::unix::fs::symlink(other.path(), &run).unwrap();
    assert!(waiting(&path, SOON).await.unwrap().err().unwrap().contains("is no directory"));
}

#[tokio::test]
async fn what_is_no_message_of_ours_is_refused_whatever_it_is() {
    let long = format!("svc-edge listeners 1{}\n", " edge=127.0.0.1:1".repeat(400));
    for (bytes, why) in [
        (&b""[..], "end of file"),
        (b"\n", "another version"),
        (b"svc-edge listeners 2\n", "another version"),
        (b"svc-edge listeners 1 edge=127.0.0.1:80\n", "1 addresses and 0 descriptors"),
        (b"svc-edge listeners 1 edge=nowhere\n", "edge=nowhere"),
        (b"svc-edge listeners 1 root=127.0.0.1:80\n", "root="),
        (b"\xff\xfe\n", "no text"),
        (long.as_bytes(), "too long"),
        (b"127.0.0.1:80", "end of file"),
    ] {
        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let theirs = UnixStream::from_std(theirs).unwrap();
        ours.write_all(bytes).unwrap();
        drop(ours);
        let received = tokio::time::timeout(SOON, wire::receive(&theirs)).await.unwrap();
        let error = received.err().unwrap().to_string();
        assert!(error.contains(why), "{bytes:?}: {error}");
    }
}

#[tokio::test]
async fn a_word_that_was_not_expected_is_an_error_and_not_waited_for() {
    for bytes in [&b"serving\n"[..], b"hello", b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", b"\n"] {
        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let theirs = UnixStream::from_std(theirs).unwrap();
        ours.write_all(bytes).unwrap();
        drop(ours);
        let heard = tokio::time::timeout(SOON, wire::hear(&theirs, wire::Word::Hello)).await.unwrap();
        assert!(heard.is_err(), "{bytes:?}");
    }
}
