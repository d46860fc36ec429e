//! The upgrade: a new process takes the listeners over from the running one, which retires when the new one serves.
//!
//! As in Pingora's own handover, the successor listens on `upgrade_sock` and the predecessor connects to it and sends its listeners. Unlike
//! there, that connection stays open and both sides say on it how far they are, so that neither leaves before the other is ready:
//!
//! ```text
//! successor                                   predecessor
//! reads its conf, opens its stores
//! listens on upgrade_sock
//!                                             SIGQUIT (or SIGUSR2: starts the successor itself)
//!                                             connects; sends listeners and their addresses
//! hello
//! accepts, beside the predecessor
//! serving (as soon as /readyz holds)
//!                                             retiring; accepts no more, drains, ends
//! ```
//!
//! Whoever hears the connection end too early goes by one rule: a predecessor that has not said `retiring` serves on; a successor that
//! has not heard it ends. Pingora's functions are not used: they give descriptors that only `unsafe` code could own, panic where
//! the path can't be bound, and have no way back.

pub mod predecessor;
pub mod program;
pub mod successor;
mod wire;

use std::fs::{DirBuilder, symlink_metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use tokio::net::UnixStream;

/// Make the directory of the socket, or see that it is ours and closed to others: whoever could put a socket there would be handed our
/// listeners.
fn private_directory(socket: &Path) -> Result<(), String> {
    let Some(dir) = socket.parent() else { return Err(format!("{} is in no directory", socket.display())) };
    if let Some(above) = dir.parent().filter(|above| !above.as_os_str().is_empty()) {
        std::fs::create_dir_all(above).map_err(|error| format!("cannot make {}: {error}", above.display()))?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(format!("cannot make {}: {error}", dir.display()))
        }
        _ => check_directory(dir),
    }
}

/// Errors: what is wrong with the directory of the socket, in a sentence.
pub fn check_directory(dir: &Path) -> Result<(), String> {
    let says = |what: &dyn std::fmt::Display| Err(format!("upgrade_sock: {}: {what}", dir.display()));
    let found = match symlink_metadata(dir) {
        Ok(found) => found,
        Err(error) => return says(&error),
    };
    let (mode, user, us) = (found.mode() & 0o7777, found.uid(), geteuid().as_raw());
    if !found.is_dir() {
        says(&"is no directory")
    } else if user != us {
        says(&format_args!("belongs to user {user}, not to this one ({us})"))
    } else if mode & 0o077 != 0 {
        says(&format_args!("mode {mode:04o} lets others in; allowed: 0700"))
    } else {
        Ok(())
    }
}

/// The process on the other side, which must be ours.
fn peer(stream: &UnixStream) -> Result<u32, String> {
    let peer = socket_peercred(stream).map_err(|error| format!("who is at the other end: {error}"))?;
    let (theirs, ours) = (peer.uid.as_raw(), geteuid().as_raw());
    if theirs != ours {
        return Err(format!("the process at the other end is of user {theirs}, not of this one ({ours})"));
    }
    // Positive, as every process id is.
    Ok(peer.pid.as_raw_nonzero().get().unsigned_abs())
}

#[cfg(test)]
mod tests;
