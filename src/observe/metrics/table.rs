//! The labels, the series, and the rows that name and explain them: the one table that `/metrics` and `docs/metrics.md` are made of.

use super::certificates::ByCertificate;
use super::families::{Metric, Source};
use super::origins::ByOrigin;
use super::series::{Counter, Counters, Gauge, Gauges, Histograms, label};
use crate::observe::readiness::READINESS;

label! {
    /// The route that a request took.
    Route {
        Archive = "archive",
        Tile = "tile",
        TileJson = "tilejson",
        Asset = "asset",
        Blob = "blob",
        Probe = "probe",
        None = "none",
    }
}

label! {
    /// The method of a request.
    Method { Get = "GET", Head = "HEAD", Options = "OPTIONS", Other = "other" }
}

label! {
    /// The status class and the statuses worth a series of their own.
    Status {
        S200 = "200", S204 = "204", S206 = "206", S304 = "304", S301 = "301", S302 = "302", S400 = "400", S403 = "403", S404 = "404", S405 = "405", S412 = "412",
        S413 = "413", S414 = "414", S416 = "416", S429 = "429", S431 = "431", S500 = "500", S502 = "502", S503 = "503",
        S504 = "504", S508 = "508", Other = "other",
    }
}

label! {
    /// Why a request was refused: the value of `X-Reason`, of `rejected_total{reason}` and of the log's `reason`.
    Reason {
        BadRequest = "bad_request", BadPath = "bad_path", Method = "method", NotFound = "not_found", HeaderCap = "header_cap",
        UriCap = "uri_cap", BodyCap = "body_cap", Precondition = "precondition", InvalidRange = "invalid_range",
        DecompressCap = "decompress_cap", Corrupt = "corrupt", PackChanged = "pack_changed", Timeout = "timeout",
        Internal = "internal", Draining = "draining", QueueFull = "queue_full", Origin = "origin", NotAllowed = "not_allowed",
        Loop = "loop", OnlyIfCached = "only_if_cached",
        Connections = "connections", ProxyHeader = "proxy_header", RateLimit = "rate_limit", Inflight = "inflight",
    }
}

label! {
    /// Where a hit came from.
    HitKind { Pack = "pack", Cas = "cas" }
}

label! {
    /// Why there was no hit.
    MissCause { Absent = "absent", Stale = "stale" }
}

label! {
    /// What became of a Range.
    RangeResult { Partial = "partial", Multipart = "multipart", Unsatisfiable = "unsatisfiable", Ignored = "ignored" }
}

label! {
    /// What became of a write to the CAS.
    WriteStatus { Stored = "stored", Present = "present", Failed = "failed" }
}

label! {
    /// What failed its verification.
    VerifyKind { Blob = "blob", Pack = "pack", Tile = "tile", Pin = "pin" }
}

label! {
    /// What took too long.
    TimeoutOp {
        PackRead = "pack_read", Lookup = "lookup", OriginConnect = "origin_connect", OriginRead = "origin_read",
        OriginTotal = "origin_total", Header = "header", Write = "write",
    }
}

label! {
    /// Why a request to an origin was tried again.
    RetryOp { Connect = "connect", Timeout = "timeout", Status = "status" }
}

label! {
    /// What became of a TLS handshake.
    HandshakeResult {
        Done = "done", Closed = "closed", Timeout = "timeout", Refused = "refused", Incompatible = "incompatible", Malformed = "malformed",
        PlainHttp = "plain_http",
    }
}

label! {
    /// A supervised part of the process.
    Component {
        PackWatcher = "pack_watcher", CasKeeper = "cas_keeper", Digester = "digester", FillWorker = "fill_worker",
        FillCommitter = "fill_committer", AuditWriter = "audit_writer", CertificateWatcher = "certificate_watcher",
        LogWriter = "log_writer", EventLog = "event_log", Signals = "signals", Watchdog = "watchdog",
    }
}

label! {
    /// What became of a conf that was read again.
    ReloadResult { Ok = "ok", Refused = "refused" }
}

label! {
    /// A bounded channel whose reader may lag.
    Bus { Events = "events", Log = "log", Access = "access", Audit = "audit" }
}

label! {
    /// How an upgrade ended.
    UpgradeResult { Ok = "ok", Failed = "failed" }
}

label! {
    /// A bounded queue.
    QueueName { Fill = "fill" }
}

label! {
    /// What could not take one more.
    Endpoint { Fill = "fill", Passthrough = "passthrough", Assets = "assets", Blobs = "cas", Other = "other" }
}

label! {
    /// The one series of a histogram without labels; its name stands nowhere.
    Whole { All = "" }
}

/// TLS handshakes.
pub static HANDSHAKES: Counters<HandshakeResult> = Counters::new();
/// Until when certificates are valid, in seconds since 1970.
pub static CERTIFICATES_NOT_AFTER: ByCertificate = ByCertificate::new();
/// Hits, by where they came from.
pub static CACHE_HITS: Counters<HitKind> = Counters::new();
/// Requests that no store could answer.
pub static CACHE_MISSES: Counters<MissCause> = Counters::new();
/// Range requests by result.
pub static RANGE_REQUESTS: Counters<RangeResult> = Counters::new();
/// Body bytes sent.
pub static BYTES_OUT: Counter = Counter::new();
/// Requests answered.
pub static HTTP_REQUESTS: Counters<(Route, Method, Status)> = Counters::new();
/// Time from the request's header to the end of the answer.
pub static REQUEST_LATENCY: Histograms<Route> = Histograms::new();
/// Requests refused.
pub static REJECTED: Counters<Reason> = Counters::new();
/// Requests being answered.
pub static INFLIGHT: Gauge = Gauge::new();
/// Connections of clients that have a place.
pub static CONNECTIONS: Gauge = Gauge::new();
/// Connections accepted, those that found no place among them.
pub static CONNECTIONS_ACCEPTED: Counter = Counter::new();
/// Answers that took the short way.
pub static DIRECT: Counter = Counter::new();
/// Blobs written.
pub static CAS_WRITES: Counters<WriteStatus> = Counters::new();
/// Allocated bytes of blobs.
pub static CAS_BYTES: Gauge = Gauge::new();
/// Bound on the allocated bytes of blobs.
pub static CAS_MAX_BYTES: Gauge = Gauge::new();
/// Bound on the objects in the index.
pub static CAS_MAX_OBJECTS: Gauge = Gauge::new();
/// Objects in the index.
pub static CAS_OBJECTS: Gauge = Gauge::new();
/// Objects evicted.
pub static CAS_EVICTIONS: Counter = Counter::new();
/// Bytes that contradicted their hash or their directory.
pub static VERIFY_FAILURES: Counters<VerifyKind> = Counters::new();
/// Disk, database or network work given up at its deadline.
pub static IO_TIMEOUTS: Counters<TimeoutOp> = Counters::new();
/// Restarts of supervised components.
pub static SERVICE_RESTARTS: Counters<Component> = Counters::new();
/// Upgrades, by how they ended.
pub static UPGRADES: Counters<UpgradeResult> = Counters::new();
/// Events and log lines lost because their reader could not keep up.
pub static BUS_LAGGED: Counters<Bus> = Counters::new();
/// Writes of the audit file that failed.
pub static AUDIT_ERRORS: Counter = Counter::new();
/// What waits in a queue now.
pub static QUEUE_DEPTH: Gauges<QueueName> = Gauges::new();
/// What found a queue full.
pub static QUEUE_DROPPED: Counters<QueueName> = Counters::new();
/// Requests that found a bound reached.
pub static BUSY_REJECTIONS: Counters<Endpoint> = Counters::new();
/// Time from the first wish for an object to its commit.
pub static FILL_LATENCY: Histograms<Whole> = Histograms::new();
/// Requests whose handling panicked.
pub static REQUEST_PANICS: Counter = Counter::new();
/// The clock of the machine when the page was made, in seconds since 1970.
pub static CLOCK: Gauge = Gauge::new();
/// 1 when every readiness condition holds.
pub static READY: Gauge = Gauge::new();
/// Requests sent to origins by fills.
pub static FILL_ATTEMPTS: ByOrigin = ByOrigin::new();
/// Fills that origins answered.
pub static FILL_SUCCESS: ByOrigin = ByOrigin::new();
/// Confs that leave an origin alone: one, but for the time in which the fills of the one before come to their end.
pub static CIRCUIT_OPEN: ByOrigin = ByOrigin::new();
/// Requests to origins tried again.
pub static BACKOFF_RETRIES: Counters<RetryOp> = Counters::new();

/// Times the conf was read again.
pub static CONF_RELOADS: Counters<ReloadResult> = Counters::new();
/// When the conf in force was read, in seconds since 1970.
pub static CONF_LAST_RELOAD: Gauge = Gauge::new();
/// 1 while keys wait for the next process.
pub static CONF_NEEDS_UPGRADE: Gauge = Gauge::new();

macro_rules! row {
    ($name:literal, [$($label:literal),*], $source:expr, $help:literal) => {
        Metric { name: $name, help: $help, labels: &[$($label),*], source: $source }
    };
}

/// Every metric of ours; the process collector's (`process_*`) come beside them.
pub static TABLE: &[Metric] = &[
    row!(
        "http_requests_total",
        ["route", "method", "status"],
        Source::Family(&HTTP_REQUESTS),
        "Requests answered, by route, method and status."
    ),
    row!(
        "request_latency_seconds",
        ["route"],
        Source::Histogram(&REQUEST_LATENCY),
        "Time from the end of the request's header to the end of the answer."
    ),
    row!(
        "edge_inflight",
        [],
        Source::Gauge(&INFLIGHT),
        "Requests being answered now: those that hold one of `max_inflight` places, and for their moment probes and refusals."
    ),
    row!("edge_connections", [], Source::Gauge(&CONNECTIONS), "Connections of clients, in handshakes or behind them."),
    row!(
        "edge_connections_accepted_total",
        [],
        Source::Counter(&CONNECTIONS_ACCEPTED),
        "Connections of clients accepted; those that are then refused are in rejected_total."
    ),
    row!(
        "edge_direct_answers_total",
        [],
        Source::Counter(&DIRECT),
        "Requests, of http_requests_total, that were answered the short way: from RAM, without Pingora's HTTP server in between."
    ),
    row!(
        "rejected_total",
        ["reason"],
        Source::Family(&REJECTED),
        "Requests refused; the reason is the one in X-Reason and in the log."
    ),
    row!(
        "edge_cache_hits_total",
        ["kind"],
        Source::Family(&CACHE_HITS),
        "Requests answered from a pack or from the CAS."
    ),
    row!("edge_cache_misses_total", ["cause"], Source::Family(&CACHE_MISSES), "Requests that no store could answer."),
    row!(
        "edge_range_requests_total",
        ["result"],
        Source::Family(&RANGE_REQUESTS),
        "Requests with a Range, by what became of it."
    ),
    row!("edge_bytes_out_total", [], Source::Counter(&BYTES_OUT), "Body bytes sent."),
    row!("edge_cas_writes_total", ["status"], Source::Family(&CAS_WRITES), "Blobs written to the CAS by this process."),
    row!(
        "tls_handshakes_total",
        ["result"],
        Source::Family(&HANDSHAKES),
        "TLS handshakes, by what became of them: done; closed by the client, timeout, refused by the client's alert (it may not trust the certificate), incompatible (no \
         version, suite or protocol in common), malformed, or HTTP in clear text."
    ),
    row!(
        "edge_tls_certificate_not_after_seconds",
        ["name"],
        Source::ByCertificate(&CERTIFICATES_NOT_AFTER),
        "Until when a certificate in use is valid, in seconds since 1970; of several of one name, the first to expire."
    ),
    row!("edge_cas_bytes", [], Source::Gauge(&CAS_BYTES), "Allocated bytes of the blobs in the CAS."),
    row!("edge_cas_objects", [], Source::Gauge(&CAS_OBJECTS), "Objects in the index of the CAS."),
    row!(
        "edge_cas_max_bytes",
        [],
        Source::Gauge(&CAS_MAX_BYTES),
        "Allocated bytes above which objects are evicted (`edge.cas.max_bytes`)."
    ),
    row!(
        "edge_cas_max_objects",
        [],
        Source::Gauge(&CAS_MAX_OBJECTS),
        "Objects above which the oldest are evicted (`edge.cas.max_objects`)."
    ),
    row!(
        "edge_cas_evictions_total",
        [],
        Source::Counter(&CAS_EVICTIONS),
        "Objects evicted to keep the CAS below its bounds."
    ),
    row!(
        "edge_verify_failures_total",
        ["kind"],
        Source::Family(&VERIFY_FAILURES),
        "Bytes that contradicted their hash, their directory or their format."
    ),
    row!("io_timeouts_total", ["op"], Source::Family(&IO_TIMEOUTS), "Work given up at its deadline."),
    row!(
        "edge_live_fill_attempts_total",
        ["origin"],
        Source::ByOrigin(&FILL_ATTEMPTS),
        "Requests sent to an origin by fills, each try counted; what passes through for one client alone is no fill."
    ),
    row!(
        "edge_live_fill_success_total",
        ["origin"],
        Source::ByOrigin(&FILL_SUCCESS),
        "Fills that an origin answered with no 5xx, and whole where the answer is stored; tries that failed are attempts alone."
    ),
    row!(
        "edge_origin_circuit_open",
        ["origin"],
        Source::GaugeByOrigin(&CIRCUIT_OPEN),
        "1 while an origin is left alone after repeated failures, else 0."
    ),
    row!(
        "backoff_retries_total",
        ["op"],
        Source::Family(&BACKOFF_RETRIES),
        "Requests to origins tried again, by what made the try before fail."
    ),
    row!(
        "bus_lagged_total",
        ["bus"],
        Source::Family(&BUS_LAGGED),
        "Events, log lines and refusals lost because the log, the access log or the audit file could not keep up."
    ),
    row!(
        "edge_audit_errors_total",
        [],
        Source::Counter(&AUDIT_ERRORS),
        "Writes of the audit file that failed; what they were to write is kept, within bounds, and tried again."
    ),
    row!(
        "service_restarts_total",
        ["component"],
        Source::Family(&SERVICE_RESTARTS),
        "Restarts of a supervised component after a panic."
    ),
    row!(
        "upgrades_total",
        ["result"],
        Source::Family(&UPGRADES),
        "Upgrades: `ok` is counted by the process that took over, `failed` by the one that went on."
    ),
    row!("edge_queue_depth", ["queue"], Source::Gauges(&QUEUE_DEPTH), "What waits in a bounded queue now."),
    row!(
        "edge_queue_dropped_total",
        ["queue"],
        Source::Family(&QUEUE_DROPPED),
        "What was refused because its queue was full."
    ),
    row!(
        "busy_rejections_total",
        ["endpoint"],
        Source::Family(&BUSY_REJECTIONS),
        "Requests that found no room: in the queue of fills (`fill`), among the answers that pass through (`passthrough`), or at admission, by what they asked for (`assets`, `cas`, `other`)."
    ),
    row!(
        "fill_latency_seconds",
        [],
        Source::Histogram(&FILL_LATENCY),
        "Time from the first wish for an object to the commit of its fill."
    ),
    row!(
        "request_panics_total",
        [],
        Source::Counter(&REQUEST_PANICS),
        "Requests whose handling panicked: answered with 500 where nothing had been sent yet, their connections closed."
    ),
    row!(
        "conf_reloads_total",
        ["result"],
        Source::Family(&CONF_RELOADS),
        "Times SIGHUP had the conf read again: it was put in force, or it was wrong and the old one stays."
    ),
    row!(
        "conf_last_reload_success",
        [],
        Source::Gauge(&CONF_LAST_RELOAD),
        "When the conf in force was read, in seconds since 1970."
    ),
    row!(
        "conf_needs_upgrade",
        [],
        Source::Gauge(&CONF_NEEDS_UPGRADE),
        "1 while the conf, as it was last read, has other values for keys that can't change while serving, else 0."
    ),
    row!("edge_ready", [], Source::Gauge(&READY), "1 while every readiness condition holds, else 0."),
    row!(
        "edge_ready_condition",
        ["condition"],
        Source::Gauges(&READINESS),
        "1 while a condition of readiness holds, else 0: the names that `/readyz` lists as missing."
    ),
    row!(
        "edge_clock_seconds",
        [],
        Source::Gauge(&CLOCK),
        "The clock of the machine at the scrape, in seconds since 1970: freshness and certificates are judged by it."
    ),
    row!("edge_build_info", ["version", "commit"], Source::BuildInfo, "Always 1; the labels say what runs."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_named_once_and_explained_in_a_sentence() {
        let mut names: Vec<_> = TABLE.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
        for metric in TABLE {
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            assert!(metric.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", metric.name);
        }
    }

    #[test]
    fn a_family_has_as_many_labels_as_its_row_names() {
        for metric in TABLE {
            if let Source::Family(family) = &metric.source {
                assert_eq!(family.series(0).0.len(), metric.labels.len(), "{}", metric.name);
                assert_eq!(family.label_values().len(), metric.labels.len(), "{}", metric.name);
            }
            if let Source::Gauges(gauges) = &metric.source {
                assert_eq!(gauges.series(0).0.len(), metric.labels.len(), "{}", metric.name);
                assert_eq!(gauges.label_values().len(), metric.labels.len(), "{}", metric.name);
            }
        }
    }
}
