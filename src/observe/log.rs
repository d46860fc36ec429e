//! The log: one JSON object (or one line of text) a line on standard error or in a file, written by a thread of its own.
//!
//! A request never waits for the log: the channel to the writer is bounded, and what finds it full is dropped and counted
//! in `bus_lagged_total`, as `log` or, a request's line, as `access`. Before [`start_writer`] (a command, or a server that still may refuse to start) lines are written at once.

use std::fmt::{self, Write as _};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use log::kv::{Key, Value, VisitSource};
use log::{Level, LevelFilter, Metadata, Record};

use super::access;
use super::faults;
use super::metrics::{BUS_LAGGED, Bus, Component, SERVICE_RESTARTS};

/// Lines that wait for the writer before new ones are dropped.
const CAPACITY: usize = 8192;
/// How many of them may be of requests: however many there are, there is room for what an operator must see.
const ACCESS: usize = CAPACITY / 4 * 3;
/// Lines that are written at once.
const BATCH: usize = 256;
/// How long the writer rests behind lines of requests: a request then rarely finds it asleep, and waking it would cost more than the line.
const REST: Duration = Duration::from_millis(10);

/// How Rust's library ends the text of ECONNABORTED.
const ABORTED: &str = "(os error 103)";

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// `time LEVEL event key=value …`, for a person at a terminal.
    Text,
}

/// What goes to the writer.
enum Line {
    Whole(String),
    Access(access::Record),
    Flush(SyncSender<()>),
}

struct Logger {
    format: Format,
    sink: Mutex<Box<dyn Write + Send>>,
    writer: OnceLock<SyncSender<Line>>,
    /// Lines of requests that wait for the writer.
    access: AtomicUsize,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Start logging: to `file`, or to standard error. A second call changes nothing but the level.
pub fn init(format: Format, level: LevelFilter, file: Option<&Path>) -> io::Result<()> {
    let sink: Box<dyn Write + Send> = match file {
        Some(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
        None => Box::new(io::stderr()),
    };
    let logger = LOGGER.get_or_init(|| Logger {
        format,
        sink: Mutex::new(sink),
        writer: OnceLock::new(),
        access: AtomicUsize::new(0),
    });
    // Someone else's logger can only be there in a test, which then sees our lines in its own.
    let _ = log::set_logger(logger);
    set_level(level);
    Ok(())
}

/// Log what is at least as severe as `level` from now on.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

/// Hand the lines to a thread from now on.
pub fn start_writer() {
    let Some(logger) = LOGGER.get() else { return };
    let (sender, receiver) = sync_channel(CAPACITY);
    if logger.writer.set(sender).is_ok() {
        let write = move || {
            // The lines that it had taken when it panicked are lost; those behind them are not.
            while catch_unwind(AssertUnwindSafe(|| write_lines(logger, &receiver))).is_err() {
                SERVICE_RESTARTS.inc(Component::LogWriter);
                let component = [("component".to_owned(), Component::LogWriter.as_str().into())];
                logger.write(&logger.render(Level::Error, "service_restarted", "", &component));
            }
        };
        let started = std::thread::Builder::new().name("log".into()).spawn(write);
        if let Err(error) = started {
            logger.write(&logger.render(Level::Error, "log_writer", &error.to_string(), &[]));
        }
    }
}

/// Wait until what was logged so far is written, at most a second.
pub fn flush() {
    let Some(writer) = LOGGER.get().and_then(|logger| logger.writer.get()) else { return };
    let until = Instant::now() + Duration::from_secs(1);
    let (done, wait) = sync_channel(1);
    let mut line = Line::Flush(done);
    while let Err(TrySendError::Full(again)) = writer.try_send(line) {
        if Instant::now() > until {
            return;
        }
        line = again;
        std::thread::park_timeout(REST);
    }
    let _ = wait.recv_timeout(until.saturating_duration_since(Instant::now()));
}

/// Log one answered request. Never waits.
pub(super) fn access(record: access::Record) {
    if log::max_level() > LevelFilter::Off
        && let Some(logger) = LOGGER.get()
    {
        logger.send_access(record);
    }
}

impl Logger {
    fn send(&self, line: Line) {
        match self.writer.get() {
            Some(writer) => {
                if writer.try_send(line).is_err() {
                    BUS_LAGGED.inc(Bus::Log);
                }
            }
            None => self.write(&self.text_of(line, String::new())),
        }
    }

    fn send_access(&self, record: access::Record) {
        let Some(writer) = self.writer.get() else { return self.write(&record.render(self.format, String::new())) };
        let room = self.access.fetch_add(1, Relaxed) < ACCESS;
        if !room || writer.try_send(Line::Access(record)).is_err() {
            self.access.fetch_sub(1, Relaxed);
            BUS_LAGGED.inc(Bus::Access);
        }
    }

    /// The text of a line, in `room` where that saves memory of its own.
    fn text_of(&self, line: Line, room: String) -> String {
        match line {
            Line::Whole(text) => text,
            Line::Access(record) => {
                self.access.fetch_sub(1, Relaxed);
                record.render(self.format, room)
            }
            Line::Flush(_) => String::new(),
        }
    }

    fn write(&self, text: &str) {
        // A log that can't be written must not stop the server; and a writer that panicked left whole lines behind it.
        let mut sink = self.sink.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = sink.write_all(text.as_bytes());
        let _ = sink.flush();
    }

    fn render(&self, level: Level, event: &str, message: &str, fields: &[(String, serde_json::Value)]) -> String {
        let mut line = LineBuilder::new(self.format, level, event);
        for (key, value) in fields {
            line.field(key, value);
        }
        if !message.is_empty() {
            line.field("message", &message.into());
        }
        line.finish()
    }
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record) {
        // Below INFO, Pingora prints whole requests to origins, credentials, queries and all.
        if record.level() >= Level::Debug && record.target().starts_with("pingora") {
            return;
        }
        let message = record.args().to_string();
        let (level, message) = translate(record.target(), record.level(), message);
        if level > log::max_level() {
            return;
        }
        let mut fields = Fields::default();
        // Our own visitor never fails.
        let _ = record.key_values().visit(&mut fields);
        let event = fields.event.take().unwrap_or_else(|| {
            let of = |target| record.target().starts_with(target);
            ["pingora", "rustls"].into_iter().find(|target| of(*target)).unwrap_or("message").into()
        });
        self.send(Line::Whole(self.render(level, &event, &message, &fields.rest)));
    }

    fn flush(&self) {
        flush();
    }
}

/// What of Pingora's lines concerns an operator.
///
/// Pingora logs a client that hangs up, or sends garbage, as ERROR, and quotes its bytes, query string and all. That is no fault of
/// the server and must not be repeated: such a line keeps its fixed part and becomes DEBUG. Its progress notes become DEBUG too.
fn translate(target: &str, level: Level, message: String) -> (Level, String) {
    // Where one ends in a space, what follows it is the client's.
    const CLIENT_FAULTS: [&str; 11] = [
        "Fail to",
        "Failed in downstream",
        "failed to send error response",
        "Downstream handshake",
        "HTTP server fails to",
        "Error finish sending body to downstream",
        "H2 handshake error ",
        "TLS shutdown failed, ",
        "tearing down downstream h2 connection ",
        "negative content-length header value ",
        "invalid content-length header ",
    ];
    if target.starts_with("rustls") {
        // Alerts, and extensions that are none: what clients send. What comes of a handshake is counted where it is made.
        return (Level::Debug, message);
    }
    if !target.starts_with("pingora") {
        return (level, message);
    }
    if let Some(fault) = CLIENT_FAULTS.iter().find(|fault| message.starts_with(**fault)) {
        let known = if fault.ends_with(' ') { fault.trim_end() } else { &message };
        return (Level::Debug, known.split(':').next().unwrap_or_default().to_owned());
    }
    if message.starts_with("Accept() failed") && message.contains(ABORTED) {
        // It was gone before it was accepted (accept(2), ECONNABORTED).
        return (Level::Debug, "Accept() failed".into());
    }
    // Of two requests that wanted the same idle connection, this one makes another: nothing is wrong.
    let harmless = message == "failed to acquire reusable stream";
    let level = if level == Level::Info || harmless { Level::Debug } else { level };
    (level, message)
}

/// The key-values of a record; `event` names it.
#[derive(Default)]
struct Fields {
    event: Option<String>,
    rest: Vec<(String, serde_json::Value)>,
}

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        if key.as_str() == "event" {
            self.event = Some(value.to_string());
            return Ok(());
        }
        let value = if let Some(n) = value.to_u64() {
            n.into()
        } else if let Some(b) = value.to_bool() {
            b.into()
        } else {
            value.to_string().into()
        };
        self.rest.push((key.as_str().to_owned(), value));
        Ok(())
    }
}

fn write_lines(logger: &Logger, lines: &Receiver<Line>) {
    let (mut buffer, mut room) = (String::new(), String::new());
    while let Ok(first) = lines.recv() {
        let mut flushed = Vec::new();
        let (mut taken, mut urgent) = (0, false);
        // Take what is there, so that a burst costs one write, but bound it.
        for line in std::iter::once(first).chain(lines.try_iter().take(BATCH - 1)) {
            taken += 1;
            urgent |= !matches!(line, Line::Access(_));
            match line {
                Line::Flush(done) => flushed.push(done),
                line => {
                    room = logger.text_of(line, std::mem::take(&mut room));
                    buffer.push_str(&room);
                }
            }
        }
        faults::panic_here("log.writer");
        logger.write(&buffer);
        buffer.clear();
        for done in flushed {
            let _ = done.send(());
        }
        if taken < BATCH && !urgent {
            std::thread::park_timeout(REST);
        }
    }
}

/// A string of JSON.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Most need no escape.
        if self.0.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
            write!(to, "\"{}\"", self.0)
        } else {
            write!(to, "{}", serde_json::Value::from(self.0))
        }
    }
}

/// One line under construction. Values are escaped: no control character of a client reaches the terminal.
pub(super) struct LineBuilder {
    format: Format,
    text: String,
}

impl LineBuilder {
    pub(super) fn new(format: Format, level: Level, event: &str) -> Self {
        Self::within(String::new(), format, level, event)
    }

    /// In the memory of a line that is not needed any more.
    pub(super) fn within(mut text: String, format: Format, level: Level, event: &str) -> Self {
        let ts = humantime::format_rfc3339_millis(SystemTime::now());
        text.clear();
        // As long as most lines are.
        text.reserve(384);
        // Writing to a String cannot fail.
        let _ = match format {
            Format::Json => {
                let level = match level {
                    Level::Error => "error",
                    Level::Warn => "warn",
                    Level::Info => "info",
                    Level::Debug => "debug",
                    Level::Trace => "trace",
                };
                write!(text, "{{\"ts\":\"{ts}\",\"level\":\"{level}\",\"event\":{}", Quoted(event))
            }
            Format::Text => write!(text, "{ts} {:5} {}", level.as_str(), event.escape_debug()),
        };
        Self { format, text }
    }

    /// A line of the audit file, which has no levels and is always JSON, of what happened `at` that time.
    pub(super) fn audit(at: SystemTime, event: &str) -> Self {
        let ts = humantime::format_rfc3339_millis(at);
        let event = serde_json::Value::from(event);
        Self { format: Format::Json, text: format!("{{\"ts\":\"{ts}\",\"event\":{event}") }
    }

    pub(super) fn field(&mut self, key: &str, value: &serde_json::Value) {
        match value.as_str() {
            Some(text) => self.word(key, text),
            None => self.number(key, value),
        }
    }

    /// A field whose value is a text.
    pub(super) fn word(&mut self, key: &str, text: &str) {
        // Writing to a String cannot fail.
        let _ = match self.format {
            Format::Json => write!(self.text, ",{}:{}", Quoted(key), Quoted(text)),
            Format::Text if text.chars().all(|c| c.is_ascii_graphic() && c != '"') => {
                write!(self.text, " {key}={text}")
            }
            Format::Text => write!(self.text, " {key}={}", Quoted(text)),
        };
    }

    /// A field whose value is a text that needs no escape.
    pub(super) fn plain(&mut self, key: &str, value: impl fmt::Display) {
        let _ = match self.format {
            Format::Json => write!(self.text, ",{}:\"{value}\"", Quoted(key)),
            Format::Text => write!(self.text, " {key}={value}"),
        };
    }

    /// A field whose value is written as it is: a number, or what is JSON already.
    pub(super) fn number(&mut self, key: &str, value: impl fmt::Display) {
        let _ = match self.format {
            Format::Json => write!(self.text, ",{}:{value}", Quoted(key)),
            Format::Text => write!(self.text, " {key}={value}"),
        };
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::Json {
            self.text.push('}');
        }
        // What JSON leaves as it is: DEL, the C1 controls, and the separators that some readers take for the end of a line.
        let raw = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        if !self.text.is_ascii() || self.text.contains('\u{7f}') {
            self.text = self.text.chars().fold(String::with_capacity(self.text.len()), |mut text, c| {
                if raw(c) {
                    text.push_str(&format!("\\u{:04x}", u32::from(c)))
                } else {
                    text.push(c)
                }
                text
            });
        }
        self.text.push('\n');
        self.text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_json_line_is_one_object_whatever_the_values_hold() {
        let mut line = LineBuilder::new(Format::Json, Level::Warn, "pack\nlost");
        line.field("cause", &"a \"quote\", a\nnewline and \u{1b}[31m".into());
        line.field("n", &7.into());
        let line = line.finish();
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.contains('\u{1b}'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((value["level"].as_str(), value["n"].as_u64()), (Some("warn"), Some(7)));
    }

    #[test]
    fn a_text_line_quotes_what_is_not_a_plain_word() {
        let mut line = LineBuilder::new(Format::Text, Level::Info, "x");
        line.field("a", &"plain".into());
        line.field("b", &"two words\n".into());
        assert!(line.finish().ends_with(" a=plain b=\"two words\\n\"\n"));
    }

    #[test]
    fn what_rustls_says_of_clients_is_no_warning() {
        let said = "Sending warning alert CloseNotify".to_owned();
        assert_eq!(translate("rustls::common_state", Level::Warn, said.clone()), (Level::Debug, said));
    }

    #[test]
    fn what_pingora_says_of_clients_is_cut_to_its_fixed_part() {
        let said = "Fail to proxy: InvalidHTTPHeader context: buf: GET /?secret=1".to_owned();
        assert_eq!(translate("pingora_proxy", Level::Error, said), (Level::Debug, "Fail to proxy".into()));
        for said in ["Accept() failed", "Accept() failed  AcceptError cause: Too many open files (os error 24)"] {
            let said = said.to_owned();
            assert_eq!(translate("pingora_core::services", Level::Error, said.clone()), (Level::Error, said));
        }
        for (said, kept) in [
            ("H2 handshake error  HandshakeError context: x cause: frame with invalid size", "H2 handshake error"),
            ("invalid content-length header value 1;secret", "invalid content-length header"),
            (
                "tearing down downstream h2 connection after 32 malformed requests",
                "tearing down downstream h2 connection",
            ),
            ("Accept() failed  AcceptError cause: connection abort (os error 103)", "Accept() failed"),
        ] {
            assert_eq!(translate("pingora_core", Level::Error, said.into()), (Level::Debug, kept.into()));
        }
    }
}
