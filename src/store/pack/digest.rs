//! Digests of whole archives: computed behind the serving, remembered for the next mount.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Advice, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::file::{PackFile, Stamp};
use crate::store::{StoreError, Window};

/// Bytes hashed at a time.
const STEP: usize = 1 << 20;

/// The largest book that is read. An entry has some 200 bytes.
const MAX_BOOK: u64 = 4 << 20;

/// The BLAKE3 of a whole file. `go_on` is told the bytes done after each mebibyte, and ends the work by returning false: `None`.
///
/// Errors: [`StoreError::Changed`] where the file was written to meanwhile.
pub fn digest(file: &PackFile, go_on: &dyn Fn(u64) -> bool) -> Result<Option<blake3::Hash>, StoreError> {
    let mut hasher = blake3::Hasher::new();
    let mut buf = vec![0; STEP];
    let mut at = 0;
    while at < file.len() {
        // The step is a mebibyte at most, so it fits.
        let step = (file.len() - at).min(STEP as u64) as usize;
        file.read_at(&mut buf[..step], at)?;
        hasher.update(&buf[..step]);
        at += step as u64;
        if !go_on(at) {
            return Ok(None);
        }
    }
    file.check()?;
    Ok(Some(hasher.finalize()))
}

/// Open the file of a mounted pack once more, told to the kernel as read once: hashing an archive larger than memory must not
/// push the pages out that tiles are served from. Where that isn't to be had, the descriptor at hand must do.
pub fn for_hashing(path: &Path, mounted: &PackFile) -> Option<PackFile> {
    let file = PackFile::open(path).ok().filter(|file| file.stamp() == mounted.stamp())?;
    let _ = rustix::fs::fadvise(file.file(), 0, None, Advice::NoReuse);
    let _ = rustix::fs::fadvise(file.file(), 0, None, Advice::Sequential);
    Some(file)
}

/// What is remembered of files across mounts: a digest for each path, valid for one inode, length and modification time.
///
/// The book is a JSON file. One that is missing or unreadable is an empty one: everything in it can be computed again.
pub struct Book {
    path: Option<PathBuf>,
    entries: Mutex<HashMap<Vec<u8>, Entry>>,
}

#[derive(Clone, Copy, PartialEq)]
struct Entry {
    stamp: (u64, u64, i64, u32),
    digest: blake3::Hash,
}

#[derive(Serialize, Deserialize)]
struct Line {
    /// The path's bytes in hex: paths needn't be UTF-8.
    path: String,
    inode: u64,
    size: u64,
    mtime_s: i64,
    mtime_ns: u32,
    b3: String,
}

#[derive(Serialize, Deserialize)]
struct Lines {
    packs: Vec<Line>,
}

impl Book {
    /// Open the book at `path`; without a path nothing is remembered beyond the process.
    pub fn open(path: Option<PathBuf>) -> Self {
        let entries = path.as_deref().map(load).unwrap_or_default();
        Self { path, entries: Mutex::new(entries) }
    }

    /// The digest of the file at `path`, if it was computed when the file was what it is now.
    pub fn get(&self, path: &Path, stamp: &Stamp) -> Option<blake3::Hash> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(path.as_os_str().as_bytes()).filter(|entry| entry.stamp == key(stamp)).map(|entry| entry.digest)
    }

    /// Remember a digest, in place of any other of the same path, and write the book: whole or not at all.
    pub fn insert(&self, path: &Path, stamp: &Stamp, digest: blake3::Hash) -> io::Result<()> {
        let lines = {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            // What another process wrote meanwhile, in an upgrade, is newer than what was read at the start. That of two that write at the
            // same moment one is lost costs a second hashing.
            if let Some(Ok(theirs)) = self.path.as_deref().map(read) {
                entries.extend(theirs.packs.into_iter().filter_map(entry));
            }
            entries.insert(path.as_os_str().as_bytes().to_vec(), Entry { stamp: key(stamp), digest });
            Lines { packs: entries.iter().map(|(path, entry)| line(path, entry)).collect() }
        };
        match &self.path {
            Some(path) => save(path, &serde_json::to_vec_pretty(&lines)?),
            None => Ok(()),
        }
    }
}

fn key(stamp: &Stamp) -> (u64, u64, i64, u32) {
    (stamp.ino, stamp.size, stamp.mtime_s, stamp.mtime_ns)
}

fn line(path: &[u8], entry: &Entry) -> Line {
    let (inode, size, mtime_s, mtime_ns) = entry.stamp;
    let path = path.iter().map(|byte| format!("{byte:02x}")).collect();
    Line { path, inode, size, mtime_s, mtime_ns, b3: entry.digest.to_hex().to_string() }
}

/// What a line says; `None` where that is nonsense.
fn entry(line: Line) -> Option<(Vec<u8>, Entry)> {
    let stamp = (line.inode, line.size, line.mtime_s, line.mtime_ns);
    Some((unhex(&line.path)?, Entry { stamp, digest: blake3::Hash::from_hex(&line.b3).ok()? }))
}

fn unhex(hex: &str) -> Option<Vec<u8>> {
    let bytes = hex.as_bytes().chunks(2);
    bytes.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn load(path: &Path) -> HashMap<Vec<u8>, Entry> {
    match read(path) {
        Ok(lines) => lines.packs.into_iter().filter_map(entry).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => HashMap::new(),
        Err(error) => {
            log::warn!("digests of packs are computed anew, {} is unreadable: {error}", path.display());
            HashMap::new()
        }
    }
}

fn read(path: &Path) -> io::Result<Lines> {
    // The directory is ours, what stands in it may not be: a link is not followed, and a FIFO opened so doesn't wait for a writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > MAX_BOOK {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file of at most 4 MiB"));
    }
    let mut json = Vec::new();
    file.take(MAX_BOOK).read_to_end(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

/// Replace the file at `path` in one step. The name beside it holds the process's id: an upgrade has two processes for a while.
fn save(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    // Left over by a process of the same id, or put there: whatever it is, it is neither followed nor opened.
    let _ = std::fs::remove_file(&beside);
    let result = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&beside, path));
    if result.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    result
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    const STAMP: Stamp = Stamp { dev: 1, ino: 2, size: 3, mtime_s: 4, mtime_ns: 5 };

    #[test]
    fn a_digest_is_remembered_for_that_very_file_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let book = dir.path().join("packs.json");
        let (pack, hash) = (Path::new("/maps/planet.pmtiles"), blake3::hash(b"planet"));
        Book::open(Some(book.clone())).insert(pack, &STAMP, hash).unwrap();
        let again = Book::open(Some(book));
        assert_eq!(again.get(pack, &STAMP), Some(hash));
        assert_eq!(again.get(Path::new("/maps/other.pmtiles"), &STAMP), None);
        for other in [
            Stamp { ino: 9, ..STAMP },
            Stamp { size: 9, ..STAMP },
            Stamp { mtime_s: 9, ..STAMP },
            Stamp { mtime_ns: 9, ..STAMP },
        ] {
            assert_eq!(again.get(pack, &other), None);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside the book");
    }

    #[test]
    fn a_corrupt_book_is_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("packs.json");
        for bad in ["", "{", "[]", r#"{"packs":[{"path":"zz"}]}"#, "\0\0\0"] {
            std::fs::write(&path, bad).unwrap();
            let book = Book::open(Some(path.clone()));
            assert_eq!(book.get(Path::new("/x"), &STAMP), None);
            book.insert(Path::new("/x"), &STAMP, blake3::hash(b"x")).unwrap();
            assert_eq!(Book::open(Some(path.clone())).get(Path::new("/x"), &STAMP), Some(blake3::hash(b"x")));
        }
    }

    #[test]
    fn what_is_no_regular_file_of_a_few_mib_is_no_book_and_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("packs.json");
        let beside = dir.path().join(format!("packs.json.{}.new", std::process::id()));
        let good = dir.path().join("good.json");
        Book::open(Some(good.clone())).insert(Path::new("/x"), &STAMP, blake3::hash(b"x")).unwrap();
        let fifo = |path: &Path| {
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        };
        let put: [&dyn Fn(); 4] = [
            &|| fifo(&path),
            &|| std::os::unix::fs::symlink(&good, &path).unwrap(),
            &|| std::fs::create_dir(&path).unwrap(),
            // Sound, but too long.
            &|| std::fs::write(&path, [std::fs::read(&good).unwrap(), vec![b' '; 4 << 20]].concat()).unwrap(),
        ];
        for (i, put) in put.iter().enumerate() {
            put();
            fifo(&beside);
            let (told, hears) = std::sync::mpsc::channel();
            let opened = path.clone();
            // On a thread of its own: one that waits for ever must fail the test, not hang it.
            std::thread::spawn(move || {
                let book = Book::open(Some(opened));
                let known = book.get(Path::new("/x"), &STAMP);
                let _ = told.send((known, book.insert(Path::new("/x"), &STAMP, blake3::hash(b"x")).is_ok()));
            });
            let (known, written) = hears.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
            // A directory stays where it is; everything else is replaced by a book.
            assert_eq!((known, written), (None, i != 2), "{i}");
            let _ = std::fs::remove_dir(&path).or_else(|_| std::fs::remove_file(&path));
        }
    }

    #[test]
    fn two_processes_keep_each_others_digests() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("packs.json");
        let (one, two) = (Book::open(Some(path.clone())), Book::open(Some(path.clone())));
        one.insert(Path::new("/a"), &STAMP, blake3::hash(b"a")).unwrap();
        two.insert(Path::new("/b"), &STAMP, blake3::hash(b"b")).unwrap();
        one.insert(Path::new("/c"), &STAMP, blake3::hash(b"c")).unwrap();
        let both = Book::open(Some(path));
        for name in ["a", "b", "c"] {
            let known = both.get(&Path::new("/").join(name), &STAMP);
            assert_eq!(known, Some(blake3::hash(name.as_bytes())), "{name}");
        }
    }

    #[test]
    fn hashing_ends_when_told_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pack");
        std::fs::write(&path, vec![1; 3 << 20]).unwrap();
        let file = PackFile::open(&path).unwrap();
        assert_eq!(digest(&file, &|done| done < 2 << 20).unwrap(), None);
        assert_eq!(digest(&file, &|_| true).unwrap(), Some(blake3::hash(&vec![1; 3 << 20])));
    }
}
