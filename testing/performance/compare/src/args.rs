//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use perf_compare::compare::Settings;
use perf_compare::gate::Bounds;

const AFTER: &str = "\
Examples:
  perf-compare perf.json testing/performance/baselines/edge_offline.json --fail-on 0.10
  perf-compare perf.json baseline.json --waive tile_mvt:cpu --note \"tiles are verified now\"
  perf-compare now.json before.json --profile asset_4k     two runs of wrk, oha or bombardier
  perf-compare baseline perf.json testing/performance/baselines/edge_offline.json
  perf-compare gate quick.json testing/performance/gates.json

Exit codes: 0 every gate held, 1 a gate failed, 2 bad usage, unreadable input, or nothing to compare.";

/// Hold a performance report against a baseline, and fail on what became worse
#[derive(Debug, Parser)]
#[command(name = "perf-compare", version, after_help = AFTER, max_term_width = 110)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) compare: Option<CompareArgs>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a baseline of a report of the harness
    Baseline(BaselineArgs),
    /// Hold the ratios of one run against the fixed bounds of a gates file
    Gate(GateArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The report: of the harness, or one run of wrk, oha or bombardier
    pub(crate) report: PathBuf,
    /// What it is held against: a baseline, or another report
    pub(crate) baseline: PathBuf,
    /// The most that p95 may rise and requests a second fall, as a share
    #[arg(long, value_name = "SHARE", default_value_t = Bounds::default().speed, value_parser = share)]
    fail_on: f64,
    /// The most that CPU time a request and memory may rise, as a share
    #[arg(long, value_name = "SHARE", default_value_t = Bounds::default().resources, value_parser = share)]
    fail_on_resources: f64,
    /// The most that the share of refused requests may rise: 0.005 is half a percentage point
    #[arg(long, value_name = "SHARE", default_value_t = Bounds::default().shed, value_parser = share)]
    fail_on_shed: f64,
    /// The most that the share of failed requests may rise: 0.001 is a tenth of a percentage point
    #[arg(long, value_name = "SHARE", default_value_t = Bounds::default().errors, value_parser = share)]
    fail_on_errors: f64,
    /// A p95 that rose by no more milliseconds than this is said, and not failed
    #[arg(long, value_name = "MS", default_value_t = Bounds::default().noise_ms, value_parser = milliseconds)]
    noise_ms: f64,
    /// Compare ratios to a peer of the same run also where the machine is the baseline's
    #[arg(long)]
    ratios: bool,
    /// Compare ratios, with this peer before others (repeatable, in order)
    #[arg(long, value_name = "NAME")]
    peer: Vec<String>,
    /// Judge only this profile (repeatable); of a file that is one run: its name
    #[arg(long, value_name = "NAME")]
    profile: Vec<String>,
    /// Let this gate of this profile fail (repeatable)
    #[arg(long, value_name = "PROFILE:GATE")]
    pub(crate) waive: Vec<String>,
    /// Why it may: once for each --waive, or once for all
    #[arg(long, value_name = "WHY")]
    pub(crate) note: Vec<String>,
    /// A file of waivers: [{"profile", "gate", "note", "until": "YYYY-MM-DD"}]
    #[arg(long, value_name = "FILE")]
    pub(crate) waivers: Option<PathBuf>,
    /// Let the waivers of that file count
    #[arg(long, requires = "waivers")]
    pub(crate) waivers_allowed: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

impl CompareArgs {
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            bounds: Bounds {
                speed: self.fail_on,
                resources: self.fail_on_resources,
                shed: self.fail_on_shed,
                errors: self.fail_on_errors,
                noise_ms: self.noise_ms,
            },
            ratios: self.ratios || !self.peer.is_empty(),
            peers: self.peer.clone(),
            profiles: self.profile.clone(),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct BaselineArgs {
    /// The report of the harness
    pub(crate) report: PathBuf,
    /// Where the baseline is written
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct GateArgs {
    /// The report of the harness
    pub(crate) report: PathBuf,
    /// The gates file: {PROFILE: {"peer": NAME, "cpu_us_max": 1.25, …}}
    pub(crate) gates: PathBuf,
    /// A report of an earlier try (repeatable, in order): a bound holds that held in one of them
    #[arg(long, value_name = "FILE")]
    pub(crate) earlier: Vec<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a share from 0 to 1, such as 0.10 for 10 %".to_owned()),
    }
}

fn milliseconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1000.0).contains(&value) => Ok(value),
        _ => Err("expected milliseconds from 0 to 1000, such as 0.2".to_owned()),
    }
}
