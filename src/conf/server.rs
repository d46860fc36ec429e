//! The top level: Pingora's own keys, by Pingora's names, as plain values. `boot` makes Pingora's conf of them.

use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use super::ca;
use super::read::Reader;
use super::value::{boolean, number, string};

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
    /// Whether the process detaches from its terminal.
    pub daemon: bool,
    /// How long the command that started a daemon waits until it is ready, in seconds.
    pub daemon_ready_timeout_seconds: u64,
    /// File that standard error is appended to; there is one where `daemon` is true.
    pub error_log: Option<PathBuf>,
    /// File with the id of the serving process.
    pub pid_file: Option<PathBuf>,
    /// Where listeners are handed over: at most 107 bytes, in a directory of its own.
    pub upgrade_sock: Option<PathBuf>,
    /// Trust anchors for origins, in PEM, each of them sound; `None` is the system's, which are sound where an https origin
    /// needs them.
    pub ca_file: Option<PathBuf>,
    /// BLAKE3 of that file, as it was read.
    pub ca_digest: Option<[u8; 32]>,
}

/// Bytes that the path of a Unix socket may have (unix(7)), without the NUL.
pub const SOCKET_PATH: usize = 107;

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
    let daemon = r.get("daemon", boolean);
    let daemon_ready_timeout_seconds = r.get("daemon_ready_timeout_seconds", number);
    let error_log = r.optional("error_log", string);
    let pid_file = r.optional("pid_file", string);
    let upgrade_sock = r.optional("upgrade_sock", string);
    if let (Some(true), Some(None)) = (daemon, &error_log) {
        r.contradiction("daemon", "is true without `error_log`, so that nobody would see its log; allowed: with one");
    }
    if let Some(Some(path)) = &upgrade_sock {
        check_socket(r, Path::new(path));
    }
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
        daemon: daemon?,
        daemon_ready_timeout_seconds: daemon_ready_timeout_seconds?,
        error_log: error_log?.map(PathBuf::from),
        pid_file: pid_file?.map(PathBuf::from),
        upgrade_sock: upgrade_sock?.map(PathBuf::from),
        ca_digest: ca.as_ref()?.as_ref().and_then(|(_, digest)| *digest),
        ca_file: ca?.map(|(path, _)| path),
    })
}

/// A socket's path has room in its address, and a directory that can be its own.
fn check_socket(r: &mut Reader, path: &Path) {
    if path.as_os_str().len() > SOCKET_PATH {
        r.contradiction(
            "upgrade_sock",
            &format!("is longer than a socket's path may be; allowed: {SOCKET_PATH} bytes"),
        );
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if path.file_name().is_none() || parent.is_none() {
        r.contradiction("upgrade_sock", "names no directory; allowed: a file in a directory of its own");
    }
}

/// The cores that the process may use; 1 where the system doesn't tell.
fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Bounds of the table keep every count far below any `usize`.
fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
