//! Packs: PMTiles and MBTiles archives on local disk, read-only.
//!
//! A [`Pack`] is one open archive; [`mounts::Mounts`] are those that a server serves, watched for changes. Nothing is mapped into
//! memory: whatever happens to a file under us is an error of the request that meets it, never a signal to the process.

pub mod digest;
pub mod file;
pub mod inspect;
pub mod mbtiles;
pub mod metadata;
pub mod mount;
pub mod mounts;
pub mod pmtiles;
pub mod sniff;
pub mod tile;
pub mod verify;
mod watch;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use self::file::{PackFile, Stamp};
use self::mbtiles::MbTiles;
use self::pmtiles::PmTiles;
use self::sniff::Format;
pub use self::tile::Tile;
use self::verify::Progress;
use super::{Body, Object, Store, StoreError, Window};
use crate::conf::{PackConf, Verify};
use crate::observe::metrics::{VERIFY_FAILURES, VerifyKind};
use crate::rules::encoding::Coding;
use crate::rules::tile::TileId;
use crate::rules::tilejson::Facts;

/// The media type of a raw PMTiles archive.
const ARCHIVE_TYPE: &str = "application/vnd.pmtiles";

/// An open archive of either format. As a [`Store`] its keys are `z/x/y`, each in decimal without leading zeros.
pub struct Pack {
    name: Box<str>,
    archive: Archive,
    etag: Box<str>,
    digest: Option<blake3::Hash>,
}

/// The archive of a pack, for what needs to know which.
pub enum Archive {
    /// PMTiles v3.
    PmTiles(Box<PmTiles>),
    /// MBTiles 1.3.
    MbTiles(Box<MbTiles>),
}

impl Pack {
    /// Open the archive that `conf` names; its first bytes tell the format, its name doesn't. `conf.verify` says how much is
    /// read before this returns:
    ///
    /// - [`Verify::None`]: what no tile can be found without (header and root directory; the columns of `tiles`). Skipped: that all
    ///   sections lie within the file, and that the metadata is readable (unreadable metadata is taken for none).
    /// - [`Verify::Header`]: these as well.
    /// - [`Verify::Full`]: every directory, entry and tile as well, on all cores.
    pub fn open(conf: &PackConf) -> Result<Self, PackError> {
        Self::open_with(conf, &|_| {})
    }

    /// As [`Pack::open`]; a full verification tells `progress` how far it is, from any thread.
    pub fn open_with(conf: &PackConf, progress: &(dyn Fn(Progress) + Sync)) -> Result<Self, PackError> {
        let result = Self::open_and_verify(conf, progress);
        if let Err(PackError::NotAPack { .. } | PackError::Faulty { .. }) = &result {
            VERIFY_FAILURES.inc(VerifyKind::Pack);
        }
        if let Err(PackError::Unreadable { source: StoreError::Corrupt(_) | StoreError::TooLarge(_), .. }) = &result {
            VERIFY_FAILURES.inc(VerifyKind::Pack);
        }
        result
    }

    fn open_and_verify(conf: &PackConf, progress: &(dyn Fn(Progress) + Sync)) -> Result<Self, PackError> {
        let archive = open_archive(&conf.path, conf.verify)?;
        let mut pack = Self { name: conf.name.as_str().into(), archive, etag: "".into(), digest: None };
        pack.etag = pack.stamp().etag();
        let unreadable = |source| PackError::Unreadable { path: conf.path.clone(), source };
        if conf.verify == Verify::Full {
            let report = verify::verify(&pack, progress).map_err(unreadable)?;
            if let Some(first) = report.first.first() {
                let first = first.to_string();
                return Err(PackError::Faulty { path: conf.path.clone(), faults: report.faults, first });
            }
        }
        // What was read so far counts only if it is what is still there.
        pack.check().map_err(unreadable)?;
        Ok(pack)
    }

    /// The tile at an address.
    ///
    /// Errors: [`StoreError::Corrupt`] or [`StoreError::TooLarge`] for a tile or directory that contradicts its archive (counted);
    /// [`StoreError::Changed`] once the file was written to; [`StoreError::Deadline`] for a database that takes too long.
    pub fn tile(&self, address: TileId) -> Result<Tile, StoreError> {
        let result = match &self.archive {
            Archive::PmTiles(archive) => archive.tile(address),
            Archive::MbTiles(archive) => archive.tile(address),
        };
        if let Err(StoreError::Corrupt(_) | StoreError::TooLarge(_)) = &result {
            VERIFY_FAILURES.inc(VerifyKind::Tile);
        }
        result
    }

    /// The raw archive; `None` for MBTiles, which nobody reads by range. Its tag stays the same as long as this pack is open.
    pub fn archive(&self) -> Option<Object> {
        let Archive::PmTiles(archive) = &self.archive else {
            return None;
        };
        Some(Object {
            body: Body::Windowed(archive.file().clone()),
            etag: self.etag.clone(),
            hash: self.digest,
            last_modified: self.stamp().modified(),
            content_type: Cow::Borrowed(ARCHIVE_TYPE),
            coding: Coding::Identity,
        })
    }

    /// What the archive says of itself.
    pub fn facts(&self) -> &Facts {
        match &self.archive {
            Archive::PmTiles(archive) => archive.facts(),
            Archive::MbTiles(archive) => archive.facts(),
        }
    }

    /// The stamp of the file when it was opened.
    pub fn stamp(&self) -> &Stamp {
        match &self.archive {
            Archive::PmTiles(archive) => archive.file().stamp(),
            Archive::MbTiles(archive) => archive.stamp(),
        }
    }

    /// [`StoreError::Changed`] once the open file was written to or cut: one `fstat`.
    pub fn check(&self) -> Result<(), StoreError> {
        match &self.archive {
            Archive::PmTiles(archive) => archive.file().check(),
            Archive::MbTiles(archive) => archive.check(),
        }
    }

    /// The entity tag of the raw archive: `"b3:<64 hex>"` where the digest was known at mount, else `"st:<size>-<mtime>"`.
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// The archive by its format.
    pub fn inner(&self) -> &Archive {
        &self.archive
    }

    /// Take over what is known of these very bytes.
    fn tagged(mut self, etag: Box<str>, digest: Option<blake3::Hash>) -> Self {
        (self.etag, self.digest) = (etag, digest);
        self
    }
}

impl Store for Pack {
    fn name(&self) -> &str {
        &self.name
    }

    fn head(&self, key: &str) -> Result<Option<Object>, StoreError> {
        match parse_key(key).map(|address| self.tile(address)).transpose()? {
            Some(Tile::Found(object)) => Ok(Some(object)),
            Some(Tile::Absent | Tile::OutsideZoom) | None => Ok(None),
        }
    }
}

fn parse_key(key: &str) -> Option<TileId> {
    let mut parts = key.splitn(3, '/').map(|part| {
        let canonical = part == "0" || (!part.starts_with('0') && part.bytes().all(|byte| byte.is_ascii_digit()));
        canonical.then(|| part.parse::<u32>().ok()).flatten()
    });
    let (z, x, y) = (parts.next()??, parts.next()??, parts.next()??);
    TileId::new(u8::try_from(z).ok()?, x, y)
}

fn open_archive(path: &Path, verify: Verify) -> Result<Archive, PackError> {
    let unreadable = |source: StoreError| PackError::Unreadable { path: path.into(), source };
    let file = PackFile::open(path).map_err(|error| unreadable(error.into()))?;
    let start = usize::try_from(file.len()).unwrap_or(usize::MAX).min(100);
    let start = file.read(0, start).map_err(unreadable)?;
    match sniff::format(&start) {
        Some(Format::PmTiles) => Ok(Archive::PmTiles(Box::new(PmTiles::open(file, verify).map_err(unreadable)?))),
        Some(Format::MbTiles) => {
            // Closed before SQLite takes its first lock: closing it later would drop that lock (see `Anchor::identify`).
            drop(file);
            Ok(Archive::MbTiles(Box::new(MbTiles::open(path, &start, verify).map_err(unreadable)?)))
        }
        None => Err(PackError::NotAPack { path: path.into() }),
    }
}

/// Why a pack can't be mounted.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The file can't be opened, or is not what its first bytes promise.
    #[error("pack {}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What stands in the way.
        source: StoreError,
    },
    /// The file begins neither as PMTiles nor as a SQLite database.
    #[error("pack {}: neither a PMTiles archive nor an MBTiles database", .path.display())]
    NotAPack {
        /// The file.
        path: PathBuf,
    },
    /// A full verification found faults.
    #[error("pack {}: {faults} faults, the first: {first}", .path.display())]
    Faulty {
        /// The file.
        path: PathBuf,
        /// How many were found.
        faults: u64,
        /// The first of them.
        first: String,
    },
    /// Two packs have one name.
    #[error("two packs are named {name:?}")]
    Duplicate {
        /// The name.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_has_one_key_and_no_other() {
        assert_eq!(parse_key("0/0/0"), TileId::new(0, 0, 0));
        assert_eq!(parse_key("12/3423/1763"), TileId::new(12, 3423, 1763));
        for key in [
            "",
            "/",
            "0/0",
            "0/0/0/",
            "0/0/0/0",
            "00/0/0",
            "1/01/0",
            "1/+1/0",
            "-1/0/0",
            "1/2/0",
            "31/0/0",
            "0/0/0.mvt",
            "256/0/0",
            "1/4294967296/0",
            " 1/0/0",
            "1/0/",
            "//",
            "1/٣/0",
            "a/b/c",
            "0/0/\0",
        ] {
            assert_eq!(parse_key(key), None, "{key:?}");
        }
    }
}
