//! The top level: Pingora's own keys, by Pingora's names, as plain values. `boot` makes Pingora's conf of them.

use std::path::PathBuf;
use std::thread::available_parallelism;

use super::ca;
use super::read::Reader;
use super::value::{boolean, number};

/// Threads and stopping. Every field has the name of its key, which is Pingora's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSection {
    /// The format of the conf: 1.
    pub version: usize,
    /// Worker threads of the service of assets: at least 1.
    pub threads: usize,
    /// Accepting tasks a listener: at least 1.
    pub listener_tasks_per_fd: usize,
    /// Whether idle workers take tasks from busy ones.
    pub work_stealing: bool,
    /// Bound on blocking threads, for each runtime: at least 1.
    pub max_blocking_threads: usize,
    /// How long an idle blocking thread stays, in seconds.
    pub blocking_threads_ttl_seconds: u64,
    /// Timeouts longer than this use tokio's timer, in seconds.
    pub fast_timeout_to_tokio_threshold_seconds: Option<u64>,
    /// How long requests in flight may go on after a stop was asked for, in seconds.
    pub grace_period_seconds: u64,
    /// How long the runtimes may then take to end, in seconds.
    pub graceful_shutdown_timeout_seconds: u64,
    /// Trust anchors for origins, in PEM, each of them sound; `None` is the system's, which are sound where an https origin
    /// needs them.
    pub ca_file: Option<PathBuf>,
    /// BLAKE3 of that file, as it was read.
    pub ca_digest: Option<[u8; 32]>,
}

/// Read the section.
pub(super) fn parse(r: &mut Reader) -> Option<ServerSection> {
    let version = r.count("version");
    let threads = r.optional("threads", number);
    let listener_tasks_per_fd = r.count("listener_tasks_per_fd");
    let work_stealing = r.get("work_stealing", boolean);
    let max_blocking_threads = r.count("max_blocking_threads");
    let blocking_threads_ttl_seconds = r.get("blocking_threads_ttl_seconds", number);
    let fast_timeout_to_tokio_threshold_seconds = r.optional("fast_timeout_to_tokio_threshold_seconds", number);
    let grace_period_seconds = r.get("grace_period_seconds", number);
    let graceful_shutdown_timeout_seconds = r.get("graceful_shutdown_timeout_seconds", number);
    let ca = ca::file(r);
    Some(ServerSection {
        version: version?,
        threads: threads?.map_or_else(cores, to_usize),
        listener_tasks_per_fd: listener_tasks_per_fd?,
        work_stealing: work_stealing?,
        max_blocking_threads: max_blocking_threads?,
        blocking_threads_ttl_seconds: blocking_threads_ttl_seconds?,
        fast_timeout_to_tokio_threshold_seconds: fast_timeout_to_tokio_threshold_seconds?,
        grace_period_seconds: grace_period_seconds?,
        graceful_shutdown_timeout_seconds: graceful_shutdown_timeout_seconds?,
        ca_digest: ca.as_ref()?.as_ref().and_then(|(_, digest)| *digest),
        ca_file: ca?.map(|(path, _)| path),
    })
}

/// The cores that the process may use; 1 where the system doesn't tell.
fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Bounds of the table keep every count far below any `usize`.
fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
