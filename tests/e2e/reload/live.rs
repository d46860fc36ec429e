//! Origins, fills and pins under a reload: what moves goes on, what is new goes by the new conf.

use svc_edge_origin::{Gate, Origin, Script, pattern};

use super::*;

/// One more origin in the conf.
fn added(origin: &Origin) -> String {
    format!("  origins:\n    - {{prefix: more/, url: \"{}\", allow_private: true}}\n", origin.url("/m/"))
}

#[test]
fn an_origin_is_added_and_removed() {
    let (origin, other) = (Origin::start(), Origin::start());
    origin.route("/s/a", text("first"));
    other.route("/m/b", text("more"));
    let server = live(&origin);
    assert_eq!(get(&server, "a", &[]).text(), "first");
    await_stored(&server, "a");
    assert_eq!(server.get("/edge/assets/more/b", &[]).status, 404);
    reload(&server, "  origins:\n", &added(&other));
    assert_eq!(server.client().fetch("GET", "/edge/assets/more/b", &[]).unwrap().text(), "more");
    assert_eq!(server.metric("edge_live_fill_attempts_total{origin=\"more/\"}"), 1.0);
    server.eventually("stored", || says(&server.get("/edge/assets/more/b", &[]), "hit"));
    reload(&server, &added(&other), "  origins:\n");
    assert_eq!(server.get("/edge/assets/more/c", &[]).status, 404);
    let kept = server.get("/edge/assets/more/b", &[]);
    assert!(says(&kept, "hit") && kept.text() == "more", "what was filled stays until it is stale: {kept:?}");
    assert!(says(&get(&server, "a", &[]), "hit"));
    assert_eq!((origin.all_requests().len(), other.all_requests().len()), (1, 1));
}

#[test]
fn a_fill_that_moves_survives_a_reload_of_its_origin_and_is_stored() {
    let (old, new, gate) = (Origin::start(), Origin::start(), Gate::new());
    old.route("/s/a", Script::fresh(60).pattern(100_000).wait(&gate).pattern(900_000));
    new.fallback(|_| text("of the new one"));
    let server = live(&old);
    let mut reader = server.client();
    reader.ask("GET", &asset("a"), &[]);
    reader.head().unwrap();
    let mut seen = reader.exactly(100_000).unwrap();
    reload(&server, &old.url("/s/"), &new.url("/s/"));
    assert_eq!(get(&server, "b", &[]).text(), "of the new one");
    server.eventually("the reader alone is left", || server.metric("edge_inflight") == 1.0);
    gate.open();
    seen.extend(reader.rest().unwrap());
    assert!(seen.len() == 1_000_000 && pattern::is_at(0, &seen));
    let hit = await_stored(&server, "a");
    assert!(hit.body == seen, "{} bytes", hit.body.len());
    assert_eq!((old.all_requests().len(), new.requests("/s/a").len()), (1, 0));
}

#[test]
fn a_fill_that_nobody_reads_ends_behind_the_reload_and_its_workers_with_it() {
    let (old, new, gate) = (Origin::start(), Origin::start(), Gate::new());
    old.route("/s/a", Script::fresh(60).pattern(100_000).wait(&gate).pattern(100_000));
    let server = live(&old);
    let threads = || std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap().filter(commits).count();
    assert_eq!(threads(), 1);
    let mut reader = server.client();
    reader.ask("GET", &asset("a"), &[]);
    reader.head().unwrap();
    drop(reader);
    reload(&server, &old.url("/s/"), &new.url("/s/"));
    server.eventually("nobody reads", || server.metric("edge_inflight") == 0.0);
    assert_eq!(threads(), 2, "the old one goes on");
    gate.open();
    assert_eq!(await_stored(&server, "a").body.len(), 200_000);
    server.eventually("the old one has ended", || threads() == 1);
}

/// Whether a thread is one that commits fills: each conf's have one.
fn commits(task: &std::io::Result<std::fs::DirEntry>) -> bool {
    let comm = task.as_ref().ok().and_then(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    comm.is_some_and(|comm| comm.trim() == "fill-commit")
}

#[test]
fn a_purge_reaches_the_fills_of_the_conf_before() {
    let (old, new, gate) = (Origin::start(), Origin::start(), Gate::new());
    old.route("/s/a", Script::fresh(60).pattern(100_000).wait(&gate).pattern(100_000));
    let setup = live_with(&old, "", FILL);
    let token = setup.dir.path().join("token");
    std::fs::write(&token, "a-token-of-some-length").unwrap();
    let server = setup.edge(&format!("  admin: {{token: {{file: {}}}}}\n", token.display())).start();
    let mut reader = server.client();
    reader.ask("GET", &asset("a"), &[]);
    reader.head().unwrap();
    reload(&server, &old.url("/s/"), &new.url("/s/"));
    let mut admin = crate::http::Client::connect(server.admin);
    let authorization = [("Authorization", "Bearer a-token-of-some-length")];
    assert_eq!(admin.request("PURGE", "/admin/objects/live/a", &authorization).status, 200);
    gate.open();
    assert_eq!(reader.rest().unwrap().len(), 200_000, "who reads, reads on");
    assert_not_stored(&server, "a");
}

#[test]
fn going_offline_asks_nobody_any_more_and_going_live_asks_again() {
    let (origin, gate) = (Origin::start(), Gate::new());
    origin.route("/s/stored", text("stored"));
    origin.route("/s/moving", Script::fresh(60).pattern(100_000).wait(&gate).pattern(100_000));
    origin.route("/s/waiting", Script::fresh(60).wait(&gate).body(b"late"));
    origin.route("/s/after", text("after"));
    let server = live(&origin);
    claim_faults(&server);
    ["body_cut", "conf_warning"].iter().for_each(|event| server.claim(event));
    get(&server, "stored", &[]);
    await_stored(&server, "stored");
    let (mut moving, mut waiting) = (server.client(), server.client());
    moving.ask("GET", &asset("moving"), &[]);
    moving.head().unwrap();
    moving.exactly(100_000).unwrap();
    waiting.ask("GET", &asset("waiting"), &[]);
    origin.await_requests("/s/waiting", 1);
    reload(&server, "mode: live", "mode: offline");
    let asked = origin.all_requests().len();
    // What moved is cut, and not ended as if it were all; who waited is answered as the next one is.
    assert!(moving.rest().is_err());
    assert_refused(&waiting.head().map(|head| finished(&mut waiting, head)).unwrap(), 404, "not_found");
    assert_refused(&get(&server, "after", &[]), 404, "not_found");
    assert_eq!(get(&server, "stored", &[]).text(), "stored");
    gate.open();
    assert_eq!(server.admin("/readyz").status, 200);
    assert_eq!(origin.all_requests().len(), asked);
    reload(&server, "mode: offline", "mode: live");
    assert_eq!(get(&server, "after", &[]).text(), "after");
    assert_eq!(await_stored(&server, "after").text(), "after");
    assert_eq!(server.admin("/readyz").status, 200);
}

/// A head with the body that follows.
fn finished(client: &mut crate::http::Client, head: crate::http::Response) -> crate::http::Response {
    let body = client.rest().unwrap();
    crate::http::Response { body, ..head }
}

#[test]
fn going_offline_ends_what_moves_by_the_conf_before_the_last_as_well() {
    let (old, new, gate) = (Origin::start(), Origin::start(), Gate::new());
    old.route("/s/a", Script::fresh(60).pattern(100_000).wait(&gate).pattern(100_000));
    let server = live_with(&old, ", pass: true", FILL).start();
    claim_faults(&server);
    ["body_cut", "conf_warning"].iter().for_each(|event| server.claim(event));
    let (mut moving, mut through) = (server.client(), server.client());
    for (client, headers) in [(&mut moving, &[][..]), (&mut through, &[("Authorization", "Bearer x")])] {
        client.ask("GET", &asset("a"), headers);
        client.head().unwrap();
        client.exactly(100_000).unwrap();
    }
    reload(&server, &old.url("/s/"), &new.url("/s/"));
    reload(&server, "mode: live", "mode: offline");
    assert!(moving.rest().is_err(), "the fill");
    gate.open();
    assert!(through.rest().is_err(), "what goes through");
    assert_not_stored(&server, "a");
    server.eventually("nothing is left", || server.metric("edge_inflight") == 0.0);
}

#[test]
fn a_server_that_began_offline_goes_live() {
    let origin = Origin::start();
    origin.route("/s/a", text("filled"));
    let yaml = format!(
        "  mode: offline\n  origins:\n    - {{prefix: live/, url: \"{}\", allow_private: true, pass: true}}\n",
        origin.url("/s/")
    );
    let server = setup().edge(&yaml).start();
    assert_refused(&get(&server, "a", &[]), 404, "not_found");
    reload(&server, "mode: offline", "mode: live");
    assert_eq!(get(&server, "a", &[]).text(), "filled");
    assert_eq!(await_stored(&server, "a").text(), "filled");
    let posted = server.client().fetch("POST", &asset("a"), &[("Content-Length", "0")]).unwrap();
    assert_eq!(posted.text(), "filled", "what goes through finds its origin too");
}

#[test]
fn pins_are_read_anew() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello"));
    let setup = live_with(&origin, "", FILL);
    let (dir, lock) = (setup.dir.path().join("cas"), setup.dir.path().join("assets.lock"));
    let pin = |bytes: &[u8]| format!("{}  live/a\n", blake3::hash(bytes).to_hex());
    std::fs::write(&lock, pin(b"hello")).unwrap();
    let server = setup.edge(&format!("  cas: {{dir: {}}}\n", dir.display())).start();
    claim_faults(&server);
    get(&server, "a", &[]);
    for _ in 0..3 {
        assert_eq!(await_stored(&server, "a").text(), "hello");
    }
    reload(&server, "  cas: {", &format!("  cas: {{lock: {}, ", lock.display()));
    assert_eq!(get(&server, "a", &[]).text(), "hello");
    // The same key names the same file, which says something else.
    std::fs::write(&lock, pin(b"other")).unwrap();
    assert!(hang_up(&server));
    assert_eq!(line(&server, "conf_reloaded", 2)["changed"], "edge.cas.lock");
    assert_refused(&get(&server, "a", &[]), 502, "corrupt");
    reload(&server, &format!("lock: {}, ", lock.display()), "");
    assert_eq!(get(&server, "a", &[]).text(), "hello");
}

#[test]
fn an_origin_that_was_left_alone_is_asked_when_its_conf_changes() {
    let origin = Origin::start();
    origin.fallback(|_| Script::status(503));
    let server = live_with(&origin, "", &format!("{FILL}, circuit: {{failures: 1, open_for: 1h}}")).start();
    claim_faults(&server);
    let open = "edge_origin_circuit_open{origin=\"live/\"}";
    assert_eq!(get(&server, "a", &[]).status, 503);
    server.eventually("left alone", || server.metric(open) == 1.0);
    assert!(hang_up(&server));
    assert_eq!(server.metric(open), 1.0, "what is unchanged is remembered");
    origin.fallback(|_| text("well again"));
    reload(&server, "failures: 1", "failures: 2");
    assert_eq!(get(&server, "a", &[]).text(), "well again");
    server.eventually("nobody is left alone", || server.metric(open) == 0.0);
}
