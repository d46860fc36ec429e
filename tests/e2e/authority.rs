//! Certificates, made in the test.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;

const DAY: Duration = Duration::from_secs(86_400);

/// An authority; the certificates it signs are trusted by who has its PEM.
pub struct Authority {
    pub certificate: rcgen::Certificate,
    key: KeyPair,
}

/// The files of a certificate, and what is in it.
pub struct Pair {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub der: CertificateDer<'static>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { certificate: params.self_signed(&key).unwrap(), key }
    }

    /// Certificate and key for names, as PEM.
    pub fn sign(&self, names: &[&str]) -> (String, String) {
        let (certificate, key) = self.certify(names, 90);
        (certificate.pem(), key.serialize_pem())
    }

    /// Write a certificate for names, which expires in so many days, and its key into a directory as `{stem}.pem` and `{stem}.key`.
    pub fn write(&self, dir: &Path, stem: &str, names: &[&str], days: i64) -> Pair {
        let (certificate, key) = self.certify(names, days);
        let pair = Pair {
            cert: dir.join(format!("{stem}.pem")),
            key: dir.join(format!("{stem}.key")),
            der: certificate.der().clone(),
        };
        put(&pair.cert, &certificate.pem());
        put(&pair.key, &key.serialize_pem());
        pair
    }

    fn certify(&self, names: &[&str], days: i64) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        // Of one name with its issuer it would look as if it had signed itself.
        params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("nobody"));
        let now = SystemTime::now();
        // The authority of a certificate that has expired may be one day younger than it.
        params.not_before = (now - 400 * DAY).into();
        let span = DAY * u32::try_from(days.unsigned_abs()).unwrap();
        params.not_after = if days < 0 { now - span } else { now + span }.into();
        (params.signed_by(&key, &self.certificate, &self.key).unwrap(), key)
    }
}

impl Pair {
    /// The item of `edge.bind[].tls`, as YAML flow.
    pub fn yaml(&self) -> String {
        format!("{{cert: {}, key: {}}}", self.cert.display(), self.key.display())
    }
}

/// Write a file at once, as who renews certificates with care does: beside it, then over it.
pub fn put(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::set_permissions(&beside, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::rename(&beside, path).unwrap();
}
