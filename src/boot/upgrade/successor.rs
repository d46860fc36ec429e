//! The new process's side of an upgrade.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::wire::{self, Word};
use super::{peer, private_directory};
use crate::boot::sockets::Socket;

/// How long the predecessor may take for its last word.
const LAST_WORD: Duration = Duration::from_secs(10);

/// The connection to the predecessor, between `hello` and `retiring`.
pub struct Predecessor {
    stream: std::os::unix::net::UnixStream,
}

/// The socket at its path, for as long as somebody may connect to it.
struct Offer {
    listener: UnixListener,
    path: PathBuf,
    /// Locked, so that of two successors the second one goes away instead of taking the first one's place.
    _lock: File,
}

impl Offer {
    fn new(path: &Path) -> Result<Self, String> {
        private_directory(path)?;
        let mut lock = path.as_os_str().to_owned();
        lock.push(".lock");
        let failed = |error: std::io::Error| format!("upgrade_sock: {}: {error}", path.display());
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(lock).map_err(failed)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| format!("another process waits for the listeners at {}", path.display()))?;
        // Left over by one that was killed.
        let _ = std::fs::remove_file(path);
        Ok(Self { listener: UnixListener::bind(path).map_err(failed)?, path: path.to_owned(), _lock: lock })
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        // Gone already is gone.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Wait, at most `patience`, for the running server to hand over its listeners; blocks.
///
/// Errors: in a sentence. The running server goes on then.
pub fn take_over(socket: &Path, patience: Duration) -> Result<(Vec<Socket>, Predecessor), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("upgrade: {error}"))?;
    runtime.block_on(async {
        let offer = Offer::new(socket)?;
        log::info!(event = "upgrade_waiting", path = socket.display().to_string().as_str(); "for SIGQUIT to the running server");
        let receive = async {
            let (stream, _) = offer.listener.accept().await.map_err(|error| error.to_string())?;
            peer(&stream)?;
            let sockets = wire::receive(&stream).await.map_err(|error| error.to_string())?;
            wire::say(&stream, Word::Hello).await.map_err(|error| error.to_string())?;
            Ok::<_, String>((stream, sockets))
        };
        let received = timeout(patience, receive).await;
        let (stream, sockets) = received
            .map_err(|_| format!("no running server handed its listeners over within {patience:?}: it gets SIGQUIT"))?
            .map_err(|why| format!("upgrade: {why}"))?;
        // Out of this runtime; the server's takes it up.
        let stream = stream.into_std().map_err(|error| format!("upgrade: {error}"))?;
        Ok((sockets, Predecessor { stream }))
    })
}

impl Predecessor {
    /// Tell it that this process serves, as soon as `ready` ends, and wait until it has said that it retires.
    ///
    /// Errors: in a sentence; it goes on then, and this process must end.
    pub async fn relieve(&self, ready: impl Future<Output = ()>) -> Result<(), String> {
        let stream = self.stream.try_clone().and_then(UnixStream::from_std).map_err(|error| error.to_string())?;
        tokio::select! {
            () = ready => {}
            () = wire::gone(&stream) => return Err("the running server gave the upgrade up before this one was ready".into()),
        }
        let settle = async {
            wire::say(&stream, Word::Serving).await?;
            wire::hear(&stream, Word::Retiring).await
        };
        match timeout(LAST_WORD, settle).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("the running server did not retire: {error}")),
            Err(_) => Err("the running server did not say that it retires".into()),
        }
    }
}
