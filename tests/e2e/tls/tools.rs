//! Other people's clients: curl, nghttp, h2load, sslscan, and Python's h2. Each test says so where its tool is not installed.

use std::path::Path;
use std::process::{Command, Output};

use super::*;
use crate::authority::Authority;
use crate::fixtures::noise;
use crate::server::{Server, setup};

/// Run a tool; `None`, and a line, where it is not installed.
fn tool(name: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(name).args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: {name} is not installed");
            None
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A server, and the file of who signed its certificate.
fn with_authority() -> (Server, Authority, std::path::PathBuf) {
    let (setup, authority, _) = secure(setup().asset("a", b"hello").asset("big", &noise(3 << 20, 1)));
    let path = setup.dir.path().join("authority.pem");
    std::fs::write(&path, authority.certificate.pem()).unwrap();
    (setup.unlimited().start(), authority, path)
}

/// curl, which verifies the certificate for [`HOST`].
fn curl(server: &Server, authority: &Path, arguments: &[&str], path: &str) -> Option<Output> {
    let port = server.address.port();
    let (resolve, url) = (format!("{HOST}:{port}:127.0.0.1"), format!("https://{HOST}:{port}{path}"));
    let authority = authority.display().to_string();
    let all =
        [&["-sS", "--max-time", "30", "--cacert", &authority, "--resolve", &resolve], arguments, &[&url]].concat();
    tool("curl", &all)
}

#[test]
fn curl_is_served_over_both_versions_of_http_and_of_tls() {
    let (server, _, authority) = with_authority();
    for http in ["--http1.1", "--http2"] {
        for tls in [&["--tlsv1.2", "--tls-max", "1.2"][..], &["--tlsv1.3"]] {
            let arguments = [&[http, "-w", "%{http_version}"], tls].concat();
            let Some(done) = curl(&server, &authority, &arguments, "/edge/assets/site/a") else { return };
            let version = if http == "--http2" { "2" } else { "1.1" };
            assert_eq!(text(&done.stdout), format!("hello{version}"), "{arguments:?}: {}", text(&done.stderr));
        }
        let Some(big) = curl(&server, &authority, &[http], "/edge/assets/site/big") else { return };
        assert!(big.stdout == noise(3 << 20, 1));
    }
    let Some(stranger) = curl(&server, Path::new("/dev/null"), &[], "/edge/assets/site/a") else { return };
    assert!(!stranger.status.success(), "it trusts nobody");
}

#[test]
fn curl_gets_many_ranges_at_once_over_one_connection() {
    let (server, _, authority) = with_authority();
    let out = server.dir.path().join("part-#1");
    let arguments =
        ["--http2", "--parallel", "--parallel-max", "50", "-r", "1000-50999", "-o", &out.display().to_string()];
    let Some(done) = curl(&server, &authority, &arguments, "/edge/assets/site/big?[1-50]") else { return };
    assert!(done.status.success(), "{}", text(&done.stderr));
    for number in 1..=50 {
        let part = std::fs::read(server.dir.path().join(format!("part-{number}"))).unwrap();
        assert!(part == noise(3 << 20, 1)[1000..51_000], "{number}");
    }
}

#[test]
fn nghttp_gets_what_it_asks_for() {
    let (server, _, _) = with_authority();
    let url = format!("https://{}/edge/assets/site/a", server.address);
    let Some(done) = tool("nghttp", &["-v", "--no-verify-peer", "-t", "20", &url]) else { return };
    let said = text(&done.stdout);
    assert!(done.status.success() && said.contains(":status: 200") && said.contains("hello"), "{said}");
    assert!(said.contains("h2"), "{said}");
}

#[test]
fn h2load_and_its_many_streams_fail_at_nothing() {
    let (server, _, _) = with_authority();
    for path in ["a", "big"] {
        let url = format!("https://{}/edge/assets/site/{path}", server.address);
        let count = if path == "a" { "3000" } else { "60" };
        let Some(done) = tool("h2load", &["-n", count, "-c", "4", "-m", "50", "-T", "60", &url]) else { return };
        let said = text(&done.stdout);
        let wanted = format!("{count} succeeded, 0 failed, 0 errored, 0 timeout");
        assert!(said.contains(&wanted), "{said}");
    }
    server.eventually("nothing in flight", || server.metric("edge_inflight") == 0.0);
}

#[test]
fn a_scan_finds_no_weak_version_suite_or_group() {
    let (server, _, _) = with_authority();
    let target = server.address.to_string();
    let sni = format!("--sni-name={HOST}");
    let Some(done) = tool("sslscan", &["--no-colour", &sni, &target]) else { return };
    let said = text(&done.stdout);
    for line in [
        "SSLv2     disabled",
        "SSLv3     disabled",
        "TLSv1.0   disabled",
        "TLSv1.1   disabled",
        "TLSv1.2   enabled",
        "TLSv1.3   enabled",
    ] {
        assert!(said.contains(line), "no {line:?} in {said}");
    }
    let suites: Vec<_> =
        said.lines().filter(|line| line.starts_with("Accepted") || line.starts_with("Preferred")).collect();
    assert!(suites.len() >= 6, "{said}");
    for suite in suites {
        let aead = suite.contains("GCM") || suite.contains("POLY1305");
        let forward = suite.contains("TLSv1.3") || suite.contains("ECDHE");
        assert!(aead && forward, "{suite}");
        for weak in ["CBC", "RC4", "3DES", "NULL", "EXP", "MD5", "anon"] {
            assert!(!suite.contains(weak), "{suite}");
        }
    }
    assert!(
        !said.contains("Session renegotiation supported") && !said.contains("vulnerable to heartbleed\nvulnerable"),
        "{said}"
    );
}

#[test]
fn what_python_s_h2_sends_and_no_client_should_is_refused_by_stream_or_connection() {
    let (server, _, authority) = with_authority();
    // What Pingora says of a connection that it ends for too many malformed requests.
    server.claim("pingora");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/tls/oddities.py");
    let Some(known) = tool("python3", &["-c", "import h2"]) else { return };
    if !known.status.success() {
        eprintln!("skipped: h2 for Python is not installed");
        return;
    }
    let port = server.address.port().to_string();
    let Some(done) = tool("python3", &[script, &port, &authority.display().to_string()]) else { return };
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
    server.eventually("nothing in flight", || server.metric("edge_inflight") == 0.0);
}
