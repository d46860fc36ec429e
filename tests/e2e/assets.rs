//! Objects of the CAS: imported, purged, corrupted, by path and by hash.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use crate::fixtures::{noise, tag};
use crate::server::{BINARY, Server, setup};

fn cas(server: &Server, arguments: &[&str]) -> Output {
    Command::new(BINARY).arg("cas").args(arguments).arg("--conf").arg(&server.conf).output().unwrap()
}

fn blob(server: &Server, bytes: &[u8]) -> PathBuf {
    let hex = blake3::hash(bytes).to_hex();
    server.dir.path().join("cas/b3").join(&hex[..2]).join(hex.as_str())
}

#[test]
fn an_imported_file_is_answered_by_path_and_by_hash() {
    let server = setup().asset("deep/a.css", b"body {}").start();
    let answer = server.get("/edge/assets/site/deep/a.css", &[]);
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"body {}".as_slice()));
    assert_eq!(answer.header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(answer.header("cache-status"), Some("svc-edge; hit; detail=cas"));
    let hex = blake3::hash(b"body {}").to_hex();
    let by_hash = server.get(&format!("/edge/cas/b3/{hex}"), &[]);
    assert_eq!((by_hash.status, by_hash.body.as_slice()), (200, b"body {}".as_slice()));
    assert!(by_hash.header("cache-control").unwrap().contains("immutable"));
    assert_eq!(by_hash.header("etag"), Some(tag(b"body {}").as_str()));
    for none in [hex.to_uppercase(), "0".repeat(64), "0".repeat(63), "z".repeat(64)] {
        assert_eq!(server.get(&format!("/edge/cas/b3/{none}"), &[]).status, 404, "{none}");
    }
}

#[test]
fn an_import_and_a_purge_show_in_a_running_server_within_three_seconds() {
    let server = setup().asset("a.txt", b"one").start();
    assert_eq!(server.get("/edge/assets/site/a.txt", &[]).body, b"one");
    let root = server.dir.path().join("assets");
    std::fs::write(root.join("a.txt"), b"two").unwrap();
    std::fs::write(root.join("b.txt"), b"new").unwrap();
    assert!(cas(&server, &["import", root.to_str().unwrap(), "--prefix", "site"]).status.success());
    let since = std::time::Instant::now();
    server.eventually("imported", || {
        server.get("/edge/assets/site/a.txt", &[]).body == b"two"
            && server.get("/edge/assets/site/b.txt", &[]).body == b"new"
    });
    assert!(cas(&server, &["purge", "site/a.txt"]).status.success());
    server.eventually("purged", || server.get("/edge/assets/site/a.txt", &[]).status == 404);
    assert!(since.elapsed().as_secs() < 6, "two changes took {:?}", since.elapsed());
    assert_eq!(server.get("/edge/assets/site/b.txt", &[]).status, 200);
}

#[test]
fn a_corrupt_blob_is_never_served_and_is_quarantined() {
    let large = noise(2_000_000, 1);
    let server = setup().asset("small", b"hello, world").asset("large", &large).start();
    for event in ["corrupt", "blob_quarantined", "body_cut", "message"] {
        server.claim(event);
    }
    for (path, bytes) in [("small", b"hello, world".as_slice()), ("large", &large)] {
        let file = blob(&server, bytes);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let mut damaged = bytes.to_vec();
        damaged[5] ^= 1;
        std::fs::write(&file, &damaged).unwrap();
        let answer = server.get(&format!("/edge/assets/site/{path}"), &[]);
        assert_eq!((answer.status, answer.header("x-reason")), (502, Some("corrupt")), "{path}");
        assert!(!file.exists(), "{path} was moved away");
    }
    assert!(std::fs::read_dir(server.dir.path().join("cas/quarantine")).unwrap().count() >= 2);
    assert!(server.metric("edge_verify_failures_total{kind=\"blob\"}") >= 2.0);
}

#[test]
fn an_import_whose_bytes_were_lost_is_refused_as_corrupt_until_it_is_imported_again_or_purged() {
    let server = setup().asset("a", b"one").asset("b", b"two").start();
    for event in ["corrupt", "blob_quarantined", "message"] {
        server.claim(event);
    }
    for (path, bytes) in [("a", b"one"), ("b", b"two")] {
        let file = blob(&server, bytes);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::write(&file, b"bad").unwrap();
        for _ in 0..3 {
            let answer = server.get(&format!("/edge/assets/site/{path}"), &[]);
            // A 404 would be kept by caches (RFC 9110 section 15.5.5), and outlive the next import.
            assert_eq!((answer.status, answer.header("x-reason")), (502, Some("corrupt")), "{path}");
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
    }
    assert!(cas(&server, &["purge", "site/b"]).status.success());
    server.eventually("purged", || server.get("/edge/assets/site/b", &[]).status == 404);
    let root = server.dir.path().join("assets");
    assert!(cas(&server, &["import", root.to_str().unwrap(), "--prefix", "site"]).status.success());
    server.eventually("imported", || server.get("/edge/assets/site/a", &[]).body == b"one");
}

#[test]
fn a_large_blob_that_is_touched_while_it_is_served_is_verified_again() {
    let large = noise(3_000_000, 2);
    let server = setup().asset("large", &large).start();
    for event in ["corrupt", "blob_quarantined", "body_cut", "message"] {
        server.claim(event);
    }
    assert!(server.get("/edge/assets/site/large", &[]).body == large);
    let file = blob(&server, &large);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(server.get("/edge/assets/site/large", &[]).body == large, "touched, but whole");
    let mut damaged = large.clone();
    damaged[1_500_000] ^= 1;
    std::fs::write(&file, &damaged).unwrap();
    let mut client = server.client();
    client.send(b"GET /edge/assets/site/large HTTP/1.1\r\nHost: edge.test\r\n\r\n");
    match client.response(false) {
        Ok(answer) => assert_eq!((answer.status, answer.header("x-reason")), (502, Some("corrupt"))),
        Err(cut) => assert!(cut.contains("body cut"), "{cut}"),
    }
}

#[test]
fn a_large_blob_that_is_touched_under_an_answer_ends_it_only_if_all_of_it_is_good() {
    let large = noise(40_000_000, 3);
    let server = setup().asset("large", &large).start();
    for event in ["corrupt", "blob_quarantined", "body_cut", "message"] {
        server.claim(event);
    }
    assert!(server.get("/edge/assets/site/large", &[]).body == large);
    let file = blob(&server, &large);
    // A client that has taken a little of an answer, which the kernel can't hold.
    let begin = || {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
            .write_all(b"GET /edge/assets/site/large HTTP/1.1\r\nHost: edge.test\r\nConnection: close\r\n\r\n")
            .unwrap();
        stream.read_exact(&mut vec![0; 1_000_000]).unwrap();
        stream
    };
    let rest = |mut stream: TcpStream| {
        let mut rest = Vec::new();
        // Cut is cut: by FIN or by RST.
        let _ = stream.read_to_end(&mut rest);
        rest
    };
    for touch in [
        &(|| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap()) as &dyn Fn(),
        // Another name, as a backup may give it; and then one less.
        &|| std::fs::hard_link(&file, server.dir.path().join("other")).unwrap(),
        &|| std::fs::remove_file(server.dir.path().join("other")).unwrap(),
    ] {
        let stream = begin();
        touch();
        assert!(large.ends_with(&rest(stream)), "what is touched and good is answered whole");
    }
    let stream = begin();
    let mut damaged = large.clone();
    // Behind what the kernel has been given, or before it: the answer has no end.
    damaged[20_000] ^= 1;
    let open = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    open.write_all_at(&damaged[..40_000], 0).unwrap();
    let rest = rest(stream);
    assert!(!rest.ends_with(&large[large.len() - 1000..]), "an answer of a damaged blob came to its end");
}

#[test]
fn what_is_no_regular_file_at_a_blobs_place_is_refused_without_hanging() {
    let server = setup().asset("link", b"by link").asset("fifo", b"by fifo").asset("dir", b"by directory").start();
    for event in ["corrupt", "blob_quarantined", "message", "store_io"] {
        server.claim(event);
    }
    let outside = server.dir.path().join("outside");
    std::fs::write(&outside, b"by link").unwrap();
    let link = blob(&server, b"by link");
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&outside, &link).unwrap();
    let fifo = blob(&server, b"by fifo");
    std::fs::remove_file(&fifo).unwrap();
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let dir = blob(&server, b"by directory");
    std::fs::remove_file(&dir).unwrap();
    std::fs::create_dir(&dir).unwrap();
    for path in ["link", "fifo", "dir"] {
        let answer = server.get(&format!("/edge/assets/site/{path}"), &[]);
        assert!(answer.status >= 400 && answer.body != b"by link", "{path}: {}", answer.status);
    }
}

#[test]
fn a_corrupt_index_is_set_aside_and_pinned_objects_come_back() {
    let setup = setup().asset("a.txt", b"hello");
    let server = setup.start();
    let dir = server.dir.path().to_owned();
    assert!(cas(&server, &["stat"]).status.success());
    // A copy of the CAS whose index is garbage, served by a second server.
    let copy = dir.join("copy");
    assert!(Command::new("cp").arg("-a").args([dir.join("cas"), copy.clone()]).status().unwrap().success());
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(copy.join(format!("index.sqlite{suffix}")));
    }
    std::fs::write(copy.join("index.sqlite"), noise(100_000, 1)).unwrap();
    let second = crate::server::setup().edge(&format!("  cas: {{dir: {}}}\n", copy.display())).start();
    second.claim("index_set_aside");
    second.claim("message");
    assert_eq!(second.get("/edge/assets/site/a.txt", &[]).body, b"hello");
}

#[test]
fn the_cas_can_live_in_memory_and_leaves_nothing_on_disk() {
    let server = setup().edge("  cas: {dir: never, store: memory}\n").start();
    assert_eq!(server.get("/edge/assets/x", &[]).status, 404);
    assert_eq!(server.admin("/readyz").status, 200);
    assert!(!server.dir.path().join("never").exists());
}

#[test]
fn a_cas_that_another_user_may_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cas = dir.path().join("cas");
    std::fs::create_dir(&cas).unwrap();
    std::fs::set_permissions(&cas, std::fs::Permissions::from_mode(0o777)).unwrap();
    let done = Command::new(BINARY)
        .args(["--bind", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--cas-dir"])
        .arg(&cas)
        .output()
        .unwrap();
    assert!(!done.status.success());
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("cas") && said.contains("write"), "{said}");
}

#[test]
fn an_import_into_a_store_in_memory_says_why_not() {
    let server = setup().edge("  cas: {dir: never, store: memory}\n").start();
    let root = server.dir.path().join("assets");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("a.txt"), b"hello").unwrap();
    let done = cas(&server, &["import", root.to_str().unwrap(), "--prefix", "site"]);
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(2), "the conf asks for what cannot be: {said}");
    assert!(said.contains("store: memory") && said.contains("server"), "{said}");
    assert_eq!((said.lines().count(), done.stdout.as_slice()), (1, &b""[..]), "one line: {said}");
    assert!(!server.dir.path().join("never").exists());
    assert_eq!(server.get("/edge/assets/site/a.txt", &[]).status, 404);
}

#[test]
fn a_purged_blob_is_gone_within_three_seconds_or_still_whole() {
    let (small, large, kept) = (noise(3000, 1), noise(2_000_000, 2), noise(700_000, 3));
    let setup = setup().asset("small", &small).asset("large", &large).asset("kept", &kept).asset("also/kept", &kept);
    let server = setup.unlimited().start();
    let by_hash = |bytes: &[u8]| format!("/edge/cas/b3/{}", blake3::hash(bytes).to_hex());
    let all = [(&small, "small"), (&large, "large"), (&kept, "kept")];
    for (bytes, path) in all {
        assert!(server.get(&by_hash(bytes), &[]).body == *bytes, "{path}");
        assert!(server.get(&format!("/edge/assets/site/{path}"), &[]).body == *bytes, "{path}");
    }
    // A download that is under way when its blob goes.
    let mut reader = server.client();
    reader.send(format!("GET {} HTTP/1.1\r\nHost: edge.test\r\n\r\n", by_hash(&large)).as_bytes());
    for (_, path) in all {
        assert!(cas(&server, &["purge", &format!("site/{path}")]).status.success(), "{path}");
    }
    let since = std::time::Instant::now();
    let mut collected = false;
    while since.elapsed() < Duration::from_millis(4500) {
        let late = since.elapsed().as_secs() >= 3;
        for (bytes, path) in all {
            for range in [None, Some(("Range", "bytes=1000-1999"))] {
                let answer = server.get(&by_hash(bytes), &range.into_iter().collect::<Vec<_>>());
                match answer.status {
                    200 => assert!(answer.body == *bytes, "{path}"),
                    206 => assert!(answer.body == bytes[1000..2000], "{path}"),
                    status => assert_eq!((status, answer.header("x-reason")), (404, Some("not_found")), "{path}"),
                }
                assert!(answer.status != 404 || path != "kept", "another path names it still");
            }
            let by_path = server.get(&format!("/edge/assets/site/{path}"), &[]);
            assert!(by_path.status == 404 || (!late && by_path.status == 200), "{path}: {}", by_path.status);
        }
        if since.elapsed().as_secs() >= 1 && !collected {
            assert!(cas(&server, &["gc"]).status.success());
            collected = true;
        }
    }
    assert!(collected);
    assert!(reader.response(false).unwrap().body == large, "what has begun is finished");
    assert!(server.get("/edge/assets/site/also/kept", &[]).body == kept);
    let verified = cas(&server, &["verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}
