//! Listeners of the bus that stall or fail: what they lose is counted, and requests go on.

use super::*;
use crate::http::Client;

const TOKEN: &str = "correct-horse-battery-staple";

#[test]
fn a_log_that_stalls_loses_events_that_are_counted_while_requests_go_on() {
    let origin = Origin::start();
    // Each of the first events takes a second to tell: the bus holds 1024 more of them.
    let setup = faulty(&origin, FILL, "events.tell=stall:1s@..6").edge("  admin: {token: {env: E2E_ADMIN_TOKEN}}\n");
    let server = start(setup.environment("E2E_ADMIN_TOKEN", TOKEN).asset("a.txt", b"imported"));
    let mut admin = Client::connect(server.admin);
    for _ in 0..10 {
        (0..500).for_each(|_| assert_eq!(admin.request("PURGE", "/admin/objects/a", &[]).status, 401));
        assert_eq!(server.get("/edge/assets/site/a.txt", &[]).text(), "imported");
    }
    server.eventually("lost and counted", || server.metric("bus_lagged_total{bus=\"events\"}") > 0.0);
    server.eventually("the last are told", || server.logged("purge_denied").len() >= 1000);
}

#[test]
fn an_audit_file_that_fails_is_told_once_counted_and_has_all_lines_once_it_does_not() {
    let origin = Origin::start();
    origin.route("/s/a", text("hello"));
    let server =
        start(faulty(&origin, FILL, "audit.write=enospc@..3").edge("  log: {access: all, audit: audit.log}\n"));
    server.claim("audit_failed");
    assert_sound(&server, "a", b"hello");
    assert_eq!(server.get("/edge/assets/none", &[("X-Corr-ID", "refused-1")]).status, 404);
    let audit = server.dir.path().join("audit.log");
    let has = |word: &str| std::fs::read_to_string(&audit).unwrap().contains(word);
    server.eventually("written", || has("\"refused-1\"") && has("\"fill_finished\"") && has("\"started\""));
    assert_eq!(server.metric("edge_audit_errors_total"), 3.0);
    assert_eq!(server.logged("audit_failed").len(), 1, "once a minute");
    assert_eq!(server.metric("bus_lagged_total{bus=\"audit\"}"), 0.0);
}
