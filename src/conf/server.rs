//! The top level: Pingora's own keys, by Pingora's names, as plain values. `boot` makes Pingora's conf of them.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::thread::available_parallelism;

use super::read::Reader;
use super::value::{boolean, number, string};

/// Processes, threads and stopping. Every field has the name of its key, which is Pingora's.
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
    /// Socket of an upgrade: at most 107 bytes.
    pub upgrade_sock: PathBuf,
    /// Tries of that socket, one a second.
    pub upgrade_sock_connect_accept_max_retries: usize,
    /// Whether to run in the background.
    pub daemon: bool,
    /// Where a daemon writes its process id.
    pub pid_file: PathBuf,
    /// Where a daemon's standard error goes.
    pub error_log: Option<PathBuf>,
    /// Where a daemon runs.
    pub working_directory: Option<PathBuf>,
    /// The user that a daemon becomes.
    pub user: Option<String>,
    /// The group that a daemon becomes.
    pub group: Option<String>,
    /// Whether the starting command waits until the daemon serves.
    pub daemon_wait_for_ready: bool,
    /// How long it waits, in seconds: at least 1.
    pub daemon_ready_timeout_seconds: u64,
    /// How long a daemon tries to tell it, in seconds: at least 1.
    pub daemon_notify_timeout_seconds: u64,
}

/// Keys that do nothing in the foreground. Accepting `user` there would leave a server running as root in silence.
const DAEMON_ONLY: [&str; 8] = [
    "pid_file",
    "error_log",
    "working_directory",
    "user",
    "group",
    "daemon_wait_for_ready",
    "daemon_ready_timeout_seconds",
    "daemon_notify_timeout_seconds",
];

/// The longest path of a Unix socket (`sun_path` holds 108 bytes with its NUL).
const MAX_SOCKET_PATH: usize = 107;

/// Read the section. A daemon's relative paths are anchored to the current directory from here on.
pub(super) fn parse(r: &mut Reader) -> Option<ServerSection> {
    let daemon = r.get("daemon", boolean);
    match daemon {
        Some(true) => match std::env::current_dir() {
            Ok(directory) => r.anchor(directory),
            Err(error) => r.contradiction("daemon", &format!("needs the current directory: {error}")),
        },
        Some(false) => {
            for path in DAEMON_ONLY.into_iter().filter(|path| r.differs(path)).collect::<Vec<_>>() {
                r.contradiction(
                    path,
                    "does nothing without a daemon; allowed: with `daemon: true`, or to leave it out",
                );
            }
        }
        None => {}
    }
    let version = count(r, "version");
    let threads = r.optional("threads", number);
    let listener_tasks_per_fd = count(r, "listener_tasks_per_fd");
    let work_stealing = r.get("work_stealing", boolean);
    let max_blocking_threads = count(r, "max_blocking_threads");
    let blocking_threads_ttl_seconds = r.get("blocking_threads_ttl_seconds", number);
    let fast_timeout_to_tokio_threshold_seconds = r.optional("fast_timeout_to_tokio_threshold_seconds", number);
    let grace_period_seconds = r.get("grace_period_seconds", number);
    let graceful_shutdown_timeout_seconds = r.get("graceful_shutdown_timeout_seconds", number);
    let upgrade_sock = r.path("upgrade_sock");
    let upgrade_sock_connect_accept_max_retries = count(r, "upgrade_sock_connect_accept_max_retries");
    let pid_file = r.path("pid_file");
    let error_log = r.optional_path("error_log");
    let working_directory = r.optional_path("working_directory");
    let user = r.optional("user", string);
    let group = r.optional("group", string);
    let daemon_wait_for_ready = r.get("daemon_wait_for_ready", boolean);
    let daemon_ready_timeout_seconds = r.get("daemon_ready_timeout_seconds", number);
    let daemon_notify_timeout_seconds = r.get("daemon_notify_timeout_seconds", number);
    if upgrade_sock.as_ref().is_some_and(|path| path.as_os_str().as_bytes().len() > MAX_SOCKET_PATH) {
        r.contradiction("upgrade_sock", "is too long for a socket; allowed: a path of at most 107 bytes");
    }
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
        upgrade_sock: upgrade_sock?,
        upgrade_sock_connect_accept_max_retries: upgrade_sock_connect_accept_max_retries?,
        daemon: daemon?,
        pid_file: pid_file?,
        error_log: error_log?,
        working_directory: working_directory?,
        user: user?,
        group: group?,
        daemon_wait_for_ready: daemon_wait_for_ready?,
        daemon_ready_timeout_seconds: daemon_ready_timeout_seconds?,
        daemon_notify_timeout_seconds: daemon_notify_timeout_seconds?,
    })
}

/// The cores that the process may use; 1 where the system doesn't tell.
fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

fn count(r: &mut Reader, path: &str) -> Option<usize> {
    r.get(path, number).map(to_usize)
}

/// Bounds of the table keep every count far below any `usize`.
fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
