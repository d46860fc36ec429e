//! The labels and the series: each static here has one row in [`super::TABLE`].

use super::origins::ByOrigin;
use super::series::{Counter, Counters, Gauge, Gauges, Histograms, label};

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
        OriginTotal = "origin_total",
    }
}

label! {
    /// Why a request to an origin was tried again.
    RetryOp { Connect = "connect", Timeout = "timeout", Status = "status" }
}

label! {
    /// A supervised part of the process.
    Component {
        PackWatcher = "pack_watcher", CasKeeper = "cas_keeper", Digester = "digester", FillWorker = "fill_worker",
        FillCommitter = "fill_committer",
    }
}

label! {
    /// A bounded channel whose reader may lag.
    Bus { Events = "events", Log = "log" }
}

label! {
    /// A bounded queue.
    QueueName { Fill = "fill" }
}

label! {
    /// What could not take one more.
    Endpoint { Fill = "fill", Passthrough = "passthrough" }
}

label! {
    /// The one series of a histogram without labels; its name stands nowhere.
    Whole { All = "" }
}

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
/// Blobs written.
pub static CAS_WRITES: Counters<WriteStatus> = Counters::new();
/// Allocated bytes of blobs.
pub static CAS_BYTES: Gauge = Gauge::new();
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
/// Events and log lines lost because their reader could not keep up.
pub static BUS_LAGGED: Counters<Bus> = Counters::new();
/// What waits in a queue now.
pub static QUEUE_DEPTH: Gauges<QueueName> = Gauges::new();
/// What found a queue full.
pub static QUEUE_DROPPED: Counters<QueueName> = Counters::new();
/// Requests that found a bound reached.
pub static BUSY_REJECTIONS: Counters<Endpoint> = Counters::new();
/// Time from the first wish for an object to its commit.
pub static FILL_LATENCY: Histograms<Whole> = Histograms::new();
/// 1 when every readiness condition holds.
pub static READY: Gauge = Gauge::new();
/// Requests sent to origins.
pub static FILL_ATTEMPTS: ByOrigin = ByOrigin::new();
/// Answers of origins received whole.
pub static FILL_SUCCESS: ByOrigin = ByOrigin::new();
/// 1 while an origin is left alone.
pub static CIRCUIT_OPEN: ByOrigin = ByOrigin::new();
/// Requests to origins tried again.
pub static BACKOFF_RETRIES: Counters<RetryOp> = Counters::new();
