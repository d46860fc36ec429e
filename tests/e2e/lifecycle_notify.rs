//! What systemd is told.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::server::{BINARY, setup};

/// The manager's side.
struct Manager {
    dir: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { dir, socket }
    }

    fn path(&self) -> String {
        self.dir.path().join("notify").display().to_string()
    }

    fn next(&self) -> String {
        let mut buffer = [0; 512];
        let read = self.socket.recv(&mut buffer).expect("a message");
        String::from_utf8(buffer[..read].to_vec()).unwrap()
    }

    /// The next message but those of the watchdog.
    fn told(&self) -> String {
        std::iter::repeat_with(|| self.next()).find(|message| message != "WATCHDOG=1").unwrap()
    }
}

#[test]
fn readiness_reloads_and_the_stop_are_told() {
    let manager = Manager::new();
    let mut server = setup().environment("NOTIFY_SOCKET", &manager.path()).start();
    assert_eq!(manager.told(), "READY=1\nSTATUS=serving");
    server.signal("HUP");
    let reloading = manager.told();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(manager.told(), "READY=1\nSTATUS=serving");
    server.signal("TERM");
    assert_eq!(manager.told(), "STOPPING=1\nSTATUS=draining");
    assert!(server.wait().success());
}

#[test]
fn an_upgrade_tells_who_is_the_main_process_and_nobody_says_that_it_stops() {
    let manager = Manager::new();
    let mut server = setup().environment("NOTIFY_SOCKET", &manager.path()).start();
    assert_eq!(manager.told(), "READY=1\nSTATUS=serving");
    server.signal("USR2");
    assert_eq!(manager.told(), "STATUS=upgrading");
    let main = manager.told();
    let pid: u64 = main.strip_prefix("MAINPID=").and_then(|pid| pid.parse().ok()).unwrap_or_else(|| panic!("{main}"));
    assert_eq!(manager.told(), format!("MAINPID={pid}\nREADY=1\nSTATUS=serving"));
    assert!(server.wait().success());
    server.signal_to(pid, "TERM");
    assert_eq!(manager.told(), "STOPPING=1\nSTATUS=draining", "it is the successor's, and the only one");
}

#[test]
fn an_upgrade_that_fails_tells_that_this_is_still_the_main_process() {
    let manager = Manager::new();
    let server = setup().environment("NOTIFY_SOCKET", &manager.path()).start();
    server.claim("upgrade_failed");
    server.claim("no_json");
    assert_eq!(manager.told(), "READY=1\nSTATUS=serving");
    std::fs::write(&server.conf, "mood: good\n").unwrap();
    server.signal("USR2");
    assert_eq!(manager.told(), "STATUS=upgrading");
    assert_eq!(manager.told(), format!("MAINPID={}", server.pid()));
    assert_eq!(manager.told(), "STATUS=serving");
}

#[test]
fn the_watchdog_hears_that_the_process_works() {
    let manager = Manager::new();
    let setup = setup().environment("NOTIFY_SOCKET", &manager.path()).environment("WATCHDOG_USEC", "400000");
    let _server = setup.start();
    let until = Instant::now() + Duration::from_secs(20);
    let mut heard = 0;
    while heard < 3 {
        assert!(Instant::now() < until);
        heard += u32::from(manager.next() == "WATCHDOG=1");
    }
}

#[test]
fn a_watchdog_of_another_process_is_none_of_ours() {
    let manager = Manager::new();
    let of_another = setup()
        .environment("NOTIFY_SOCKET", &manager.path())
        .environment("WATCHDOG_USEC", "20000")
        .environment("WATCHDOG_PID", "1");
    let mut server = of_another.start();
    assert_eq!(manager.next(), "READY=1\nSTATUS=serving");
    std::thread::sleep(Duration::from_millis(200));
    server.signal("TERM");
    assert_eq!(manager.next(), "STOPPING=1\nSTATUS=draining");
    assert!(server.wait().success());
}

#[test]
fn the_unit_is_one_that_systemd_understands() {
    let unit = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/systemd/svc-edge.service");
    let unit = std::fs::read_to_string(unit).unwrap().replace("/usr/local/bin/svc-edge", BINARY);
    assert!(unit.contains(BINARY));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("svc-edge.service");
    std::fs::write(&path, unit).unwrap();
    let Ok(verified) = Command::new("systemd-analyze").arg("verify").arg(&path).output() else {
        // CI installs it; a laptop may lack it.
        eprintln!("systemd-analyze is not installed: the unit was not looked at");
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && !said.contains("svc-edge.service"), "{said}");
}
