//! Flags that more than one command has.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::conf::Flags;

/// The conf, and what is said over it.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfArgs {
    /// Conf file; without it, no file is read [env: SVC_EDGE_CONF]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub conf: Option<PathBuf>,
    /// Address to serve assets on, `IP:port`; may be repeated [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Vec<String>,
    /// Address of /metrics, /version and the probes; `off` is none [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<String>,
    /// Where misses go: `offline` is nowhere, `live` to the origins of the conf [default: offline]
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
    /// Pack to serve, `PATH` or `NAME=PATH`; may be repeated; replaces the packs of the conf
    #[arg(long, value_name = "PACK", value_hint = ValueHint::FilePath)]
    pub pack: Vec<String>,
    /// Requests a second that are admitted, `null` for any number [default: 500]
    #[arg(long, value_name = "NUMBER")]
    pub rps: Option<String>,
    /// Requests at a time that are admitted, `null` for any number [default: 512]
    #[arg(long, value_name = "NUMBER")]
    pub inflight: Option<String>,
    /// Directory of the content-addressed store [default: var/cas]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub cas_dir: Option<PathBuf>,
    /// Least severe level that is logged: off, error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

/// How to serve.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// The conf, and what is said over it.
    #[command(flatten)]
    pub conf: ConfArgs,
    /// Check the conf and what it names, and end: as `svc-edge check`
    #[arg(short, long)]
    pub test: bool,
    /// Take the listeners over from the running server, once that gets SIGQUIT; it retires when this one serves
    #[arg(short, long)]
    pub upgrade: bool,
    /// Detach from the terminal; return once it serves
    #[arg(short, long)]
    pub daemon: bool,
}

impl ConfArgs {
    /// What the flags say over the conf.
    pub(super) fn flags(&self) -> Flags {
        Flags {
            bind: self.bind.clone(),
            metrics: self.metrics.clone(),
            mode: self.mode.clone(),
            packs: self.pack.clone(),
            cas_dir: self.cas_dir.clone(),
            rps: self.rps.clone(),
            inflight: self.inflight.clone(),
            log_level: self.log_level.clone(),
            daemon: false,
        }
    }
}
