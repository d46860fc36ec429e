//! Writes, commits and reads that fail.

use svc_edge_origin::{Origin, Script, pattern};

use super::*;

const LENGTH: u64 = 4 << 20;

#[test]
fn a_write_that_fails_ends_the_answer_clearly_and_leaves_nothing_stored() {
    for (rule, chunked) in [("eio@1", false), ("enospc@1", false), ("eio@3", false), ("enospc@3", true)] {
        let origin = Origin::start();
        let script = Script::fresh(60).pattern(LENGTH);
        origin.route("/s/a", if chunked { script.chunked() } else { script });
        let server = start(faulty(&origin, FILL, &format!("cas.write={rule}")));
        let body = pattern::bytes(0..LENGTH);
        let got = read(&server, "a", &body);
        assert!(matches!(got, Got::Cut | Got::Refused(500)), "{rule}: {got:?}");
        assert_eq!(failed_writes(&server), 1.0, "{rule}");
        assert!(stored(&server, "a", &[]).is_none(), "{rule}");
        server.eventually("told", || server.logged("fill_failed").iter().any(|line| line["cause"] == "disk"));
        // The disk has recovered.
        assert_sound(&server, "a", &body);
        server.eventually("one object", || server.metric("edge_cas_objects") == 1.0);
        assert_eq!(failed_writes(&server), 1.0, "{rule}");
    }
}

#[test]
fn a_commit_that_fails_takes_no_answer_along() {
    let origin = Origin::start();
    origin.fallback(|request| text(&request.target));
    let server = start(faulty(&origin, FILL, "cas.commit=eio@1"));
    assert_eq!(read(&server, "a", b"/s/a"), Got::Whole, "its bytes were all there and verified");
    server.eventually("told", || !server.logged("fill_failed").is_empty());
    assert!(stored(&server, "a", &[]).is_none());
    assert_sound(&server, "a", b"/s/a");
    assert_sound(&server, "b", b"/s/b");
}

#[test]
fn a_disk_that_takes_nothing_any_more_stores_nothing_and_serves_its_hits() {
    let origin = Origin::start();
    origin.fallback(|request| text(&request.target));
    let dir = tempfile::tempdir().unwrap();
    {
        let sound = live_with(&origin, "", FILL).edge(&cas_at(dir.path())).start();
        assert_sound(&sound, "kept", b"/s/kept");
    }
    let server = start(faulty(&origin, FILL, "cas.write=enospc").edge(&cas_at(dir.path())));
    for name in 0..10 {
        let (name, body) = (name.to_string(), format!("/s/{name}"));
        let got = read(&server, &name, body.as_bytes());
        // Who was quick has all of it from memory, before the disk refused it.
        assert!(matches!(got, Got::Whole | Got::Cut | Got::Refused(500)), "{name}: {got:?}");
        assert!(stored(&server, &name, &[]).is_none(), "{name}");
        assert!(says(&get(&server, "kept", &[]), "hit"));
    }
    // Each of the last ones may have been answered before it failed.
    server.eventually("ten failures", || failed_writes(&server) == 10.0);
    drop(server);
    let sound = live_with(&origin, "", FILL).edge(&cas_at(dir.path())).start();
    assert_sound(&sound, "0", b"/s/0");
    assert!(says(&get(&sound, "kept", &[]), "hit"));
}

#[test]
fn a_read_that_fails_is_an_error_and_the_next_one_is_right() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello"));
    let dir = tempfile::tempdir().unwrap();
    {
        let sound = live_with(&origin, "", FILL).edge(&cas_at(dir.path())).start();
        assert_sound(&sound, "a", b"hello");
    }
    let server = start(faulty(&origin, FILL, "cas.read=eio@1").edge(&cas_at(dir.path())));
    assert_eq!(read(&server, "a", b"hello"), Got::Refused(500));
    assert!(says(&get(&server, "a", &[]), "hit"), "what could not be read once is not lost");
    assert_eq!(origin.requests("/s/a").len(), 1);
    assert_sound(&server, "a", b"hello");
}

#[test]
fn a_pinned_path_is_answered_with_nothing_when_its_write_fails() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello"));
    let setup = faulty(&origin, FILL, "cas.write=eio@1");
    let (cas, lock) = (setup.dir.path().join("cas"), setup.dir.path().join("assets.lock"));
    std::fs::write(&lock, format!("{}  live/a\n", blake3::hash(b"hello").to_hex())).unwrap();
    let server = start(setup.edge(&format!("  cas: {{dir: {}, lock: {}}}\n", cas.display(), lock.display())));
    assert_refused(&get(&server, "a", &[]), 500, "internal");
    assert_sound(&server, "a", b"hello");
}
