//! `svc-edge check`: the conf and what it names, without binding a port.

use std::fmt::Write as _;
use std::fs::metadata;
use std::io::{ErrorKind, Write as _, stderr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use rustix::fs::{Access, access};
use rustix::process::geteuid;

use super::args::ConfArgs;
use super::cas::print::count;
use super::{conf_errors, fault, print};
use crate::boot::upgrade::check_directory;
use crate::conf::{BindConf, CasBacking, Conf, OriginConf, PackConf};
use crate::observe::audit;
use crate::store::pack::Pack;

/// Make the conf and check what it names.
pub(super) fn run(args: &ConfArgs) -> ExitCode {
    match Conf::load(args.conf.as_deref(), &args.flags()) {
        Ok(conf) => checked(&conf),
        Err(errors) => conf_errors(&errors),
    }
}

/// Say that the conf is right, what it names, and what of it is hardly meant; or what is wrong, and 2.
pub(super) fn checked(conf: &Conf) -> ExitCode {
    let mut faults = check_stores(conf);
    faults.extend(check_places(conf));
    if !faults.is_empty() {
        return fault(faults.join("\n"), 2);
    }
    for warning in conf.edge.warnings().into_iter().chain(conf.edge.certificate_warnings(SystemTime::now())) {
        // Nobody is left to be told that standard error is closed.
        let _ = writeln!(stderr(), "warning: {warning}");
    }
    let mut out = String::from("conf ok\n");
    // Writing to a string does not fail.
    for bind in &conf.edge.bind {
        let _ = writeln!(out, "bind {}{}", bind.addr, spoken(bind));
    }
    if let Some(address) = conf.edge.metrics {
        let _ = writeln!(out, "metrics {address}");
    }
    for pack in &conf.edge.packs {
        let _ = writeln!(out, "pack {} ok: {}", pack.name, pack.path.display());
    }
    if conf.edge.cas.store == CasBacking::Disk {
        let _ = writeln!(out, "cas ok: {}", conf.edge.cas.dir.display());
    }
    if let Some(pins) = &conf.edge.pins {
        let _ = writeln!(out, "lock ok: {} pins {}", pins.file.display(), count(pins.hashes.len() as u64, "path"));
    }
    if let Some(path) = &conf.edge.log.audit {
        let _ = writeln!(out, "audit ok: {}", path.display());
    }
    for origin in &conf.edge.origins {
        let _ = writeln!(out, "{}", origin_line(origin));
    }
    print(out.as_bytes())
}

/// What a listener speaks beside HTTP/1.1 in clear text.
fn spoken(bind: &BindConf) -> String {
    let mut spoken = String::new();
    if !bind.tls.is_empty() {
        spoken = format!(" tls ({})", count(bind.tls.len() as u64, "certificate"));
    }
    if bind.h2c {
        spoken.push_str(" h2c");
    }
    if bind.proxy_protocol {
        spoken.push_str(" proxy_protocol");
    }
    spoken
}

/// Where an origin is, and what it answers for. What it gets besides may be secret.
fn origin_line(origin: &OriginConf) -> String {
    let prefix = if origin.prefix.is_empty() { "every path" } else { &origin.prefix };
    let urls: Vec<_> = origin.urls.iter().map(ToString::to_string).collect();
    format!("origin {prefix} -> {}", urls.join(", "))
}

/// What is wrong with the stores and the audit file that a conf names, one line a fault.
pub fn check_stores(conf: &Conf) -> Vec<String> {
    let packs = conf.edge.packs.iter().filter_map(|pack| check_pack(pack).err());
    let cas = (conf.edge.cas.store == CasBacking::Disk).then(|| check_cas(&conf.edge.cas.dir)).and_then(Result::err);
    let audit = conf.edge.log.audit.as_deref().and_then(|path| audit::check(path).err());
    packs.chain(cas).chain(audit).collect()
}

/// What is wrong with where the process would put its files, one line a fault.
fn check_places(conf: &Conf) -> Vec<String> {
    let server = &conf.server;
    let files = [("pid_file", &server.pid_file), ("error_log", &server.error_log)];
    let files = files.into_iter().filter_map(|(key, path)| {
        let dir = path.as_ref()?.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let fault = access(dir, Access::WRITE_OK | Access::EXEC_OK).err()?;
        Some(format!("{key}: {}: {fault}", dir.display()))
    });
    // One that is not there is made when it is needed.
    let socket = server.upgrade_sock.as_deref().and_then(Path::parent).filter(|dir| dir.symlink_metadata().is_ok());
    files.chain(socket.and_then(|dir| check_directory(dir).err())).collect()
}

/// A pack opens, and verifies as its conf asks.
fn check_pack(pack: &PackConf) -> Result<(), String> {
    Pack::open(pack).map(drop).map_err(|error| error.to_string())
}

/// A CAS directory is ours alone, or can be made.
fn check_cas(dir: &Path) -> Result<(), String> {
    let says = |what: &dyn std::fmt::Display| format!("cas: {}: {what}", dir.display());
    match metadata(dir) {
        Ok(found) if !found.is_dir() => Err(says(&"is no directory")),
        Ok(found) if found.mode() & 0o022 != 0 => {
            Err(says(&format_args!("mode {:04o} lets other users write; allowed: 0700", found.mode() & 0o7777)))
        }
        Ok(found) if found.uid() != geteuid().as_raw() => {
            Err(says(&format_args!("belongs to user {}, not to this one ({})", found.uid(), geteuid().as_raw())))
        }
        Ok(_) => access(dir, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).map_err(|error| says(&error)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let above =
                dir.ancestors().skip(1).map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir });
            let Some(above) = above.into_iter().find(|dir| dir.exists()) else { return Err(says(&error)) };
            access(above, Access::WRITE_OK | Access::EXEC_OK)
                .map_err(|error| says(&format_args!("cannot be made in {}: {error}", above.display())))
        }
        Err(error) => Err(says(&error)),
    }
}
