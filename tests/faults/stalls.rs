//! A disk that stalls: it holds back the origin whose bytes it does not take, and nobody else.

use std::time::{Duration, Instant};

use svc_edge_origin::{Origin, Script, pattern};

use super::*;

/// How long the disk stalls.
const STALL: Duration = Duration::from_secs(4);

#[test]
fn a_stalled_disk_holds_its_origin_back_and_others_go_on() {
    const LENGTH: u64 = 128 << 20;
    let origin = Origin::start();
    origin.fallback(|request| text(&request.target));
    origin.route("/s/large", Script::fresh(600).pattern(LENGTH));
    let setup = faulty(&origin, &format!("{FILL}, range_fill_max: 1MiB"), "cas.write=stall:4s@2");
    let server = start(setup.asset("a.txt", b"imported"));
    let before = server.rss();
    let mut large = server.client();
    large.ask("GET", &asset("large"), &[]);
    let request = origin.await_requests("/s/large", 1).remove(0);
    let since = Instant::now();
    std::thread::sleep(Duration::from_millis(1500));
    let held = request.sent();
    // Others are filled, and served, meanwhile.
    for name in ["a", "b", "c"] {
        assert_eq!(read(&server, name, format!("/s/{name}").as_bytes()), Got::Whole);
        await_stored(&server, name);
    }
    assert_eq!(server.get("/edge/assets/site/a.txt", &[]).text(), "imported");
    assert_eq!(server.admin("/readyz").status, 200);
    assert!(since.elapsed() < STALL, "the disk stalls still: {:?}", since.elapsed());
    // What is under way is in the buffers of two sockets, in bounded channels, and in hand.
    assert_eq!(request.sent(), held, "the origin is at a stand");
    assert!(held < 24 << 20, "{held} bytes are held somewhere");
    assert!(server.rss() < before + (24 << 20), "{} bytes more than before", server.rss() - before);
    // What was held back is not lost, nor was it too slow: it was we who did not ask for it.
    assert_eq!(large.head().unwrap().status, 200);
    let seen = large.rest().unwrap();
    assert!(seen.len() as u64 == LENGTH && pattern::is_at(0, &seen));
    assert!(since.elapsed() >= STALL - Duration::from_millis(500), "it did stall");
    assert!(await_stored(&server, "large").body.len() as u64 == LENGTH);
}

#[test]
fn a_commit_that_stalls_keeps_nobody_from_bytes_that_are_there() {
    let origin = Origin::start();
    origin.fallback(|request| text(&request.target));
    let server = start(faulty(&origin, FILL, "cas.commit=stall:4s@1").asset("a.txt", b"imported"));
    let since = Instant::now();
    for name in ["a", "b", "c"] {
        assert_eq!(read(&server, name, format!("/s/{name}").as_bytes()), Got::Whole);
    }
    // Whoever asks for what is whole and not yet committed has it too, and asks nobody for it.
    assert_eq!(read(&server, "a", b"/s/a"), Got::Whole);
    assert_eq!(server.get("/edge/assets/site/a.txt", &[]).text(), "imported");
    assert!(since.elapsed() < STALL, "the commit stalls still: {:?}", since.elapsed());
    assert!(stored(&server, "a", &[]).is_none(), "and nothing is stored before it ends");
    for name in ["a", "b", "c"] {
        assert_sound(&server, name, format!("/s/{name}").as_bytes());
        assert_eq!(origin.requests(&format!("/s/{name}")).len(), 1, "{name}");
    }
    assert!(since.elapsed() >= STALL);
}

#[test]
fn a_stop_waits_for_a_stalled_disk() {
    let (origin, dir) = (Origin::start(), tempfile::tempdir().unwrap());
    origin.route("/s/a", text("hello"));
    let setup = faulty(&origin, FILL, "cas.commit=stall:2s@1").edge(&cas_at(dir.path()));
    let mut server = start(setup.top("grace_period_seconds: 20\n"));
    assert_eq!(read(&server, "a", b"hello"), Got::Whole);
    server.signal("TERM");
    assert!(server.wait().success());
    let again = live_with(&origin, "", FILL).edge(&cas_at(dir.path())).start();
    assert!(says(&get(&again, "a", &[]), "hit"), "what was filled before the stop is stored");
}

#[test]
fn a_read_that_stalls_holds_up_nobody_else() {
    let (origin, dir) = (Origin::start(), tempfile::tempdir().unwrap());
    origin.fallback(|request| text(&request.target));
    {
        let sound = live_with(&origin, "", FILL).edge(&cas_at(dir.path())).start();
        ["a", "b"].iter().for_each(|name| assert_sound(&sound, name, format!("/s/{name}").as_bytes()));
    }
    let server = start(faulty(&origin, FILL, "cas.read=stall:2s@1").edge(&cas_at(dir.path())));
    std::thread::scope(|scope| {
        let since = Instant::now();
        let stalled = scope.spawn(|| read(&server, "a", b"/s/a"));
        server.eventually("it is asked for", || server.metric("edge_inflight") >= 1.0);
        std::thread::sleep(Duration::from_millis(100));
        for name in ["b", "c"] {
            assert_eq!(read(&server, name, format!("/s/{name}").as_bytes()), Got::Whole);
        }
        assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
        assert_eq!(stalled.join().unwrap(), Got::Whole);
        assert!(since.elapsed() >= Duration::from_secs(2), "it did stall");
    });
}
