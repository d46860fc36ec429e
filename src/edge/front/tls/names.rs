//! Which certificate a client gets, by the name that it asks for (SNI, RFC 6066 §3).

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::conf::Certificate;

/// The certificates of a listener, swapped whole.
#[derive(Debug)]
pub struct Served(ArcSwap<Names>);

impl Served {
    pub fn new(names: Names) -> Self {
        Self(ArcSwap::from_pointee(names))
    }

    /// Handshakes that begin now get these.
    pub fn swap(&self, names: Names) {
        self.0.store(Arc::new(names));
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let usable =
            |certificate: &Arc<Certificate>| certificate.key.key.choose_scheme(hello.signature_schemes()).is_some();
        self.0.load().choose(hello.server_name(), usable).map(|certificate| certificate.key.clone())
    }
}

/// Certificates in the order of the conf, and by the names in them.
#[derive(Debug, Default)]
pub struct Names {
    all: Vec<Arc<Certificate>>,
    exact: HashMap<String, Vec<Arc<Certificate>>>,
    /// By what follows `*.`.
    wildcards: HashMap<String, Vec<Arc<Certificate>>>,
}

impl Names {
    pub fn new(all: Vec<Arc<Certificate>>) -> Self {
        let mut names = Self { all, ..Self::default() };
        for certificate in &names.all {
            for name in &certificate.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut names.wildcards, parent),
                    None => (&mut names.exact, name.as_str()),
                };
                map.entry(name.to_owned()).or_default().push(certificate.clone());
            }
        }
        names
    }

    /// The certificate for `name`, else the first: as nginx's default server. Of several, such as one of RSA and one of ECDSA for the same name,
    /// it is the first that the client can verify, or the first of all, for the handshake to say that there is none.
    pub fn choose(&self, name: Option<&str>, usable: impl Fn(&Arc<Certificate>) -> bool) -> Option<&Arc<Certificate>> {
        let named = name.and_then(|name| self.of(name)).unwrap_or(&self.all);
        named.iter().find(|certificate| usable(certificate)).or(named.first())
    }

    /// Those for a name in lower case: of the name itself, or of its parent with a wildcard, which stands for one label (RFC 9525 §6.3).
    fn of(&self, name: &str) -> Option<&[Arc<Certificate>]> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let wildcard = || name.split_once('.').and_then(|(_, parent)| self.wildcards.get(parent));
        self.exact.get(name).or_else(wildcard).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::io::Write as _;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::conf::CertConf;

    fn certificate(names: &[&str]) -> Arc<Certificate> {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let cert = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let files = [cert.pem(), key.serialize_pem()].map(|pem| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(pem.as_bytes()).unwrap();
            file
        });
        let [cert, key] = files.each_ref().map(|file| file.path().to_owned());
        Arc::new(CertConf { cert, key }.load().unwrap())
    }

    #[test]
    fn a_name_gets_its_certificate_then_a_wildcard_of_one_label_then_the_first() {
        let all = [
            certificate(&["first.example"]),
            certificate(&["A.example", "b.example", "xn--mnchen-3ya.example"]),
            certificate(&["*.example", "*.deep.example"]),
            certificate(&["192.0.2.1", "f*.odd.example"]),
        ];
        let names = Names::new(all.to_vec());
        for (asked, number) in [
            (None, 0),
            (Some("first.example"), 0),
            (Some("a.example"), 1),
            (Some("b.example."), 1),
            (Some("xn--mnchen-3ya.example"), 1),
            (Some("c.example"), 2),
            (Some("x.deep.example"), 2),
            // Two labels, none, and another parent.
            (Some("x.y.example"), 0),
            (Some("example"), 0),
            (Some("a.elsewhere"), 0),
            // An address is no name of a host, and a wildcard in a label is none.
            (Some("192.0.2.1"), 0),
            (Some("foo.odd.example"), 0),
            (Some(""), 0),
            (Some("."), 0),
            (Some("*.example"), 2),
        ] {
            let chosen = names.choose(asked, |_| true).unwrap();
            assert!(Arc::ptr_eq(chosen, &all[number]), "{asked:?} got {}", chosen.name);
        }
    }

    #[test]
    fn of_two_for_one_name_the_first_that_the_client_can_verify_is_chosen() {
        let all = [certificate(&["a.example"]), certificate(&["a.example"]), certificate(&["b.example"])];
        let names = Names::new(all.to_vec());
        let choose = |name, usable: &[usize]| {
            let usable: Vec<_> = usable.iter().map(|number| all[*number].clone()).collect();
            let chosen = names.choose(name, |found| usable.iter().any(|one| Arc::ptr_eq(one, found))).unwrap();
            all.iter().position(|one| Arc::ptr_eq(one, chosen)).unwrap()
        };
        assert_eq!(choose(Some("a.example"), &[0, 1, 2]), 0);
        assert_eq!(choose(Some("a.example"), &[1, 2]), 1);
        assert_eq!(choose(Some("a.example"), &[2]), 0, "never one of another name");
        assert_eq!(choose(None, &[1]), 1);
        assert!(Names::new(Vec::new()).choose(None, |_| true).is_none());
    }
}
