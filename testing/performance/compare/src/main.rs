//! `perf-compare`: see `README.md` beside this crate.

mod args;

use std::io::{ErrorKind, Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use args::{BaselineArgs, Cli, Command, CompareArgs, GateArgs};
use clap::{CommandFactory, Parser};
use perf_compare::date::Day;
use perf_compare::{baseline, bounds, compare, output, read, waiver};

/// Every gate held.
const HELD: u8 = 0;
/// A gate failed.
const FAILED: u8 = 1;
/// The usage or the input is wrong.
const WRONG: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match (cli.command, cli.compare) {
        (Some(Command::Baseline(args)), _) => make_baseline(&args),
        (Some(Command::Gate(args)), _) => judge_gates(&args),
        (None, Some(args)) => compare_reports(&args),
        (None, None) => Err(Cli::command()
            .error(clap::error::ErrorKind::MissingRequiredArgument, "expected a report and a baseline")
            .into()),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(&format!("perf-compare: {error}"));
            ExitCode::from(WRONG)
        }
    }
}

type Done = Result<u8, Box<dyn std::error::Error>>;

fn compare_reports(args: &CompareArgs) -> Done {
    let given = waiver::of_flags(&args.waive, &args.note)?;
    // Read also where they don't count, so that what is wrong with them is said before it matters.
    let filed = match &args.waivers {
        Some(path) => waiver::of_file(path, Day::of(SystemTime::now()))?,
        None => Vec::new(),
    };
    let report = read::report(&args.report)?;
    let baseline = read::report(&args.baseline)?;
    let mut comparison = compare::compare(&report, &baseline, &args.settings())?;
    waiver::apply(&mut comparison, &given);
    match args.waivers_allowed {
        true => waiver::apply(&mut comparison, &filed),
        false => waiver::refuse(&mut comparison, &filed),
    }
    print(&if args.json { output::json(&comparison) } else { output::markdown(&comparison) })?;
    say(&format!("perf-compare: {}", output::verdict(&comparison)));
    Ok(if comparison.held() { HELD } else { FAILED })
}

fn make_baseline(args: &BaselineArgs) -> Done {
    let report = read::report(&args.report)?;
    let text = baseline::text_of(&report).map_err(|what| format!("{}: {what}", args.report.display()))?;
    // Renamed into place: a baseline is whole, or the one before.
    let mut beside = args.out.clone().into_os_string();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, &args.out));
    written.map_err(|error| format!("{}: {error}", args.out.display()))?;
    for doubt in baseline::doubts(&report) {
        say(&format!("warning: {doubt}"));
    }
    say(&format!("perf-compare: wrote {}", args.out.display()));
    Ok(HELD)
}

fn judge_gates(args: &GateArgs) -> Done {
    let bounds = bounds::of_file(&args.gates)?;
    let runs =
        args.earlier.iter().chain([&args.report]).map(|path| read::report(path)).collect::<Result<Vec<_>, _>>()?;
    let measured = bounds::judge(&bounds, &runs)?;
    print(&if args.json { output::bounds_json(&measured) } else { output::bounds_markdown(&measured, runs.len()) })?;
    Ok(if measured.iter().all(|each| each.held) { HELD } else { FAILED })
}

/// Print on standard output. A reader that went away, such as `head`, is no fault.
fn print(text: &str) -> std::io::Result<()> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

fn say(text: &str) {
    // Nobody is left to be told that standard error is closed.
    let _ = writeln!(stderr(), "{text}");
}
