//! The lock over opening, rebuilding and setting aside the index: one process at a time.

use std::fs::File;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use crate::store::cas::dir::CasDir;
use crate::store::cas::error::CasError;
use crate::store::cas::regular;

/// How long to wait before the log hears of it. A rebuild of a large index takes longer; anything else is stuck.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two tries within [`PATIENCE`].
const PAUSE: Duration = Duration::from_millis(10);

/// Take the lock, waiting for whoever holds it; let go when the file is dropped.
pub fn lock_dir(dir: &CasDir) -> Result<File, CasError> {
    let path = dir.path("lock");
    let failed = |error| CasError::io("cannot lock", &path, error);
    let file = regular::open(&path, OFlags::WRONLY | OFlags::CREATE).map_err(failed)?;
    let begin = Instant::now();
    let mut how = FlockOperation::NonBlockingLockExclusive;
    loop {
        match rustix::fs::flock(&file, how) {
            Ok(()) => return Ok(file),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if begin.elapsed() < PATIENCE => std::thread::park_timeout(PAUSE),
            Err(Errno::WOULDBLOCK) => {
                log::warn!(
                    event = "cas_lock_wait", path = path.display().to_string().as_str();
                    "another process holds the lock of the CAS; waiting for it"
                );
                how = FlockOperation::LockExclusive;
            }
            Err(error) => return Err(failed(error.into())),
        }
    }
}
