//! Opening a file whose place somebody may have given to something else.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// Open a regular file, or make it 0600 where `flags` say so. A symlink is not followed, a FIFO not waited for: each is an error.
pub(super) fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let refused = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file; remove it");
    let file = match rustix::fs::openat(CWD, path, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => File::from(file),
        // A symlink; a socket, a device without a driver, a FIFO that nobody reads; a directory.
        Err(Errno::LOOP | Errno::NXIO | Errno::NODEV | Errno::ISDIR) => return Err(refused()),
        Err(error) => return Err(error.into()),
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(refused()) }
}
