//! Offline: no packet leaves the machine.

use std::process::{Command, Stdio};

use crate::fixtures::sample;
use crate::http::Client;
use crate::server::{BINARY, await_answer, free_address};

#[test]
fn the_server_connects_to_nothing() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        // CI installs it; a laptop may lack it.
        eprintln!("strace is not installed: nothing was watched");
        return;
    }
    let (address, admin) = (free_address(), free_address());
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let mut child = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=connect,sendto,sendmsg,socket", "-o"])
        .arg(&trace)
        .arg(BINARY)
        .args(["--bind", &address.to_string(), "--metrics", &admin.to_string(), "--mode", "offline", "--pack"])
        .arg(sample("tile.pmtiles"))
        // Started without any CA bundle: the offline edge needs none.
        .env("SSL_CERT_FILE", "/nonexistent")
        .env("SSL_CERT_DIR", "/nonexistent")
        .current_dir(dir.path())
        .spawn()
        .unwrap();
    await_answer(address);
    await_answer(admin);
    let mut client = Client::connect(address);
    for path in [
        "/edge/assets/tile.json",
        "/edge/assets/tile/0/0/0",
        "/edge/assets/missing.png",
        "/edge/assets/tile.pmtiles",
        "/edge/cas/b3/00",
    ] {
        client.request("GET", path, &[]);
    }
    client.request("GET", "/edge/assets/other.txt", &[("Host", "elsewhere.example")]);
    drop(client);
    // strace passes the signal on to the server it started.
    let server = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    assert!(Command::new("kill").arg(server.trim()).status().unwrap().success());
    child.wait().unwrap();
    let trace = std::fs::read_to_string(&trace).unwrap();
    assert!(trace.contains("socket(AF_INET"), "the listeners were traced: {trace}");
    assert!(!trace.contains("connect("), "{trace}");
    assert!(!trace.contains("SOCK_DGRAM"), "no resolver was asked: {trace}");
}
