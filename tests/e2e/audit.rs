//! The audit file: what is written down, where it can't be, and what a writer that stands still costs.

use std::fs::OpenOptions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use svc_edge_origin::{Origin, Script};

use crate::http::Client;
use crate::live::support::{await_stored, claim_faults, get, live_with, text};
use crate::server::{BINARY, Server, Setup, await_answer, free_address, setup};

const TOKEN: &str = "correct-horse-battery-staple";

/// `edge.log` with an audit file beside the conf.
const LOG: &str = "  log: {access: all, audit: audit.log}\n";

fn path(server: &Server) -> PathBuf {
    server.dir.path().join("audit.log")
}

/// The lines of an audit file, each an object with a time and a name.
fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "a line is whole or not there");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["ts"].is_string() && line["event"].is_string()), "{lines:#?}");
    lines
}

/// The lines of one event.
fn told(server: &Server, event: &str) -> Vec<Value> {
    lines(&path(server)).into_iter().filter(|line| line["event"] == event).collect()
}

/// Wait for a line of `event`, the only one.
fn one(server: &Server, event: &str) -> Value {
    server.eventually(event, || !told(server, event).is_empty());
    let mut lines = told(server, event);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines.remove(0)
}

fn purge(server: &Server, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    Client::connect(server.admin).request("PURGE", "/admin/objects/live/a", &[("Authorization", &bearer)]).status
}

#[test]
fn fills_purges_start_and_stop_are_written_down_with_who_and_what() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello"));
    let setup =
        live_with(&origin, "", "retry: {count: 0}").edge(LOG).edge("  admin: {token: {env: E2E_ADMIN_TOKEN}}\n");
    let mut server = setup.environment("E2E_ADMIN_TOKEN", TOKEN).start();
    claim_faults(&server);
    let path = path(&server);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let started = one(&server, "started");
    assert_eq!(started["mode"], "live");

    get(&server, "a", &[]);
    await_stored(&server, "a");
    let filled = one(&server, "fill_finished");
    assert_eq!((&filled["path"], &filled["origin"]), (&"live/a".into(), &"live/".into()));
    assert_eq!((&filled["bytes"], &filled["hash"]), (&5.into(), &blake3::hash(b"hello").to_hex().as_str().into()));
    assert!(filled["ms"].is_u64());

    origin.route("/s/c", Script::fresh(60).content_length(100).body(b"short"));
    let _ = server.client().fetch("GET", "/edge/assets/live/c", &[]);
    let failed = one(&server, "fill_failed");
    assert_eq!((&failed["path"], &failed["origin"]), (&"live/c".into(), &"live/".into()));
    assert!(failed["cause"].is_string() && failed["ms"].is_u64(), "{failed}");

    assert_eq!(purge(&server, "wrong"), 401);
    assert!(one(&server, "purge_denied")["peer_addr"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(purge(&server, TOKEN), 200);
    let purged = one(&server, "purged");
    assert_eq!((&purged["what"], &purged["objects"]), (&"live/a".into(), &1.into()));
    assert!(purged["peer_addr"].as_str().unwrap().starts_with("127.0.0.1:"));

    server.signal("TERM");
    assert!(server.wait().success());
    let lines = lines(&path);
    let names: Vec<_> = lines.iter().filter_map(|line| line["event"].as_str()).collect();
    assert_eq!(names.last(), Some(&"stopped"), "all that happened is written before the process ends: {names:?}");
    assert!(names.contains(&"stopping"));
    // Two threads may tell of the same moment in either order, and of no two moments that are apart.
    let at: Vec<_> = lines.iter().map(|line| humantime::parse_rfc3339(line["ts"].as_str().unwrap()).unwrap()).collect();
    let apart = Duration::from_millis(500);
    assert!(at.windows(2).all(|pair| pair[0] <= pair[1] + apart), "{lines:#?}");
    assert!(!std::fs::read_to_string(&path).unwrap().contains(TOKEN));
    assert!(!server.logged("stopped").is_empty(), "and told the log");
}

#[test]
fn every_refusal_is_written_down_and_nothing_secret_is() {
    let server = setup().asset("a.txt", b"hello").edge(LOG).start();
    let mut client = server.client();
    let secret = [("Cookie", "secret1"), ("Authorization", "Bearer secret2")];
    for (method, target, id) in [
        ("GET", "/edge/assets/none?secret3", "one"),
        ("POST", "/edge/assets/site/a.txt", "two"),
        ("GET", "/edge/assets/%00secret4", "three"),
        ("GET", "/edge/assets/site/a.txt?secret5", "served"),
    ] {
        let headers = [&secret[..], &[("X-Corr-ID", id)]].concat();
        let answer = client.request(method, target, &headers);
        if answer.header("connection") == Some("close") {
            client = server.client();
        }
    }
    server.eventually("all are written", || told(&server, "refused").len() >= 3);
    let refused = told(&server, "refused");
    let by =
        |id: &str| refused.iter().find(|line| line["corr_id"] == id).unwrap_or_else(|| panic!("{id}: {refused:#?}"));
    for (id, reason, status, route) in
        [("one", "not_found", 404, "asset"), ("two", "method", 405, "none"), ("three", "bad_path", 400, "none")]
    {
        let line = by(id);
        assert_eq!((&line["reason"], &line["status"], &line["route"]), (&reason.into(), &status.into(), &route.into()));
        assert!(line["peer_addr"].as_str().unwrap().starts_with("127.0.0.1:"));
    }
    assert!(refused.iter().all(|line| line["corr_id"] != "served"), "an answer is no refusal");
    assert!(!std::fs::read_to_string(path(&server)).unwrap().contains("secret"));
}

#[test]
fn a_quarantined_blob_and_a_lost_pack_are_written_down() {
    let setup = setup().asset("a", b"hello").edge(LOG);
    let pack = setup.dir.path().join("tile.pmtiles");
    std::fs::copy(crate::fixtures::sample("tile.pmtiles"), &pack).unwrap();
    let server = setup.pack("tile", &pack, "").start();
    for event in ["corrupt", "blob_quarantined", "pack_lost", "pack_rejected", "pack_digest", "message"] {
        server.claim(event);
    }
    assert_eq!(one(&server, "pack_mounted")["pack"], "tile", "also what happened before the thread began");
    let hex = blake3::hash(b"hello").to_hex();
    let blob = server.dir.path().join("cas/b3").join(&hex[..2]).join(hex.as_str());
    std::fs::set_permissions(&blob, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&blob, b"olleh").unwrap();
    assert_eq!(server.get("/edge/assets/site/a", &[]).status, 502);
    assert_eq!(one(&server, "blob_quarantined")["hash"], hex.as_str());
    assert_eq!(one(&server, "refused")["reason"], "corrupt");
    OpenOptions::new().write(true).open(&pack).unwrap().set_len(200).unwrap();
    assert_eq!(one(&server, "pack_lost")["pack"], "tile");
}

#[test]
fn a_file_that_was_moved_away_is_made_anew_by_itself_and_on_sighup() {
    let server = setup().edge(LOG).start();
    let refuse = |id: &str| server.get("/edge/assets/none", &[("X-Corr-ID", id)]);
    let has = |path: &Path, id: &str| path.exists() && lines(path).iter().any(|line| line["corr_id"] == id);
    let (now, moved, again) =
        (path(&server), server.dir.path().join("audit.log.1"), server.dir.path().join("audit.log.2"));
    refuse("first");
    server.eventually("written", || has(&now, "first"));
    std::fs::rename(&now, &moved).unwrap();
    refuse("second");
    server.eventually("written to a new file", || has(&now, "second"));
    assert!(has(&moved, "first") && !has(&moved, "second"));
    std::fs::rename(&now, &again).unwrap();
    server.signal("HUP");
    server.eventually("made by the signal alone", || now.exists());
}

#[test]
fn a_file_that_cannot_be_opened_ends_the_start_with_one_line_and_check_tells_it_too() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("c.yaml"), "edge:\n  bind: 127.0.0.1:0\n  log: {audit: none/audit.log}\n").unwrap();
    let run = |arguments: &[&str]| {
        let done = Command::new(BINARY).args(arguments).current_dir(dir.path()).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(said.contains("edge.log.audit: none/audit.log: "), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(done.stdout.is_empty());
        done.status.code()
    };
    assert_eq!(run(&["--conf", "c.yaml", "--metrics", "127.0.0.1:0"]), Some(1));
    assert_eq!(run(&["check", "--conf", "c.yaml"]), Some(2));
    std::fs::create_dir(dir.path().join("none")).unwrap();
    let done = Command::new(BINARY).args(["check", "--conf", "c.yaml"]).current_dir(dir.path()).output().unwrap();
    assert!(String::from_utf8(done.stdout).unwrap().contains("audit ok: none/audit.log\n"));
    assert!(!dir.path().join("none/audit.log").exists(), "check makes nothing");
}

/// A server whose audit file is a FIFO that nobody reads. Its reading end has to be kept open.
fn stalled(setup: Setup) -> (Server, std::fs::File) {
    let fifo = setup.dir.path().join("audit.log");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    (setup.edge(LOG).start(), reader)
}

#[test]
fn a_stalled_audit_file_loses_lines_that_are_counted_while_requests_go_on() {
    let (server, mut reader) = stalled(setup().asset("a.txt", b"hello").unlimited());
    let mut client = server.client();
    let lost = || server.metric("bus_lagged_total{bus=\"audit\"}");
    let mut asked = 0_u32;
    while lost() == 0.0 {
        assert!(asked < 100_000, "{asked} refusals, and none is lost");
        for _ in 0..500 {
            assert_eq!(client.request("GET", "/edge/assets/none", &[]).status, 404);
        }
        asked += 500;
        assert_eq!(client.request("GET", "/edge/assets/site/a.txt", &[]).body, b"hello");
    }
    assert_eq!(server.admin("/readyz").status, 200);
    // Once somebody reads, it goes on, and every line is whole.
    let read = std::thread::spawn(move || {
        let mut text = Vec::new();
        let mut piece = [0; 65536];
        while !String::from_utf8_lossy(&text).contains("\"after\"") {
            let n = std::io::Read::read(&mut reader, &mut piece).unwrap();
            text.extend_from_slice(&piece[..n]);
        }
        (String::from_utf8(text).unwrap(), reader)
    });
    server.eventually("goes on", || {
        server.get("/edge/assets/none", &[("X-Corr-ID", "after")]);
        std::thread::park_timeout(Duration::from_millis(200));
        read.is_finished()
    });
    let (text, reader) = read.join().unwrap();
    let whole = text.rfind('\n').unwrap();
    let refused = text[..whole].lines().filter(|line| {
        serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("a broken line: {line}"))["event"] == "refused"
    });
    assert!(refused.count() > 500);
    // It must outlive the server, which is not to be told that its reader is gone.
    drop(server);
    drop(reader);
}

#[test]
fn a_log_that_nobody_reads_loses_lines_that_are_counted_while_requests_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (address, admin) = (free_address(), free_address());
    let conf = "edge:\n  cas: {dir: cas}\n  log: {access: all}\n  admin: {token: {env: E2E_ADMIN_TOKEN}}\n";
    std::fs::write(dir.path().join("c.yaml"), conf).unwrap();
    let mut child = Command::new(BINARY)
        .args(["--conf", "c.yaml", "--bind", &address.to_string(), "--metrics", &admin.to_string()])
        .env("E2E_ADMIN_TOKEN", TOKEN)
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    await_answer(address);
    await_answer(admin);
    let lost = |bus: &str| {
        let text = Client::connect(admin).request("GET", "/metrics", &[]).text();
        let series = format!("bus_lagged_total{{bus=\"{bus}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u64>().ok()).unwrap()
    };
    let flood = |bus: &str, ask: &dyn Fn(&mut Client, &mut Client)| {
        let (mut public, mut private) = (Client::connect(address), Client::connect(admin));
        for _ in 0..100 {
            (0..500).for_each(|_| ask(&mut public, &mut private));
            if lost(bus) > 0 {
                return;
            }
        }
        panic!("nothing of {bus} is lost");
    };
    // Lines of requests may take a part of the queue alone: what an operator must see still finds room.
    flood("access", &|public, _| assert_eq!(public.request("GET", "/healthz", &[]).status, 200));
    assert_eq!(lost("log"), 0);
    flood("log", &|_, private| {
        assert_eq!(private.request("PURGE", "/admin/objects/a", &[]).status, 401);
    });
    assert_eq!(Client::connect(address).request("GET", "/readyz", &[]).status, 200);
    // A reader comes, or the end would wait for one; what is there are whole lines.
    let stderr = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || std::io::read_to_string(stderr).unwrap());
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    let text = reader.join().unwrap();
    assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
}
