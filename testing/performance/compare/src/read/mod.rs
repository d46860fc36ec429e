//! Reads a file and makes a [`Report`] of it. Which tool wrote it is seen by its shape, not by its name.

mod bombardier;
mod harness;
mod oha;
mod wrk;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::baseline;
use crate::report::Report;

/// No report is longer: that of a full run has some 100 KiB.
const MAX_BYTES: u64 = 64 << 20;

/// Why a file could not be read. Each names the file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It could not be opened or read.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is longer than any report.
    #[error("{}: longer than {} MiB, which no report is", .0.display(), MAX_BYTES >> 20)]
    TooLong(PathBuf),
    /// It is not JSON.
    #[error("{}: not JSON: {error}", .path.display())]
    NotJson {
        /// Which file.
        path: PathBuf,
        /// Where, and what was expected there.
        error: serde_json::Error,
    },
    /// It is JSON, but of nothing that is known.
    #[error(
        "{}: not a report that perf-compare knows: {found}\n  expected one of: {EXPECTED}", .path.display()
    )]
    Unknown {
        /// Which file.
        path: PathBuf,
        /// What stands there instead.
        found: String,
    },
    /// It is of a known kind, but something in it is not as that kind has it.
    #[error("{}: {kind}: {what}", .path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What the file is.
        kind: &'static str,
        /// What is wrong.
        what: String,
    },
}

const EXPECTED: &str = "\
a report of the harness (\"kind\": \"svc-edge-perf\"), a baseline (\"kind\": \"svc-edge-perf-baseline\"),
  a run of wrk by a script of the harness (\"latency_us\", \"errors\"),
  of oha (--output-format json: \"summary\", \"latencyPercentiles\"),
  of bombardier (-l -o json: \"spec\", \"result\")";

/// The JSON of a file.
pub fn json(path: &Path) -> Result<Value, ReadError> {
    let io = |error| ReadError::Io { path: path.to_owned(), error };
    let mut text = Vec::new();
    File::open(path).map_err(io)?.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(io)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(ReadError::TooLong(path.to_owned()));
    }
    serde_json::from_slice(&text).map_err(|error| ReadError::NotJson { path: path.to_owned(), error })
}

/// Read a report, a baseline or one run of a load.
pub fn report(path: &Path) -> Result<Report, ReadError> {
    recognised(json(path)?).map_err(|fault| fault.of(path))
}

/// A fault in a file whose name is not known here.
enum Fault {
    Unknown(String),
    Malformed(&'static str, String),
}

impl Fault {
    fn of(self, path: &Path) -> ReadError {
        let path = path.to_owned();
        match self {
            Self::Unknown(found) => ReadError::Unknown { path, found },
            Self::Malformed(kind, what) => ReadError::Malformed { path, kind, what },
        }
    }
}

fn recognised(value: Value) -> Result<Report, Fault> {
    let Value::Object(fields) = &value else {
        return Err(Fault::Unknown(format!("it is {}, not an object", kind_of(&value))));
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let object =
        |name: &str, has: &str| fields.get(name).and_then(Value::as_object).is_some_and(|o| o.contains_key(has));
    let (kind, made) = if text("kind") == Some(harness::KIND) {
        ("a report of the harness", harness::report(value))
    } else if text("kind") == Some(baseline::KIND) {
        ("a baseline", baseline::report(value))
    } else if object("latency_us", "p95") && text("tool").unwrap_or("wrk") == "wrk" {
        ("a run of wrk", wrk::report(value))
    } else if object("summary", "requestsPerSec") && fields.contains_key("latencyPercentiles") {
        ("a run of oha", oha::report(value))
    } else if object("spec", "numberOfConnections") && object("result", "req2xx") {
        ("a run of bombardier", bombardier::report(value))
    } else {
        return Err(Fault::Unknown(keys_of(fields)));
    };
    made.map_err(|what| Fault::Malformed(kind, what))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn keys_of(fields: &Map<String, Value>) -> String {
    if fields.is_empty() {
        return "it is an empty object".to_owned();
    }
    let shown: Vec<&str> = fields.keys().take(12).map(String::as_str).collect();
    let more = if fields.len() > shown.len() { ", …" } else { "" };
    format!("its keys are {:?}{more}", shown)
}

/// A figure: finite and not negative. `name` is for the error.
fn figure(name: &str, value: f64) -> Result<f64, String> {
    match value.is_finite() && value >= 0.0 {
        true => Ok(value),
        false => Err(format!("{name} is {value}, where a number from 0 up was expected")),
    }
}

/// The same of one that may be absent.
fn optional(name: &str, value: Option<f64>) -> Result<Option<f64>, String> {
    value.map(|value| figure(name, value)).transpose()
}

/// `part` of `whole` as a share, if there is a whole.
fn share(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    /// A recorded file of `tests/recorded`.
    pub(crate) fn recorded(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded").join(name)
    }

    #[test]
    fn what_is_no_report_is_named_with_what_stands_there_and_what_was_expected() {
        for (json, found) in [
            ("[]", "it is a list"),
            ("3", "it is a number"),
            ("{}", "it is an empty object"),
            (r#"{"kind":"svc-edge-perf-2"}"#, "its keys are [\"kind\"]"),
            (r#"{"summary":{"requestsPerSec":1}}"#, "its keys are [\"summary\"]"),
            (r#"{"tool":"ab","latency_us":{"p95":1}}"#, "its keys are [\"latency_us\", \"tool\"]"),
        ] {
            let fault = recognised(serde_json::from_str(json).unwrap()).unwrap_err().of(Path::new("x.json"));
            let said = fault.to_string();
            assert!(said.starts_with("x.json: ") && said.contains(found) && said.contains("expected one of"), "{said}");
        }
    }

    #[test]
    fn a_figure_is_finite_and_not_negative() {
        assert_eq!(figure("rps", 0.0), Ok(0.0));
        for bad in [-0.1, f64::NAN, f64::INFINITY] {
            assert!(figure("rps", bad).is_err_and(|error| error.starts_with("rps is ")));
        }
    }
}
