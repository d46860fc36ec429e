//! The audit file: one JSON object a line for each fill, refusal, purge, reload, quarantine, and whatever else the bus tells.
//!
//! A thread of its own writes it, from two bounded queues: the event bus, and one for refusals, so that a flood of them can't push out what
//! happened. Who fills a queue never waits; what is lost is counted in `bus_lagged_total{bus="audit"}`. Lines never carry a query string, a
//! cookie, an Authorization field or a raw control character.

mod file;
mod writer;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::bus;
use super::event::{Field, Told};
use super::log::LineBuilder;
use super::metrics::{BUS_LAGGED, Bus, Method, Reason, Route};

use self::writer::{Command, Inbox, Writer};

/// Refusals that wait for the writer before new ones are lost.
const REFUSALS: usize = 8192;
/// Commands that wait for it: there are few.
const COMMANDS: usize = 16;
/// How long the end of the process waits for the last lines.
const PATIENCE: Duration = Duration::from_secs(1);

/// An answer that refused a request.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The request's id.
    pub corr_id: Bytes,
    /// Why.
    pub reason: Reason,
    /// The status answered; 0 when the client left before.
    pub status: u16,
    /// The route it took.
    pub route: Route,
    /// Its method.
    pub method: Method,
    /// The address that connected.
    pub peer_addr: Option<SocketAddr>,
}

/// The two ends of the audit file.
struct Audit {
    refusals: Sender<(SystemTime, Refused)>,
    commands: Sender<Command>,
    /// Taken by the thread that writes.
    writer: Mutex<Option<Writer>>,
}

static AUDIT: OnceLock<Audit> = OnceLock::new();

/// Open the audit file, for appending; it is made for its owner alone (0600). What happens from now on is kept for it, and written once
/// [`start`] was called. The error is one line that names the file. A second call changes nothing.
pub fn open(path: &Path) -> Result<(), String> {
    let file = file::AuditFile::open(path).map_err(|error| format!("edge.log.audit: {}: {error}", path.display()))?;
    let (refusals, refused) = channel(REFUSALS);
    let (commands, commanded) = channel(COMMANDS);
    let writer = Writer::new(file, Inbox { events: bus::subscribe(), refused, commanded });
    AUDIT.get_or_init(|| Audit { refusals, commands, writer: Mutex::new(Some(writer)) });
    Ok(())
}

/// Whether the file at `path` could be opened, without making it. The error is one line that names the file.
pub fn check(path: &Path) -> Result<(), String> {
    file::check(path).map_err(|error| format!("edge.log.audit: {}: {error}", path.display()))
}

/// Start the thread that writes, if there is an audit file.
pub fn start() -> io::Result<()> {
    let Some(writer) = AUDIT.get().and_then(take_writer) else { return Ok(()) };
    writer.spawn()
}

/// Keep a refusal, if there is an audit file; only then is it made. One atomic read where there is none. Never waits.
pub fn refused(make: impl FnOnce() -> Refused) {
    let Some(audit) = AUDIT.get() else { return };
    // A permit first: what finds no room isn't even made.
    match audit.refusals.try_reserve() {
        Ok(place) => place.send((SystemTime::now(), make())),
        Err(_full) => BUS_LAGGED.inc(Bus::Audit),
    }
}

/// Open the file anew at its path: for SIGHUP. A file that was moved away is noticed without it, at the next line.
pub fn reopen() {
    if let Some(audit) = AUDIT.get() {
        // Where so many wait already, one of them reopens it.
        let _ = audit.commands.try_send(Command::Reopen);
    }
}

/// Wait until what happened so far is written, at most a second. For the end of the process.
pub fn flush() {
    let Some(audit) = AUDIT.get() else { return };
    // The server did not get so far as to start the thread.
    if let Some(mut writer) = take_writer(audit) {
        writer.write_out();
        return;
    }
    let (done, wait) = sync_channel(1);
    if audit.commands.try_send(Command::Flush(done)).is_ok() {
        let _ = wait.recv_timeout(PATIENCE);
    }
}

fn take_writer(audit: &Audit) -> Option<Writer> {
    audit.writer.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The next one of a queue.
fn next<T>(queue: &mut Receiver<T>) -> Option<T> {
    queue.try_recv().ok()
}

/// The line of an event.
fn line_of(at: SystemTime, told: &Told) -> String {
    let mut line = LineBuilder::audit(at, told.name);
    for (key, value) in &told.fields {
        let value = match value {
            Field::Text(text) => text.as_str().into(),
            Field::Number(number) => (*number).into(),
            Field::Flag(flag) => (*flag).into(),
            Field::List(texts) => texts.as_slice().into(),
        };
        line.field(key, &value);
    }
    line.finish()
}

impl Refused {
    fn line(&self, at: SystemTime) -> String {
        let mut line = LineBuilder::audit(at, "refused");
        line.field("corr_id", &String::from_utf8_lossy(&self.corr_id).into_owned().into());
        line.field("reason", &self.reason.as_str().into());
        line.field("status", &self.status.into());
        line.field("route", &self.route.as_str().into());
        line.field("method", &self.method.as_str().into());
        if let Some(peer) = self.peer_addr {
            line.field("peer_addr", &peer.to_string().into());
        }
        line.finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::observe::bus::Event;

    #[test]
    fn a_line_is_one_object_whatever_a_path_holds() {
        let event = Event::FillFailed {
            path: "a\n\u{7f}\u{85}\u{2028}\u{1b}[31m\"".into(),
            ms: 3,
            origin: "o/".into(),
            cause: "origin",
            detail: String::new(),
        };
        let line = line_of(SystemTime::UNIX_EPOCH, &event.told());
        assert!(line.ends_with("}\n"));
        assert!(!line.trim_end().chars().any(char::is_control), "{line:?}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["path"], "a\n\u{7f}\u{85}\u{2028}\u{1b}[31m\"", "and nothing of it is lost");
        assert_eq!(
            (value["ts"].as_str(), value["event"].as_str()),
            (Some("1970-01-01T00:00:00.000Z"), Some("fill_failed"))
        );
        assert_eq!((value["ms"].as_u64(), value["origin"].as_str()), (Some(3), Some("o/")));
    }

    #[test]
    fn a_list_stays_a_list() {
        let event = Event::ConfReloaded { changed: vec!["edge.log.level".into()], needs_upgrade: vec![] };
        let value: serde_json::Value = serde_json::from_str(&line_of(SystemTime::now(), &event.told())).unwrap();
        assert_eq!(value["changed"], serde_json::json!(["edge.log.level"]));
        assert_eq!(value["needs_upgrade"], serde_json::json!([]));
    }

    #[test]
    fn a_refusal_says_who_why_and_how() {
        let refused = Refused {
            corr_id: Bytes::from_static(b"abc"),
            reason: Reason::BadPath,
            status: 400,
            route: Route::None,
            method: Method::Get,
            peer_addr: Some(([127, 0, 0, 1], 9).into()),
        };
        let line = refused.line(SystemTime::UNIX_EPOCH);
        assert_eq!(
            line,
            "{\"ts\":\"1970-01-01T00:00:00.000Z\",\"event\":\"refused\",\"corr_id\":\"abc\",\"reason\":\"bad_path\",\
             \"status\":400,\"route\":\"none\",\"method\":\"GET\",\"peer_addr\":\"127.0.0.1:9\"}\n"
        );
    }
}
