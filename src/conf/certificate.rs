//! Certificates of listeners with their keys: read, parsed and matched, at the start and whenever their files change.

use std::fmt;
use std::fs::metadata;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls_pemfile::Item;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::outside::read_regular;
use super::value::echo;

/// Bound on a file, in bytes: a long chain has ten thousand.
const MAX_BYTES: u64 = 1 << 20;
/// A certificate that expires within this time is warned of.
pub const EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertConf {
    /// The certificate, then the chain up to a trust anchor: PEM.
    pub cert: PathBuf,
    /// Its private key: PEM (PKCS #8, PKCS #1 or SEC 1), without a passphrase.
    pub key: PathBuf,
}

/// What is wrong with the files of a certificate: which of the two, and a sentence that follows `which`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The certificate.
    Cert(String),
    /// The key.
    Key(String),
}

/// A certificate and its key, which match.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// What a handshake takes.
    pub key: Arc<CertifiedKey>,
    /// The dNSNames of its subjectAltName (RFC 5280 §4.2.1.6) in lower case, as they stand there.
    pub names: Vec<String>,
    /// What it is called in metrics and logs: the first name of its subjectAltName, else the stem of its file's name.
    pub name: String,
    /// From when it is valid, in seconds since 1970.
    pub not_before: i64,
    /// Until when it is valid, in seconds since 1970.
    pub not_after: i64,
    /// What is hardly meant with it, whenever it is looked at.
    oddities: Vec<String>,
}

/// What of a certificate's files changes when somebody writes them. A file that isn't there has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp([Option<[i64; 5]>; 2]);

impl CertConf {
    /// Read and check both files.
    pub fn load(&self) -> Result<Certificate, Fault> {
        let chain = chain(&self.cert).map_err(Fault::Cert)?;
        let key = private_key(&self.key).map_err(Fault::Key)?;
        let key = ring::default_provider().key_provider.load_private_key(key).map_err(|_| {
            Fault::Key(
                "holds a key that can't be used: RSA of 2048 to 8192 bits, ECDSA on P-256 or P-384 and Ed25519 can"
                    .into(),
            )
        })?;
        let Some(facts) = chain.first() else { return Err(Fault::Cert("holds no certificate".into())) };
        let facts = Facts::of(facts).map_err(Fault::Cert)?;
        let mut oddities = facts.oddities(&chain);
        if metadata(&self.key).is_ok_and(|found| found.mode() & 0o004 != 0) {
            oddities.push(format!("its key, {}, can be read by everybody", self.key.display()));
        }
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(Fault::Key(format!(
                    "holds no key of the certificate in {}",
                    echo(&self.cert.to_string_lossy())
                )));
            }
            Err(error) => return Err(Fault::Cert(format!("holds a certificate that can't be used ({error})"))),
        }
        let stem = || self.cert.file_stem().map(|stem| echo(&stem.to_string_lossy())).unwrap_or_default();
        Ok(Certificate {
            key: Arc::new(certified),
            name: facts.first.unwrap_or_else(stem),
            names: facts.names,
            not_before: facts.not_before,
            not_after: facts.not_after,
            oddities,
        })
    }

    /// What its files look like now. Following links: certbot and Kubernetes replace what a link points to.
    pub fn stamp(&self) -> Stamp {
        Stamp([&self.cert, &self.key].map(|path| {
            let found = metadata(path).ok()?;
            let size = i64::try_from(found.size()).unwrap_or(i64::MAX);
            Some([found.dev().cast_signed(), found.ino().cast_signed(), size, found.mtime(), found.mtime_nsec()])
        }))
    }
}

impl Certificate {
    /// The names to tell of it: those that clients ask for, else what it is called.
    pub fn told_names(&self) -> Vec<String> {
        if self.names.is_empty() { vec![self.name.clone()] } else { self.names.clone() }
    }

    /// Whether clients are shown the same by both.
    pub fn is_same(&self, other: &Certificate) -> bool {
        self.key.cert == other.key.cert
    }

    /// Whether it is no longer valid at `now`.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.not_after < unix(now)
    }

    /// What an operator should look at, each a sentence without a full stop: what is about to keep clients away, and oddities.
    pub fn warnings(&self, now: SystemTime) -> Vec<String> {
        let mut warnings: Vec<_> = self.validity(now).into_iter().collect();
        warnings.extend(self.oddities.iter().cloned());
        warnings.iter().map(|warning| format!("the certificate of {}: {warning}", self.name)).collect()
    }

    /// What is wrong with its time, if anything is.
    pub fn validity(&self, now: SystemTime) -> Option<String> {
        let now = unix(now);
        let soon = i64::try_from(EXPIRES_SOON.as_secs()).unwrap_or(i64::MAX);
        if self.not_after < now {
            Some(format!("it expired {}", ago(now - self.not_after)))
        } else if self.not_before > now {
            Some(format!("it is valid only in {}", span(self.not_before - now)))
        } else if self.not_after - now < soon {
            Some(format!("it expires in {}", span(self.not_after - now)))
        } else {
            None
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Cert(why) => write!(f, "the file of the certificate {why}"),
            Fault::Key(why) => write!(f, "the file of the key {why}"),
        }
    }
}

/// What is read from the certificate itself.
struct Facts {
    first: Option<String>,
    names: Vec<String>,
    not_before: i64,
    not_after: i64,
}

impl Facts {
    fn of(der: &CertificateDer<'_>) -> Result<Facts, String> {
        let parsed = parse(der).ok_or("holds a certificate that is none")?;
        let names =
            parsed.subject_alternative_name().map_err(|_| "holds a certificate whose subjectAltName is none")?;
        let names = names.map(|found| found.value.general_names.as_slice()).unwrap_or_default();
        let dns = |name: &GeneralName<'_>| match name {
            // A name that is none, or has a wildcard elsewhere than as its first label, is for no client (RFC 9525 §6.3).
            GeneralName::DNSName(name) if is_name(name.strip_prefix("*.").unwrap_or(name)) => {
                Some(name.to_ascii_lowercase())
            }
            _ => None,
        };
        let address = |name: &GeneralName<'_>| match name {
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(|address| address.to_string())
            }
            _ => None,
        };
        Ok(Facts {
            first: names.iter().find_map(|name| dns(name).or_else(|| address(name))),
            names: names.iter().filter_map(dns).collect(),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
        })
    }

    /// What is hardly meant.
    fn oddities(&self, chain: &[CertificateDer<'_>]) -> Vec<String> {
        let mut oddities = Vec::new();
        if self.first.is_none() {
            oddities.push("it has no subjectAltName, and no browser looks at the subject".to_owned());
        }
        let parsed: Vec<_> = chain.iter().map_while(|der| parse(der)).collect();
        if parsed.windows(2).any(|pair| pair[0].issuer().as_raw() != pair[1].subject().as_raw()) {
            oddities
                .push("its chain is not in order: each certificate in the file is issued by the next one".to_owned());
        }
        oddities
    }
}

/// A certificate, and nothing behind it.
fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, parsed)| parsed)
}

/// Whether it is a DNS name as a client may send one: letters, digits and hyphens (IDNA's A-labels are such), dots between.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read_regular(path, MAX_BYTES).map_err(|error| format!("cannot be read: {error}"))?;
    let mut chain = Vec::new();
    for item in rustls_pemfile::read_all(&mut bytes.as_slice()) {
        match item {
            Ok(Item::X509Certificate(der)) => chain.push(der),
            // A key beside the certificate, in one file for both, is what some clients of ACME write.
            Ok(_) => {}
            Err(error) => return Err(format!("is no PEM ({})", echo(&error.to_string()))),
        }
    }
    if chain.is_empty() { Err("holds no certificate".into()) } else { Ok(chain) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let bytes = read_regular(path, MAX_BYTES).map_err(|error| format!("cannot be read: {error}"))?;
    let mut certificates = false;
    for item in rustls_pemfile::read_all(&mut bytes.as_slice()) {
        match item {
            Ok(Item::Pkcs8Key(key)) => return Ok(key.into()),
            Ok(Item::Pkcs1Key(key)) => return Ok(key.into()),
            Ok(Item::Sec1Key(key)) => return Ok(key.into()),
            Ok(Item::X509Certificate(_)) => certificates = true,
            Ok(_) => {}
            // The old form of an encrypted key has header lines, which are no base64.
            Err(_) if is_encrypted(&bytes) => return Err("holds a key that is encrypted".into()),
            // The error is not repeated: it may quote the key.
            Err(_) => return Err("is no PEM".into()),
        }
    }
    Err(if is_encrypted(&bytes) {
        "holds a key that is encrypted"
    } else if certificates {
        "holds a certificate and no key"
    } else {
        "holds no private key"
    }
    .into())
}

/// Whether a PEM says that it is encrypted (RFC 7468 §11, RFC 1421 §4.6.1.1).
fn is_encrypted(pem: &[u8]) -> bool {
    let has = |needle: &[u8]| pem.windows(needle.len()).any(|window| window == needle);
    has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(b"Proc-Type: 4,ENCRYPTED")
}

fn unix(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Seconds in the largest unit that says enough.
fn span(seconds: i64) -> String {
    let (number, unit) = match seconds {
        ..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    if number == 1 { format!("1 {unit}") } else { format!("{number} {unit}s") }
}

fn ago(seconds: i64) -> String {
    format!("{} ago", span(seconds))
}
