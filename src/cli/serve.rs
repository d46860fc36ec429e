//! `svc-edge serve`, and `svc-edge` alone.

use std::process::ExitCode;

use super::args::ServeArgs;
use super::{check, conf_errors};
use crate::boot;
use crate::conf::Sources;

/// Make the conf, then serve; with `--test`, check only.
pub(super) fn run(args: &ServeArgs) -> ExitCode {
    let sources = Sources::new(args.conf.conf.as_deref(), args.conf.flags());
    let conf = match sources.load() {
        Ok(conf) => conf,
        Err(errors) => return conf_errors(&errors),
    };
    if args.test { check::checked(&conf) } else { boot::serve(conf, sources) }
}
