//! `edge.log`: what is logged.

use std::path::PathBuf;

use log::LevelFilter;

use super::read::Reader;
use super::value::{Choice, number, string};

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConf {
    /// How a line looks.
    pub format: LogFormat,
    /// The least severe level.
    pub level: LevelFilter,
    /// Which requests.
    pub access: AccessLog,
    /// With [`AccessLog::Sampled`], one hit in this many: at least 1.
    pub sample: u64,
    /// Where what happens is written down, one JSON object a line; `None` is nowhere.
    pub audit: Option<PathBuf>,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Which requests are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// One hit in `sample`, and everything that is no hit.
    Sampled,
    /// Every one.
    All,
    /// None.
    Off,
}

impl Choice for LogFormat {
    const ALL: &'static [(&'static str, LogFormat)] = &[("json", LogFormat::Json), ("text", LogFormat::Text)];
}

impl Choice for AccessLog {
    const ALL: &'static [(&'static str, AccessLog)] =
        &[("sampled", AccessLog::Sampled), ("all", AccessLog::All), ("off", AccessLog::Off)];
}

impl Choice for LevelFilter {
    const ALL: &'static [(&'static str, LevelFilter)] = &[
        ("off", LevelFilter::Off),
        ("error", LevelFilter::Error),
        ("warn", LevelFilter::Warn),
        ("info", LevelFilter::Info),
        ("debug", LevelFilter::Debug),
        ("trace", LevelFilter::Trace),
    ];
}

/// Read the section.
pub(super) fn parse(r: &mut Reader) -> Option<LogConf> {
    let format = r.choice("edge.log.format");
    let level = r.choice("edge.log.level");
    let access = r.choice("edge.log.access");
    let sample = r.get("edge.log.sample", number);
    let audit = r.optional("edge.log.audit", string);
    Some(LogConf { format: format?, level: level?, access: access?, sample: sample?, audit: audit?.map(PathBuf::from) })
}
