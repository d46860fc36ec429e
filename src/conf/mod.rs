//! Conf: raw YAML (strict) → checked once. A component takes its own small struct from here, not the whole.
//!
//! `table` is the source of keys; `yaml` reads text with positions; `layers` puts flag over environment over file; `read`
//! converts; each section of the conf has a file of its own. Nothing here knows what a server is.

mod admin;
mod bind;
mod ca;
mod cas;
mod certificate;
pub mod docs;
mod edge;
mod error;
mod fill;
mod http;
mod ingress;
mod item;
mod kind;
mod layers;
mod log;
mod nearest;
mod origins;
mod outside;
mod packs;
mod pins;
mod read;
mod reload;
mod secret;
mod server;
mod sources;
pub mod table;
mod url;
mod value;
pub mod version;
mod yaml;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use admin::AdminConf;
pub use bind::BindConf;
pub use cas::{CasBacking, CasConf, Durability};
pub use certificate::{CertConf, Certificate, EXPIRES_SOON, Fault, Stamp};
pub use edge::{Edge, MAX_LISTENERS, Mode};
pub use error::ConfErrors;
pub use fill::{CircuitConf, FillConf, RetryConf, RetryOn};
pub use http::{CorsConf, DecodeConf, HttpConf};
pub use ingress::{IngressConf, ShedConf};
pub use kind::Kind;
pub use log::{AccessLog, LogConf, LogFormat};
pub use origins::{OriginCaching, OriginConf, QueryPolicy};
pub use packs::{MissingTile, PackConf, Verify};
pub use pins::Pins;
pub use reload::{Changes, Reload};
pub use secret::Secret;
pub use server::ServerSection;
pub use sources::Sources;

use error::Source;
use layers::{CONF_VARIABLE, Layers};
use read::Reader;
use yaml::Mark;

/// A whole conf, checked: whoever holds one need not ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conf {
    /// The top level: Pingora's own keys.
    pub server: ServerSection,
    /// Everything below `edge`.
    pub edge: Edge,
}

/// What the command line says over environment and file, unparsed. Empty and `None` say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--bind`, each an address.
    pub bind: Vec<String>,
    /// `--metrics`.
    pub metrics: Option<String>,
    /// `--mode`.
    pub mode: Option<String>,
    /// `--pack`, each `PATH` or `NAME=PATH`.
    pub packs: Vec<String>,
    /// `--cas-dir`.
    pub cas_dir: Option<PathBuf>,
    /// `--rps`.
    pub rps: Option<String>,
    /// `--inflight`.
    pub inflight: Option<String>,
    /// `--log-level`.
    pub log_level: Option<String>,
    /// `--daemon`.
    pub daemon: bool,
}

impl Conf {
    /// Read the conf: `flags` over the process's environment over `file` over the defaults. Without `file`, `SVC_EDGE_CONF` names
    /// it; without either, no file is read or looked for.
    pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Conf, ConfErrors> {
        Conf::load_all(file, flags, true)
    }

    /// As [`Conf::load`], from a file's name and bytes and from given variables.
    pub fn from_parts(
        file: Option<(&str, &[u8])>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &Flags,
    ) -> Result<Conf, ConfErrors> {
        Conf::make(file, environment, flags, true)
    }

    /// `outside` says whether the variables and files that the conf names are read: secrets, pins, trust anchors.
    fn load_all(file: Option<&Path>, flags: &Flags, outside: bool) -> Result<Conf, ConfErrors> {
        let from_variable = std::env::var_os(CONF_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let Some(path) = file.map(Path::to_path_buf).or(from_variable) else {
            return Conf::make(None, std::env::vars_os(), flags, outside);
        };
        let name = path.to_string_lossy();
        let bytes = read_bounded(&path).map_err(|error| {
            ConfErrors::of(
                Source::File(Rc::from(name.as_ref())),
                format!("cannot be read: {error}; allowed: a YAML file"),
            )
        })?;
        Conf::make(Some((&name, &bytes)), std::env::vars_os(), flags, outside)
    }

    fn make(
        file: Option<(&str, &[u8])>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &Flags,
        outside: bool,
    ) -> Result<Conf, ConfErrors> {
        let mut layers = Layers::default();
        if let Some((name, bytes)) = file {
            layers.file(name, bytes);
        }
        layers.environment(environment);
        layers.flags(flags);
        if flags.cas_dir.as_ref().is_some_and(|dir| dir.as_os_str().is_empty()) {
            layers.errors.push((Source::Flag("--cas-dir"), Mark::default()), "is empty; allowed: a path".into());
        }
        let mut reader = Reader::new(layers, outside);
        let server = server::parse(&mut reader);
        let edge = edge::parse(&mut reader).map(|mut edge| {
            if let Some(dir) = &flags.cas_dir {
                edge.cas.dir = dir.clone();
            }
            edge
        });
        let conf = server.zip(edge).map(|(server, edge)| Conf { server, edge });
        if let Some(conf) = &conf {
            ca::check_system(&mut reader, conf);
        }
        reader.finish(conf)
    }
}

/// The CAS that a command works on: that of the conf, in `cas_dir` where it is given. The whole conf must be right, but what it
/// names outside itself is not asked for: whoever looks into the store may not have the server's secrets.
pub fn resolve_cas(conf: Option<&Path>, cas_dir: Option<&Path>) -> Result<CasConf, ConfErrors> {
    let flags = Flags { cas_dir: cas_dir.map(Path::to_path_buf), ..Flags::default() };
    Conf::load_all(conf, &flags, false).map(|conf| conf.edge.cas)
}

/// A file's bytes, or one more than a conf may have: the parser refuses those, and an endless file ends here.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(yaml::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
