//! Where a conf came from, so that it can be read again: the same file, by the same flags, in the same environment.

use std::path::{Path, PathBuf};

use super::{Conf, ConfErrors, Flags};

/// The file and the flags of a process. The environment is the process's own, which nobody changes.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    file: Option<PathBuf>,
    flags: Flags,
}

impl Sources {
    /// As for [`Conf::load`].
    pub fn new(file: Option<&Path>, flags: Flags) -> Self {
        Self { file: file.map(Path::to_path_buf), flags }
    }

    /// Read the conf, as it is now: the file, and whatever it names outside itself. Flags and environment win, as at the start.
    pub fn load(&self) -> Result<Conf, ConfErrors> {
        Conf::load(self.file.as_deref(), &self.flags)
    }
}
