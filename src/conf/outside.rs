//! What a conf names outside itself: environment variables and files, read once, when the conf is loaded.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::table::PREFIX;

/// The variables that a conf may name. With `read` off, nothing outside is asked for: a command on the CAS has no use for the
/// secrets of a server, and its user may not be allowed to read them.
#[derive(Debug, Default)]
pub(super) struct Outside {
    pub variables: BTreeMap<String, Option<String>>,
    pub read: bool,
}

impl Outside {
    /// The value of a variable, or why there is none: in words that don't repeat it.
    pub(super) fn variable(&self, name: &str) -> Result<&str, String> {
        if name.starts_with(PREFIX) {
            return Err(format!("`{name}` is a name for keys of the conf: name it without `{PREFIX}`"));
        }
        match self.variables.get(name) {
            None => Err(format!("the variable `{name}` is not set")),
            Some(None) => Err(format!("the variable `{name}` is not UTF-8")),
            Some(Some(value)) => Ok(value),
        }
    }
}

/// The bytes of a regular file of at most `max` bytes. A FIFO or a device in its place is an error and not a wait without end.
pub(super) fn read_regular(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    // Opening a FIFO waits for its writer unless it is told not to.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max { Err(io::Error::other(format!("larger than {max} bytes"))) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn only_regular_files_are_read_and_only_so_far() {
        let dir = tempfile::tempdir().unwrap();
        let (file, fifo, link) = (dir.path().join("file"), dir.path().join("fifo"), dir.path().join("link"));
        std::fs::write(&file, "12345").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(read_regular(&file, 5).unwrap(), b"12345");
        assert_eq!(read_regular(&link, 5).unwrap(), b"12345", "as secrets of Kubernetes are");
        for (path, max, why) in [
            (file.as_path(), 4, "larger than 4 bytes"),
            (&fifo, 5, "not a regular file"),
            (dir.path(), 5, "not a regular file"),
            (Path::new("/dev/zero"), 5, "not a regular file"),
            (&dir.path().join("none"), 5, "No such file"),
        ] {
            let error = read_regular(path, max).unwrap_err().to_string();
            assert!(error.contains(why), "{path:?}: {error}");
        }
    }
}
