//! Panics of what the start makes beside the requests: counted, told, started again; and what can't be started again.

use super::*;

/// A server with these faults, whose panics are what the test is about.
fn with(faults: &str) -> Server {
    let origin = Origin::start();
    let server = start(faulty(&origin, FILL, faults).asset("a.txt", b"hello"));
    ["service_restarted", "no_json"].iter().for_each(|event| server.claim(event));
    server
}

fn restarts(server: &Server, component: &str) -> f64 {
    server.metric(&format!("service_restarts_total{{component=\"{component}\"}}"))
}

/// It serves what it served before.
fn serves(server: &Server) {
    assert_eq!(server.get("/edge/assets/site/a.txt", &[]).text(), "hello");
    server.await_ready();
}

#[test]
fn each_thread_that_panics_is_started_again_and_counted() {
    // When: the fills begin once; of the log, what it says of the start is not to be lost.
    for (point, component, when) in [
        ("boot.pack_watcher", "pack_watcher", 2),
        ("boot.cas_keeper", "cas_keeper", 2),
        ("boot.digester", "digester", 2),
        ("boot.fills", "fill_worker", 1),
        ("events.tell", "event_log", 2),
        ("log.writer", "log_writer", 20),
    ] {
        let server = with(&format!("{point}=panic@{when}"));
        server.eventually(point, || {
            // Something to log.
            serves(&server);
            restarts(&server, component) == 1.0
        });
        server.eventually("told", || {
            server.logged("service_restarted").iter().any(|line| line["component"] == component)
        });
        serves(&server);
        // Who was started again goes on with its work: the log is written.
        let before = server.logged("request").len();
        serves(&server);
        server.eventually("logged", || server.logged("request").len() > before);
    }
}

#[test]
fn a_panic_in_what_sighup_asks_for_ends_neither_the_server_nor_its_ear_for_signals() {
    let server = with("boot.hangup=panic@1");
    server.signal("HUP");
    server.eventually("counted", || restarts(&server, "signals") == 1.0);
    server.signal("HUP");
    server.eventually("heard", || !server.logged("conf_reloaded").is_empty());
    serves(&server);
}

#[test]
fn a_panic_in_an_upgrade_is_an_upgrade_that_failed() {
    let server = with("boot.upgrade=panic@1");
    server.claim("upgrade_failed");
    server.signal("QUIT");
    server.eventually("told", || !server.logged("upgrade_failed").is_empty());
    assert_eq!(server.metric("upgrades_total{result=\"failed\"}"), 1.0);
    serves(&server);
}

#[test]
fn the_watchdog_is_made_anew_when_it_panics() {
    let dir = tempfile::tempdir().unwrap();
    let manager = std::os::unix::net::UnixDatagram::bind(dir.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let origin = Origin::start();
    let setup = faulty(&origin, FILL, "boot.watchdog=panic@2")
        .environment("NOTIFY_SOCKET", &dir.path().join("notify").display().to_string())
        .environment("WATCHDOG_USEC", "200000");
    let server = start(setup);
    ["service_restarted", "no_json"].iter().for_each(|event| server.claim(event));
    server.eventually("counted", || restarts(&server, "watchdog") == 1.0);
    let mut buffer = [0; 512];
    let mut beats = 0;
    while beats < 3 {
        let read = manager.recv(&mut buffer).expect("it goes on");
        beats += u32::from(&buffer[..read] == b"WATCHDOG=1");
    }
}

#[test]
fn a_process_whose_listening_service_panics_does_not_live_on() {
    let origin = Origin::start();
    let mut server = faulty(&origin, FILL, "boot.listener=panic@1").start_unlistening();
    ["listener_lost", "failed", "fault_armed", "no_json", "pingora"].iter().for_each(|event| server.claim(event));
    assert_eq!(server.wait().code(), Some(1));
    server.eventually("told", || server.logged("listener_lost").len() == 1);
}
