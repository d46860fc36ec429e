//! `svc-edge pack`: look into archives and verify them, without a server.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::conf::{MissingTile, PackConf, Verify};
use crate::store::StoreError;
use crate::store::pack::inspect::inspect;
use crate::store::pack::verify::{Report, verify};
use crate::store::pack::{Pack, PackError};

/// Exit codes: 0 done, 1 found a fault, 2 unreadable.
const FAULT: u8 = 1;
const UNREADABLE: u8 = 2;

/// Inspect and verify map packs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum PackCommand {
    /// Tell what an archive is: header, sections, zooms, counts, digest
    Inspect {
        /// The archive: PMTiles or MBTiles
        file: PathBuf,
        /// One JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Verify that every directory, entry and tile is in bounds and decodable
    Verify {
        /// The archives: PMTiles or MBTiles
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// One JSON array of reports instead of text
        #[arg(long)]
        json: bool,
    },
}

/// Run a command, its result on standard output. The exit code is 0 when it is done and found nothing wrong, 1 for a fault in
/// an archive, 2 for a file that can't be read.
pub fn run(command: PackCommand) -> ExitCode {
    run_to(command, &mut std::io::stdout().lock()).into()
}

/// As [`run`], the result to `out` and the exit code as a number.
pub fn run_to(command: PackCommand, out: &mut dyn Write) -> u8 {
    let (text, code) = match command {
        PackCommand::Inspect { file, json } => run_inspect(&file, json),
        PackCommand::Verify { files, json } => run_verify(&files, json),
    };
    // A reader that left (`| head`) is no reason to panic, as `print!` would.
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => code,
        Err(_) => code.max(UNREADABLE),
    }
}

fn run_inspect(file: &Path, json: bool) -> (String, u8) {
    let bar = bar("hashing", file);
    let result = inspect(file, &|done, total| {
        bar.set_length(total);
        bar.set_position(done);
        true
    });
    bar.finish_and_clear();
    match result {
        Err(error) => {
            eprintln!("{error}");
            (String::new(), code(&error))
        }
        Ok(inspection) if json => (format!("{:#}\n", json!(inspection)), 0),
        Ok(inspection) => (inspection.to_string(), 0),
    }
}

fn run_verify(files: &[PathBuf], json: bool) -> (String, u8) {
    let mut worst = 0;
    let mut text = String::new();
    let mut reports = Vec::new();
    for file in files {
        let bar = bar("verifying", file);
        let result = verify_file(file, &bar);
        bar.finish_and_clear();
        worst = worst.max(match &result {
            Ok(report) if report.is_sound() => 0,
            Ok(_) => FAULT,
            Err(error) => code(error),
        });
        match &result {
            _ if json => reports.push(to_json(file, &result)),
            Ok(report) => text.push_str(&to_text(file, report)),
            Err(error) => eprintln!("{error}"),
        }
    }
    if json {
        text = format!("{:#}\n", Value::from(reports));
    }
    (text, worst)
}

fn verify_file(file: &Path, bar: &ProgressBar) -> Result<Report, PackError> {
    let conf = PackConf {
        path: file.into(),
        name: "verified".into(),
        verify: Verify::Header,
        missing_tile: MissingTile::Auto,
        cache_control: None,
    };
    let pack = Pack::open(&conf)?;
    let report = verify(&pack, &|progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    });
    report.map_err(|source| PackError::Unreadable { path: file.into(), source })
}

fn to_text(file: &Path, report: &Report) -> String {
    let verdict = if report.is_sound() { "sound".to_owned() } else { format!("{} faults", report.faults) };
    let mut text = format!(
        "{}: {verdict}; {} directories, {} entries, {} tiles, {} contents, {} bytes\n",
        file.display(),
        report.directories,
        report.entries,
        report.addressed_tiles,
        report.tile_contents,
        report.tile_bytes,
    );
    for fault in &report.first {
        text.push_str(&format!("  {fault}\n"));
    }
    if report.gave_up {
        text.push_str("  and so on: the rest was not looked at\n");
    }
    text
}

fn to_json(file: &Path, result: &Result<Report, PackError>) -> Value {
    let path = file.display().to_string();
    match result {
        Ok(report) => json!({"path": path, "sound": report.is_sound(), "report": report}),
        Err(error) => json!({"path": path, "sound": false, "error": error.to_string()}),
    }
}

/// What is wrong with the archive is a fault that was found; what keeps it from being read is not.
fn code(error: &PackError) -> u8 {
    match error {
        PackError::Unreadable { source: StoreError::Corrupt(_) | StoreError::TooLarge(_), .. }
        | PackError::Unreadable { source: StoreError::Deadline(_), .. }
        | PackError::Faulty { .. } => FAULT,
        PackError::Unreadable { .. } | PackError::NotAPack { .. } | PackError::Duplicate { .. } => UNREADABLE,
    }
}

/// A progress bar on standard error, or none where that is no terminal.
fn bar(what: &'static str, file: &Path) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_message(format!("{what} {}", file.display()));
    bar
}
