//! Whether an index that a statement found malformed is. SQLite says the same of a disk that fails to read it (EIO), and setting a sound index aside
//! loses everything that was filled.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::PARTS;
use super::schema;
use crate::store::cas::blobs::Id;

/// How long a check may take, and how long an index that can't be read is left where it is.
const PATIENCE: Duration = Duration::from_secs(60);

/// An index file under suspicion.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspect {
    pub id: Id,
    /// The error was none that a failing disk could have caused.
    certain: bool,
    since: Instant,
}

/// What came of a suspicion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The file is damaged, or can't be read for so long that it is as good as damaged.
    Damaged,
    /// The disk failed; the file is whole.
    Sound,
    /// The disk still fails.
    Unreadable,
}

impl Suspect {
    /// The file `id`, of which a statement said `error`; none where that is no damage.
    pub fn of(id: Id, error: &rusqlite::Error) -> Option<Self> {
        let certain = error.sqlite_error_code() != Some(rusqlite::ErrorCode::DatabaseCorrupt);
        schema::is_damage(error).then(|| Self { id, certain, since: Instant::now() })
    }

    /// The same, with a further error.
    pub fn and(self, other: Self) -> Self {
        Self { certain: self.certain || other.certain, ..self }
    }

    /// Read the file at `path` and have SQLite check it. Takes as long as reading it does, at most about a minute.
    pub fn examine(&self, path: &Path) -> Finding {
        if self.certain {
            return Finding::Damaged;
        }
        let until = Instant::now() + PATIENCE;
        // What the check finds may be the disk's doing too, and a disk that fails now and then may let one reading pass.
        for _ in 0..2 {
            if check(path, until).unwrap_or(false) {
                return Finding::Sound;
            }
            if PARTS.iter().any(|part| !is_readable(&path.with_extension(format!("sqlite{part}")))) {
                return if self.since.elapsed() < PATIENCE { Finding::Unreadable } else { Finding::Damaged };
            }
        }
        Finding::Damaged
    }
}

/// Whether every page is what it should be, as far as the file itself can tell.
fn check(path: &Path, until: Instant) -> rusqlite::Result<bool> {
    let mut connection = schema::connect(Some(path))?;
    connection.progress_handler(10_000, Some(move || Instant::now() > until))?;
    connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)).map(|said| said == "ok")
}

/// Whether the disk gives every byte. In small pieces: each is a chance to fail.
fn is_readable(path: &Path) -> bool {
    let read = || {
        let (file, mut piece, mut at) = (File::open(path)?, [0; 16 * 1024], 0);
        loop {
            match file.read_at(&mut piece, at)? {
                0 => return Ok::<_, std::io::Error>(()),
                count => at += count as u64,
            }
        }
    };
    read().or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }).is_ok()
}
