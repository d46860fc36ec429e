//! The file itself: opened for appending, followed when it was moved away, and written so that a line is whole or not there.

use std::fs::{File, OpenOptions, metadata};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, OFlags, access};

use crate::observe::faults;

/// Which file a descriptor or a path is: device and inode.
type Id = (u64, u64);

/// The audit file.
pub(super) struct AuditFile {
    /// Absolute: the process may go to another directory.
    path: PathBuf,
    /// Nothing while it can't be opened.
    open: Option<(File, Id)>,
    /// Bytes of the first line that waits which the file `torn_in` has already: a full disk takes a part.
    torn: usize,
    torn_in: Option<Id>,
}

/// Open for appending, never waiting: a FIFO without a reader is an error, and one that is full says so.
fn open(path: &Path) -> io::Result<(File, Id)> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(flags).open(path)?;
    let id = id_of(&file.metadata()?);
    Ok((file, id))
}

fn id_of(metadata: &std::fs::Metadata) -> Id {
    (metadata.dev(), metadata.ino())
}

/// Whether it could be opened, without making it.
pub(super) fn check(path: &Path) -> io::Result<()> {
    match metadata(path) {
        Ok(found) if found.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(_) => Ok(access(path, Access::WRITE_OK)?),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Ok(access(dir, Access::WRITE_OK | Access::EXEC_OK)?)
        }
        Err(error) => Err(error),
    }
}

impl AuditFile {
    /// Open the file at `path`, making it where there is none.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let open = Some(open(&path)?);
        Ok(Self { path, open, torn: 0, torn_in: None })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Open it anew before the next line.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Write `lines`, of which what was written is taken away, whole lines at a time. An error leaves the rest for another call, which
    /// opens the file anew; but for `WouldBlock`, which means that its reader doesn't keep up.
    pub fn write(&mut self, lines: &mut Vec<u8>) -> io::Result<()> {
        let written = self.write_on(lines);
        if written.as_ref().is_err_and(|error| error.kind() != ErrorKind::WouldBlock) {
            self.close();
        }
        written
    }

    fn write_on(&mut self, lines: &mut Vec<u8>) -> io::Result<()> {
        // Moved away or removed, as logrotate does: what stands at the path now, if anything, is the file.
        if let Some((_, id)) = &self.open
            && metadata(&self.path).map_or(true, |found| id_of(&found) != *id)
        {
            self.open = None;
        }
        let (file, id) = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(open(&self.path)?),
        };
        if self.torn_in.take_if(|torn_in| torn_in != id).is_some() {
            // The rest of that line would be a broken one here: this file gets all of it.
            self.torn = 0;
        }
        faults::hit("audit.write")?;
        while self.torn < lines.len() {
            let written = match file.write(&lines[self.torn..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let end = self.torn + written;
            let whole = lines[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
            lines.drain(..whole);
            self.torn = end - whole;
            self.torn_in = (self.torn > 0).then_some(*id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn opened() -> (tempfile::TempDir, PathBuf, AuditFile) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let file = AuditFile::open(&path).unwrap();
        (dir, path, file)
    }

    #[test]
    fn the_file_is_made_for_its_owner_alone_and_what_was_in_it_stays() {
        let (_dir, path, mut file) = opened();
        assert_eq!(metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        file.write(&mut b"one\n".to_vec()).unwrap();
        let mut again = AuditFile::open(&path).unwrap();
        again.write(&mut b"two\n".to_vec()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn a_file_that_was_moved_away_is_left_and_a_new_one_is_made() {
        let (dir, path, mut file) = opened();
        file.write(&mut b"one\n".to_vec()).unwrap();
        let moved = dir.path().join("audit.log.1");
        std::fs::rename(&path, &moved).unwrap();
        file.write(&mut b"two\n".to_vec()).unwrap();
        assert_eq!(std::fs::read(&moved).unwrap(), b"one\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"two\n");
        assert_eq!(metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_cannot_be_opened_keeps_the_lines_and_takes_them_later() {
        let (dir, path, mut file) = opened();
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let mut lines = b"one\ntwo\n".to_vec();
        assert!(file.write(&mut lines).is_err());
        assert_eq!(lines, b"one\ntwo\n");
        std::fs::remove_dir(&path).unwrap();
        file.write(&mut lines).unwrap();
        assert_eq!((lines.len(), std::fs::read(&path).unwrap()), (0, b"one\ntwo\n".to_vec()));
        drop(dir);
    }

    #[test]
    fn a_line_that_was_cut_goes_on_where_it_was_cut_and_in_another_file_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut file = AuditFile::open(&path).unwrap();
        // A pipe takes a part of what is more than it holds.
        let line = |n: u8| [vec![b'a' + n; 50_000], vec![b'\n']].concat();
        let mut lines = [line(0), line(1), line(2)].concat();
        assert_eq!(file.write(&mut lines).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(lines.starts_with(b"b") && file.torn > 0, "the first line went, and a part of the second");
        let torn = file.torn;
        let mut seen = vec![0; 50_001 + torn];
        io::Read::read_exact(&mut &reader, &mut seen).unwrap();
        assert!(seen == [&line(0)[..], &line(1)[..torn]].concat());
        assert_eq!(file.write(&mut lines).unwrap_err().kind(), ErrorKind::WouldBlock);
        let mut rest = vec![0; 50_001 - torn];
        io::Read::read_exact(&mut &reader, &mut rest).unwrap();
        assert!(rest == line(1)[torn..], "the same line, from where it was cut");
        // Another file has all of the line that was cut in this one.
        std::fs::remove_file(&path).unwrap();
        file.write(&mut lines).unwrap();
        assert!(std::fs::read(&path).unwrap() == line(2));
    }

    #[test]
    fn a_check_makes_nothing_and_names_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        check(&path).unwrap();
        assert!(!path.exists());
        assert_eq!(check(dir.path()).unwrap_err().kind(), ErrorKind::IsADirectory);
        assert_eq!(check(&dir.path().join("none/audit.log")).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
