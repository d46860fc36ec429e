//! What tokio-console sees: the tasks of every runtime of this process, and what they wait for. Only with the cargo feature `console`, which no release has.
//!
//! Pingora makes its runtimes itself. That is no hindrance: tokio tells of its tasks through `tracing`, which has one subscriber in a process. It must be
//! there before the first task is, and answers from a thread and a runtime of its own.

use console_subscriber::ConsoleLayer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Listen for tokio-console where `TOKIO_CONSOLE_BIND` says, 127.0.0.1:6669 unless told, and record to the file that `TOKIO_CONSOLE_RECORD_PATH` names. Call it
/// before a runtime is made. What is traced besides tasks goes nowhere: the log stays as it is.
pub fn start() -> Result<(), String> {
    let layer = ConsoleLayer::builder().with_default_env().spawn();
    tracing_subscriber::registry().with(layer).try_init().map_err(|error| format!("console: {error}"))
}
