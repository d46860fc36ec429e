//! Upgrades under fills: two processes, one store, and commands beside them.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use svc_edge_origin::{Gate, Origin, Script, pattern};

use super::*;
use crate::http::Client;
use crate::server::BINARY;

/// `svc-edge cas …` on the store at `dir`; what it found, where it found a fault.
fn command(dir: &Path, words: &[&str]) -> Result<(), String> {
    let done = Command::new(BINARY).arg("cas").args(words).arg("--cas-dir").arg(dir).output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    if done.status.success() { Ok(()) } else { Err(format!("{words:?}: {}", String::from_utf8_lossy(&said))) }
}

/// One GET of an asset of the origin, at an address where processes come and go.
fn fetch(address: SocketAddr, name: &str) -> Response {
    let mut client = Client::over(TcpStream::connect(address).expect("nobody is refused"));
    client.fetch("GET", &asset(name), &[]).expect("nothing is cut")
}

/// The body of a name: no two are one blob.
fn body(name: &str) -> Vec<u8> {
    let mut body = format!("/s/{name} ").into_bytes();
    body.resize(20_000, b'x');
    body
}

/// Sets it however its scope ends.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn two_processes_share_a_store_under_fills_and_commands_and_lose_nothing() {
    const UPGRADES: usize = 3;
    let (origin, dir, source) = (Origin::start(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    origin.fallback(|request| Script::fresh(3600).body(&body(request.target.trim_start_matches("/s/"))));
    for number in 0..30 {
        std::fs::write(source.path().join(number.to_string()), format!("imported {number}")).unwrap();
    }
    let store = cas_at(dir.path());
    let mut first = live_with(&origin, "", FILL).edge(&store).unlimited().start();
    let address = first.address;
    let (end, next, filled) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(HashSet::new()));
    let mut successors: Vec<Server> = Vec::new();
    thread::scope(|scope| {
        let _ending = Ending(&end);
        let filling = || {
            while !end.load(Ordering::Relaxed) {
                let name = next.fetch_add(1, Ordering::Relaxed).to_string();
                let answer = fetch(address, &name);
                assert!(answer.status == 200 && answer.body == body(&name), "{name}: {}", answer.status);
                filled.lock().unwrap().insert(name);
            }
        };
        let from = source.path().to_str().unwrap();
        let commanding = || {
            while !end.load(Ordering::Relaxed) {
                for words in [
                    &["import", from, "--prefix", "kept"][..],
                    &["import", from, "--prefix", "gone"],
                    &["gc"],
                    &["verify"],
                    &["purge", "--prefix", "gone"],
                ] {
                    command(dir.path(), words).unwrap();
                }
            }
        };
        let (one, two, commands) = (scope.spawn(filling), scope.spawn(filling), scope.spawn(commanding));
        for _ in 0..UPGRADES {
            let before = filled.lock().unwrap().len();
            let last = successors.last_mut().unwrap_or(&mut first);
            claim_faults(last);
            last.eventually("filled", || filled.lock().unwrap().len() > before + 20 || one.is_finished());
            let upgraded = last.upgraded();
            successors.push(upgraded);
        }
        let (last, before) = (successors.last().unwrap(), filled.lock().unwrap().len());
        last.eventually("filled", || filled.lock().unwrap().len() > before + 20 || one.is_finished());
        end.store(true, Ordering::Relaxed);
        [one, two, commands].into_iter().for_each(|thread| thread.join().unwrap());
    });
    let last = successors.last().unwrap();
    let filled = filled.into_inner().unwrap();
    for name in &filled {
        let answer = await_stored(last, name);
        assert!(answer.body == body(name), "{name}");
        assert_eq!(origin.requests(&format!("/s/{name}")).len(), 1, "{name} was lost, and filled anew");
    }
    command(dir.path(), &["purge", "--prefix", "gone"]).unwrap();
    last.eventually("imported", || last.get("/edge/assets/kept/29", &[]).text() == "imported 29");
    command(dir.path(), &["verify"]).unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("quarantine")).unwrap().count(), 0);
    // The gauge is set about once a second.
    last.eventually("counted", || last.metric("edge_cas_objects") as usize == filled.len() + 30);
}

#[test]
fn what_the_old_process_still_fills_is_served_by_the_new_one() {
    let (origin, dir, gate) = (Origin::start(), tempfile::tempdir().unwrap(), Gate::new());
    origin.route("/s/a", Script::fresh(3600).pattern(400_000).wait(&gate).pattern(600_000));
    let mut old = live_with(&origin, "", FILL).edge(&cas_at(dir.path())).top("grace_period_seconds: 3600\n").start();
    let mut reader = old.client();
    reader.ask("GET", &asset("a"), &[]);
    reader.head().unwrap();
    let mut seen = reader.exactly(400_000).unwrap();
    let mut new = old.successor(&[]);
    old.signal("QUIT");
    new.learn_addresses();
    old.eventually("retiring", || !old.logged("retiring").is_empty());
    new.await_ready();
    assert!(stored(&new, "a", &[]).is_none(), "half of it is nothing");
    assert!(old.alive(), "a fill is under way");
    gate.open();
    seen.extend(reader.rest().unwrap());
    assert!(seen.len() == 1_000_000 && pattern::is_at(0, &seen));
    assert!(old.wait().success());
    assert!(await_stored(&new, "a").body == seen);
    assert_eq!(origin.requests("/s/a").len(), 1);
    command(dir.path(), &["verify"]).unwrap();
}

#[test]
fn a_store_at_its_bound_stays_there_with_two_processes_that_evict() {
    const MOST: usize = 40;
    let (origin, dir, gate) = (Origin::start(), tempfile::tempdir().unwrap(), Gate::new());
    origin.fallback(|request| Script::fresh(3600).body(&body(request.target.trim_start_matches("/s/"))));
    origin.route("/s/held", Script::fresh(3600).pattern(1000).wait(&gate).pattern(1000));
    let store = format!("  cas: {{dir: {}, max_objects: {MOST}}}\n", dir.path().display());
    // Its origin may be silent for as long as the test likes.
    let fill = format!("{FILL}, read_timeout: 1h, min_rate: null");
    let mut old = live_with(&origin, "", &fill).edge(&store).top("grace_period_seconds: 3600\n").start();
    // A reader that keeps the old one alive beside the new one.
    let mut held = old.client();
    held.ask("GET", &asset("held"), &[]);
    held.head().unwrap();
    let mut new = old.successor(&[]);
    old.signal("QUIT");
    new.learn_addresses();
    old.eventually("retiring", || !old.logged("retiring").is_empty());
    for name in 0..3 * MOST {
        assert_eq!(get(&new, &name.to_string(), &[]).status, 200);
    }
    new.eventually("evicted", || new.metric("edge_cas_objects") as usize == MOST);
    // Both looked at it, more than once, and neither took more than there was to take.
    thread::sleep(Duration::from_millis(2500));
    assert!(old.alive());
    assert_eq!(new.metric("edge_cas_objects") as usize, MOST);
    gate.open();
    held.rest().unwrap();
    assert!(old.wait().success());
    command(dir.path(), &["verify"]).unwrap();
}
