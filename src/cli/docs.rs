//! What is made from the tables: completions, manual pages, the pages of the conf and of the metrics.

use std::fs::create_dir_all;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum, ValueHint};
use clap_complete::Shell;

use super::{command, fault, print};
use crate::conf;
use crate::observe::metrics;

/// Flags of `completions`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  svc-edge completions bash > ~/.local/share/bash-completion/completions/svc-edge
  svc-edge completions zsh > ~/.zfunc/_svc-edge
  svc-edge completions fish > ~/.config/fish/completions/svc-edge.fish")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// Flags of `man`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  svc-edge man | man -l -
  svc-edge man --dir ~/.local/share/man/man1")]
pub struct ManArgs {
    /// Write a page for each command into this directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

/// Flags of `docs`.
#[derive(Args, Debug)]
pub struct DocsArgs {
    /// What to print
    pub page: Page,
}

/// What is written from the tables of conf keys and metrics.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Page {
    /// docs/conf.md
    Conf,
    /// conf/svc-edge.yaml
    Sample,
    /// docs/metrics.md
    Metrics,
}

/// Print a shell's completions.
pub(super) fn completions(args: &CompletionsArgs) -> ExitCode {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "svc-edge", &mut out);
    print(&out)
}

/// Print the manual page of `svc-edge`, or write one a command.
pub(super) fn man(args: &ManArgs) -> ExitCode {
    let Some(dir) = &args.dir else {
        let mut out = Vec::new();
        return match clap_mangen::Man::new(command()).render(&mut out) {
            Ok(()) => print(&out),
            Err(error) => fault(error, 1),
        };
    };
    match create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command(), dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fault(format_args!("{}: {error}", dir.display()), 1),
    }
}

/// Print what is written from the tables of conf keys and metrics.
pub(super) fn docs(args: &DocsArgs) -> ExitCode {
    let text = match args.page {
        Page::Conf => conf::docs::page(),
        Page::Sample => conf::docs::sample(),
        Page::Metrics => metrics::markdown(),
    };
    print(text.as_bytes())
}
