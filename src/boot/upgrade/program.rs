//! The program as it was started: what SIGUSR2 starts again.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A path and arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// The one that runs now; call it before anything changes the working directory. Its path is the one it was started by, links
    /// unresolved: who upgrades puts another file there, or lets a link there point to one.
    pub fn of_this_process() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        let path = match arguments.next().map(PathBuf::from) {
            Some(name) if name.components().count() > 1 => std::path::absolute(name)?,
            name => on_path(name.as_ref()).map_or_else(std::env::current_exe, Ok)?,
        };
        Ok(Self { path, arguments: arguments.collect() })
    }

    /// Start it once more, as a successor, with the same environment and standard streams.
    pub fn start_successor(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).stdin(Stdio::null());
        if !self.arguments.iter().any(|argument| argument == "--upgrade" || argument == "-u") {
            command.arg("--upgrade");
        }
        command
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("cannot start {}: {error}", self.path.display())))
    }
}

/// Where a name without a slash was found.
fn on_path(name: Option<&PathBuf>) -> Option<PathBuf> {
    let (name, path) = (name.filter(|name| !name.as_os_str().is_empty())?, std::env::var_os("PATH")?);
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file() && path.is_absolute())
}
