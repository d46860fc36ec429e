//! One pack under its name: in service, out of it, or replaced by another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;

use super::{Pack, Tile};
use crate::conf::PackConf;
use crate::observe::bus::{self, Event};
use crate::rules::tile::TileId;
use crate::rules::tilejson::Facts;
use crate::store::{Object, StoreError};

/// The places of one pack, see [`Mount::places`].
const PLACES: usize = 16;

/// One pack in service, or waiting to be.
pub struct Mount {
    conf: PackConf,
    /// `None` where the file could not be opened yet.
    pack: Option<Pack>,
    serving: AtomicBool,
    /// Set once another mount took its place: what happens to its file then is nobody's news.
    retired: AtomicBool,
    places: Arc<Semaphore>,
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

    /// The places for blocking work of this pack: 16, so that one slow pack cannot take every thread there is. Whoever reads
    /// from the pack holds a permit while it does. They belong to the open file: a replacement begins with all of its own.
    pub fn places(&self) -> &Arc<Semaphore> {
        &self.places
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

    /// A mount of `pack`; without one it begins out of service.
    pub(super) fn new(conf: &PackConf, pack: Option<Pack>) -> Self {
        Self {
            conf: conf.clone(),
            serving: AtomicBool::new(pack.is_some()),
            pack,
            retired: AtomicBool::new(false),
            places: Arc::new(Semaphore::new(PLACES)),
        }
    }

    /// The pack that was opened, in service or not.
    pub(super) fn opened(&self) -> Option<&Pack> {
        self.pack.as_ref()
    }

    /// Another took its place.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Take it out of service.
    pub(super) fn lose(&self, cause: &str) {
        if self.serving.swap(false, Ordering::AcqRel) && !self.retired.load(Ordering::Acquire) {
            let cause = format!("{} {cause}", self.conf.path.display());
            bus::publish(Event::PackLost { pack: self.conf.name.clone(), cause });
        }
    }
}
