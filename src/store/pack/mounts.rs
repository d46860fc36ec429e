//! The packs that a server serves: found by name without a lock, watched for changes, replaced while requests go on.
//!
//! A pack is replaced by renaming a new file over it: requests in flight end on the old file, which stays open. A file that is
//! written to in place is taken out of service at once, and taken up again when it has come to rest and verifies.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::digest::{Book, digest, for_hashing};
use super::file::Stamp;
use super::mbtiles::connect::wal_path;
use super::{Archive, Pack, PackError, Tile};
use crate::conf::{PackConf, Verify};
use crate::observe::bus::{self, Event};
use crate::rules::tile::TileId;
use crate::rules::tilejson::Facts;
use crate::store::{Object, StoreError};

/// All mounts, by the name in URLs.
pub type Named = HashMap<Box<str>, Arc<Mount>>;

/// One pack in service, or waiting to be.
pub struct Mount {
    conf: PackConf,
    /// `None` where the file could not be opened yet.
    pack: Option<Pack>,
    serving: AtomicBool,
    /// Set once another mount took its place: what happens to its file then is nobody's news.
    retired: AtomicBool,
}

impl Mount {
    /// Whether the pack is whole: one atomic load.
    pub fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Acquire)
    }

    /// Whether what was read from it still stands for its name: two atomic loads.
    pub fn is_current(&self) -> bool {
        self.is_serving() && !self.retired.load(Ordering::Acquire)
    }

    /// How the pack was configured.
    pub fn conf(&self) -> &PackConf {
        &self.conf
    }

    /// The pack; `None` while it is out of service.
    pub fn pack(&self) -> Option<&Pack> {
        self.pack.as_ref().filter(|_| self.is_serving())
    }

    /// What the pack says of itself; `None` while it is out of service.
    pub fn facts(&self) -> Option<&Facts> {
        self.pack().map(Pack::facts)
    }

    /// As [`Pack::tile`]; [`StoreError::Changed`] while out of service. A change that a read meets takes the pack out of
    /// service without waiting for the next look.
    pub fn tile(&self, address: TileId) -> Result<Tile, StoreError> {
        let result = self.pack().ok_or(StoreError::Changed)?.tile(address);
        if let Err(StoreError::Changed) = &result {
            self.lose("changed in place");
        }
        result
    }

    /// As [`Pack::archive`]; [`StoreError::Changed`] while out of service.
    pub fn archive(&self) -> Result<Option<Object>, StoreError> {
        self.pack().map(Pack::archive).ok_or(StoreError::Changed)
    }

    fn new(conf: &PackConf, pack: Option<Pack>) -> Self {
        let serving = AtomicBool::new(pack.is_some());
        Self { conf: conf.clone(), pack, serving, retired: AtomicBool::new(false) }
    }

    fn lose(&self, cause: &str) {
        if self.serving.swap(false, Ordering::AcqRel) && !self.retired.load(Ordering::Acquire) {
            let cause = format!("{} {cause}", self.conf.path.display());
            bus::publish(Event::PackLost { pack: self.conf.name.clone(), cause });
        }
    }
}

/// All packs of a server.
pub struct Mounts {
    mounts: ArcSwap<Named>,
    watches: Mutex<HashMap<Box<str>, Watch>>,
    book: Book,
}

/// A file and the write-ahead log beside it: what a mount is opened from.
type Source = (Stamp, Option<Stamp>);

/// What the last looks at a path saw.
#[derive(Default)]
struct Watch {
    /// Something new, seen once: opened when the next look sees the same.
    candidate: Option<Source>,
    /// Something that did not verify: not tried again until it changes.
    rejected: Option<Source>,
    /// What the log was told about already, so that it isn't told twice a second.
    told: Option<String>,
}

impl Mounts {
    /// Open all packs. `digests` is where the digests of archives are remembered; without it no tag is known at mount.
    ///
    /// Errors: the first pack that can't be opened, unless its `verify` is [`Verify::None`]: that one begins out of service,
    /// is logged, and is taken up once its file can be opened. Two packs of one name are an error.
    pub fn open(confs: &[PackConf], digests: Option<PathBuf>) -> Result<Self, PackError> {
        let book = Book::open(digests);
        let mut mounts = Named::new();
        for conf in confs {
            let mount = match Pack::open(conf) {
                Ok(pack) => Self::mount(&book, conf, pack, None),
                Err(error) if conf.verify == Verify::None => {
                    log::warn!(event = "pack_rejected", pack = conf.name.as_str(), cause = error.to_string().as_str(); "begins out of service");
                    Mount::new(conf, None)
                }
                Err(error) => return Err(error),
            };
            if mounts.insert(conf.name.as_str().into(), Arc::new(mount)).is_some() {
                return Err(PackError::Duplicate { name: conf.name.clone() });
            }
        }
        Ok(Self { mounts: ArcSwap::from_pointee(mounts), watches: Mutex::default(), book })
    }

    /// The mount of a name, without a lock. It stays what it is for as long as it is held, also when it is replaced meanwhile.
    pub fn get(&self, name: &str) -> Option<Arc<Mount>> {
        self.mounts.load().get(name).cloned()
    }

    /// All mounts as they are now.
    pub fn all(&self) -> Arc<Named> {
        self.mounts.load_full()
    }

    /// The names of the packs that are out of service, in order.
    pub fn lost(&self) -> Vec<String> {
        let mounts = self.mounts.load();
        let mut lost: Vec<_> =
            mounts.values().filter(|mount| !mount.is_serving()).map(|mount| mount.conf.name.clone()).collect();
        lost.sort_unstable();
        lost
    }

    /// Look at every file, and take up what has changed. Call it about twice a second, from a thread that may block: opening
    /// a replacement takes as long as its verification.
    pub fn poll(&self) {
        // One look at a time: two at once would both open the same replacement.
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let mounts = self.all();
        let mut ripe = Vec::new();
        // Every pack is looked at before any is opened: a long verification must not hide that another pack is gone.
        for (name, mount) in mounts.iter() {
            let watch = watches.entry(name.clone()).or_default();
            if let Some(source) = look(mount, watch) {
                ripe.push((name, mount, source));
            }
        }
        for (name, mount, source) in ripe {
            let watch = watches.entry(name.clone()).or_default();
            self.take_up(mount, source, watch);
        }
    }

    /// Compute the digests that aren't known yet, one archive after the other, for the tags of the next mount; those of now
    /// stay. Meant for a thread of its own, whose priority it lowers. Ends early once `cancel` is true.
    pub fn digest_behind(&self, cancel: &AtomicBool) {
        // Serving comes first. Where the priority can't be lowered, it stays.
        let _ = rustix::process::setpriority_process(None, 19);
        for mount in self.all().values() {
            let Some(Archive::PmTiles(archive)) = mount.pack().map(Pack::inner) else { continue };
            let (path, mounted) = (&mount.conf.path, archive.file());
            if self.book.get(path, mounted.stamp()).is_some() {
                continue;
            }
            let own = for_hashing(path, mounted);
            match digest(own.as_ref().unwrap_or(mounted), &|_| !cancel.load(Ordering::Relaxed)) {
                Ok(Some(hash)) => {
                    if let Err(error) = self.book.insert(path, mounted.stamp(), hash) {
                        log::warn!(event = "pack_digest", pack = mount.conf.name.as_str(), cause = error.to_string().as_str(); "not remembered");
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    log::warn!(event = "pack_digest", pack = mount.conf.name.as_str(), cause = error.to_string().as_str(); "")
                }
            }
        }
    }

    /// Put an opened pack into service, in place of `old`.
    fn mount(book: &Book, conf: &PackConf, pack: Pack, old: Option<&Pack>) -> Mount {
        let pack = match (old, book.get(&conf.path, pack.stamp())) {
            // Opened anew without having changed, it keeps its tag: clients that have half of it may go on.
            (Some(old), _) if old.stamp() == pack.stamp() => pack.tagged(old.etag.clone(), old.digest),
            (_, Some(digest)) => pack.tagged(super::tile::etag(&digest), Some(digest)),
            // Of the same size and second as its predecessor: it must have another tag all the same.
            (Some(old), None) if old.etag() == pack.etag() => {
                let etag = pack.stamp().fine_etag();
                pack.tagged(etag, None)
            }
            (_, None) => pack,
        };
        bus::publish(Event::PackMounted { pack: conf.name.clone(), etag: pack.etag().to_owned() });
        Mount::new(conf, Some(pack))
    }

    fn take_up(&self, mount: &Mount, source: Source, watch: &mut Watch) {
        watch.candidate = None;
        match Pack::open(&mount.conf) {
            // Not what was seen: there is something newer yet, which the next looks will judge.
            Ok(pack) if *pack.stamp() != source.0 => {}
            Ok(pack) => {
                let new = Arc::new(Self::mount(&self.book, &mount.conf, pack, mount.pack.as_ref()));
                let mut mounts = Named::clone(&self.all());
                mounts.insert(mount.conf.name.as_str().into(), new);
                self.mounts.store(Arc::new(mounts));
                mount.retired.store(true, Ordering::Release);
                *watch = Watch::default();
            }
            Err(error) => {
                // The disk or the process's limits may recover; a bad file stays bad until it changes.
                let passing =
                    matches!(&error, PackError::Unreadable { source: StoreError::Io(_) | StoreError::Changed, .. });
                watch.rejected = (!passing).then_some(source);
                let state = if mount.is_serving() { "the mounted one goes on being served" } else { "out of service" };
                tell(watch, mount, format!("what stands at its path is not taken up: {error}; {state}"));
            }
        }
    }
}

/// One look at a mount's file: whether it is still the one that was opened, and what should be opened instead.
fn look(mount: &Mount, watch: &mut Watch) -> Option<Source> {
    if let Some(Err(_)) = mount.pack().map(Pack::check) {
        mount.lose("changed in place");
    }
    let stamp = match Stamp::of(&mount.conf.path) {
        Ok(stamp) => stamp,
        Err(error) => {
            watch.candidate = None;
            let state = if mount.is_serving() { "served from the open file" } else { "out of service" };
            tell(watch, mount, format!("nothing can be opened at its path: {error}; {state}"));
            return None;
        }
    };
    let log = mount.conf.path.canonicalize().ok().and_then(|path| Stamp::of(&wal_path(&path)).ok());
    if !is_news(mount, &stamp) {
        *watch = Watch::default();
        return None;
    }
    let source = (stamp, log);
    if watch.rejected == Some(source) {
        return None;
    }
    // Seen alike twice, half a second apart: no one is in the middle of writing it.
    match watch.candidate.replace(source) == Some(source) {
        true => Some(source),
        false => None,
    }
}

/// Whether what stands at the path is something else than what is being served.
fn is_news(mount: &Mount, stamp: &Stamp) -> bool {
    let Some(pack) = mount.pack() else { return true };
    let log_changed = match pack.inner() {
        // What is committed to the log is read from there, but facts may have changed; and a database opened without a log
        // doesn't look for one. Reads stay consistent meanwhile, so the pack isn't taken out of service.
        Archive::MbTiles(archive) => archive.changed_log().is_some(),
        Archive::PmTiles(_) => false,
    };
    log_changed || !pack.stamp().same_file(stamp)
}

/// Log a condition that lasts once.
fn tell(watch: &mut Watch, mount: &Mount, what: String) {
    if watch.told.as_ref() != Some(&what) {
        log::warn!(event = "pack_rejected", pack = mount.conf.name.as_str(), cause = what.as_str(); "");
        watch.told = Some(what);
    }
}
