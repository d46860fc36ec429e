//! Stops, asked for and not, in the middle of fills.

use std::path::Path;
use std::time::Instant;

use svc_edge_origin::{Gate, Origin, Script, pattern};

use super::*;

/// A server with its store in `dir` that gives what is in flight so many seconds.
fn start(origin: &Origin, dir: &Path, grace: u64) -> Server {
    live_with(origin, "", FILL).edge(&cas_at(dir)).top(&format!("grace_period_seconds: {grace}\n")).start()
}

/// Blobs on the disk of a store.
fn blobs(dir: &Path) -> usize {
    let directories =
        |path: &Path| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    directories(&dir.join("b3")).iter().map(|fan| directories(fan).len()).sum()
}

#[test]
fn asked_to_stop_the_server_finishes_its_fills_and_stores_them() {
    for signal in ["TERM", "INT"] {
        let (origin, dir, gate) = (Origin::start(), tempfile::tempdir().unwrap(), Gate::new());
        origin.route("/s/a", Script::fresh(60).pattern(100_000).wait(&gate).pattern(900_000));
        let mut server = start(&origin, dir.path(), 20);
        let mut reader = server.client();
        reader.ask("GET", &asset("a"), &[]);
        reader.head().unwrap();
        let mut seen = reader.exactly(100_000).unwrap();
        server.signal(signal);
        server.eventually("draining", || !server.logged("draining").is_empty());
        std::thread::sleep(Duration::from_millis(300));
        gate.open();
        seen.extend(reader.rest().unwrap());
        assert!(seen.len() == 1_000_000 && pattern::is_at(0, &seen), "SIG{signal}");
        assert!(server.wait().success(), "SIG{signal}");
        let again = start(&origin, dir.path(), 1);
        let hit = get(&again, "a", &[]);
        assert!(says(&hit, "hit") && hit.body == seen, "SIG{signal}: {hit:?}");
        assert_eq!(origin.requests("/s/a").len(), 1, "SIG{signal}");
    }
}

#[test]
fn asked_to_stop_the_server_finishes_a_fill_that_nobody_reads_any_more() {
    let (origin, dir, gate) = (Origin::start(), tempfile::tempdir().unwrap(), Gate::new());
    origin.route("/s/a", Script::fresh(60).pattern(100_000).wait(&gate).pattern(100_000));
    let mut server = start(&origin, dir.path(), 20);
    let mut reader = server.client();
    reader.ask("GET", &asset("a"), &[]);
    reader.head().unwrap();
    drop(reader);
    server.eventually("the reader has left", || server.metric("edge_inflight") == 0.0);
    server.signal("TERM");
    server.eventually("draining", || !server.logged("draining").is_empty());
    std::thread::sleep(Duration::from_millis(300));
    assert!(server.alive(), "a fill is under way");
    gate.open();
    assert!(server.wait().success());
    assert!(says(&get(&start(&origin, dir.path(), 1), "a", &[]), "hit"));
}

#[test]
fn beyond_the_grace_readers_are_cut_and_nothing_is_stored() {
    let (origin, dir, gate) = (Origin::start(), tempfile::tempdir().unwrap(), Gate::new());
    origin.route("/s/moving", [Script::fresh(60).pattern(100_000).wait(&gate).pattern(100_000), text("whole")]);
    origin.route("/s/waiting", [Script::fresh(60).wait(&gate).body(b"late"), text("whole")]);
    let mut server = start(&origin, dir.path(), 1);
    claim_faults(&server);
    server.claim("drain_timeout");
    server.claim("body_cut");
    server.claim("draining");
    let (mut moving, mut waiting) = (server.client(), server.client());
    moving.ask("GET", &asset("moving"), &[]);
    moving.head().unwrap();
    moving.exactly(100_000).unwrap();
    waiting.ask("GET", &asset("waiting"), &[]);
    origin.await_requests("/s/waiting", 1);
    let since = Instant::now();
    server.signal("TERM");
    assert!(moving.rest().is_err(), "half of it is not ended as if it were all");
    match waiting.head() {
        Ok(head) => assert_eq!(head.header("x-reason"), Some("draining"), "{head:?}"),
        Err(_cut) => {}
    }
    assert!(server.wait().success());
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
    assert!(!server.logged("drain_timeout").is_empty());
    let again = start(&origin, dir.path(), 1);
    for name in ["moving", "waiting"] {
        assert!(stored(&again, name, &[]).is_none(), "{name}");
        assert_eq!(get(&again, name, &[]).text(), "whole");
    }
    again.command(&["cas", "verify"]);
}

#[test]
fn a_process_killed_in_the_middle_of_fills_leaves_a_sound_store() {
    const SMALL: usize = 40;
    let (origin, dir) = (Origin::start(), tempfile::tempdir().unwrap());
    // A body of its own for each: no two are one blob.
    origin.fallback(|request| Script::fresh(3600).body(request.target.as_bytes()).pattern(1000));
    let mut kept = 0;
    for round in 0..6_u64 {
        let gate = Gate::new();
        let name = format!("large-{round}");
        origin.route(
            &format!("/s/{name}"),
            [
                Script::fresh(3600).pattern(3_000_000).wait(&gate).pattern(1_000_000),
                Script::fresh(3600).pattern(4_000_000),
            ],
        );
        let mut server = start(&origin, dir.path(), 1);
        claim_faults(&server);
        let mut large = server.client();
        large.ask("GET", &asset(&name), &[]);
        large.head().unwrap();
        large.exactly(2_000_000).unwrap();
        let address = server.address;
        // Small ones are committed while the process is killed.
        let filler = std::thread::spawn(move || {
            let whole = (0..SMALL).take_while(|number| {
                let Ok(stream) = std::net::TcpStream::connect(address) else { return false };
                let mut client = crate::http::Client::over(stream);
                client.fetch("GET", &asset(&format!("{round}-{number}")), &[]).is_ok()
            });
            whole.count()
        });
        std::thread::sleep(Duration::from_millis(20 * round));
        server.signal("KILL");
        assert!(!server.wait().success());
        filler.join().unwrap();
        assert!(large.rest().is_err(), "a killed process ends no answer");
        let server = start(&origin, dir.path(), 1);
        server.command(&["cas", "verify"]);
        assert!(stored(&server, &name, &[]).is_none(), "it was not whole");
        let whole = get(&server, &name, &[]);
        assert!(whole.body.len() == 4_000_000 && pattern::is_at(0, &whole.body));
        await_stored(&server, &name);
        for number in 0..SMALL {
            let small = format!("{round}-{number}");
            if let Some(answer) = stored(&server, &small, &[]) {
                kept += 1;
                let (begin, rest) = answer.body.split_at(3 + small.len());
                assert!(begin == format!("/s/{small}").as_bytes() && rest.len() == 1000, "{small}");
                assert!(pattern::is_at(begin.len() as u64, rest), "{small}");
            }
        }
    }
    let server = start(&origin, dir.path(), 1);
    server.command(&["cas", "gc"]);
    server.command(&["cas", "verify"]);
    assert!(kept > 0, "something was committed before a kill");
    assert_eq!(std::fs::read_dir(dir.path().join("quarantine")).map_or(0, Iterator::count), 0);
    drop(server);
    assert!(blobs(dir.path()) > kept, "the large ones are one blob, and each small one has its own");
}
