//! The packs that a server serves: found by name without a lock, watched for changes, replaced while requests go on.
//!
//! A pack is replaced by renaming a new file over it: requests in flight end on the old file, which stays open. A file that is
//! written to in place is taken out of service at once, and taken up again when it has come to rest and verifies. Replacements are
//! opened on threads of their own: one that takes long to verify delays no other.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;

use super::digest::{Book, digest, for_hashing};
use super::file::Stamp;
pub use super::mount::Mount;
use super::watch::{Source, Watch, look, tell};
use super::{Archive, Pack, PackError};
use crate::conf::{PackConf, Verify};
use crate::observe::bus::{self, Event};
use crate::store::StoreError;

/// Replacements that are opened at the same time.
const MAX_OPENINGS: usize = 4;

/// All mounts, by the name in URLs.
pub type Named = HashMap<Box<str>, Arc<Mount>>;

/// All packs of one conf. What is unchanged from one conf to the next is shared by both, and so is what watches it.
pub struct Mounts {
    set: Arc<Set>,
    shared: Arc<Shared>,
}

/// The mounts of one conf: replaced one by one as their files are.
type Set = ArcSwap<Named>;

/// What the threads that open replacements need as well.
struct Shared {
    looks: Mutex<Looks>,
    book: Book,
}

#[derive(Default)]
struct Looks {
    watches: HashMap<Box<str>, Watched>,
    /// The packs whose replacement is being opened.
    opening: HashSet<Box<str>>,
    /// Every set that somebody serves from, or may.
    sets: Vec<Weak<Set>>,
}

/// What was seen of the file of one mount.
#[derive(Default)]
struct Watched {
    of: Weak<Mount>,
    watch: Watch,
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
            if mounts.insert(conf.name.as_str().into(), open(&book, conf, None)?).is_some() {
                return Err(PackError::Duplicate { name: conf.name.clone() });
            }
        }
        mounts.values().for_each(|mount| told(mount));
        let set = Arc::new(Set::from_pointee(mounts));
        let looks = Looks { sets: vec![Arc::downgrade(&set)], ..Looks::default() };
        Ok(Self { set, shared: Arc::new(Shared { looks: Mutex::new(looks), book }) })
    }

    /// The packs of another conf: those whose conf is the same as here are taken over as they are, open, with their tags; the others are
    /// opened. These here stay what they are. Errors as [`Mounts::open`].
    pub fn next(&self, confs: &[PackConf]) -> Result<Self, PackError> {
        let now = self.set.load_full();
        let kept = |now: &Named, conf: &PackConf| now.get(&*conf.name).filter(|mount| mount.conf() == conf).cloned();
        let (mut mounts, mut taken_over) = (Named::new(), Vec::new());
        for conf in confs {
            let mount = match kept(&now, conf) {
                Some(mount) => {
                    taken_over.push(conf);
                    mount
                }
                None => open(&self.shared.book, conf, now.get(&*conf.name).and_then(|mount| mount.opened()))?,
            };
            if mounts.insert(conf.name.as_str().into(), mount).is_some() {
                return Err(PackError::Duplicate { name: conf.name.clone() });
            }
        }
        let mut looks = self.shared.lock();
        // Opening took its time: what was replaced here meanwhile is what both have. From now on replacements reach both.
        let now = self.set.load();
        mounts.extend(taken_over.into_iter().filter_map(|conf| Some((conf.name.as_str().into(), kept(&now, conf)?))));
        let set = Arc::new(Set::from_pointee(mounts));
        looks.sets.retain(|set| set.strong_count() > 0);
        looks.sets.push(Arc::downgrade(&set));
        Ok(Self { set, shared: self.shared.clone() })
    }

    /// Take the place of `old`: what it has and these have not is retired, and the bus is told what changed.
    pub fn supersede(&self, old: &Self) {
        // No replacement comes between the two looks: it would be in one of them only.
        let _looks = self.shared.lock();
        let (now, before) = (self.set.load_full(), old.set.load_full());
        for (name, mount) in
            before.iter().filter(|(name, mount)| now.get(*name).is_none_or(|new| !Arc::ptr_eq(new, mount)))
        {
            mount.retire();
            if !now.contains_key(name) {
                bus::publish(Event::PackUnmounted { pack: mount.conf().name.clone() });
            }
        }
        now.iter()
            .filter(|(name, mount)| before.get(*name).is_none_or(|old| !Arc::ptr_eq(old, mount)))
            .for_each(|(_, mount)| told(mount));
    }

    /// The mount of a name, without a lock. It stays what it is for as long as it is held, also when it is replaced meanwhile.
    pub fn get(&self, name: &str) -> Option<Arc<Mount>> {
        self.set.load().get(name).cloned()
    }

    /// All mounts as they are now.
    pub fn all(&self) -> Arc<Named> {
        self.set.load_full()
    }

    /// The names of the packs that are out of service, in order.
    pub fn lost(&self) -> Vec<String> {
        let mounts = self.set.load();
        let mut lost: Vec<_> =
            mounts.values().filter(|mount| !mount.is_serving()).map(|mount| mount.conf().name.clone()).collect();
        lost.sort_unstable();
        lost
    }

    /// Look at every file, and begin to open what is new there. Call it about twice a second, from a thread that may block: a
    /// look is a few `stat`s. What is new is seen alike twice before it is opened, on a thread of its own, one for each pack
    /// and four in all; it is in service as soon as that is done.
    pub fn poll(&self) {
        for opening in self.shared.ripe(&self.all()) {
            let (shared, mount) = (self.shared.clone(), opening.mount.clone());
            // Not under the lock: an opening that does not begin takes the lock to say so.
            let thread = std::thread::Builder::new().name("pack-opening".into()).spawn(|| opening.run());
            if let Err(error) = thread {
                let mut looks = shared.lock();
                tell(looks.watch(&mount), &mount, format!("what stands at its path waits for a thread: {error}"));
            }
        }
    }

    /// How many replacements are being opened at the moment.
    pub fn opening(&self) -> usize {
        self.shared.lock().opening.len()
    }

    /// Compute the digests that aren't known yet, one archive after the other, for the tags of the next mount; those of now
    /// stay. Meant for a thread of its own, whose priority it lowers. Ends early once `cancel` is true.
    pub fn digest_behind(&self, cancel: &AtomicBool) {
        // Serving comes first. Where the priority can't be lowered, it stays.
        let _ = rustix::process::setpriority_process(None, 19);
        for mount in self.all().values() {
            let pack = mount.pack().filter(|_| mount.is_current());
            let Some(Archive::PmTiles(archive)) = pack.map(Pack::inner) else { continue };
            let (path, mounted) = (&mount.conf().path, archive.file());
            if self.shared.book.get(path, mounted.stamp()).is_some() {
                continue;
            }
            let own = for_hashing(path, mounted);
            match digest(own.as_ref().unwrap_or(mounted), &|_| !cancel.load(Ordering::Relaxed) && mount.is_current()) {
                Ok(Some(hash)) => {
                    if let Err(error) = self.shared.book.insert(path, mounted.stamp(), hash) {
                        log::warn!(event = "pack_digest", pack = mount.conf().name.as_str(), cause = error.to_string().as_str(); "not remembered");
                    }
                }
                Ok(None) if cancel.load(Ordering::Relaxed) => return,
                // It was replaced, or taken out, meanwhile.
                Ok(None) => {}
                Err(error) => {
                    log::warn!(event = "pack_digest", pack = mount.conf().name.as_str(), cause = error.to_string().as_str(); "")
                }
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Looks> {
        // Whatever panics under the lock leaves watches that the next look corrects.
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Look at every mount; what has come to rest and has its turn is marked as being opened.
    fn ripe(self: &Arc<Self>, mounts: &Named) -> Vec<Opening> {
        let mut ripe = Vec::new();
        let mut looks = self.lock();
        looks.watches.retain(|name, _| mounts.contains_key(name));
        for (name, mount) in mounts {
            let Some(source) = look(mount, looks.watch(mount)) else { continue };
            // What has no turn yet stays the candidate: the next look finds it again.
            if looks.opening.len() < MAX_OPENINGS && looks.opening.insert(name.clone()) {
                ripe.push(Opening { shared: self.clone(), mount: mount.clone(), source });
            }
        }
        ripe
    }

    /// Put what was opened into service in place of `mount`, or remember that it is bad.
    fn take_up(&self, mount: &Arc<Mount>, source: Source, opened: Result<Pack, PackError>) {
        let mut looks = self.lock();
        let sets: Vec<_> = looks.sets_with(mount);
        if sets.is_empty() {
            // Nobody serves it any more.
            return;
        }
        let watch = looks.watch(mount);
        if watch.candidate == Some(source) {
            watch.candidate = None;
        }
        let there = Stamp::of(&mount.conf().path).ok();
        match opened {
            // Not what was seen, or no longer there: the next looks will judge what is.
            Ok(pack) if *pack.stamp() != source.0 || there != Some(source.0) => {}
            Ok(pack) => {
                *watch = Watch::default();
                let new = Arc::new(mounted(&self.book, mount.conf(), pack, mount.opened()));
                told(&new);
                for set in sets {
                    let mut mounts = Named::clone(&set.load());
                    mounts.insert(mount.conf().name.as_str().into(), new.clone());
                    set.store(Arc::new(mounts));
                }
                mount.retire();
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

impl Looks {
    /// What was seen of the file of `mount`. What was seen under another conf of its name says nothing of it.
    fn watch(&mut self, mount: &Arc<Mount>) -> &mut Watch {
        let watched = self.watches.entry(mount.conf().name.as_str().into()).or_default();
        if !std::ptr::eq(watched.of.as_ptr(), Arc::as_ptr(mount)) {
            *watched = Watched { of: Arc::downgrade(mount), watch: Watch::default() };
        }
        &mut watched.watch
    }

    /// The sets that `mount` is in.
    fn sets_with(&self, mount: &Arc<Mount>) -> Vec<Arc<Set>> {
        let has = |set: &Arc<Set>| set.load().get(&*mount.conf().name).is_some_and(|held| Arc::ptr_eq(held, mount));
        self.sets.iter().filter_map(Weak::upgrade).filter(has).collect()
    }
}

/// The opening of one replacement; while it exists, no other of the same pack begins.
struct Opening {
    shared: Arc<Shared>,
    mount: Arc<Mount>,
    source: Source,
}

impl Opening {
    fn run(self) {
        let opened = Pack::open(self.mount.conf());
        self.shared.take_up(&self.mount, self.source, opened);
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let mut looks = self.shared.lock();
        let name = self.mount.conf().name.as_str();
        looks.opening.remove(name);
        if std::thread::panicking() {
            // It would panic again: not before the file changes.
            looks.watch(&self.mount).rejected = Some(self.source);
        }
    }
}

/// The mount of what `conf` names, in place of `old`.
fn open(book: &Book, conf: &PackConf, old: Option<&Pack>) -> Result<Arc<Mount>, PackError> {
    let mount = match Pack::open(conf) {
        Ok(pack) => mounted(book, conf, pack, old),
        Err(error) if conf.verify == Verify::None => {
            log::warn!(event = "pack_rejected", pack = conf.name.as_str(), cause = error.to_string().as_str(); "begins out of service");
            Mount::new(conf, None)
        }
        Err(error) => return Err(error),
    };
    Ok(Arc::new(mount))
}

/// Tell the bus of a pack that is in service now.
fn told(mount: &Mount) {
    if let Some(pack) = mount.opened() {
        bus::publish(Event::PackMounted { pack: mount.conf().name.clone(), etag: pack.etag().to_owned() });
    }
}

/// The mount of an opened pack, in place of `old`.
fn mounted(book: &Book, conf: &PackConf, pack: Pack, old: Option<&Pack>) -> Mount {
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
    Mount::new(conf, Some(pack))
}
