//! Verification of an MBTiles database: SQLite's own check of its pages, then every row of `tiles`.

use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::{Progress, Report, Shared, parallel};
use crate::rules::tile::TileId;
use crate::store::StoreError;
use crate::store::pack::mbtiles::trust::with_long_program;
use crate::store::pack::mbtiles::{MbTiles, facts};
use crate::store::pack::metadata::Metadata;
use crate::store::pack::tile;

/// Tiles handed to a core at a time: at most this many, and no more once they have [`BATCH_BYTES`].
const BATCH: usize = 64;
const BATCH_BYTES: usize = 1 << 20;

/// How long one row may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// The slowest disk that a check of all pages is given time for, in bytes a second.
const SLOWEST: u64 = 8 << 20;

type Batch = Vec<(TileId, Vec<u8>)>;

pub(super) fn verify(archive: &MbTiles, progress: &(dyn Fn(Progress) + Sync)) -> Result<Report, StoreError> {
    let size = archive.stamp().size;
    let shared = Shared::new(size, progress);
    let patience = PATIENCE + Duration::from_secs(size / SLOWEST);
    match archive.pool().scan(patience, |connection, _| with_long_program(connection, quick_check)) {
        Ok(messages) => messages.iter().for_each(|message| shared.fault("database", message)),
        Err(error) => shared.failed("database", error),
    }
    check_metadata(archive, &shared);
    let work = |batch: Batch| {
        for (address, bytes) in batch {
            if let Err(error) = tile::check(&bytes, None) {
                shared.failed(Address(address), error);
            }
            shared.advance(bytes.len() as u64);
        }
    };
    let counts = parallel(4, work, |send| {
        let mut scan =
            Scan { archive, shared: &shared, send, batch: Batch::new(), bytes: 0, counts: Report::default() };
        let result = archive.pool().scan(PATIENCE, |connection, alive| scan.rows(connection, alive));
        if let Err(error) = result {
            shared.failed("tiles", error);
        }
        (scan.send)(std::mem::take(&mut scan.batch));
        scan.counts
    });
    shared.finish(counts)
}

/// SQLite's check that the pages hold together; what it says of each fault.
fn quick_check(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("PRAGMA quick_check(20)")?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    rows.filter(|row| row.as_deref() != Ok("ok")).collect()
}

fn check_metadata(archive: &MbTiles, shared: &Shared<'_>) {
    match facts::rows(archive.pool()) {
        Err(error) => shared.failed("metadata", error),
        Ok(rows) => {
            let json = rows.iter().filter(|(name, value)| name == "json" && !value.is_empty());
            for error in json.filter_map(|(_, value)| Metadata::parse(value.as_bytes()).err()) {
                shared.failed("metadata, row json", error);
            }
        }
    }
}

struct Scan<'a, 's> {
    archive: &'a MbTiles,
    shared: &'a Shared<'s>,
    send: &'a dyn Fn(Batch),
    batch: Batch,
    bytes: usize,
    counts: Report,
}

impl Scan<'_, '_> {
    fn rows(&mut self, connection: &Connection, alive: &dyn Fn()) -> rusqlite::Result<()> {
        let mut statement = connection.prepare("SELECT zoom_level, tile_column, tile_row, tile_data FROM tiles")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if self.shared.stopped() {
                break;
            }
            // A row takes bytes in the file, even one that shares its tile with others: only a view can make up more.
            if self.counts.entries > self.archive.stamp().size {
                self.shared.fault("tiles", "more rows than the file has bytes");
                break;
            }
            self.row(row)?;
            alive();
        }
        Ok(())
    }

    fn row(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        self.counts.entries += 1;
        let Some(address) = address(row)? else {
            self.shared.fault(format_args!("tiles, row {}", self.counts.entries), "not the address of a tile");
            return Ok(());
        };
        let facts = self.archive.facts();
        if !(facts.min_zoom..=facts.max_zoom).contains(&address.z()) {
            self.shared.fault(Address(address), "outside the zooms of the metadata");
        }
        match row.get_ref(3)? {
            ValueRef::Blob(bytes) if !bytes.is_empty() => self.tile(address, bytes),
            ValueRef::Blob(_) | ValueRef::Null => {}
            _ => self.shared.fault(Address(address), "neither bytes nor NULL"),
        }
        Ok(())
    }

    fn tile(&mut self, address: TileId, bytes: &[u8]) {
        self.counts.addressed_tiles += 1;
        self.counts.tile_contents += 1;
        self.counts.tile_bytes += bytes.len() as u64;
        self.bytes += bytes.len();
        self.batch.push((address, bytes.to_vec()));
        if self.batch.len() == BATCH || self.bytes >= BATCH_BYTES {
            (self.send)(std::mem::take(&mut self.batch));
            self.bytes = 0;
        }
    }
}

/// The address of a row, its row number turned from the TMS scheme to XYZ.
fn address(row: &Row<'_>) -> rusqlite::Result<Option<TileId>> {
    let mut numbers = [0u32; 3];
    for (column, number) in numbers.iter_mut().enumerate() {
        match row.get_ref(column)? {
            ValueRef::Integer(value) => match u32::try_from(value) {
                Ok(value) => *number = value,
                Err(_) => return Ok(None),
            },
            _ => return Ok(None),
        }
    }
    let [z, x, south] = numbers;
    let Some(z) = u8::try_from(z).ok().filter(|z| *z <= TileId::MAX_ZOOM) else { return Ok(None) };
    let y = ((1u32 << z) - 1).checked_sub(south);
    Ok(y.and_then(|y| TileId::new(z, x, y)))
}

struct Address(TileId);

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "tile {}/{}/{}", self.0.z(), self.0.x(), self.0.y())
    }
}
