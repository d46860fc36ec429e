//! Trust anchors for https origins: `ca_file`, else the system's.
//!
//! Pingora's connector panics at the start where it finds none, or one that it can't use. So they are read here first, by the
//! crates that it reads them with, and what is wrong becomes a line.

use std::path::{Path, PathBuf};

use rustls_pemfile::Item;
use webpki::anchor_from_trusted_cert;

use super::outside::read_regular;
use super::read::Reader;
use super::value::{echo, string};
use super::{Conf, Mode};

/// Bound on a bundle, in bytes: that of Mozilla has 230 KB.
const MAX_BYTES: u64 = 16 << 20;

/// A bundle's path and, where it was read, the BLAKE3 of its bytes.
type Bundle = (PathBuf, Option<[u8; 32]>);

/// Read `ca_file`, and see that a connector could.
pub(super) fn file(r: &mut Reader) -> Option<Option<Bundle>> {
    let Some(file) = r.optional("ca_file", string)?.map(PathBuf::from) else { return Some(None) };
    if !r.outside().read {
        return Some(Some((file, None)));
    }
    match check(&file) {
        Ok(digest) => Some(Some((file, Some(digest)))),
        Err(why) => {
            let name = echo(&file.to_string_lossy());
            let what = format!("names `{name}`, which {why}; allowed: a PEM file of certificates alone");
            r.contradiction("ca_file", &what);
            None
        }
    }
}

/// See that the system has trust anchors, where an https origin would be asked and the conf has none.
pub(super) fn check_system(r: &mut Reader, conf: &Conf) {
    let secure = || conf.edge.origins.iter().flat_map(|origin| &origin.urls).any(|url| url.https);
    if conf.edge.mode != Mode::Live || conf.server.ca_file.is_some() || !r.outside().read || !secure() {
        return;
    }
    // As the connector looks for them: SSL_CERT_FILE and SSL_CERT_DIR of this process, then the usual places.
    let why = match rustls_native_certs::load_native_certs() {
        Ok(found) if found.is_empty() => "finds no trust anchors on this system".to_owned(),
        Ok(found) if found.iter().all(|found| anchor_from_trusted_cert(found).is_ok()) => return,
        Ok(_) => "finds a certificate among the system's trust anchors that can't be one".to_owned(),
        Err(error) => format!("cannot read the trust anchors of this system ({})", echo(&error.to_string())),
    };
    let what =
        format!("has an https URL, and {why}; allowed: the package `ca-certificates` installed, or `ca_file` set");
    r.contradiction("edge.origins", &what);
}

/// The BLAKE3 of a bundle that a connector can use.
fn check(file: &Path) -> Result<[u8; 32], String> {
    let bytes = read_regular(file, MAX_BYTES).map_err(|error| format!("cannot be read: {error}"))?;
    let mut certificates = 0;
    for item in rustls_pemfile::read_all(&mut bytes.as_slice()) {
        match item {
            Ok(Item::X509Certificate(found)) => {
                certificates += 1;
                anchor_from_trusted_cert(&found).map_err(|error| {
                    format!("has a certificate (number {certificates}) that can't be a trust anchor: {error}")
                })?;
            }
            Ok(_) => return Err("holds more than certificates".into()),
            Err(error) => return Err(format!("is no PEM ({})", echo(&error.to_string()))),
        }
    }
    if certificates == 0 { Err("holds no certificate".into()) } else { Ok(*blake3::hash(&bytes).as_bytes()) }
}
