//! A log that is switched off.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::http::Client;
use crate::server::{BINARY, await_answer, free_address};

/// Serve hits and refusals, reload and stop; what stood on standard error.
fn written(yaml: &str, flags: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (address, admin) = (free_address(), free_address());
    std::fs::write(dir.path().join("c.yaml"), format!("edge:\n  cas: {{dir: cas}}\n  log: {yaml}\n")).unwrap();
    let child = Command::new(BINARY)
        .args(["--conf", "c.yaml", "--bind", &address.to_string(), "--metrics", &admin.to_string()])
        .args(flags)
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    await_answer(address);
    await_answer(admin);
    let kill = |signal: &str| {
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    };
    assert_eq!(Client::connect(address).request("GET", "/healthz", &[]).status, 200);
    assert_eq!(Client::connect(address).request("GET", "/edge/assets/none", &[]).status, 404);
    assert_eq!(Client::connect(address).request("GET", "/edge/assets/..", &[]).status, 400);
    assert_eq!(Client::connect(address).request("POST", "/edge/assets/none", &[]).status, 405);
    Client::connect(address).send(b"\x00\r\n\r\n");
    kill("-HUP");
    std::thread::sleep(Duration::from_millis(300));
    kill("-TERM");
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success());
    String::from_utf8(ended.stderr).unwrap()
}

#[test]
fn a_log_that_is_off_writes_nothing_at_all() {
    assert_eq!(written("{level: off, access: all}", &[]), "", "by the conf");
    assert_eq!(written("{access: all}", &["--log-level", "off"]), "", "by the flag");
    // The same acts leave their lines where the log is on.
    let told = written("{access: all}", &[]);
    for event in ["\"request\"", "\"conf_reloaded\"", "\"draining\"", "\"not_found\"", "\"bad_path\"", "\"method\""] {
        assert!(told.contains(event), "{event} in {told}");
    }
}
