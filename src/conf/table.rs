//! The table of keys: the one source of their types, defaults, documents, environment names and of what is a misspelling.

use std::time::Duration;

use super::kind::Kind::{self, *};
use super::reload::{self, Reload};

/// A key of the conf.
#[derive(Debug)]
pub struct Key {
    /// Its path, dotted; `edge.packs[].name` is the key of each item of a list.
    pub path: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its default, as YAML.
    pub default: &'static str,
    /// What it does, in one sentence.
    pub help: &'static str,
}

/// A map of the conf.
#[derive(Debug)]
pub struct Section {
    /// Its path, dotted; the top level's is empty.
    pub path: &'static str,
    /// What is in it, in one sentence.
    pub help: &'static str,
}

/// What a path stands for.
#[derive(Debug)]
pub enum Known {
    /// A key with a value.
    Key(&'static Key),
    /// A map of keys.
    Section,
    /// A key that a later version of svc-edge has.
    Later,
    /// Nothing.
    Unknown,
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const HOUR: Duration = Duration::from_secs(3600);
/// A Julian one, as humantime has it.
const YEAR: Duration = Duration::from_secs(31_557_600);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;
const DAY_SECONDS: u64 = 86_400;

/// One line a key, in the order of the documents: path, kind, default, sentence.
macro_rules! keys {
    ($($path:literal, $kind:expr, $default:literal, $help:literal;)*) => {
        /// Every key, in the order of the documents.
        pub static KEYS: &[Key] = &[$(Key { path: $path, kind: $kind, default: $default, help: $help },)*];
    };
}

keys! {
    "version", Number(1, 1), "1",
        "The format of this file.";
    "threads", OrNull(&Number(1, 1024)), "null",
        "Worker threads that serve assets; `null` is one for each core that the process may use.";
    "listener_tasks_per_fd", Number(1, 64), "1",
        "Tasks that accept connections, for each listener.";
    "work_stealing", Bool, "true",
        "Whether an idle worker takes tasks from a busy one.";
    "max_blocking_threads", Number(1, 4096), "512",
        "Bound on the threads that read disks and hash, for each runtime.";
    "blocking_threads_ttl_seconds", Number(1, DAY_SECONDS), "10",
        "How long such a thread stays when it is idle, in seconds.";
    "fast_timeout_to_tokio_threshold_seconds", OrNull(&Number(1, DAY_SECONDS)), "900",
        "Timeouts longer than this, in seconds, use tokio's timer instead of Pingora's; `null` never does.";
    "grace_period_seconds", Number(0, DAY_SECONDS), "10",
        "How long requests and fills in flight may go on after a stop was asked for, in seconds.";
    "graceful_shutdown_timeout_seconds", Number(0, DAY_SECONDS), "5",
        "How long the runtimes may then take to end, in seconds.";
    "daemon", Bool, "false",
        "Whether the process detaches from its terminal; the command returns once it serves, or says why it does not. Needs `error_log`.";
    "daemon_ready_timeout_seconds", Number(1, DAY_SECONDS), "600",
        "How long that command waits for it, in seconds.";
    "error_log", OrNull(&Path), "null",
        "File that standard error, and with it the log, is appended to; SIGUSR1 opens it anew. `null` leaves standard error as it is.";
    "pid_file", OrNull(&Path), "null",
        "File with the id of the process that serves; removed when it stops.";
    "upgrade_sock", OrNull(&Path), "var/run/upgrade.sock",
        "Where a new process is given the listeners of the old one; in a directory of its own, made with mode 0700. `null` is no upgrades. See docs/lifecycle.md.";
    "ca_file", OrNull(&Path), "null",
        "Trust anchors for https origins, in PEM; `null` is the system's, of the package `ca-certificates`.";

    "edge.bind", Binds, "127.0.0.1:8080",
        "Where assets are served, in clear text, or over TLS with certificates; port 0 takes a free one.";
    "edge.bind[].addr", Address, "",
        "Where it listens; required.";
    "edge.bind[].tls", OrNull(&Certificates), "null",
        "Certificates by the names in them; the first is for clients that name none of these; `null` is clear text; see docs/tls.md.";
    "edge.bind[].tls[].cert", Path, "",
        "The certificate and its chain, in PEM; a new one is served within seconds, without a restart; required.";
    "edge.bind[].tls[].key", Path, "",
        "Its private key, in PEM, without a passphrase; required.";
    "edge.bind[].h2c", Bool, "false",
        "Whether HTTP/2 is spoken in clear text with clients that begin with it; with `tls`, ALPN chooses.";
    "edge.bind[].proxy_protocol", Bool, "false",
        "Whether each connection begins with a header of the PROXY protocol, v1 or v2, which says who the client is.";
    "edge.metrics", OrNull(&Address), "127.0.0.1:9090",
        "Where `/metrics`, `/version` and the probes are served; `null` or `off` is nowhere.";
    "edge.mode", Choice(&["offline", "live"]), "offline",
        "Where misses go: `offline` answers 404, and no packet leaves the machine; `live` asks `edge.origins`.";
    "edge.upgrade_timeout", Time(ms(1000), HOUR), "60s",
        "How long an upgrade may take until the new process serves; then the old one goes on.";
    "edge.public_url", OrNull(&Url), "null",
        "Base of the absolute URLs in TileJSON; `null` makes them from an allowed Host, else from the address that is listened on.";
    "edge.packs", Packs, "[]",
        "Archives to serve.";
    "edge.packs[].path", Path, "",
        "The archive: PMTiles v3 or MBTiles 1.3; required.";
    "edge.packs[].name", OrNull(&PackName), "null",
        "Its name in URLs, no two alike; `null` is the file's name without its last extension.";
    "edge.packs[].verify", Choice(&["none", "header", "full"]), "header",
        "What is read before it is served: nothing, header and root directory, or every tile.";
    "edge.packs[].missing_tile", Choice(&["auto", "no_content", "not_found"]), "auto",
        "What an absent tile answers: 204, 404, or by type: 204 for vector, 404 for raster.";
    "edge.packs[].cache_control", OrNull(&Field), "null",
        "Cache-Control of its answers; `null` is `edge.http.cache_control`.";

    "edge.origins", Origins, "[]",
        "Where misses go in live mode: to the origin with the longest matching prefix, and to no other host.";
    "edge.origins[].prefix", Prefix, "\"\"",
        "The beginning of the paths that it answers for, as they follow `/edge/assets/`, no two alike; `\"\"` is every path.";
    "edge.origins[].url", OneOrList(&OriginUrl), "",
        "Where it is, in place of the prefix; several are tried in turn, each of them for the same bytes; required.";
    "edge.origins[].allow_private", Bool, "false",
        "Whether it may be this machine, or in a private, shared, link-local or unique local network.";
    "edge.origins[].query", Choice(&["drop", "keep"]), "drop",
        "What becomes of a query: `drop` ignores it, `keep` sends it and makes it a part of the key.";
    "edge.origins[].pass", Bool, "false",
        "Whether requests that can't be cached go straight through, with any method, but to pinned paths; else they are 405 or 403.";
    "edge.origins[].default_ttl", Time(Duration::ZERO, YEAR), "1h",
        "How long an answer is fresh that says nothing of it.";
    "edge.origins[].negative_ttl", Time(Duration::ZERO, YEAR), "10s",
        "How long a 404 or 410 is fresh that says nothing of it.";
    "edge.origins[].stale_if_error", Time(Duration::ZERO, YEAR), "1d",
        "How long a stale object may answer when the origin fails, where it doesn't say and doesn't forbid it.";
    "edge.origins[].store_set_cookie", Bool, "false",
        "Whether answers with Set-Cookie are stored, and answered to everybody.";
    "edge.origins[].ignore_client_cache_control", Bool, "false",
        "Whether Cache-Control of requests is ignored, so that no client can cause a fill of what is fresh.";
    "edge.origins[].headers", Headers, "{}",
        "Fields that every request to it gets; a value that is a secret is read from a variable or a file at the start, and never printed.";
    "edge.origins[].forward", List(&FieldName), "[accept, accept-language]",
        "Fields of a client's request that it gets beside our own; what tells one client from another can't be among them.";

    "edge.cas.dir", Path, "var/cas",
        "Directory of blobs, quarantine and index; made with mode 0700 at the start.";
    "edge.cas.max_bytes", Size(MIB, 1 << 60), "10GiB",
        "Bound on the allocated bytes of blobs; imported objects are never evicted.";
    "edge.cas.max_objects", Number(1, 1_000_000_000), "1000000",
        "Bound on objects in the index.";
    "edge.cas.memory_bytes", Size(0, TIB), "128MiB",
        "Bound on the hot set in RAM: tiles, small blobs and decoded bodies, ready to be answered.";
    "edge.cas.store", Choice(&["disk", "memory"]), "disk",
        "Where blobs are: files, or memory, which does not survive the process; imports need files.";
    "edge.cas.durability", Choice(&["verify", "fsync"]), "verify",
        "When fills are synced: `verify` never, as a blob that a crash tore fails its hash and is filled anew; `fsync` before the index names them. Imports always are.";
    "edge.cas.lock", OrNull(&Path), "null",
        "File of `svc-edge cas lock`, which pins paths to the hashes of their bytes: nothing else is served there; see docs/integrity.md.";

    "edge.fill.queue", Number(1, 65_536), "512",
        "Fills that may wait for a worker; 429 above.";
    "edge.fill.workers", Number(2, 4096), "64",
        "Fills at a time; one origin has at most half of them.";
    "edge.fill.connect_timeout", Time(ms(1), HOUR), "2s",
        "How long a connection to an origin may take, TLS included; at most `total_timeout`.";
    "edge.fill.read_timeout", Time(ms(1), HOUR), "5s",
        "How long an origin may be silent.";
    "edge.fill.total_timeout", Time(ms(1), HOUR), "60s",
        "From the start of a fill to its header, with all retries; `min_rate` and `read_timeout` bound the body.";
    "edge.fill.min_rate", OrNull(&Size(1, 1 << 30)), "64KiB",
        "Bytes a second below which a fill is ended; `null` is `read_timeout` alone.";
    "edge.fill.max_object_bytes", Size(KIB, TIB), "1GiB",
        "How long a body may be that is stored; longer ones pass through, or are cut where their length came as a surprise.";
    "edge.fill.range_fill_max", Size(0, TIB), "64MiB",
        "How long an object may be that a Range on a miss fills as a whole, at most `max_object_bytes`; above, the Range passes through.";
    "edge.fill.max_passthrough", Number(1, 65_536), "256",
        "Answers that pass through unstored, at a time.";
    "edge.fill.finish_max", OrNull(&Size(0, TIB)), "null",
        "A fill whose last reader left is ended when its body is longer than this; `null` lets each finish that somebody wanted the whole of.";
    "edge.fill.hash_on_runtime", Bool, "true",
        "Whether a body is hashed by the worker that receives it; else by the thread that writes it.";
    "edge.fill.contact", OrNull(&Contact), "null",
        "How the people behind this edge are reached: in the User-Agent that origins see.";
    "edge.fill.name", Token, "svc-edge",
        "What Via and CDN-Loop call this edge: edges that ask each other need different names, or they take each other for a loop.";
    "edge.fill.dns_ttl", Time(ms(1000), HOUR), "30s",
        "How long the addresses of an origin's name are used before it is resolved again.";
    "edge.fill.retry.base", Time(ms(1), HOUR), "50ms",
        "The wait before the first retry, at most `max`; each one after it waits twice as long.";
    "edge.fill.retry.max", Time(ms(1), HOUR), "800ms",
        "The longest wait.";
    "edge.fill.retry.count", Number(0, 10), "3",
        "Retries after the first try; none once a byte went to a reader.";
    "edge.fill.retry.jitter", Bool, "true",
        "Whether a random time up to `base` is added to each wait.";
    "edge.fill.retry.retry_on", List(&Choice(&["429", "500", "502", "503", "504", "timeout"])), "[503, 504, timeout]",
        "What is tried again, beside a connection that is refused or breaks off before an answer, which always is.";
    "edge.fill.retry.budget", Number(0, 100), "20",
        "Retries in a hundred requests to one origin, at most, and two a second beside, so that a dead one is not hammered; 0 is none.";
    "edge.fill.circuit.failures", Number(1, 1000), "5",
        "Failures in a row after which an origin is not asked.";
    "edge.fill.circuit.open_for", Time(ms(1), HOUR), "10s",
        "For how long, up to eight times as long while it goes on failing; then one request tries it, and its end decides.";

    "edge.ingress.rps_limit", OrNull(&Number(1, 1_000_000)), "500",
        "Requests a second that are admitted, and a second's worth at once after a silence; 429 above; `null` is any number. See docs/overload.md.";
    "edge.ingress.rps_per_client", OrNull(&Number(1, 1_000_000)), "null",
        "Requests a second that are admitted of one client: an IPv4 address, or an IPv6 network of 64 bits; 429 above.";
    "edge.ingress.max_inflight", OrNull(&Number(1, 1_000_000)), "512",
        "Requests that are answered at a time, those that wait for a fill among them, but none that waits for its client for more than a second; 503 above.";
    "edge.ingress.timeout", Time(ms(1), HOUR), "5s",
        "From the request's header to the first byte of the answer; a pinned path, and a Range of what is being filled, wait as long as `edge.fill` lets the fill go on.";
    "edge.ingress.header_timeout", Time(ms(1), HOUR), "5s",
        "How long a request's header may take from its first byte, on each request of a connection; and the handshakes of a connection, in all.";
    "edge.ingress.write_timeout", Time(ms(1), HOUR), "10s",
        "How long a client may take nothing of an answer before it is cut; on HTTP/2, nor 16 KiB of a stream's.";
    "edge.ingress.min_send_rate", OrNull(&Size(1, 1 << 30)), "1KiB",
        "Bytes a second that a client takes at least while an answer waits for it, over each `write_timeout`; `null` is `write_timeout` alone.";
    "edge.ingress.keepalive", OrNull(&Time(ms(1), HOUR)), "60s",
        "How long a connection may wait for a request; `null` closes it after the first answer.";
    "edge.ingress.keepalive_requests", OrNull(&Number(1, 1_000_000_000)), "10000",
        "Requests after which a connection is closed, on HTTP/2 by GOAWAY; `null` is no bound.";
    "edge.ingress.max_connections", Number(1, 10_000_000), "10000",
        "Connections of clients at a time, at most as many as the descriptors allow with 256 to spare; 503 above.";
    "edge.ingress.max_connections_per_client", OrNull(&Number(1, 10_000_000)), "null",
        "Connections of one client at a time: an IPv4 address, or an IPv6 network of 64 bits; 503 above; `null` is no bound.";
    "edge.ingress.shutdown_delay", Time(Duration::ZERO, HOUR), "0s",
        "How long connections are still accepted after a stop was asked for and `/readyz` says 503: time for a balancer to notice.";
    "edge.ingress.header_bytes", Size(KIB, MIB - KIB), "32KiB",
        "Bound on a request's header block; 431 above.";
    "edge.ingress.uri_bytes", Size(64, MIB - KIB), "8KiB",
        "Bound on a request's target, at most `header_bytes`; 414 above.";
    "edge.ingress.body_bytes", Size(0, 16 * MIB), "64KiB",
        "How much of a request body that nobody expects is read away before the connection is closed.";
    "edge.ingress.trusted_proxies", List(&Network), "[]",
        "Networks of proxies whose X-Forwarded-For and PROXY protocol are believed.";

    "edge.http.hsts", Bool, "true",
        "Whether answers over TLS have `Strict-Transport-Security` for a year, by which browsers ask this host over TLS alone; clear text never has it.";
    "edge.http.multi_range", Bool, "false",
        "Whether several ranges are answered as `multipart/byteranges`; else with the whole body.";
    "edge.http.direct", Bool, "true",
        "Whether what RAM holds is answered over HTTP/1.1 without Pingora's HTTP server in between: the same answers for half the CPU.";
    "edge.http.chunk_bytes", Size(16 * KIB, MIB), "64KiB",
        "How much of a large body is read, and sent, at a time.";
    "edge.http.cache_control", Field, "public, max-age=300",
        "Cache-Control of assets that have none of their own.";
    "edge.http.hosts", List(&Host), "[]",
        "Host values from which absolute URLs in TileJSON may be made.";
    "edge.http.decode.ratio", Number(1, 1000), "10",
        "How many times its coded length a body may grow when it is decoded for a client.";
    "edge.http.decode.bytes", Size(KIB, 1 << 30), "10MiB",
        "How long such a body may become; it is kept in the hot set, which `edge.cas.memory_bytes` bounds.";
    "edge.http.cors.allow_origins", List(&WebOrigin), "[\"*\"]",
        "Origins whose scripts may read answers; `[]` is none.";

    "edge.admin.token", OrNull(&Secret), "null",
        "Bearer token of `PURGE` and `DELETE` on the admin listener, from a variable or a file; `null` lets nobody.";

    "edge.log.format", Choice(&["json", "text"]), "json",
        "One JSON object a line, or text for people.";
    "edge.log.level", Choice(&["off", "error", "warn", "info", "debug", "trace"]), "info",
        "The least severe level that is logged.";
    "edge.log.access", Choice(&["sampled", "all", "off"]), "sampled",
        "Which requests are logged: one in `sample` of the hits and of the refusals by `rate_limit` and `inflight`, and everything else; all; or none.";
    "edge.log.sample", Number(1, 1_000_000), "100",
        "One hit in this many is logged when `access` is `sampled`.";
    "edge.log.audit", OrNull(&Path), "null",
        "A file to which fills, refusals, purges, reloads, quarantines and the like are appended, one JSON object a line; `null` is none.";
}

/// Every section, in the order of the documents.
pub static SECTIONS: &[Section] = &[
    Section { path: "", help: "Pingora's own keys: threads, stopping, upgrades, trust." },
    Section { path: "edge", help: "What is served, and where." },
    Section { path: "edge.bind[]", help: "A listener of assets." },
    Section { path: "edge.bind[].tls[]", help: "A certificate." },
    Section { path: "edge.packs[]", help: "A pack." },
    Section { path: "edge.origins[]", help: "An origin." },
    Section { path: "edge.cas", help: "The content-addressed store." },
    Section { path: "edge.fill", help: "What a fetch from an origin may cost." },
    Section { path: "edge.fill.retry", help: "How a fill is tried again." },
    Section { path: "edge.fill.circuit", help: "When an origin that fails is left alone." },
    Section { path: "edge.ingress", help: "What a client may cost." },
    Section { path: "edge.http", help: "How answers look." },
    Section {
        path: "edge.http.decode",
        help: "Bounds on decoding a stored coding that a client doesn't take; 502 above.",
    },
    Section { path: "edge.http.cors", help: "Which pages may read answers." },
    Section { path: "edge.admin", help: "What the admin listener lets do." },
    Section { path: "edge.log", help: "What is logged." },
];

/// Keys and sections that a later version of svc-edge has. One that does nothing is refused, so that no conf promises what isn't so.
static LATER: &[&str] = &[
    "client_bind_to_ipv4",
    "client_bind_to_ipv6",
    "daemon_notify_timeout_seconds",
    "daemon_wait_for_ready",
    "downstream_tls_offload_thread_per_pool",
    "downstream_tls_offload_threadpools",
    "group",
    "max_retries",
    "runtime_enable_alt_timer",
    "runtime_metrics_poll_time_histogram",
    "runtime_metrics_poll_time_histogram_buckets",
    "runtime_metrics_poll_time_histogram_resolution_micros",
    "runtime_metrics_poll_time_histogram_scale",
    "s2n_config_cache_size",
    "upgrade_sock_connect_accept_max_retries",
    "upstream_connect_offload_thread_per_pool",
    "upstream_connect_offload_threadpools",
    "upstream_debug_ssl_keylog",
    "upstream_keepalive_pool_size",
    "user",
    "working_directory",
];

impl Key {
    /// The last word of its path.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// The path of the section it stands in.
    pub fn section(&self) -> &'static str {
        parent(self.path)
    }

    /// When a changed value takes effect: see the table in `reload`.
    pub fn reload(&self) -> Reload {
        reload::of(self.path).unwrap_or(Reload::Upgrade)
    }

    /// Its environment variable: `SVC_EDGE_EDGE__MODE` for `edge.mode`. Keys of list items have none.
    pub fn variable(&self) -> Option<String> {
        (!self.path.contains('[')).then(|| format!("{PREFIX}{}", self.path.to_uppercase().replace('.', "__")))
    }
}

/// What the names of environment variables begin with.
pub const PREFIX: &str = "SVC_EDGE_";

/// The key at a path that the code itself names.
pub(super) fn key(path: &str) -> &'static Key {
    find(path).expect("the code names keys of the table only, and the tests read each of them")
}

/// What `path` stands for.
pub fn look_up(path: &str) -> Known {
    if let Some(key) = find(path) {
        return Known::Key(key);
    }
    if SECTIONS.iter().any(|section| section.path == path) {
        return Known::Section;
    }
    let below = |later: &&str| path.strip_prefix(*later).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    if LATER.iter().any(below) { Known::Later } else { Known::Unknown }
}

/// Names of the keys and sections that stand directly in a section.
pub fn names_in(section: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for path in KEYS.iter().map(|key| key.path).chain(SECTIONS.iter().map(|section| section.path)) {
        let name = path.rsplit('.').next().unwrap_or(path);
        if !path.is_empty() && !name.ends_with("[]") && parent(path) == section && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// `section.name`, or `name` at the top level.
pub fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(section, _)| section)
}

fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}
