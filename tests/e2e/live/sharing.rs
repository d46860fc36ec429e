//! Two processes, as an upgrade has them, on one store.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use svc_edge::conf::{CasBacking, CasConf, Durability};
use svc_edge::rules::encoding::Coding;
use svc_edge::store::cas::{Cas, Meta};
use svc_edge_origin::{Gate, Origin, Script, pattern};

use super::*;

#[test]
fn what_is_stored_is_found_at_every_moment_while_others_change_the_index() {
    let origin = Origin::start();
    origin.fallback(|_| Script::fresh(60).body(b"filled"));
    let server = live_with(&origin, "", FILL).asset("a", b"imported").unlimited().start();
    let conf = CasConf {
        dir: server.dir.path().join("cas"),
        max_bytes: 1 << 40,
        max_objects: 1_000_000,
        memory_bytes: 0,
        store: CasBacking::Disk,
        durability: Durability::Verify,
    };
    let meta = || Meta {
        pinned: false,
        content_type: "a/b".into(),
        coding: Coding::Identity,
        last_modified: None,
        extra: None,
    };
    let over = AtomicBool::new(false);
    let numbers = || (0..).take_while(|_: &u32| !over.load(Relaxed));
    std::thread::scope(|scope| {
        // Each fill of ours that comes behind a change of another process makes every copy in memory one that has to be looked up again.
        scope.spawn(|| {
            let other = Cas::open(&conf).unwrap();
            for number in numbers() {
                other.put("other", &mut number.to_string().as_bytes(), meta()).unwrap();
            }
        });
        scope.spawn(|| {
            let mut client = server.client();
            for number in numbers() {
                assert_eq!(client.request("GET", &asset(&number.to_string()), &[]).status, 200);
            }
        });
        let readers = [(); 3].map(|()| {
            scope.spawn(|| {
                let mut client = server.client();
                (0..3000).filter(|_| client.request("GET", "/edge/assets/site/a", &[]).status != 200).count()
            })
        });
        let missed = readers.map(|reader| reader.join().unwrap());
        over.store(true, Relaxed);
        assert_eq!(missed, [0; 3]);
    });
}

fn start(origin: &Origin, dir: &Path) -> Server {
    live_with(origin, "", FILL).edge(&cas_at(dir)).start()
}

/// Begin to read `name` from both, while the origin is in the middle of both answers.
fn both(servers: &[Server; 2], origin: &Origin, name: &str) -> [crate::http::Client; 2] {
    let clients = servers.each_ref().map(|server| {
        let mut client = server.client();
        client.ask("GET", &asset(name), &[]);
        client.head().unwrap();
        client
    });
    origin.await_requests(&format!("/s/{name}"), 2);
    clients
}

#[test]
fn two_servers_that_fill_one_key_at_once_store_one_blob_and_both_serve_it() {
    let (origin, dir, gate) = (Origin::start(), tempfile::tempdir().unwrap(), Gate::new());
    origin.route("/s/a", Script::fresh(60).pattern(100_000).wait(&gate).pattern(900_000));
    let servers = [start(&origin, dir.path()), start(&origin, dir.path())];
    let clients = both(&servers, &origin, "a");
    gate.open();
    for mut client in clients {
        let body = client.rest().unwrap();
        assert!(body.len() == 1_000_000 && pattern::is_at(0, &body));
    }
    let tags = servers.each_ref().map(|server| await_stored(server, "a").header("etag").unwrap().to_owned());
    assert_eq!(tags[0], tags[1]);
    assert_eq!(origin.requests("/s/a").len(), 2);
    let stat: serde_json::Value = serde_json::from_str(&servers[0].command(&["cas", "stat", "--json"])).unwrap();
    assert_eq!((stat["objects"].as_u64(), stat["blobs"].as_u64()), (Some(1), Some(1)), "{stat}");
    servers[1].command(&["cas", "verify"]);
}

#[test]
fn of_two_answers_that_two_servers_filled_the_later_one_is_soon_served_by_both() {
    let (origin, dir) = (Origin::start(), tempfile::tempdir().unwrap());
    let gates = [Gate::new(), Gate::new()];
    let script = |gate: &Gate, bytes: &[u8]| Script::fresh(60).send_head().wait(gate).body(bytes);
    origin.route("/s/a", [script(&gates[0], b"first"), script(&gates[1], b"second")]);
    let servers = [start(&origin, dir.path()), start(&origin, dir.path())];
    let [mut first, mut second] = both(&servers, &origin, "a");
    gates[0].open();
    assert_eq!(first.rest().unwrap(), b"first");
    assert_eq!(await_stored(&servers[0], "a").text(), "first");
    gates[1].open();
    assert_eq!(second.rest().unwrap(), b"second");
    for server in &servers {
        server.eventually("the later one", || stored(server, "a", &[]).is_some_and(|answer| answer.text() == "second"));
    }
    drop(servers);
    let again = start(&origin, dir.path());
    assert_eq!(stored(&again, "a", &[]).unwrap().text(), "second");
    again.command(&["cas", "verify"]);
}

#[test]
fn what_the_old_server_fills_while_it_drains_is_a_hit_of_the_new_one() {
    let (origin, dir, gate) = (Origin::start(), tempfile::tempdir().unwrap(), Gate::new());
    origin.route("/s/a", [Script::fresh(60).pattern(10_000).wait(&gate).pattern(10_000), text("asked twice")]);
    let mut old = start(&origin, dir.path());
    let mut reader = old.client();
    reader.ask("GET", &asset("a"), &[]);
    reader.head().unwrap();
    let new = start(&origin, dir.path());
    old.signal("TERM");
    old.eventually("draining", || !old.logged("draining").is_empty());
    gate.open();
    assert!(pattern::is_at(0, &reader.rest().unwrap()));
    assert!(old.wait().success());
    assert_eq!(await_stored(&new, "a").body.len(), 20_000);
    assert_eq!(origin.requests("/s/a").len(), 1);
}
