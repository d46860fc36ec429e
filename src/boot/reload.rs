//! SIGHUP: the conf is read again, checked whole, and put in force at once or not at all.
//!
//! Everything that can fail comes first and changes nothing: the conf, the packs that are new, the way to the origins, and whatever
//! other parts of the server make ready. Then it is swapped, which can't fail. A refused conf leaves the old one, and says why.

mod parts;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

pub use parts::{Connections, Limits, Manager, Renewals};

use super::housekeeping::Hurry;
use super::live::{self, Lives};
use crate::admin::Purger;
use crate::conf::{Changes, Conf, Mode, Sources};
use crate::edge::{Generations, Now, Settings};
use crate::observe::bus::{Event, publish};
use crate::observe::metrics::{CONF_LAST_RELOAD, CONF_NEEDS_UPGRADE, CONF_RELOADS, ReloadResult};
use crate::store::cas::Cas;

/// Keys of what fills misses: where one of them changed, another `Live` takes over.
const LIVE: [&str; 6] = ["ca_file", "edge.mode", "edge.origins", "edge.fill", "edge.cas.lock", "edge.http.chunk_bytes"];

/// A part of the server that takes part in a reload beside the edge: certificates, limits of admission, whoever supervises the process.
/// Called on a thread that may block, in this order, for every reload: also where no key changed, as a file that a key names may have.
pub trait Part: Send {
    /// A reload begins.
    fn begin(&mut self) {}

    /// Make ready what `conf` wants of this part; nothing takes effect yet. An error, a sentence that names its place, refuses the whole.
    fn prepare(&mut self, conf: &Conf) -> Result<(), String> {
        let _ = conf;
        Ok(())
    }

    /// Put in force what was made ready. Not called where anything was refused.
    fn commit(&mut self, conf: &Conf) {
        let _ = conf;
    }

    /// The reload is over; `reloaded` says whether the conf is in force.
    fn end(&mut self, reloaded: bool) {
        let _ = reloaded;
    }
}

/// What a reload works on.
pub struct Reloading {
    /// Where the conf came from.
    pub sources: Sources,
    /// The conf in force, as it was read: its ports are those that were written, not those that the system chose.
    pub running: Conf,
    /// The first listener's address as it is bound.
    pub bound: SocketAddr,
    /// Where generations are swapped.
    pub generations: Arc<Generations>,
    /// Makes what fills misses.
    pub lives: Lives,
    pub cas: Arc<Cas>,
    pub purger: Arc<Purger>,
    /// Has the packs looked at, at once.
    pub hurry: Arc<Hurry>,
    /// What else takes part.
    pub parts: Vec<Box<dyn Part>>,
}

/// Reloads when asked to: one at a time, on a thread that lives as long as there is something to do.
pub struct Reloader {
    work: Mutex<Reloading>,
    turn: Mutex<Turn>,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Nobody reloads.
    Idle,
    /// Somebody does.
    Running,
    /// Somebody does, and was asked again meanwhile: what it read may be old.
    Again,
}

impl Reloader {
    /// The conf that `work` has is in force now.
    pub fn new(work: Reloading) -> Arc<Self> {
        CONF_LAST_RELOAD.set(unix_seconds());
        Arc::new(Self { work: Mutex::new(work), turn: Mutex::new(Turn::Idle) })
    }

    /// Reload; after the one that is under way, where there is one. Never waits.
    pub fn ask(self: &Arc<Self>) {
        let mut turn = lock(&self.turn);
        if *turn != Turn::Idle {
            *turn = Turn::Again;
            return;
        }
        let this = self.clone();
        match std::thread::Builder::new().name("reload".into()).spawn(move || this.run()) {
            Ok(_) => *turn = Turn::Running,
            Err(error) => refused(format!("no thread for the reload: {error}")),
        }
    }

    fn run(&self) {
        loop {
            lock(&self.work).reload();
            let mut turn = lock(&self.turn);
            if *turn != Turn::Again {
                *turn = Turn::Idle;
                return;
            }
            *turn = Turn::Running;
        }
    }
}

impl Reloading {
    fn reload(&mut self) {
        self.parts.iter_mut().for_each(|part| part.begin());
        // A panic comes from what is made ready: what is in force is what it was.
        let reloaded = catch_unwind(AssertUnwindSafe(|| self.try_reload()));
        let reloaded = reloaded.unwrap_or_else(|_| Err("a fault of the program: the reload panicked".into()));
        let is_reloaded = reloaded.is_ok();
        match reloaded {
            Ok(changes) => told(&changes, &self.running),
            Err(cause) => refused(cause),
        }
        self.parts.iter_mut().for_each(|part| part.end(is_reloaded));
        self.hurry.up();
    }

    fn try_reload(&mut self) -> Result<Changes, String> {
        let read = self.sources.load().map_err(|errors| errors.to_string())?;
        let (conf, changes) = read.over(&self.running);
        let next = self.prepare(&conf, &changes)?;
        for part in &mut self.parts {
            part.prepare(&conf)?;
        }
        self.commit(next, &conf);
        self.running = conf;
        Ok(changes)
    }

    /// The generation of `conf`: what is unchanged is that of now.
    fn prepare(&self, conf: &Conf, changes: &Changes) -> Result<Now, String> {
        let now = self.generations.now();
        let settings = Settings::new(&conf.edge, self.bound).map_err(|error| format!("edge.http: {error}"))?;
        let mounts = match changes.touch(&["edge.packs"]) {
            true => Arc::new(now.mounts.next(&conf.edge.packs).map_err(|error| format!("edge.packs: {error}"))?),
            false => now.mounts.clone(),
        };
        let origins = if changes.touch(&["edge.origins"]) { Arc::new(live::table(conf)) } else { now.origins.clone() };
        let lock =
            if changes.touch(&["edge.cas.lock"]) { conf.edge.pins.as_ref().map(live::lock) } else { now.lock.clone() };
        let live = if changes.touch(&LIVE) { self.lives.open(conf)? } else { now.live.clone() };
        Ok(Now::new(Arc::new(settings), mounts, origins, lock, live))
    }

    /// Put in force what can't fail any more.
    fn commit(&mut self, next: Now, conf: &Conf) {
        self.cas.set_bounds(&conf.edge.cas);
        self.generations.set_memory(conf.edge.cas.memory_bytes);
        self.purger.set_token(conf.edge.admin.token.clone());
        if conf.edge.mode == Mode::Offline {
            self.lives.close();
        }
        self.generations.swap(next);
        self.parts.iter_mut().for_each(|part| part.commit(conf));
        crate::observe::log::set_level(conf.edge.log.level);
    }
}

fn told(changes: &Changes, conf: &Conf) {
    CONF_RELOADS.inc(ReloadResult::Ok);
    CONF_LAST_RELOAD.set(unix_seconds());
    CONF_NEEDS_UPGRADE.set(i64::from(!changes.needs_upgrade.is_empty()));
    let owned = |keys: &[&str]| keys.iter().map(ToString::to_string).collect();
    publish(Event::ConfReloaded { changed: owned(&changes.changed), needs_upgrade: owned(&changes.needs_upgrade) });
    if !changes.changed.is_empty() {
        for warning in conf.edge.warnings() {
            log::warn!(event = "conf_warning", cause = warning.as_str(); "");
        }
    }
}

fn refused(cause: String) {
    CONF_RELOADS.inc(ReloadResult::Refused);
    publish(Event::ConfRefused { cause });
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No step leaves one of these half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "reload/tests.rs"]
mod tests;
