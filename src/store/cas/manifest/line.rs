//! The lines of manifests: how one is written, and how all of them are read within bounds, whatever the files hold.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;

use blake3::Hash;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::rules::asset_key;
use crate::store::StoreError;
use crate::store::cas::types::{ObjectInfo, from_seconds, media_type_or_default, to_seconds};
use crate::store::cas::{index, regular};

/// Longest line: a path of 4096 bytes, each escaped to six, and the rest.
const MAX_LINE: u64 = 64 * 1024;

/// Unreadable bytes of one manifest behind which the rest of it is left out: it is something else, or a hole of gigabytes.
const MAX_BAD: u64 = 16 * 1024 * 1024;

/// Bytes of all manifests that a rebuild reads: a dozen million objects take that many.
pub(super) const MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// An object was pinned.
    Pin {
        path: String,
        hash: String,
        size: u64,
        content_type: String,
        coding: u8,
        last_modified: Option<i64>,
        stored_at: i64,
        seq: i64,
    },
    /// The object at a path was purged.
    Purge { path: String, seq: i64 },
    /// The objects below a prefix were purged.
    PurgeBelow { prefix: String, seq: i64 },
}

impl Line {
    /// The line that pins `object`.
    pub fn pin(object: &ObjectInfo, seq: i64) -> Self {
        Self::Pin {
            path: object.path.clone(),
            hash: object.hash.to_hex().to_string(),
            size: object.size,
            content_type: object.content_type.clone(),
            coding: index::coding_number(object.coding),
            last_modified: object.last_modified.map(to_seconds),
            stored_at: to_seconds(object.stored_at),
            seq,
        }
    }

    /// The generation it was written in.
    pub fn seq(&self) -> i64 {
        match self {
            Self::Pin { seq, .. } | Self::Purge { seq, .. } | Self::PurgeBelow { seq, .. } => *seq,
        }
    }

    /// The pinned object of this line; `None` for a purge, and for what no index holds: it would be damage there.
    pub fn object(&self) -> Option<ObjectInfo> {
        let Self::Pin { path, hash, size, content_type, coding, last_modified, stored_at, .. } = self else {
            return None;
        };
        asset_key::check(path).ok()?;
        if *size > index::MAX_COUNT {
            return None;
        }
        Some(ObjectInfo {
            path: path.clone(),
            hash: Hash::from_hex(hash).ok()?,
            size: *size,
            pinned: true,
            content_type: media_type_or_default(Cow::Borrowed(content_type)).into_owned(),
            coding: index::coding_of(i64::from(*coding))?,
            last_modified: last_modified.map(from_seconds),
            stored_at: from_seconds(*stored_at),
            last_used: from_seconds(*stored_at),
            extra: None,
        })
    }

    /// Append the line to `out`.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let json = serde_json::to_string(self)?;
        writeln!(out, "{} {json}", &blake3::hash(json.as_bytes()).to_hex()[..16])
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let (mark, json) = line.strip_suffix(b"\n")?.split_at_checked(17)?;
        let right = mark[16] == b' ' && mark[..16] == *blake3::hash(json).to_hex()[..16].as_bytes();
        if !right {
            return None;
        }
        let line: Self = serde_json::from_slice(json).ok()?;
        (0..=index::MAX_SEQ).contains(&line.seq()).then_some(line)
    }
}

/// What became of a manifest's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Bytes.
    bytes: u64,
    /// Lines that aren't whole.
    bad: u64,
    /// Whether there was more than the bounds allow.
    cut: bool,
}

/// Call `each` with every line that is whole, until `most` bytes are read or [`MAX_BAD`] of them were no lines.
pub(super) fn lines(
    file: &File,
    most: u64,
    each: &mut dyn FnMut(Line) -> Result<(), StoreError>,
) -> Result<Extent, StoreError> {
    let mut reader = BufReader::with_capacity(MAX_LINE as usize, file);
    let (mut line, mut read, mut unreadable) = (Vec::new(), Extent::default(), 0);
    loop {
        line.clear();
        let length = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)? as u64;
        if length == 0 {
            return Ok(read);
        }
        read.bytes += length;
        read.cut = read.bytes > most || unreadable > MAX_BAD;
        if read.cut {
            return Ok(read);
        }
        match Line::parse(&line) {
            Some(line) => each(line)?,
            None => {
                read.bad += 1;
                unreadable += length;
            }
        }
    }
}

/// Call `each` with every whole line of `paths`, as far as the bounds allow; the number of lines that aren't whole.
/// With `tell`, the log hears of what is left out.
pub(super) fn all_lines(
    paths: &[PathBuf],
    tell: bool,
    each: &mut dyn FnMut(Line) -> Result<(), StoreError>,
) -> Result<u64, StoreError> {
    let (mut bytes, mut bad) = (0, 0);
    for path in paths {
        let read = lines(&regular::open(path, OFlags::RDONLY)?, MAX_BYTES - bytes, each)?;
        bytes = MAX_BYTES.min(bytes + read.bytes);
        bad += read.bad;
        if read.cut && tell {
            log::error!(
                event = "manifest_cut", path = path.display().to_string().as_str(), bytes = read.bytes, bad_lines = read.bad;
                "the rest of the manifest is left out: too much of it is unreadable, or all of them are too large"
            );
        }
    }
    Ok(bad)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_line_comes_back_and_a_flipped_or_torn_one_does_not() {
        let line = Line::Purge { path: "a/\"é\n".into(), seq: 7 };
        let mut bytes = Vec::new();
        line.write_to(&mut bytes).unwrap();
        assert_eq!(Line::parse(&bytes), Some(line));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 2;
            assert_eq!(Line::parse(&bad), None, "byte {at}");
            assert_eq!(Line::parse(&bytes[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn a_line_whose_numbers_no_index_holds_is_none() {
        let line = |seq, size| Line::Pin {
            path: "a".into(),
            hash: blake3::hash(b"a").to_hex().to_string(),
            size,
            content_type: "a\r\nb: c".into(),
            coding: 0,
            last_modified: Some(i64::MIN),
            stored_at: i64::MAX,
            seq,
        };
        let parsed = |line: Line| {
            let mut bytes = Vec::new();
            line.write_to(&mut bytes).unwrap();
            Line::parse(&bytes)
        };
        for seq in [-1, i64::MIN, i64::MAX, index::MAX_SEQ + 1] {
            assert_eq!(parsed(line(seq, 1)), None, "{seq}");
        }
        assert_eq!(parsed(line(index::MAX_SEQ, u64::MAX)).unwrap().object(), None);
        assert_eq!(line(0, 1).object().unwrap().content_type, "application/octet-stream");
    }

    #[test]
    fn a_manifest_with_garbage_in_it_still_gives_its_good_lines() {
        let mut bytes = vec![0xff; 3 * MAX_LINE as usize];
        bytes.push(b'\n');
        for seq in 0..3 {
            Line::Purge { path: "x".into(), seq }.write_to(&mut bytes).unwrap();
            bytes.extend_from_slice(b"garbage\n");
        }
        bytes.extend_from_slice(b"torn");
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        let mut seen = Vec::new();
        let read = lines(&file, u64::MAX, &mut |line| {
            seen.push(line.seq());
            Ok(())
        });
        let bytes = bytes.len() as u64;
        assert_eq!((seen, read.unwrap()), (vec![0, 1, 2], Extent { bytes, bad: 3 + 1 + 3 + 1, cut: false }));
        io::Seek::rewind(&mut file).unwrap();
        assert!(lines(&file, bytes - 1, &mut |_| Ok(())).unwrap().cut, "a byte more than the bound");
    }
}
