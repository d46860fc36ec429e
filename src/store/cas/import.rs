//! Import: the files of a directory become pinned objects.
//!
//! One thread walks, several read, hash, write and sync (a disk takes many syncs at once for the price of one), and the
//! caller's thread commits in batches. Only a file that is unchanged from its first byte to its last is imported.

use std::borrow::Cow;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::fs::{CWD, Mode, OFlags};

use super::commit::{Outcome, Put, same};
use super::large::hash_file;
use super::manifest::Manifest;
use super::segments::SEGMENT;
use super::types::{ImportReport, Meta, ObjectInfo, Refusal, Stored, from_seconds};
use super::walk::{Source, Step, walk};
use super::write::{BlobWriter, Staged};
use super::{Cas, CasError, Inner, index, key};
use crate::rules::encoding::Coding;
use crate::rules::media_type;
use crate::store::StoreError;

/// Objects of one transaction. Each may hold a file descriptor until it is committed.
const BATCH: usize = 128;

/// Refusals that a report names.
const MAX_REFUSALS: usize = 100;

/// How an import works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportOptions {
    /// Threads that read, write and sync: 1–64. Syncs wait together, so more threads than cores pay.
    pub writers: usize,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { writers: 16 }
    }
}

/// What a writer made of a file.
enum Made {
    Ready(Source, Put),
    Unchanged(u64),
    Refused(Refusal),
    Failed(StoreError),
}

/// What one file came to.
enum OneFile {
    Ready(Box<Put>),
    Unchanged(u64),
    Refused(Cow<'static, str>),
}

impl Cas {
    /// Import the files below `dir` as pinned objects at `prefix/<relative path>`. They are durable when this returns. What can't
    /// be imported (symlinks, special files, names that no client can ask for) is told in the report, and the rest is imported.
    /// `progress` is called after each batch.
    pub fn import(
        &self,
        dir: &Path,
        prefix: &str,
        options: &ImportOptions,
        progress: &mut dyn FnMut(&ImportReport),
    ) -> Result<ImportReport, CasError> {
        let prefix = key::prefix(prefix).map_err(super::commit::refused)?;
        let meta = dir.metadata().map_err(|error| CasError::io("cannot import", dir, error))?;
        if !meta.is_dir() {
            return Err(CasError::Refused(format!("{}: not a directory", dir.display()).into()));
        }
        let own = match &self.inner.dir {
            Some(own) => own.path("").metadata().ok().map(|meta| (meta.dev(), meta.ino())),
            None => None,
        };
        if own == Some((meta.dev(), meta.ino())) {
            return Err(CasError::Refused("the directory is the CAS itself".into()));
        }
        let mut import = Import {
            inner: &self.inner,
            manifest: Manifest::new(self.inner.dir.clone()),
            report: ImportReport::default(),
        };
        self.inner.index.leave(import.run(dir, prefix, own, options.writers.clamp(1, 64), progress))?;
        Ok(import.report)
    }
}

struct Import<'a> {
    inner: &'a Arc<Inner>,
    manifest: Manifest,
    report: ImportReport,
}

impl Import<'_> {
    fn run(
        &mut self,
        dir: &Path,
        prefix: &str,
        own: Option<(u64, u64)>,
        writers: usize,
        progress: &mut dyn FnMut(&ImportReport),
    ) -> Result<(), StoreError> {
        let inner = self.inner;
        let (found, found_bytes) = (&AtomicU64::new(0), &AtomicU64::new(0));
        thread::scope(|scope| {
            let (sources, queue) = sync_channel::<Source>(256);
            let (made, results) = sync_channel::<Made>(writers * 2);
            // The writers own the queue: when the last of them stops, the walk stops too.
            let queue = Arc::new(Mutex::new(queue));
            for _ in 0..writers {
                let (queue, made) = (queue.clone(), made.clone());
                scope.spawn(move || work(inner, &queue, &made));
            }
            drop(queue);
            scope.spawn(move || {
                walk(dir, prefix, own, &mut |step| match step {
                    Step::File(source, len) => {
                        found.fetch_add(1, Ordering::Relaxed);
                        found_bytes.fetch_add(len, Ordering::Relaxed);
                        sources.send(source).is_ok()
                    }
                    Step::Refused(path, why) => made.send(Made::Refused(Refusal { path, why })).is_ok(),
                });
            });
            self.collect(results, &mut |report| {
                report.found = found.load(Ordering::Relaxed);
                report.found_bytes = found_bytes.load(Ordering::Relaxed);
                progress(report);
            })
        })
    }

    /// Commit what the writers make, until they are done. An error drops the receiver, which stops everyone.
    fn collect(&mut self, results: Receiver<Made>, tell: &mut dyn FnMut(&mut ImportReport)) -> Result<(), StoreError> {
        while let Ok(first) = results.recv() {
            let mut batch = Vec::new();
            // What has come while the last batch was committed is the next one.
            for made in std::iter::once(first).chain(results.try_iter()).take(BATCH) {
                match made {
                    Made::Ready(source, put) => batch.push((source, put)),
                    Made::Unchanged(bytes) => self.done(Stored::Unchanged, false, bytes),
                    Made::Refused(refusal) => self.refuse(refusal),
                    Made::Failed(error) => return Err(error),
                }
            }
            self.commit(batch)?;
            tell(&mut self.report);
        }
        Ok(())
    }

    fn commit(&mut self, batch: Vec<(Source, Put)>) -> Result<(), StoreError> {
        let (mut sources, mut puts): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        // A blob that was found in its place can be evicted before it is named; once it is written again, it has its own file.
        for _ in 0..4 {
            if puts.is_empty() {
                return Ok(());
            }
            let outcomes = self.inner.commit(&puts, &mut self.manifest)?;
            let (mut again, mut made) = (Vec::new(), Vec::new());
            for ((source, put), outcome) in sources.into_iter().zip(puts).zip(outcomes) {
                match outcome {
                    Outcome::Done(stored, new) => self.done(stored, new, put.staged.len()),
                    Outcome::Gone => match one(self.inner, &source)? {
                        OneFile::Ready(put) => {
                            again.push(source);
                            made.push(*put);
                        }
                        OneFile::Unchanged(bytes) => self.done(Stored::Unchanged, false, bytes),
                        OneFile::Refused(why) => self.refuse(Refusal { path: source.file, why }),
                    },
                }
            }
            (sources, puts) = (again, made);
        }
        Err(io::Error::other("blobs vanish as fast as they are imported: max_bytes is too small").into())
    }

    fn done(&mut self, stored: Stored, new: bool, bytes: u64) {
        let report = &mut self.report;
        report.files += 1;
        report.bytes += bytes;
        report.blobs_written += u64::from(new);
        match stored {
            Stored::Added => report.added += 1,
            Stored::Replaced => report.replaced += 1,
            Stored::Unchanged | Stored::Kept => report.unchanged += 1,
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.report.refused += 1;
        if self.report.refusals.len() < MAX_REFUSALS {
            self.report.refusals.push(refusal);
        }
    }
}

/// One writer: take a file, make a staged blob of it, hand it on.
fn work(inner: &Arc<Inner>, queue: &Mutex<Receiver<Source>>, made: &SyncSender<Made>) {
    loop {
        let Ok(source) = queue.lock().unwrap_or_else(PoisonError::into_inner).recv() else { return };
        let result = match one(inner, &source) {
            Ok(OneFile::Ready(put)) => Made::Ready(source, *put),
            Ok(OneFile::Unchanged(bytes)) => Made::Unchanged(bytes),
            Ok(OneFile::Refused(why)) => Made::Refused(Refusal { path: source.file, why }),
            Err(error) => Made::Failed(error),
        };
        if made.send(result).is_err() {
            return;
        }
    }
}

/// Read, hash and stage one file. An error is the store's; what is wrong with the file is a refusal.
fn one(inner: &Arc<Inner>, source: &Source) -> Result<OneFile, StoreError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(CWD, &source.file, flags, Mode::empty()).map(File::from);
    let (file, before) = match opened.map_err(io::Error::from).and_then(|file| Ok((file.metadata()?, file))) {
        Ok((meta, file)) if meta.is_file() => (file, meta),
        Ok(_) => return Ok(OneFile::Refused("not a regular file".into())),
        Err(error) => return Ok(OneFile::Refused(error.to_string().into())),
    };
    let row = inner.index.read(|connection| index::get(connection, &source.key))?;
    let staged = match stage(inner, &file, &before, row.as_ref())? {
        Ok(staged) => staged,
        Err(error) => return Ok(OneFile::Refused(error.to_string().into())),
    };
    match file.metadata() {
        Ok(after) if stamp(&after) == stamp(&before) && staged.len() == before.len() => {}
        _ => return Ok(OneFile::Refused("it changed while it was read".into())),
    }
    let meta = Meta {
        pinned: true,
        content_type: media_type::of(&source.key),
        coding: Coding::Identity,
        last_modified: Some(from_seconds(before.mtime())),
        extra: None,
    };
    if let (Some(row), None) = (&row, &staged.tmp) {
        let now = ObjectInfo {
            hash: staged.hash,
            size: staged.len,
            pinned: meta.pinned,
            content_type: meta.content_type.to_string(),
            coding: meta.coding,
            last_modified: meta.last_modified,
            extra: None,
            ..row.clone()
        };
        if same(row, &now) {
            return Ok(OneFile::Unchanged(staged.len));
        }
    }
    Ok(OneFile::Ready(Box::new(Put { path: source.key.clone(), meta, staged })))
}

/// The numbers that move when a file is written to.
fn stamp(meta: &Metadata) -> (u64, i64, i64, i64, i64) {
    (meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec())
}

/// A staged blob of the file's bytes; the inner error is the file's own.
fn stage(
    inner: &Arc<Inner>,
    file: &File,
    meta: &Metadata,
    row: Option<&ObjectInfo>,
) -> Result<io::Result<Staged>, StoreError> {
    let len = meta.len();
    if len <= SEGMENT {
        let mut bytes = Vec::with_capacity(len as usize + 1);
        if let Err(error) = file.take(len + 1).read_to_end(&mut bytes) {
            return Ok(Err(error));
        }
        if let Some(staged) = inner.present(&blake3::hash(&bytes), true)? {
            return Ok(Ok(staged));
        }
        let mut writer = BlobWriter::new(inner)?;
        writer.write(&bytes)?;
        return Ok(Ok(writer.finish(true)?));
    }
    // A large file that the path may hold already is hashed before anything is written.
    if row.is_some_and(|row| row.size == len) {
        match hash_file(file, len) {
            Ok((hash, _)) => {
                if let Some(staged) = inner.present(&hash, true)? {
                    return Ok(Ok(staged));
                }
            }
            Err(error) => return Ok(Err(error)),
        }
    }
    copy(inner, file, len)
}

/// Copy a large file into a new blob; one byte more than `len` at the most, which the caller sees as a change.
fn copy(inner: &Arc<Inner>, file: &File, len: u64) -> Result<io::Result<Staged>, StoreError> {
    use std::os::unix::fs::FileExt;
    let mut writer = BlobWriter::new(inner)?;
    let mut buf = vec![0; SEGMENT as usize];
    while writer.len() <= len {
        let take = (len + 1 - writer.len()).min(SEGMENT) as usize;
        match file.read_at(&mut buf[..take], writer.len()) {
            Ok(0) => break,
            Ok(read) => writer.write(&buf[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Err(error)),
        }
    }
    let staged = writer.finish(true)?;
    // The blob may be here by another name: then nothing was written.
    Ok(Ok(inner.present(&staged.hash, true)?.unwrap_or(staged)))
}
