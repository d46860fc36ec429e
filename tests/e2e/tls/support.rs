//! Servers with certificates, and clients that speak TLS.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned,
    SupportedProtocolVersion, version,
};

use crate::authority::{Authority, Pair};
use crate::http::Client;
use crate::server::{Server, Setup, setup};

/// The name of most tests' host.
pub const HOST: &str = "edge.test";
/// Versions of TLS that are served.
pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

/// A server with one certificate, for [`HOST`], and who signed it.
pub fn secure(setup: Setup) -> (Setup, Authority, Pair) {
    let authority = Authority::new();
    let pair = authority.write(setup.dir.path(), "edge", &[HOST], 90);
    let setup = setup.bind(&[&format!("{{addr: 127.0.0.1:0, tls: {}}}", pair.yaml())]);
    (setup, authority, pair)
}

/// The same, with an asset at `/edge/assets/site/a`, running.
pub fn started() -> (Server, Authority, Pair) {
    let (setup, authority, pair) = secure(setup().asset("a", b"hello").unlimited());
    (setup.start(), authority, pair)
}

/// A conf of a client that trusts an authority, speaks these versions, and offers these protocols.
pub fn client(
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = builder.with_protocol_versions(versions).unwrap().with_root_certificates(roots).with_no_client_auth();
    offering(config, alpn)
}

/// A conf of a client that takes every certificate, and so can be shown any.
pub fn credulous(alpn: &[&str]) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().dangerous();
    let config = builder.with_custom_certificate_verifier(Arc::new(Credulous)).with_no_client_auth();
    offering(config, alpn)
}

fn offering(mut config: ClientConfig, alpn: &[&str]) -> Arc<ClientConfig> {
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A connection whose handshake is done, or why it isn't. An address as the name sends none.
pub fn connect(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    name: &str,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    socket.set_write_timeout(Some(Duration::from_secs(20)))?;
    socket.set_nodelay(true)?;
    let name = ServerName::try_from(name.to_owned()).map_err(std::io::Error::other)?;
    let mut connection = ClientConnection::new(config, name).map_err(std::io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(connection, socket))
}

/// A client of HTTP/1.1 over TLS.
pub fn browser(server: &Server, authority: &Authority) -> Client {
    Client::through(connect(server.address, client(authority, &VERSIONS, &["http/1.1"]), HOST).unwrap())
}

/// The certificate that a server shows to who asks for a name; `None` asks for none.
pub fn shown(address: SocketAddr, name: Option<&str>) -> CertificateDer<'static> {
    let connection = connect(address, credulous(&[]), name.unwrap_or("127.0.0.1")).unwrap();
    connection.conn.peer_certificates().unwrap()[0].clone()
}

/// How many handshakes ended so.
pub fn handshakes(server: &Server, result: &str) -> f64 {
    server.metric(&format!("tls_handshakes_total{{result=\"{result}\"}}"))
}

/// Takes every certificate.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
