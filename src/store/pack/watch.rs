//! What the last looks at a pack's path saw: when something new is there, and has come to rest.

use super::file::Stamp;
use super::mbtiles::connect::wal_path;
use super::mount::Mount;
use super::{Archive, Pack};

/// A file and the write-ahead log beside it: what a mount is opened from.
pub(super) type Source = (Stamp, Option<Stamp>);

/// What the last looks at a path saw.
#[derive(Default)]
pub(super) struct Watch {
    /// Something new, seen once: opened when a later look sees the same.
    pub(super) candidate: Option<Source>,
    /// Something that did not verify: not tried again until it changes.
    pub(super) rejected: Option<Source>,
    /// What the log was told about already, so that it isn't told twice a second.
    told: Option<String>,
}

/// One look at a mount's file: whether it is still the one that was opened, and what should be opened instead.
pub(super) fn look(mount: &Mount, watch: &mut Watch) -> Option<Source> {
    if let Some(Err(_)) = mount.pack().map(Pack::check) {
        mount.lose("changed in place");
    }
    let stamp = match Stamp::of(&mount.conf().path) {
        Ok(stamp) => stamp,
        Err(error) => {
            watch.candidate = None;
            let state = if mount.is_serving() { "served from the open file" } else { "out of service" };
            tell(watch, mount, format!("nothing can be opened at its path: {error}; {state}"));
            return None;
        }
    };
    let log = mount.conf().path.canonicalize().ok().and_then(|path| Stamp::of(&wal_path(&path)).ok());
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
pub(super) fn tell(watch: &mut Watch, mount: &Mount, what: String) {
    if watch.told.as_ref() != Some(&what) {
        log::warn!(event = "pack_rejected", pack = mount.conf().name.as_str(), cause = what.as_str(); "");
        watch.told = Some(what);
    }
}
