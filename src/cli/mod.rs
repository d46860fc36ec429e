//! The command line: one file a command. A command parses its flags, makes the conf, and hands over.
//!
//! Exit codes: 0 done, 1 a fault was found, 2 the usage or the conf is wrong.

mod args;
pub mod cas;
mod check;
mod docs;
pub mod pack;
mod serve;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::conf::version::VERSION_AND_COMMIT;
use crate::conf::{self, CasConf, ConfErrors};

pub use args::{ConfArgs, ServeArgs};
pub use docs::{CompletionsArgs, DocsArgs, ManArgs};

const EXAMPLES: &str = "\
Examples:
  svc-edge --pack ./tile.pmtiles                      serve one pack on 127.0.0.1:8080
  svc-edge --conf conf/svc-edge.yaml                  serve what the conf says
  svc-edge --conf conf/svc-edge.yaml --bind [::]:80   … on another address
  svc-edge check --conf conf/svc-edge.yaml            say what is wrong with it, bind nothing

A value is taken from its flag, else from the environment (SVC_EDGE_EDGE__MODE is
edge.mode), else from the conf, else from its default.
Exit codes: 0 done, 1 a fault was found, 2 the usage or the conf is wrong.";

/// Serve map packs and files at the edge: verified, by range, fully offline
#[derive(Debug, Parser)]
#[command(name = "svc-edge", version = VERSION_AND_COMMIT, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve; what svc-edge does without a command
    Serve(ServeArgs),
    /// Check a conf and what it names, without binding a port
    Check(ConfArgs),
    /// Look into packs: inspect, verify
    #[command(subcommand)]
    Pack(pack::PackCommand),
    /// Work on the content-addressed store: import, list, stat, lock, verify, gc, purge
    #[command(subcommand)]
    Cas(cas::CasCommand),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write one a command
    Man(ManArgs),
    /// Print what is written from the tables of conf keys and metrics
    #[command(hide = true)]
    Docs(DocsArgs),
}

/// Run the command line of this process. Usage errors end the process with 2.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(args)) => serve::run(&args),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Pack(command)) => pack::run(command),
        Some(Command::Cas(command)) => cas::run(command, resolve_cas),
        Some(Command::Completions(args)) => docs::completions(&args),
        Some(Command::Man(args)) => docs::man(&args),
        Some(Command::Docs(args)) => docs::docs(&args),
    }
}

/// The store that a `cas` command works on.
fn resolve_cas(target: &cas::CasTarget) -> Result<CasConf, String> {
    conf::resolve_cas(target.conf.as_deref(), target.cas_dir.as_deref()).map_err(|errors| errors.to_string())
}

/// The table of commands and flags, from which help, completions and manual pages are made.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Print what is wrong with a conf, one line an error, and say 2.
fn conf_errors(errors: &ConfErrors) -> ExitCode {
    fault(errors, 2)
}

/// Print `what` on standard error and say `code`.
fn fault(what: impl std::fmt::Display, code: u8) -> ExitCode {
    // Nobody is left to be told that standard error is closed.
    let _ = writeln!(std::io::stderr(), "{what}");
    ExitCode::from(code)
}

/// Print `bytes` on standard output. A reader that went away, such as `head`, is no fault.
fn print(bytes: &[u8]) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fault(format_args!("standard output: {error}"), 1),
    }
}
