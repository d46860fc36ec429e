//! Detaching: `error_log`, and a process that goes on behind the command that started it.
//!
//! The command returns when the daemon serves, or with its reason where it does not. The working directory stays, so that the relative paths
//! of a conf mean what they say.

use std::fs::{File, OpenOptions};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use daemonix::{Daemonize, Outcome, Stdio};

use crate::conf::ServerSection;

/// What the daemon says when it serves.
const READY: &[u8] = b"ready\n";
/// Bytes of a reason that the command repeats.
const MAX_REASON: u64 = 4096;

/// Which of the processes this is, once it has detached.
pub enum Side {
    /// The command: its work is to wait.
    Command(Waiting),
    /// The daemon.
    Daemon(Word),
}

/// The daemon's last word to the command that started it; none where nobody waits.
#[derive(Default)]
pub struct Word(Mutex<Option<PipeWriter>>);

/// The command's side.
pub struct Waiting(PipeReader);

/// Detach where the conf says so; else this process is its own daemon, for whom nobody waits. Errors: in a sentence.
pub fn enter(section: &ServerSection) -> Result<Side, String> {
    match &section.error_log {
        Some(error_log) if section.daemon => detach(error_log),
        // The conf lets no daemon be without one.
        _ => Ok(Side::Daemon(Word::default())),
    }
}

/// Detach this process; call it before there are threads. Errors: in a sentence.
fn detach(error_log: &Path) -> Result<Side, String> {
    let failed = |error: std::io::Error| format!("daemon: {error}");
    let log = open(error_log)?;
    let here = std::env::current_dir().map_err(failed)?;
    let (reader, writer) = std::io::pipe().map_err(failed)?;
    let detached = Daemonize::new().working_directory(here).stderr(Stdio::from(log)).execute();
    match detached {
        Outcome::Parent(Ok(_)) => Ok(Side::Command(Waiting(reader))),
        Outcome::Child(Ok(_)) => Ok(Side::Daemon(Word(Mutex::new(Some(writer))))),
        Outcome::Parent(Err(error)) | Outcome::Child(Err(error)) => Err(format!("daemon: {error}")),
    }
}

impl Word {
    /// It serves.
    pub fn ready(&self) {
        self.say(READY);
    }

    /// It does not, for this reason.
    pub fn failed(&self, why: &str) {
        self.say(why.as_bytes());
    }

    fn say(&self, word: &[u8]) {
        let pipe = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut pipe) = pipe {
            // The command may have been killed meanwhile.
            let _ = pipe.write_all(word);
        }
    }
}

impl Waiting {
    /// Wait for the daemon's word, at most `patience`. Errors: its reason, or that it ended without one.
    pub fn outcome(self, patience: Duration) -> Result<(), String> {
        let (said, heard) = std::sync::mpsc::channel();
        let mut pipe = self.0.take(MAX_REASON);
        let listen = move || {
            let mut word = Vec::new();
            // What came before an error is what was said.
            let _ = pipe.read_to_end(&mut word);
            let _ = said.send(word);
        };
        std::thread::Builder::new().spawn(listen).map_err(|error| format!("daemon: {error}"))?;
        let since = Instant::now();
        match heard.recv_timeout(patience) {
            Ok(word) if word == READY => Ok(()),
            Ok(word) if word.is_empty() => {
                Err("the daemon ended before it was ready; its error_log may say why".into())
            }
            Ok(word) => Err(String::from_utf8_lossy(&word).trim_end().to_owned()),
            Err(_) => Err(format!("the daemon is not ready after {:?}; it goes on", since.elapsed())),
        }
    }
}

/// Where standard error goes, so that it can be opened anew.
pub struct ErrorLog(Option<PathBuf>);

impl ErrorLog {
    /// Append standard error to the file at `path`; `None` leaves it as it is. The second is a duplicate of what it was.
    pub fn redirect(path: Option<PathBuf>) -> Result<(Self, Option<File>), String> {
        let before = path.as_ref().and_then(|_| std::io::stderr().as_fd().try_clone_to_owned().map(File::from).ok());
        let log = Self(path);
        log.reopen()?;
        Ok((log, before))
    }

    /// Open the file anew: it was moved away.
    pub fn reopen(&self) -> Result<(), String> {
        let Some(path) = &self.0 else { return Ok(()) };
        rustix::stdio::dup2_stderr(open(path)?).map_err(|error| format!("error_log: {}: {error}", path.display()))
    }
}

fn open(path: &Path) -> Result<File, String> {
    let opened = OpenOptions::new().create(true).append(true).mode(0o640).open(path);
    opened.map_err(|error| format!("error_log: {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn heard(say: impl FnOnce(&Word)) -> Result<(), String> {
        let (reader, writer) = std::io::pipe().unwrap();
        let word = Word(Mutex::new(Some(writer)));
        say(&word);
        drop(word);
        Waiting(reader).outcome(Duration::from_secs(20))
    }

    #[test]
    fn the_command_repeats_what_the_daemon_says() {
        assert_eq!(heard(Word::ready), Ok(()));
        assert_eq!(heard(|word| word.failed("cannot listen")), Err("cannot listen".into()));
        assert!(heard(|_| {}).unwrap_err().contains("ended before it was ready"));
        assert_eq!(
            heard(|word| {
                word.ready();
                word.failed("later");
            }),
            Ok(())
        );
    }

    #[test]
    fn the_command_does_not_wait_for_ever() {
        let (reader, writer) = std::io::pipe().unwrap();
        let outcome = Waiting(reader).outcome(Duration::from_millis(20));
        assert!(outcome.unwrap_err().contains("not ready after"));
        drop(writer);
    }
}
