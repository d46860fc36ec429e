//! Offline with origins in the conf: they are not asked.

use std::process::{Command, Stdio};

use svc_edge_origin::Origin;

use super::asset;
use crate::http::Client;
use crate::server::{BINARY, await_answer, free_address};

#[test]
fn offline_no_origin_of_the_conf_is_ever_connected_to() {
    let origin = Origin::start();
    let (address, admin) = (free_address(), free_address());
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("c.yaml");
    let yaml = format!(
        "edge:\n  bind: {address}\n  metrics: {admin}\n  mode: offline\n  cas: {{dir: cas}}\n  origins:\n    \
         - {{prefix: live/, url: \"{}\", allow_private: true}}\n    \
         - {{prefix: named/, url: \"https://assets.example/\"}}\n",
        origin.url("/s/")
    );
    std::fs::write(&conf, yaml).unwrap();
    let trace = dir.path().join("trace");
    let traced = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
    let mut command = if traced {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", "trace=connect,sendto,sendmsg,socket", "-o"]).arg(&trace).arg(BINARY);
        command
    } else {
        Command::new(BINARY)
    };
    let mut child = command
        .arg("--conf")
        .arg(&conf)
        // Offline needs no CA bundle, whatever the conf's origins would.
        .env("SSL_CERT_FILE", "/nonexistent")
        .env("SSL_CERT_DIR", "/nonexistent")
        .current_dir(dir.path())
        .spawn()
        .unwrap();
    await_answer(address);
    await_answer(admin);
    let mut client = Client::connect(address);
    for target in [asset("a"), asset("a?x"), "/edge/assets/named/a".into()] {
        for method in ["GET", "HEAD"] {
            assert_eq!(client.request(method, &target, &[]).status, 404, "{method} {target}");
        }
        let asked = client.request("GET", &target, &[("Cache-Control", "no-cache"), ("Range", "bytes=0-9")]);
        assert_eq!(asked.status, 404, "{target}");
    }
    assert_eq!(client.request("POST", &asset("a"), &[("Content-Length", "0")]).status, 405);
    drop(client);
    assert_eq!(origin.connections(), 0);
    let server = if traced {
        // strace passes the signal on to the server that it started.
        std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap().trim().to_owned()
    } else {
        child.id().to_string()
    };
    assert!(Command::new("kill").arg(server).status().unwrap().success());
    child.wait().unwrap();
    if !traced {
        eprintln!("strace is not installed: only the origin was watched");
        return;
    }
    let trace = std::fs::read_to_string(&trace).unwrap();
    assert!(trace.contains("socket(AF_INET"), "the listeners were traced: {trace}");
    assert!(!trace.contains("connect("), "{trace}");
    assert!(!trace.contains("SOCK_DGRAM"), "no resolver was asked: {trace}");
}
