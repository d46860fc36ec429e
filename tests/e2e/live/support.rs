//! What the tests of live mode, and those under faults, share: servers with origins, requests to them, and what answers say.

use std::path::Path;
use std::time::Duration;

use svc_edge_origin::{Origin, Script};

use crate::http::Response;
use crate::server::{Server, Setup, setup};

/// `edge.fill` of most tests: the defaults, with retries that take no time.
pub const FILL: &str = "retry: {base: 10ms, max: 50ms}";

/// Events of the log that an origin's faults may leave at WARN or above.
pub const FAULTS: [&str; 10] = [
    "fill",
    "fill_failed",
    "origin",
    "timeout",
    "corrupt",
    "decompress_cap",
    "pin_mismatch",
    // Its circuit is open, and closed again.
    "origin_left_alone",
    "origin_asked_again",
    // What Pingora itself says of a peer that breaks off.
    "pingora",
];

/// A server in live mode with one origin.
pub fn live(origin: &Origin) -> Server {
    live_with(origin, "", FILL).start()
}

/// The same, to be started: `options` are further keys of the origin (`, pass: true`), `fill` is all of `edge.fill`.
pub fn live_with(origin: &Origin, options: &str, fill: &str) -> Setup {
    origins(&[("live/", &origin.url("/s/"), &format!(", allow_private: true{options}"))], fill)
}

/// A server in live mode with origins: prefix, URL, further keys.
pub fn origins(origins: &[(&str, &str, &str)], fill: &str) -> Setup {
    let mut yaml = format!("  mode: live\n  fill: {{{fill}}}\n  origins:\n");
    for (prefix, url, options) in origins {
        yaml.push_str(&format!("    - {{prefix: {prefix}, url: \"{url}\"{options}}}\n"));
    }
    setup().edge(&yaml)
}

/// The target of an asset that the origin has at `/s/{name}`.
pub fn asset(name: &str) -> String {
    format!("/edge/assets/live/{name}")
}

/// One GET on a connection of its own, however the answer is framed.
pub fn get(server: &Server, name: &str, headers: &[(&str, &str)]) -> Response {
    server.client().fetch("GET", &asset(name), headers).expect("a whole answer")
}

/// What the store has without asking the origin (RFC 9111 §5.2.1.7).
pub fn stored(server: &Server, name: &str, headers: &[(&str, &str)]) -> Option<Response> {
    let headers = [headers, &[("Cache-Control", "only-if-cached")]].concat();
    let answer = get(server, name, &headers);
    (answer.status != 504).then_some(answer)
}

/// Wait until it is stored: a fill is committed a moment after its readers have its last byte.
pub fn await_stored(server: &Server, name: &str) -> Response {
    server.eventually("stored", || stored(server, name, &[]).is_some_and(|answer| says(&answer, "hit")));
    let answer = stored(server, name, &[]).expect("what was stored a moment ago");
    assert!(says(&answer, "hit"), "{answer:?}");
    answer
}

/// Nothing is stored, nor will be: whatever was going to be committed would have been by now.
pub fn assert_not_stored(server: &Server, name: &str) {
    std::thread::sleep(Duration::from_millis(200));
    let answer = stored(server, name, &[]);
    assert!(answer.is_none(), "{name} is stored: {answer:?}");
}

/// Whether `Cache-Status` (RFC 9211) has this item, e.g. `hit`, `fwd=miss`, `collapsed`.
pub fn says(answer: &Response, item: &str) -> bool {
    cache_status(answer).iter().any(|known| known == item)
}

/// A number that `Cache-Status` tells, e.g. `ttl`.
pub fn told(answer: &Response, name: &str) -> Option<i64> {
    let items = cache_status(answer);
    items.iter().find_map(|item| item.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

pub fn cache_status(answer: &Response) -> Vec<String> {
    let value = answer.header("cache-status").expect("every answer has a Cache-Status");
    let mut items = value.split(';').map(|item| item.trim().to_owned());
    assert_eq!(items.next().as_deref(), Some("svc-edge"), "{value}");
    items.collect()
}

/// A refusal by the table of reasons, which tells nothing about the origin.
pub fn assert_refused(answer: &Response, status: u16, reason: &str) {
    assert_eq!((answer.status, answer.header("x-reason")), (status, Some(reason)), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.text();
    assert!(!problem.contains("127.0.0.1") && !problem.contains("localhost"), "the origin's address: {problem}");
    if status >= 500 || status == 429 {
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

/// Faults of an origin are what the test is about.
pub fn claim_faults(server: &Server) {
    FAULTS.iter().for_each(|event| server.claim(event));
}

/// Let what is fresh for a second become stale.
pub fn become_stale() {
    std::thread::sleep(Duration::from_millis(2100));
}

/// An answer whose body is text, fresh for a minute.
pub fn text(body: &str) -> Script {
    Script::fresh(60).header("Content-Type", "text/plain").body(body.as_bytes())
}

/// A conf line that puts the store into a directory which outlives the server.
pub fn cas_at(dir: &Path) -> String {
    format!("  cas: {{dir: {}}}\n", dir.display())
}
