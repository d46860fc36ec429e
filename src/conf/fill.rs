//! `edge.fill`: what a fetch from an origin may cost, and how it is tried again.

use std::time::Duration;

use super::read::Reader;
use super::value::{Choice, boolean, contact, number, size, time, token};

/// Bounds on fills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FillConf {
    /// Fills that wait for a worker; 429 above.
    pub queue: usize,
    /// Fills at a time: at least 2, as one origin holds at most half of them.
    pub workers: usize,
    /// How long a connection to an origin may take, TLS included.
    pub connect_timeout: Duration,
    /// How long an origin may be silent.
    pub read_timeout: Duration,
    /// From the start of a fill to its header, with all retries.
    pub total_timeout: Duration,
    /// Bytes a second below which a fill is ended; `None` leaves it to `read_timeout`.
    pub min_rate: Option<u64>,
    /// The longest body that is stored, in bytes.
    pub max_object_bytes: u64,
    /// The longest object that a Range on a miss fills as a whole, in bytes. At most `max_object_bytes`.
    pub range_fill_max: u64,
    /// Answers that pass through unstored, at a time.
    pub max_passthrough: usize,
    /// A fill whose last reader left is ended when its body is longer, in bytes; `None` lets it finish.
    pub finish_max: Option<u64>,
    /// Whether a body is hashed by the worker that receives it, as its bytes pass; else by the thread that writes them.
    pub hash_on_runtime: bool,
    /// How people reach those who run this edge: for the comment of our User-Agent (RFC 9110 §10.1.5).
    pub contact: Option<String>,
    /// What Via (RFC 9110 §7.6.3) and CDN-Loop (RFC 8586) call this edge: a token.
    pub name: String,
    /// How a fill is tried again.
    pub retry: RetryConf,
    /// When an origin is not asked for a while.
    pub circuit: CircuitConf,
    /// How long the addresses of an origin's name are used.
    pub dns_ttl: Duration,
}

/// How a fill is tried again: the wait before retry `n`, from 0, is `min(max, base·2^n)`, and up to `base` more with `jitter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryConf {
    /// The first wait.
    pub base: Duration,
    /// The longest wait, jitter aside. At least `base`.
    pub max: Duration,
    /// Retries after the first try.
    pub count: u32,
    /// Whether a random time up to `base` is added.
    pub jitter: bool,
    /// What is tried again, beside a connection that can't be made, which always is.
    pub retry_on: Vec<RetryOn>,
    /// Retries in a hundred requests to one origin, at most.
    pub budget_percent: u32,
}

/// What a fill is tried again for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOn {
    /// This status of the origin.
    Status(u16),
    /// An origin that says nothing in time.
    Timeout,
}

/// When an origin is not asked for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitConf {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open before one request is let through.
    pub open_for: Duration,
}

impl RetryConf {
    /// Whether a fill is tried again for `what`.
    pub fn retries(&self, what: RetryOn) -> bool {
        self.retry_on.contains(&what)
    }
}

impl Choice for RetryOn {
    const ALL: &'static [(&'static str, RetryOn)] = &[
        ("429", RetryOn::Status(429)),
        ("500", RetryOn::Status(500)),
        ("502", RetryOn::Status(502)),
        ("503", RetryOn::Status(503)),
        ("504", RetryOn::Status(504)),
        ("timeout", RetryOn::Timeout),
    ];
}

/// Read the section.
pub(super) fn parse(r: &mut Reader) -> Option<FillConf> {
    let queue = r.count("edge.fill.queue");
    let workers = r.count("edge.fill.workers");
    let connect_timeout = r.get("edge.fill.connect_timeout", time);
    let read_timeout = r.get("edge.fill.read_timeout", time);
    let total_timeout = r.get("edge.fill.total_timeout", time);
    let min_rate = r.optional("edge.fill.min_rate", size);
    let max_object_bytes = r.get("edge.fill.max_object_bytes", size);
    let range_fill_max = r.get("edge.fill.range_fill_max", size);
    let max_passthrough = r.count("edge.fill.max_passthrough");
    let finish_max = r.optional("edge.fill.finish_max", size);
    let hash_on_runtime = r.get("edge.fill.hash_on_runtime", boolean);
    let contact = r.optional("edge.fill.contact", contact);
    let name = r.get("edge.fill.name", token);
    let retry = retry(r);
    let failures = r.get("edge.fill.circuit.failures", number);
    let open_for = r.get("edge.fill.circuit.open_for", time);
    let dns_ttl = r.get("edge.fill.dns_ttl", time);
    at_most(r, ["edge.fill.range_fill_max", "edge.fill.max_object_bytes"], range_fill_max, max_object_bytes);
    at_most(r, ["edge.fill.connect_timeout", "edge.fill.total_timeout"], connect_timeout, total_timeout);
    Some(FillConf {
        queue: queue?,
        workers: workers?,
        connect_timeout: connect_timeout?,
        read_timeout: read_timeout?,
        total_timeout: total_timeout?,
        min_rate: min_rate?,
        max_object_bytes: max_object_bytes?,
        range_fill_max: range_fill_max?,
        max_passthrough: max_passthrough?,
        finish_max: finish_max?,
        hash_on_runtime: hash_on_runtime?,
        contact: contact?,
        name: name?,
        retry: retry?,
        circuit: CircuitConf { failures: small(failures?), open_for: open_for? },
        dns_ttl: dns_ttl?,
    })
}

fn retry(r: &mut Reader) -> Option<RetryConf> {
    let base = r.get("edge.fill.retry.base", time);
    let max = r.get("edge.fill.retry.max", time);
    let count = r.get("edge.fill.retry.count", number);
    let jitter = r.get("edge.fill.retry.jitter", boolean);
    let retry_on = r.list("edge.fill.retry.retry_on", super::value::choice);
    let budget = r.get("edge.fill.retry.budget", number);
    at_most(r, ["edge.fill.retry.base", "edge.fill.retry.max"], base, max);
    Some(RetryConf {
        base: base?,
        max: max?,
        count: small(count?),
        jitter: jitter?,
        retry_on: retry_on?,
        budget_percent: small(budget?),
    })
}

/// Note where the first of two keys is larger than the second, at the one that was changed.
fn at_most<T: PartialOrd>(r: &mut Reader, [less, more]: [&str; 2], value: Option<T>, bound: Option<T>) {
    if let (Some(value), Some(bound)) = (value, bound)
        && value > bound
    {
        let at = if r.differs(less) { less } else { more };
        r.contradiction(at, &format!("leaves `{less}` larger than `{more}`; allowed: at most as large"));
    }
}

/// Bounds of the table keep these numbers far below any `u32`.
fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
