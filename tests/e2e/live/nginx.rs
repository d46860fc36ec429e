//! A real origin: nginx, with TLS, by a name that has to be resolved.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::authority::Authority;
use crate::fixtures::{noise, tag};
use crate::server::{free_address, setup};

/// A running nginx that serves `www/` of its directory by https.
struct Nginx {
    dir: TempDir,
    port: u16,
    child: Child,
}

impl Nginx {
    fn start(authority: &Authority, name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_address().port();
        let (certificate, key) = authority.sign(&[name]);
        std::fs::create_dir_all(dir.path().join("www")).unwrap();
        std::fs::write(dir.path().join("cert.pem"), certificate).unwrap();
        std::fs::write(dir.path().join("key.pem"), key).unwrap();
        std::fs::write(dir.path().join("nginx.conf"), conf(dir.path(), port)).unwrap();
        // Debian has it where not everybody's PATH looks.
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let child = Command::new("nginx")
            .env("PATH", path)
            .arg("-p")
            .arg(dir.path())
            .args(["-e", "error.log", "-c", "nginx.conf"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("nginx, which testing/deps.sh brings");
        let mut nginx = Self { dir, port, child };
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = nginx.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < until, "nginx: {ended:?} {}", nginx.text("error.log"));
            std::thread::sleep(Duration::from_millis(20));
        }
        nginx
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    /// The access log's lines about a path: method, path, status, bytes of the body.
    fn seen(&self, path: &str) -> Vec<String> {
        let wanted = format!(" {path} ");
        self.text("access.log").lines().filter(|line| line.contains(&wanted)).map(str::to_owned).collect()
    }

    /// A server in live mode that trusts `authority`.
    fn edge(&self, authority: &Authority) -> Server {
        let bundle = self.dir.path().join("ca.pem");
        std::fs::write(&bundle, authority.certificate.pem()).unwrap();
        let url = format!("https://localhost:{}/", self.port);
        let setup = origins(&[("live/", &url, ", allow_private: true")], FILL);
        setup.top(&format!("ca_file: {}\n", bundle.display())).start()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Asked to stop, so that it leaves nothing behind.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn conf(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!(
        "daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log;
         events {{ worker_connections 64; }}
         http {{
           log_format seen '$request_method $uri $status $body_bytes_sent';
           access_log {dir}/access.log seen;
           client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
           uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
           types {{ text/plain txt; }} default_type application/octet-stream;
           gzip on; gzip_types text/plain; gzip_min_length 1000; gzip_vary on; gzip_proxied any;
           server {{
             listen 127.0.0.1:{port} ssl; server_name localhost; root {dir}/www;
             ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
             location / {{ add_header Cache-Control max-age=60; }}
             location /short/ {{ add_header Cache-Control max-age=1; }}
           }}
         }}"
    )
}

#[test]
fn an_nginx_with_tls_is_filled_from_and_revalidated() {
    let authority = Authority::new();
    let nginx = Nginx::start(&authority, "localhost");
    let large = noise(5_000_000, 1);
    let www = nginx.dir.path().join("www");
    std::fs::create_dir_all(www.join("short")).unwrap();
    std::fs::write(www.join("large.bin"), &large).unwrap();
    std::fs::write(www.join("short/a.bin"), b"hello").unwrap();
    let server = nginx.edge(&authority);
    assert!(get(&server, "large.bin", &[]).body == large);
    let hit = await_stored(&server, "large.bin");
    assert!(hit.body == large && hit.header("etag") == Some(tag(&large).as_str()));
    server.eventually("logged", || nginx.seen("/large.bin") == ["GET /large.bin 200 5000000"]);
    assert_eq!(get(&server, "none.bin", &[]).status, 404);

    assert_eq!(get(&server, "short/a.bin", &[]).body, b"hello");
    server.eventually("committed", || server.command(&["cas", "list"]).contains("live/short/a.bin"));
    become_stale();
    let renewed = get(&server, "short/a.bin", &[]);
    assert_eq!((renewed.body.as_slice(), says(&renewed, "fwd-status=304")), (&b"hello"[..], true), "{renewed:?}");
    let seen = ["GET /short/a.bin 200 5", "GET /short/a.bin 304 0"];
    server.eventually("logged", || nginx.seen("/short/a.bin") == seen);
}

#[test]
fn a_coding_that_nginx_makes_on_the_fly_is_served_to_everybody() {
    let authority = Authority::new();
    let nginx = Nginx::start(&authority, "localhost");
    let plain: String = (0..20_000).map(|n| format!("{}\n", n * 7919 % 10_007)).collect();
    std::fs::write(nginx.dir.path().join("www/a.txt"), &plain).unwrap();
    let server = nginx.edge(&authority);
    let coded = get(&server, "a.txt", &[("Accept-Encoding", "gzip")]);
    assert_eq!(coded.header("content-encoding"), Some("gzip"), "{:?}", coded.headers);
    assert!(crate::fixtures::gunzip(&coded.body) == plain.as_bytes());
    assert!(get(&server, "a.txt", &[]).text() == plain);
}

#[test]
fn a_certificate_that_is_not_theirs_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (what, name, trusted) in
        [("an authority that nobody trusts", "localhost", &other), ("another name", "other.example", &authority)]
    {
        let nginx = Nginx::start(&authority, name);
        std::fs::write(nginx.dir.path().join("www/a.txt"), "secret").unwrap();
        let server = nginx.edge(trusted);
        claim_faults(&server);
        assert_refused(&get(&server, "a.txt", &[]), 502, "origin");
        assert!(nginx.seen("/a.txt").is_empty(), "{what}: nothing was asked over it");
        assert_not_stored(&server, "a.txt");
    }
}

#[test]
fn whom_a_reload_trusts_is_believed_by_fills_and_by_what_goes_through_and_nobody_else_any_more() {
    let (authority, other) = (Authority::new(), Authority::new());
    let nginx = Nginx::start(&authority, "localhost");
    let www = nginx.dir.path().join("www");
    ["a.txt", "b.txt", "c.txt"].iter().for_each(|name| std::fs::write(www.join(name), "secret").unwrap());
    let bundle = nginx.dir.path().join("ca.pem");
    let trust = |authority: &Authority| std::fs::write(&bundle, authority.certificate.pem()).unwrap();
    trust(&authority);
    let url = format!("https://localhost:{}/", nginx.port);
    let origins = format!("  origins: [{{prefix: live/, url: \"{url}\", allow_private: true, pass: true}}]\n");
    // It begins offline, where no trust store is even made.
    let server = setup()
        .edge(&format!("  mode: offline\n  fill: {{{FILL}}}\n{origins}"))
        .top(&format!("ca_file: {}\n", bundle.display()))
        .start();
    claim_faults(&server);
    server.claim("conf_warning");
    let through = |name: &str| get(&server, name, &[("Authorization", "Bearer x")]);
    let reload = |count: usize| {
        server.signal("HUP");
        server.eventually("reloaded", || server.logged("conf_reloaded").len() == count);
    };
    assert_eq!((get(&server, "a.txt", &[]).status, through("a.txt").status), (404, 404));
    let text = std::fs::read_to_string(&server.conf).unwrap();
    std::fs::write(&server.conf, text.replace("mode: offline", "mode: live")).unwrap();
    reload(1);
    assert_eq!((get(&server, "a.txt", &[]).text(), through("b.txt").text()), ("secret".into(), "secret".into()));
    // The same name of a file with another authority in it: no connection of before is used again, either.
    trust(&other);
    reload(2);
    assert_eq!(server.logged("conf_reloaded")[1]["changed"], "ca_file");
    assert_refused(&get(&server, "c.txt", &[]), 502, "origin");
    assert_refused(&through("c.txt"), 502, "origin");
    assert!(nginx.seen("/c.txt").is_empty());
    trust(&authority);
    reload(3);
    assert_eq!((get(&server, "c.txt", &[]).text(), through("c.txt").text()), ("secret".into(), "secret".into()));
}
