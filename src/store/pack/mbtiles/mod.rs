//! MBTiles 1.3: tiles in the table, or view, `tiles` of a SQLite database that we don't trust.

pub mod connect;
pub mod facts;
pub mod trust;

use std::path::{Path, PathBuf};

use rusqlite::OptionalExtension;
use rusqlite::types::ValueRef;

use self::connect::{Pool, wal_path};
use super::file::{Anchor, Stamp};
use super::tile::{self, Tile};
use crate::conf::Verify;
use crate::rules::tile::TileId;
use crate::rules::tilejson::Facts;
use crate::store::StoreError;

/// One tile. The rows count from the south (MBTiles 1.3 §Tiles: the TMS scheme).
const TILE: &str = "SELECT tile_data FROM tiles WHERE zoom_level = ?1 AND tile_column = ?2 AND tile_row = ?3";

/// An MBTiles database, open.
pub struct MbTiles {
    pool: Pool,
    anchor: Anchor,
    facts: Facts,
    wal: (PathBuf, Option<Stamp>),
}

impl MbTiles {
    /// Open the database at `path`, whose first bytes are `start`. [`Verify::None`] takes unreadable metadata for none; that
    /// `tiles` exists with its four columns is always checked.
    ///
    /// Errors: those of [`Pool::run`], and [`StoreError::Changed`] where another file took the path meanwhile.
    pub fn open(path: &Path, start: &[u8], verify: Verify) -> Result<Self, StoreError> {
        let anchor = Anchor::identify(path)?;
        let wal = wal_path(&path.canonicalize()?);
        let wal = (wal.clone(), Stamp::of(&wal).ok());
        let pool = Pool::open(path, start)?;
        pool.run(|connection| connection.prepare_cached(TILE).map(drop))?;
        let facts = facts::read(&pool, verify)?;
        // The connections were opened by path: what stands there now must be what stood there before.
        if Stamp::of(path)? != *anchor.stamp() {
            return Err(StoreError::Changed);
        }
        Ok(Self { pool, anchor, facts, wal })
    }

    /// The tile at an address. Blocks on the disk, and on other queries while all connections are busy.
    pub fn tile(&self, address: TileId) -> Result<Tile, StoreError> {
        if !(self.facts.min_zoom..=self.facts.max_zoom).contains(&address.z()) {
            return Ok(Tile::OutsideZoom);
        }
        let row = (1u32 << address.z()) - 1 - address.y();
        let value = self.pool.run(|connection| {
            let mut statement = connection.prepare_cached(TILE)?;
            statement
                .query_row((address.z(), address.x(), row), |row| {
                    Ok(match row.get_ref(0)? {
                        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
                        ValueRef::Null => Value::Bytes(Vec::new()),
                        _ => Value::WrongType,
                    })
                })
                .optional()
        })?;
        self.anchor.check()?;
        match value {
            // Some writers leave an empty tile out, some write no bytes: both mean that there is nothing here.
            None => Ok(Tile::Absent),
            Some(Value::Bytes(bytes)) if bytes.is_empty() => Ok(Tile::Absent),
            Some(Value::Bytes(bytes)) => {
                let modified = self.anchor.stamp().modified();
                tile::object(bytes, None, self.facts.tile_type, modified).map(Tile::Found)
            }
            Some(Value::WrongType) => Err(StoreError::Corrupt("a tile that is neither bytes nor NULL".into())),
        }
    }

    /// The stamp of the database file when it was opened.
    pub fn stamp(&self) -> &Stamp {
        self.anchor.stamp()
    }

    /// [`StoreError::Changed`] once the database file was written to: also by a transaction that left the tiles alone.
    pub fn check(&self) -> Result<(), StoreError> {
        self.anchor.check()
    }

    /// The write-ahead log beside the database as it is now, where it isn't what it was at opening.
    pub fn changed_log(&self) -> Option<Option<Stamp>> {
        let now = Stamp::of(&self.wal.0).ok();
        let then = self.wal.1;
        // A reader may leave an empty log behind, which holds no change.
        let content = |stamp: Option<Stamp>| stamp.filter(|stamp| stamp.size > 0);
        (content(now) != content(then)).then_some(now)
    }

    /// What the database says of itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The connections, for verification and inspection.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }
}

enum Value {
    Bytes(Vec<u8>),
    WrongType,
}
