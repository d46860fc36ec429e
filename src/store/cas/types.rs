//! What goes into the CAS and what it tells about itself.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blake3::Hash;
use bytes::Bytes;

use crate::rules::encoding::Coding;
use crate::rules::media_type;

/// The most bytes of [`Meta::extra`].
pub const MAX_EXTRA: usize = 64 * 1024;

/// Variants of a key that are kept; the one stored first makes room for the seventeenth.
pub const MAX_VARIANTS: usize = 16;

/// What an object is besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Never evicted, durable when it is stored, and rebuilt when the index is lost.
    pub pinned: bool,
    /// The media type.
    pub content_type: Cow<'static, str>,
    /// The coding the bytes are in.
    pub coding: Coding,
    /// Modification time of the source, kept in whole seconds.
    pub last_modified: Option<SystemTime>,
    /// What whoever filled it keeps of the origin's answer, at most [`MAX_EXTRA`] bytes; the store does not look into it. `None` for
    /// an import.
    pub extra: Option<Bytes>,
}

/// What became of an object that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The path is new.
    Added,
    /// The path had another object, which is gone.
    Replaced,
    /// The path had this very object.
    Unchanged,
    /// A pinned object stands at the path; one that isn't pinned neither replaces it nor stands beside it.
    Kept,
}

/// An object as the index knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The key: what follows `/edge/assets/`, decoded; a filled object's may go on behind it, see [`KeyParts`](super::KeyParts).
    pub path: String,
    /// BLAKE3 of the bytes: the name of the blob.
    pub hash: Hash,
    /// Length in bytes.
    pub size: u64,
    /// Imported rather than filled.
    pub pinned: bool,
    /// The media type.
    pub content_type: String,
    /// The coding the bytes are in.
    pub coding: Coding,
    /// Modification time of the source.
    pub last_modified: Option<SystemTime>,
    /// When it was stored, or last refreshed.
    pub stored_at: SystemTime,
    /// When it was last used, to about a minute; kept for objects that can be evicted.
    pub last_used: SystemTime,
    /// See [`Meta::extra`].
    pub extra: Option<Bytes>,
}

/// What a purge removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge<'a> {
    /// The object at this path, whatever its queries and variants.
    Path(&'a str),
    /// Every object below this prefix, `P/…`; empty for all of them.
    Prefix(&'a str),
}

/// What was removed from the index, and what that freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Objects.
    pub objects: u64,
    /// Blobs that no object names any more.
    pub blobs: u64,
    /// Allocated bytes of those blobs.
    pub bytes: u64,
}

/// Sizes, counts and ages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Objects in the index.
    pub objects: u64,
    /// Those of them that are pinned; the others were filled.
    pub pinned: u64,
    /// Those of them that are one of several variants of a key.
    pub variants: u64,
    /// Sum of the objects' lengths in bytes: a blob that two objects share counts twice.
    pub object_bytes: u64,
    /// Blobs.
    pub blobs: u64,
    /// Allocated bytes of blobs: what `max_bytes` bounds.
    pub allocated_bytes: u64,
    /// Pinned objects whose blob was quarantined or is missing.
    pub lost: u64,
    /// Files in `quarantine/`.
    pub quarantined: u64,
    /// When the oldest object was stored.
    pub oldest: Option<SystemTime>,
    /// When the newest object was stored.
    pub newest: Option<SystemTime>,
}

/// What an import did, or has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Files imported, the unchanged ones included.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files found so far; all of them when the import has returned.
    pub found: u64,
    /// Bytes found so far.
    pub found_bytes: u64,
    /// Objects at paths that were new.
    pub added: u64,
    /// Objects that took another one's place.
    pub replaced: u64,
    /// Objects that were there as they are.
    pub unchanged: u64,
    /// Blobs written. What is missing to `added` and `replaced` had the contents of another object.
    pub blobs_written: u64,
    /// Files not imported.
    pub refused: u64,
    /// The first of them, each with the reason.
    pub refusals: Vec<Refusal>,
}

/// Why a file was not imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The file.
    pub path: PathBuf,
    /// The reason.
    pub why: Cow<'static, str>,
}

/// What `verify` finds wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A blob that does not hash to its name, or no regular file at its place.
    Corrupt {
        /// Its name.
        hash: Hash,
        /// The paths that it answers, at most 16 of them.
        paths: Vec<String>,
        /// Whether it was moved to `quarantine/`.
        quarantined: bool,
    },
    /// A blob that could not be read.
    Unreadable {
        /// Its name.
        hash: Hash,
        /// What the disk said.
        error: String,
    },
    /// An object whose blob is not there.
    Missing {
        /// Its path.
        path: String,
        /// The blob's name.
        hash: Hash,
    },
    /// A pinned object that was taken out of the index because its blob was corrupt or missing. Import or purge it.
    Lost {
        /// Its path.
        path: String,
        /// The blob's name.
        hash: Hash,
    },
}

/// What `verify` did, or has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Blobs hashed.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs to hash, as the index counts them.
    pub expected: u64,
    /// Objects looked at.
    pub objects: u64,
    /// Faults found.
    pub faults: u64,
}

/// What `gc` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Unreferenced blobs removed.
    pub blobs: u64,
    /// Bytes they freed.
    pub bytes: u64,
    /// Leftovers of a crash removed: half-written files, segments without a blob.
    pub leftovers: u64,
    /// Unreferenced blobs left because they are younger than a minute.
    pub spared: u64,
    /// Names in the tree that are none of ours; left alone.
    pub unknown: u64,
    /// Manifests merged into one.
    pub manifests: u64,
}

/// Longest media type that is kept, in bytes: RFC 6838 §4.2 allows 255 without parameters.
const MAX_MEDIA_TYPE: usize = 1024;

/// `text` where a header can carry it as a media type: printable ASCII, not empty and not endless. Else the type of unknown bytes.
pub(super) fn media_type_or_default(text: Cow<'_, str>) -> Cow<'_, str> {
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if printable && (1..=MAX_MEDIA_TYPE).contains(&text.len()) { text } else { Cow::Borrowed(media_type::DEFAULT) }
}

/// Seconds since 1970; negative before.
pub(super) fn to_seconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        // Rounded down, as the others are.
        Err(before) => -i64::try_from(before.duration().as_secs_f64().ceil() as u64).unwrap_or(i64::MAX),
    }
}

/// The time at `seconds` since 1970; 1970 itself where the clock has no such time.
pub(super) fn from_seconds(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

/// The time of a file's timestamp: seconds since 1970, and nanoseconds behind them.
pub(super) fn from_timestamp(seconds: i64, nanos: i64) -> SystemTime {
    let time = from_seconds(seconds);
    time.checked_add(Duration::from_nanos(nanos.unsigned_abs())).unwrap_or(time)
}

/// Now, in seconds since 1970.
pub(super) fn now() -> i64 {
    to_seconds(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_header_can_carry_is_the_type_of_unknown_bytes() {
        let long = "x".repeat(MAX_MEDIA_TYPE + 1);
        for bad in ["", "a\r\nb: c", "text/\0", "text/pl\u{e4}in", "\t", &long] {
            assert_eq!(media_type_or_default(Cow::Borrowed(bad)), media_type::DEFAULT, "{bad:?}");
        }
        let good = "text/plain; charset=\"utf-8\"";
        assert_eq!(media_type_or_default(Cow::Borrowed(good)), good);
    }

    #[test]
    fn times_before_and_after_1970_come_back_in_whole_seconds() {
        for seconds in [0, 1, -1, 1_700_000_000, -3_000_000_000, i64::from(u32::MAX)] {
            assert_eq!(to_seconds(from_seconds(seconds)), seconds);
        }
        assert_eq!(to_seconds(UNIX_EPOCH - Duration::from_millis(1500)), -2);
        assert_eq!(to_seconds(UNIX_EPOCH + Duration::from_millis(1500)), 1);
        // A mad number from a database is a time all the same, and so is a timestamp's.
        from_timestamp(i64::MAX, i64::MIN);
        from_seconds(i64::MAX);
        from_seconds(i64::MIN);
    }
}
