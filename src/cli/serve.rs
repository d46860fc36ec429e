//! `svc-edge serve`, and `svc-edge` alone.

use std::process::ExitCode;

use super::args::ServeArgs;
use super::{check, conf_errors};
use crate::boot;
use crate::conf::{Flags, Sources};

/// Make the conf, then serve; with `--test`, check only.
pub(super) fn run(args: &ServeArgs) -> ExitCode {
    let flags = Flags { daemon: args.daemon, ..args.conf.flags() };
    let sources = Sources::new(args.conf.conf.as_deref(), flags);
    let conf = match sources.load() {
        Ok(conf) => conf,
        Err(errors) => return conf_errors(&errors),
    };
    if args.test { check::checked(&conf) } else { boot::serve(conf, sources, args.upgrade) }
}
