//! The file with the id of the process that serves.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Write `pid` into the file at `path`, in place of what was there, whole or not at all.
pub fn write(path: &Path, pid: u32) -> io::Result<()> {
    // Beside it, with the id in its name: an upgrade has two processes for a while.
    let beside = PathBuf::from(format!("{}.{pid}", path.display()));
    let written = std::fs::File::create(&beside)
        .and_then(|mut file| file.write_all(format!("{pid}\n").as_bytes()))
        .and_then(|()| std::fs::rename(&beside, path));
    written.inspect_err(|_| {
        // It may not have been made.
        let _ = std::fs::remove_file(&beside);
    })
}

/// Remove the file, if it still has `pid`.
pub fn remove(path: &Path, pid: u32) {
    if std::fs::read_to_string(path).is_ok_and(|text| text.trim() == pid.to_string()) {
        // Somebody was faster.
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_is_replaced_and_removed_only_by_the_process_that_it_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edge.pid");
        write(&path, 7).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "7\n");
        write(&path, 8).unwrap();
        remove(&path, 7);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "8\n");
        remove(&path, 8);
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
        assert!(write(&dir.path().join("absent/edge.pid"), 7).is_err());
    }
}
