//! The running process's side of an upgrade.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::wire::{self, Word};
use super::{check_directory, peer};
use crate::boot::sockets::{Socket, Sockets};

/// How long somebody may take to offer the socket, where we did not start them ourselves.
const OFFER: Duration = Duration::from_secs(10);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// Hand the listeners to the successor that waits at `socket`, or to `child`, which will. Returns when it serves and knows that this process
/// retires: at most `patience` later.
///
/// Errors: in a sentence; this process goes on then as if nothing had been. `hand_on` is called before the last word, with the process id of
/// the successor.
pub async fn hand_over(
    socket: &Path,
    sockets: &Sockets,
    mut child: Option<&mut Child>,
    patience: Duration,
    hand_on: impl Fn(u32),
) -> Result<u32, String> {
    let until = Instant::now() + patience;
    let stream = timeout_at(until, connect(socket, &mut child)).await;
    let stream = stream.unwrap_or_else(|_| Err(format!("the new process offers no socket within {patience:?}")))?;
    let successor = peer(&stream)?;
    // Duplicates, so that no lock is held while the other side takes its time.
    let handed: Vec<_> = sockets.lock().iter().map(Socket::duplicate).collect::<Result<_, _>>()?;
    let talk = async {
        wire::send(&stream, &handed).await.map_err(|error| ended("before it had the listeners", &error))?;
        wire::hear(&stream, Word::Hello).await.map_err(|error| ended("before it had the listeners", &error))?;
        log::info!(event = "upgrade_handed_over", successor = successor, listeners = handed.len(); "");
        wire::hear(&stream, Word::Serving).await.map_err(|error| ended("before it served", &error))
    };
    let talked = timeout_at(until, talk).await;
    talked.unwrap_or_else(|_| Err(format!("the new process does not serve within {patience:?}")))?;
    hand_on(successor);
    wire::say(&stream, Word::Retiring).await.map_err(|error| ended("as it was to take over", &error))?;
    Ok(successor)
}

fn ended(when: &str, error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
            format!("the new process ended {when}")
        }
        _ => format!("the new process failed {when}: {error}"),
    }
}

/// Connect to whoever offers the socket, as soon as somebody does.
async fn connect(socket: &Path, child: &mut Option<&mut Child>) -> Result<UnixStream, String> {
    let since = Instant::now();
    let dir = socket.parent().unwrap_or(Path::new("."));
    loop {
        // It may be the successor that makes it. Whoever else may enter it could have put the socket there.
        if dir.symlink_metadata().is_ok() {
            check_directory(dir)?;
        }
        match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(stream),
            // Not there yet; or left over by one that was killed; or its line is full.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::WouldBlock
                ) => {}
            Err(error) => return Err(format!("upgrade_sock: {}: {error}", socket.display())),
        }
        match child {
            Some(child) => {
                if let Ok(Some(status)) = child.try_wait()
                    && !status.success()
                {
                    return Err(format!("the new process ended before it took anything: {status}"));
                }
            }
            None if since.elapsed() > OFFER => {
                return Err(format!("no new process waits at {}: start it with --upgrade", socket.display()));
            }
            None => {}
        }
        sleep(LOOK).await;
    }
}

/// Wait for a process that this one started, on a thread of its own: it leaves no zombie, whenever it ends. One whose upgrade failed has
/// `patience` to end by itself.
pub fn reap(mut child: Child, patience: Option<Duration>) {
    let wait = move || {
        if let Some(patience) = patience {
            let until = std::time::Instant::now() + patience;
            while std::time::Instant::now() < until && matches!(child.try_wait(), Ok(None)) {
                std::thread::park_timeout(LOOK);
            }
            if matches!(child.try_wait(), Ok(None)) {
                // It ended meanwhile, or it can't be helped.
                let _ = child.kill();
            }
        }
        let _ = child.wait();
    };
    // Without a thread it stays a zombie until this process ends.
    let _ = std::thread::Builder::new().name("reaper".into()).spawn(wait);
}
