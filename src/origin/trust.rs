//! Whose certificates are believed by a connector that was made for others: the bundle of the conf, as it was read, or the system's.

use std::path::Path;
use std::sync::Arc;

use pingora::protocols::tls::CaType;
use pingora::utils::tls::{WrappedX509, parse_x509};
use x509_parser::parse_x509_certificate;

/// Trust anchors that go along with a connection.
#[derive(Clone)]
pub struct Trust(Arc<CaType>);

impl Trust {
    /// The anchors of a PEM file, or without one the system's. Fails with what is wrong, in a sentence's part.
    pub fn load(file: Option<&Path>) -> Result<Self, String> {
        let found = match file {
            Some(file) => {
                let bytes = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
                let certificates: Result<Vec<_>, _> = rustls_pemfile::certs(&mut bytes.as_slice()).collect();
                certificates.map_err(|error| format!("{}: {error}", file.display()))?
            }
            None => rustls_native_certs::load_native_certs().map_err(|error| format!("the system's trust: {error}"))?,
        };
        // Pingora's parser panics on what this one refuses.
        let sound = found.into_iter().filter(|certificate| parse_x509_certificate(certificate).is_ok());
        let anchors: Vec<_> = sound.map(|certificate| WrappedX509::new(certificate.to_vec(), parse_x509)).collect();
        if anchors.is_empty() { Err("no trust anchor was found".into()) } else { Ok(Self(anchors.into())) }
    }

    pub(super) fn certificates(&self) -> Arc<CaType> {
        self.0.clone()
    }
}
