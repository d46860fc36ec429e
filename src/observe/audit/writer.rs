//! The thread that writes the audit file: it gathers what is there for a moment, writes it at once, and keeps what the disk doesn't take.

use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::mpsc::Receiver;
use tokio::time::sleep;

use super::file::AuditFile;
use super::{Refused, line_of, next};
use crate::observe::bus::{Event, Listener};
use crate::observe::metrics::{AUDIT_ERRORS, BUS_LAGGED, Bus, Component, SERVICE_RESTARTS};

/// How long lines are gathered before they are written: so many refusals cost one write, and few wake-ups.
const GATHER: Duration = Duration::from_millis(10);
/// Bytes that wait for the disk before what comes is lost.
const PENDING: usize = 256 << 10;
/// Events and refusals that are taken before they are written: no flood keeps the writer from writing.
const ROUND: usize = 16 << 10;
/// How long after an error the next try comes.
const RETRY: Duration = Duration::from_secs(1);
/// How long a reader that doesn't keep up is left alone, where the file is a pipe.
const RETRY_PIPE: Duration = Duration::from_millis(100);
/// How often errors are told to the log.
const TELL: Duration = Duration::from_secs(60);

/// What is asked of the writer.
pub(super) enum Command {
    /// Open the file anew.
    Reopen,
    /// Say when all that happened so far is written.
    Flush(SyncSender<()>),
}

/// What the writer hears.
pub(super) struct Inbox {
    pub events: Listener,
    pub refused: Receiver<(SystemTime, Refused)>,
    pub commanded: Receiver<Command>,
}

/// What it wakes for.
enum Woken {
    Event(SystemTime, Event),
    Lost(u64),
    Refused(SystemTime, Refused),
    Command(Command),
    Again,
}

/// Writes the audit file.
pub(super) struct Writer {
    file: AuditFile,
    inbox: Inbox,
    /// Whole lines that are to be written.
    pending: Vec<u8>,
    /// Who waits until nothing is pending.
    waiting: Vec<SyncSender<()>>,
    /// When an error was told last.
    told: Option<Instant>,
}

impl Writer {
    pub fn new(file: AuditFile, inbox: Inbox) -> Self {
        Self { file, inbox, pending: Vec::new(), waiting: Vec::new(), told: None }
    }

    /// Write from a thread of its own, until the process ends.
    pub fn spawn(mut self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let body = move || {
            // A panic would be a fault of ours; it costs the lines that were gathered and not the file.
            while catch_unwind(AssertUnwindSafe(|| runtime.block_on(self.run()))).is_err() {
                SERVICE_RESTARTS.inc(Component::AuditWriter);
                log::error!(event = "service_restarted", component = Component::AuditWriter.as_str(); "");
                std::thread::park_timeout(RETRY);
            }
        };
        std::thread::Builder::new().name("audit".into()).spawn(body).map(drop)
    }

    async fn run(&mut self) {
        let mut retry = None;
        loop {
            let woken = self.woken(retry).await;
            let urgent = matches!(woken, Woken::Command(_) | Woken::Again);
            self.take(woken);
            if !urgent {
                sleep(GATHER).await;
            }
            retry = self.write_out();
        }
    }

    /// Wait for something to do; where lines are pending, at most for `retry`.
    async fn woken(&mut self, retry: Option<Duration>) -> Woken {
        let Inbox { events, refused, commanded } = &mut self.inbox;
        if let Some(retry) = retry {
            return tokio::select! {
                Some(command) = commanded.recv() => Woken::Command(command),
                () = sleep(retry) => Woken::Again,
            };
        }
        // The senders are in a static: no queue is ever closed.
        tokio::select! {
            biased;
            Some(command) = commanded.recv() => Woken::Command(command),
            heard = events.dated() => match heard {
                Ok((at, event)) => Woken::Event(at, event),
                Err(lost) => Woken::Lost(lost),
            },
            Some((at, refused)) = refused.recv() => Woken::Refused(at, refused),
        }
    }

    fn take(&mut self, woken: Woken) {
        match woken {
            Woken::Event(at, event) => self.keep(|| line_of(at, &event.told())),
            Woken::Refused(at, refused) => self.keep(|| refused.line(at)),
            Woken::Lost(lost) => BUS_LAGGED.add(Bus::Audit, lost),
            Woken::Command(Command::Reopen) => self.file.close(),
            Woken::Command(Command::Flush(done)) => self.waiting.push(done),
            Woken::Again => {}
        }
    }

    /// Keep a line for the disk, or count it as lost.
    fn keep(&mut self, line: impl FnOnce() -> String) {
        if self.pending.len() < PENDING {
            self.pending.extend_from_slice(line().as_bytes());
        } else {
            BUS_LAGGED.inc(Bus::Audit);
        }
    }

    /// Write what has happened so far. If not all of it could be, when to try again.
    pub fn write_out(&mut self) -> Option<Duration> {
        loop {
            let all = self.gather();
            if let Err(error) = self.file.write(&mut self.pending) {
                if error.kind() == ErrorKind::WouldBlock {
                    return Some(RETRY_PIPE);
                }
                self.tell(&error);
                return Some(RETRY);
            }
            if all {
                break;
            }
        }
        for waiting in self.waiting.drain(..) {
            // Whoever waited may have given up.
            let _ = waiting.try_send(());
        }
        None
    }

    /// Take what the queues hold, the events first. Whether that is all; else there is more than fits. What waits for a disk that takes nothing is
    /// taken as well, and lost: were it left where it is, nobody would know.
    fn gather(&mut self) -> bool {
        let stuck = self.pending.len() >= PENDING;
        for _ in 0..ROUND {
            if !stuck && self.pending.len() >= PENDING {
                return false;
            }
            let next = match self.inbox.events.try_dated() {
                Ok((at, event)) => Woken::Event(at, event),
                Err(TryRecvError::Lagged(lost)) => Woken::Lost(lost),
                Err(TryRecvError::Empty | TryRecvError::Closed) => match next(&mut self.inbox.refused) {
                    Some((at, refused)) => Woken::Refused(at, refused),
                    None => return true,
                },
            };
            self.take(next);
        }
        false
    }

    /// Count an error, and tell it once a minute.
    fn tell(&mut self, error: &io::Error) {
        AUDIT_ERRORS.inc();
        if self.told.is_none_or(|told| told.elapsed() >= TELL) {
            self.told = Some(Instant::now());
            let (path, cause) = (self.file.path().display().to_string(), error.to_string());
            log::error!(event = "audit_failed", path = path.as_str(), cause = cause.as_str(); "tried again every second");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::observe::bus;
    use crate::observe::metrics::{Method, Reason, Route};
    use bytes::Bytes;
    use tokio::sync::mpsc::{Sender, channel};

    fn refused(status: u16) -> (SystemTime, Refused) {
        let refused = Refused {
            corr_id: Bytes::from_static(b"id"),
            reason: Reason::NotFound,
            status,
            route: Route::Asset,
            method: Method::Get,
            peer_addr: None,
        };
        (SystemTime::UNIX_EPOCH, refused)
    }

    fn writer(path: &std::path::Path) -> (Writer, Sender<(SystemTime, Refused)>) {
        let (refusals, refused) = channel(16 << 10);
        let (_, commanded) = channel(1);
        let inbox = Inbox { events: bus::subscribe(), refused, commanded };
        (Writer::new(AuditFile::open(path).unwrap(), inbox), refusals)
    }

    #[test]
    fn a_disk_that_takes_nothing_costs_bounded_memory_and_the_lines_that_did_fit_are_written_once_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let (mut writer, refusals) = writer(&path);
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let (lost, errors) = (BUS_LAGGED.get(Bus::Audit), AUDIT_ERRORS.get());
        for round in 0..3_u16 {
            (0..5000).for_each(|_| refusals.try_send(refused(400 + round)).unwrap());
            assert_eq!(writer.write_out(), Some(RETRY));
            assert!(writer.pending.len() < PENDING + 1000, "{}", writer.pending.len());
        }
        assert_eq!(AUDIT_ERRORS.get(), errors + 3);
        let lost = BUS_LAGGED.get(Bus::Audit) - lost;
        assert!(lost >= 10_000, "{lost} of 15000 did not fit");
        std::fs::remove_dir(&path).unwrap();
        assert_eq!(writer.write_out(), None);
        let text = std::fs::read_to_string(&path).unwrap();
        // Other tests publish events, which are written too.
        let written = text.lines().filter(|line| line.contains("\"refused\"")).count() as u64;
        assert!((1000..5000).contains(&written), "{written} written, {lost} lost");
    }

    #[test]
    fn lost_events_are_counted_and_the_rest_is_written_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let (mut writer, _refusals) = writer(&path);
        let lost = BUS_LAGGED.get(Bus::Audit);
        for n in 0..3000 {
            bus::publish(Event::ObjectsEvicted { objects: n, bytes: 77 });
        }
        assert_eq!(writer.write_out(), None);
        assert!(BUS_LAGGED.get(Bus::Audit) - lost >= 1976, "the bus holds 1024");
        let text = std::fs::read_to_string(&path).unwrap();
        let seen: Vec<u64> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .filter(|line| line["bytes"] == 77)
            .filter_map(|line| line["objects"].as_u64())
            .collect();
        assert_eq!(seen.last(), Some(&2999));
        assert!(seen.is_sorted() && seen.len() <= 1024);
    }
}
