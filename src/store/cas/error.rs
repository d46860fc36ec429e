//! Why the CAS could not be opened, or a command on it could not do its work.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use crate::store::StoreError;

/// What went wrong. Each prints as one line.
#[derive(Debug, thiserror::Error)]
pub enum CasError {
    /// Another user may write what we would serve.
    #[error("{path}: {why}")]
    Unsafe {
        /// The directory or file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// A newer version wrote the index; it is left as it is.
    #[error("{path}: the index has version {found}, this program knows {known}: use the newer program")]
    Newer {
        /// The index.
        path: PathBuf,
        /// The version in the file.
        found: i64,
        /// The version of this program.
        known: i64,
    },
    /// The command was asked for what cannot be: a prefix or path that is no asset path, a source that is no directory.
    #[error("{0}")]
    Refused(Cow<'static, str>),
    /// The disk or the kernel failed.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The store itself.
    #[error("CAS: {0}")]
    Store(#[from] StoreError),
}

impl CasError {
    pub(super) fn io(what: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { what, path: path.to_owned(), source: source.into() }
    }
}

impl From<rusqlite::Error> for CasError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<CasError> for StoreError {
    fn from(error: CasError) -> Self {
        match error {
            CasError::Store(error) => error,
            CasError::Io { ref source, .. } => io::Error::new(source.kind(), error.to_string()).into(),
            other => io::Error::other(other.to_string()).into(),
        }
    }
}
