//! `svc-edge cas …`: import, list, stat, lock, verify, gc and purge, safe beside a running server.
//!
//! Each prints for people, or with `--json` one JSON document (`list` and `lock`: one object a line) for machines. Results go to stdout,
//! faults and progress to stderr.

mod lock;
pub(super) mod print;

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::conf::{CasBacking, CasConf};
use crate::store::cas::{Cas, CasError, Fault, ImportOptions, ImportReport, Purge, VerifyReport};
use print::{Printed, age, count, fault_json, fault_line, object_json, object_line, seconds, size};

/// Which store.
#[derive(clap::Args, Clone, Debug)]
pub struct CasTarget {
    /// The conf file that names the store
    #[arg(long, value_name = "F")]
    pub conf: Option<PathBuf>,
    /// The store's directory, in place of the conf's
    #[arg(long, value_name = "D")]
    pub cas_dir: Option<PathBuf>,
}

/// What every command takes.
#[derive(clap::Args, Clone, Debug)]
pub struct Common {
    /// Which store.
    #[command(flatten)]
    pub target: CasTarget,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Work on the content-addressed store
#[derive(clap::Subcommand, Clone, Debug)]
pub enum CasCommand {
    /// Import the files of a directory as pinned objects; durable when it returns
    Import {
        /// The directory
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Files become objects at P/, then their relative path
        #[arg(long, value_name = "P", default_value = "")]
        prefix: String,
        /// Which store, how to print.
        #[command(flatten)]
        common: Common,
    },
    /// List the objects in the order of their paths
    List {
        /// Which store, how to print.
        #[command(flatten)]
        common: Common,
    },
    /// Print sizes, counts and ages
    Stat {
        /// Which store, how to print.
        #[command(flatten)]
        common: Common,
    },
    /// Print a line a path, with the hash of what is stored there: the file of `edge.cas.lock`
    #[command(after_help = "\
Examples:
  svc-edge cas lock --conf F > assets.lock       pin all that is stored
  svc-edge cas lock --prefix fonts --cas-dir D   see what would be pinned below fonts/")]
    Lock {
        /// The objects below P only
        #[arg(long, value_name = "P", default_value = "")]
        prefix: String,
        /// Which store, how to print.
        #[command(flatten)]
        common: Common,
    },
    /// Hash every blob against its name, and see that every object has one
    Verify {
        /// Move what fails to quarantine/
        #[arg(long)]
        quarantine: bool,
        /// Which store, how to print.
        #[command(flatten)]
        common: Common,
    },
    /// Remove blobs that no object names, and what a crash left
    Gc {
        /// Which store, how to print.
        #[command(flatten)]
        common: Common,
    },
    /// Remove objects; a running server sees it within 3 s
    #[command(group = clap::ArgGroup::new("what").required(true).args(["path", "prefix"]))]
    Purge {
        /// The object's path, as it follows /edge/assets/
        #[arg(value_name = "PATH")]
        path: Option<String>,
        /// Remove every object below P
        #[arg(long, value_name = "P")]
        prefix: Option<String>,
        /// Which store, how to print.
        #[command(flatten)]
        common: Common,
    },
}

/// How a command ended, besides its error.
enum End {
    Done,
    Fault,
}

/// Why a command came to no end.
enum Stop {
    Usage(String),
    Cas(CasError),
    /// Whoever reads our output has seen enough.
    Closed,
    Output(io::Error),
}

impl From<CasError> for Stop {
    fn from(error: CasError) -> Self {
        Self::Cas(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Output(error) }
    }
}

/// Run one command on the store that `resolve` finds for its target. Exit codes: 0 done, 1 found a fault, 2 usage or conf.
pub fn run(command: CasCommand, resolve: impl Fn(&CasTarget) -> Result<CasConf, String>) -> ExitCode {
    match execute(&command, &resolve) {
        Ok(End::Done) | Err(Stop::Closed) => ExitCode::SUCCESS,
        Ok(End::Fault) => ExitCode::from(1),
        Err(stop) => {
            let (code, line) = match stop {
                Stop::Usage(line) => (2, line),
                Stop::Cas(error @ (CasError::Unsafe { .. } | CasError::Newer { .. } | CasError::Refused(_))) => {
                    (2, error.to_string())
                }
                Stop::Cas(error) => (1, error.to_string()),
                Stop::Closed => (0, String::new()),
                Stop::Output(error) => (1, format!("cannot write the output: {error}")),
            };
            // Nothing is left to do when stderr is closed too.
            let _ = writeln!(io::stderr(), "svc-edge: {line}");
            ExitCode::from(code)
        }
    }
}

fn execute(command: &CasCommand, resolve: &dyn Fn(&CasTarget) -> Result<CasConf, String>) -> Result<End, Stop> {
    let common = match command {
        CasCommand::Import { common, .. }
        | CasCommand::List { common }
        | CasCommand::Stat { common }
        | CasCommand::Lock { common, .. }
        | CasCommand::Verify { common, .. }
        | CasCommand::Gc { common }
        | CasCommand::Purge { common, .. } => common,
    };
    let conf = resolve(&common.target).map_err(Stop::Usage)?;
    if conf.store == CasBacking::Memory {
        return Err(Stop::Usage("the conf says `store: memory`: such a store lives inside its server only".into()));
    }
    // Only an import makes a store. A mistyped directory must not become an empty one.
    if !matches!(command, CasCommand::Import { .. }) && !conf.dir.join("b3").is_dir() {
        return Err(Stop::Usage(format!("{}: no CAS there", conf.dir.display())));
    }
    let cas = Cas::open(&conf)?;
    let mut out = Printed::new();
    match command {
        CasCommand::Import { dir, prefix, .. } => import(&cas, dir, prefix, common.json, &mut out),
        CasCommand::List { .. } => list(&cas, common.json, &mut out),
        CasCommand::Stat { .. } => stat(&cas, common.json, &mut out),
        CasCommand::Lock { prefix, .. } => lock::lock(&cas, prefix, common.json, &mut out),
        CasCommand::Verify { quarantine, .. } => verify(&cas, *quarantine, common.json, &mut out),
        CasCommand::Gc { .. } => gc(&cas, common.json, &mut out),
        CasCommand::Purge { path, prefix, .. } => {
            // clap wants exactly one of the two.
            let what = match (path, prefix) {
                (Some(path), _) => Purge::Path(path),
                (None, prefix) => Purge::Prefix(prefix.as_deref().unwrap_or_default()),
            };
            purge(&cas, what, common.json, &mut out)
        }
    }
    .and_then(|end| {
        out.flush()?;
        Ok(end)
    })
}

fn import(cas: &Cas, dir: &std::path::Path, prefix: &str, json: bool, out: &mut Printed) -> Result<End, Stop> {
    let bar = bar("{spinner} {human_pos} of {human_len} files  {msg}  {elapsed}");
    let report = cas.import(dir, prefix, &ImportOptions::default(), &mut |so_far: &ImportReport| {
        bar.set_length(so_far.found);
        bar.set_position(so_far.files + so_far.refused);
        bar.set_message(size(so_far.bytes));
    })?;
    bar.finish_and_clear();
    if json {
        let refusals: Vec<Value> =
            report.refusals.iter().map(|one| json!({"path": one.path.to_string_lossy(), "why": one.why})).collect();
        out.json(&json!({
            "files": report.files, "bytes": report.bytes, "added": report.added, "replaced": report.replaced,
            "unchanged": report.unchanged, "blobs_written": report.blobs_written, "refused": report.refused,
            "refusals": refusals,
        }))?;
    } else {
        let (files, bytes) = (count(report.files, "file"), size(report.bytes));
        out.line(&format!(
            "imported {files}, {bytes}: {} added, {} replaced, {} unchanged; {} written",
            report.added,
            report.replaced,
            report.unchanged,
            count(report.blobs_written, "blob"),
        ))?;
    }
    out.flush()?;
    for refusal in &report.refusals {
        let _ = writeln!(io::stderr(), "refused {:?}: {}", refusal.path, refusal.why);
    }
    let unnamed = report.refused - report.refusals.len() as u64;
    if unnamed > 0 {
        let _ = writeln!(io::stderr(), "refused {unnamed} more");
    }
    Ok(if report.refused > 0 { End::Fault } else { End::Done })
}

fn list(cas: &Cas, json: bool, out: &mut Printed) -> Result<End, Stop> {
    let now = SystemTime::now();
    let mut result = Ok(());
    cas.list("", &mut |object| {
        result = if json { out.json(&object_json(&object)) } else { out.line(&object_line(&object, now)) };
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    result?;
    Ok(End::Done)
}

fn stat(cas: &Cas, json: bool, out: &mut Printed) -> Result<End, Stop> {
    let stat = cas.stat().map_err(CasError::from)?;
    if json {
        out.json(&json!({
            "objects": stat.objects, "pinned": stat.pinned, "filled": stat.objects.saturating_sub(stat.pinned),
            "variants": stat.variants, "object_bytes": stat.object_bytes, "blobs": stat.blobs,
            "allocated_bytes": stat.allocated_bytes, "lost": stat.lost, "quarantined": stat.quarantined,
            "oldest": stat.oldest.map(seconds), "newest": stat.newest.map(seconds),
        }))?;
        return Ok(End::Done);
    }
    let now = SystemTime::now();
    let since = |time: Option<SystemTime>| time.map_or("-".into(), |time| age(time, now));
    let filled = stat.objects.saturating_sub(stat.pinned);
    out.line(&format!("objects      {} ({} pinned), {}", stat.objects, stat.pinned, size(stat.object_bytes)))?;
    out.line(&format!("filled       {filled} ({})", count(stat.variants, "variant")))?;
    out.line(&format!("blobs        {}, {} on disk", stat.blobs, size(stat.allocated_bytes)))?;
    out.line(&format!("stored       newest {}, oldest {}", since(stat.newest), since(stat.oldest)))?;
    out.line(&format!("quarantined  {}", stat.quarantined))?;
    out.line(&format!("lost         {}", stat.lost))?;
    Ok(End::Done)
}

fn verify(cas: &Cas, quarantine: bool, json: bool, out: &mut Printed) -> Result<End, Stop> {
    let bar = bar("{spinner} {human_pos} of {human_len} blobs  {msg}  {elapsed}");
    let mut faults = Vec::new();
    let report = cas.verify(
        quarantine,
        &mut |so_far: &VerifyReport| {
            bar.set_length(so_far.expected.max(so_far.blobs));
            bar.set_position(so_far.blobs);
            bar.set_message(size(so_far.bytes));
        },
        &mut |fault: &Fault| {
            if json {
                faults.push(fault_json(fault));
            } else {
                bar.suspend(|| {
                    let _ = writeln!(io::stderr(), "{}", fault_line(fault));
                });
            }
        },
    )?;
    bar.finish_and_clear();
    if json {
        out.json(&json!({
            "blobs": report.blobs, "bytes": report.bytes, "objects": report.objects, "faults": faults,
        }))?;
    } else {
        let (blobs, objects) = (count(report.blobs, "blob"), count(report.objects, "object"));
        let faults = count(report.faults, "fault");
        out.line(&format!("verified {blobs}, {}, and {objects}: {faults}", size(report.bytes)))?;
    }
    Ok(if report.faults > 0 { End::Fault } else { End::Done })
}

fn gc(cas: &Cas, json: bool, out: &mut Printed) -> Result<End, Stop> {
    let bar = bar("{spinner} {percent} % of the tree  {msg}  {elapsed}");
    bar.set_length(256);
    let report = cas.gc(&mut |so_far| {
        bar.inc(1);
        bar.set_message(size(so_far.bytes));
    })?;
    bar.finish_and_clear();
    if json {
        out.json(&json!({
            "blobs": report.blobs, "bytes": report.bytes, "leftovers": report.leftovers, "spared": report.spared,
            "unknown": report.unknown, "manifests_merged": report.manifests,
        }))?;
    } else {
        let (blobs, leftovers) = (count(report.blobs, "blob"), count(report.leftovers, "leftover"));
        let mut line = format!("removed {blobs}, {}, and {leftovers}", size(report.bytes));
        for (number, what) in [
            (report.spared, "left for now: younger than a minute"),
            (report.unknown, "of unknown names left alone"),
            (report.manifests, "manifests merged"),
        ] {
            if number > 0 {
                line.push_str(&format!("; {number} {what}"));
            }
        }
        out.line(&line)?;
    }
    Ok(End::Done)
}

fn purge(cas: &Cas, what: Purge<'_>, json: bool, out: &mut Printed) -> Result<End, Stop> {
    let removed = cas.purge(what)?;
    if json {
        out.json(&json!({"objects": removed.objects, "blobs": removed.blobs, "bytes": removed.bytes}))?;
    } else {
        let (objects, blobs) = (count(removed.objects, "object"), count(removed.blobs, "blob"));
        out.line(&format!("purged {objects}; removed {blobs}, {}", size(removed.bytes)))?;
    }
    Ok(End::Done)
}

/// A progress bar on stderr; indicatif hides it where that is no terminal.
fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar
}
