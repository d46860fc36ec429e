//! What is secret stands in no line of the log, whatever its level and whatever goes wrong.

use svc_edge_origin::{Origin, Script};

use super::*;
use crate::http::Client;
use crate::server::free_address;

const KEY: &str = "key-of-the-origin-0123456789";
const TOKEN: &str = "token-of-the-admin-0123456789";
/// Of clients: what they send is told no more than what the conf keeps.
const COOKIE: &str = "cookie-of-a-client-0123456789";
const CREDENTIALS: &str = "credentials-of-a-client-0123456789";
const QUERY: &str = "query-of-a-client-0123456789";

/// A server that logs at `level`, after most of what can go right or wrong with requests that carry secrets.
fn after_everything(level: &str) -> (Server, Origin) {
    let origin = Origin::start();
    origin.fallback(|_| text("hello"));
    origin.route("/s/busy", [Script::status(503), text("hello")]);
    origin.route("/s/reset", Script::fresh(60).reset());
    origin.route("/s/garbage", Script::garbage(b"no answer at all\r\n\r\n"));
    origin.route("/s/short", Script::fresh(60).content_length(1000).body(b"short"));
    let options = format!(
        "[\"http://{}/s/\", \"{}\"], allow_private: true, pass: true, query: keep, \
         headers: {{X-Api-Key: {{env: E2E_KEY}}}}",
        free_address(),
        origin.url("/s/")
    );
    let yaml = format!(
        "  mode: live\n  fill: {{{FILL}}}\n  origins:\n    - {{prefix: live/, url: {options}}}\n  \
         admin: {{token: {{env: E2E_TOKEN}}}}\n  log: {{access: all, level: {level}}}\n"
    );
    let server = setup().edge(&yaml).environment("E2E_KEY", KEY).environment("E2E_TOKEN", TOKEN).start();
    claim_faults(&server);
    let own = [("Cookie", COOKIE), ("Proxy-Authorization", CREDENTIALS)];
    for name in ["a", "busy", "reset", "garbage", "short"] {
        let _may_be_cut = server.client().fetch("GET", &asset(name), &own);
    }
    let _ = server.client().fetch("GET", &asset(&format!("q?{QUERY}")), &own);
    // What goes through carries the client's own credentials.
    for method in ["GET", "DELETE"] {
        let through = [("Authorization", CREDENTIALS), ("Cookie", COOKIE)];
        let _ = server.client().fetch(method, &asset(&format!("through?{QUERY}")), &through);
    }
    assert_eq!(origin.requests("/s/through")[0].header("authorization"), Some(CREDENTIALS), "they were sent");
    for token in [TOKEN, "wrong-wrong-wrong-wrong"] {
        let bearer = format!("Bearer {token}");
        Client::connect(server.admin).request("PURGE", "/admin/objects/live/a", &[("Authorization", &bearer)]);
    }
    assert_eq!(origin.requests("/s/a")[0].header("x-api-key"), Some(KEY), "it was sent");
    (server, origin)
}

/// The first line of the log with `secret` in it.
fn told(server: &Server, secret: &str) -> Option<String> {
    server.log().iter().map(ToString::to_string).find(|line| line.contains(secret))
}

#[test]
fn no_secret_of_the_conf_is_told_at_any_level_whatever_goes_wrong() {
    for level in ["trace", "debug", "info"] {
        let (server, _origin) = after_everything(level);
        for secret in [KEY, TOKEN, COOKIE] {
            assert_eq!(told(&server, secret), None, "at {level}");
        }
        for command in [&["check"][..], &["cas", "list", "--json"]] {
            let mut run = std::process::Command::new(crate::server::BINARY);
            run.args(command).arg("--conf").arg(&server.conf).envs([("E2E_KEY", KEY), ("E2E_TOKEN", TOKEN)]);
            let output = run.output().unwrap();
            let said = format!("{output:?}");
            assert!(output.status.success() && !said.contains(KEY) && !said.contains(TOKEN), "{said}");
        }
    }
}

#[test]
fn neither_credentials_nor_queries_of_clients_are_told() {
    for level in ["trace", "debug", "info"] {
        let (server, _origin) = after_everything(level);
        for secret in [CREDENTIALS, QUERY] {
            assert_eq!(told(&server, secret), None, "at {level}");
        }
    }
}
