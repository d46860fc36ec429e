//! Integrity pins: what a locked path may be answered with.

use svc_edge_origin::{Origin, Script};

use super::*;

/// A server whose lock file has these lines.
fn locked(origin: &Origin, lines: &str) -> Server {
    let setup = live_with(origin, "", FILL);
    let (dir, lock) = (setup.dir.path().join("cas"), setup.dir.path().join("assets.lock"));
    std::fs::write(&lock, lines).unwrap();
    setup.edge(&format!("  cas: {{dir: {}, lock: {}}}\n", dir.display(), lock.display())).start()
}

fn line(bytes: &[u8], path: &str) -> String {
    format!("{}  {path}\n", blake3::hash(bytes).to_hex())
}

#[test]
fn a_locked_path_is_answered_when_its_bytes_are_the_pinned_ones() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello"));
    origin.route("/s/free", text("anything"));
    let server = locked(&origin, &format!("# pins\n{}", line(b"hello", "live/a")));
    assert_eq!(get(&server, "a", &[]).text(), "hello");
    assert_eq!(await_stored(&server, "a").text(), "hello");
    assert_eq!(get(&server, "free", &[]).text(), "anything", "what is not locked is not looked at");
}

#[test]
fn other_bytes_at_a_locked_path_are_refused_and_nobody_sees_one_of_them() {
    let origin = Origin::start();
    origin.route("/s/a", Script::fresh(60).pattern(300_000));
    let server = locked(&origin, &line(b"hello", "live/a"));
    claim_faults(&server);
    for count in 1..=2 {
        assert_refused(&get(&server, "a", &[]), 502, "corrupt");
        assert_refused(&get(&server, "a", &[("Range", "bytes=0-9")]), 502, "corrupt");
        assert!(server.metric("edge_verify_failures_total{kind=\"pin\"}") >= f64::from(count));
    }
    assert_not_stored(&server, "a");
    // The origin comes round.
    origin.route("/s/a", text("hello"));
    assert_eq!(get(&server, "a", &[]).text(), "hello");
}

#[test]
fn the_lock_of_what_is_stored_pins_it() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello"));
    let server = live(&origin);
    get(&server, "a", &[]);
    await_stored(&server, "a");
    assert_eq!(server.command(&["cas", "lock"]), line(b"hello", "live/a"));
}
