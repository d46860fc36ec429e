//! TLS of listeners: the handshake, on rustls with ring, and what became of it.
//!
//! TLS 1.2 and 1.3 with rustls's suites, of which each is an AEAD with forward secrecy. ALPN offers `h2`, then `http/1.1`. Sessions are resumed by
//! tickets, whose key changes every six hours; nothing is answered before the handshake ends (no early data, which can be replayed).

mod certificates;
mod names;
mod secure;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::{Error, ErrorType, Result};
use rustls::crypto::ring;
use rustls::server::ResolvesServerCert;
use rustls::{InvalidMessage, ServerConfig, version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use super::Handshake;
use super::socket::Socket;
use crate::edge::ctx::make_id;
use crate::observe::metrics::{HANDSHAKES, HandshakeResult, REJECTED, Reason};
use crate::rules::problem;
pub use certificates::Certificates;
pub use secure::Secure;

/// How long a client that speaks no TLS may go on sending, after it was told so.
const LINGER: Duration = Duration::from_secs(1);
/// How much of that is read, in bytes.
const LINGER_BYTES: u64 = 64 * 1024;

/// Makes connections of one listener secure.
pub struct Tls {
    acceptor: TlsAcceptor,
}

impl Tls {
    /// TLS with the certificates that `resolver` has at the time of a handshake.
    pub fn new(resolver: Arc<dyn ResolvesServerCert>) -> Result<Self, rustls::Error> {
        // Named, as the process's default is whatever was installed first, or a panic.
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(&[&version::TLS13, &version::TLS12])?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = ring::Ticketer::new()?;
        // Tickets hold what a session needs: nothing is kept here that clients could fill.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}

#[async_trait]
impl Handshake for Tls {
    async fn handshake(&self, mut socket: Socket) -> Result<Secure> {
        let outcome = Outcome::default();
        let first = match socket.first().await {
            Ok(Some(first)) => first,
            Ok(None) => return Err(outcome.failed(&io::ErrorKind::UnexpectedEof.into())),
            Err(error) => return Err(outcome.failed(&error)),
        };
        // Every method of HTTP begins with a capital; every record of TLS with a control character.
        if first.is_ascii_uppercase() {
            outcome.is(HandshakeResult::PlainHttp);
            // Who doesn't take the answer needs none.
            let _ = tell_plain(&mut socket).await;
            return Error::e_explain(ErrorType::TLSHandshakeFailure, "HTTP in clear text");
        }
        match self.acceptor.accept(socket).await {
            Ok(stream) => {
                outcome.is(HandshakeResult::Done);
                Ok(Secure::new(stream))
            }
            Err(error) => Err(outcome.failed(&error)),
        }
    }
}

/// Counts what became of a handshake: once, and as out of time where it was given up before it came to an end.
#[derive(Default)]
struct Outcome {
    told: std::cell::Cell<bool>,
}

impl Outcome {
    fn is(&self, result: HandshakeResult) {
        self.told.set(true);
        HANDSHAKES.inc(result);
    }

    /// What a client does is no fault of the server: a line for who looks, and no more.
    fn failed(&self, error: &io::Error) -> Box<Error> {
        let result = classify(error);
        self.is(result);
        log::debug!(event = "handshake_failed", result = result.as_str(), cause = error.to_string().as_str(); "");
        Error::explain(ErrorType::TLSHandshakeFailure, result.as_str())
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if !self.told.get() {
            HANDSHAKES.inc(HandshakeResult::Timeout);
        }
    }
}

/// Whose fault a failed handshake is, as far as it can be told.
fn classify(error: &io::Error) -> HandshakeResult {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(_)) => HandshakeResult::Refused,
        Some(rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol) => {
            HandshakeResult::Incompatible
        }
        // A version of TLS that has no number, or SSL 2, is a client from before them.
        Some(rustls::Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion)) => HandshakeResult::Incompatible,
        Some(_) => HandshakeResult::Malformed,
        None => HandshakeResult::Closed,
    }
}

/// Answer one who speaks HTTP in clear text, as everything that is refused is answered; then let it finish, as a reset would take the answer away.
async fn tell_plain(socket: &mut Socket) -> io::Result<()> {
    REJECTED.inc(Reason::BadRequest);
    let reason = Reason::BadRequest.as_str();
    let id = make_id();
    let id = id.to_str().unwrap_or_default();
    let body = problem::body(400, reason, "This port speaks TLS: ask by https", id);
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\nX-Reason: {reason}\r\n\
         X-Corr-ID: {id}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(&body).await?;
    socket.shutdown().await?;
    let mut rest = socket.take(LINGER_BYTES);
    let mut sink = tokio::io::sink();
    let linger = tokio::io::copy(&mut rest, &mut sink);
    tokio::time::timeout(LINGER, linger).await.map_or(Ok(()), |read| read.map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart_by_whose_they_are() {
        let of = |error| classify(&io::Error::new(io::ErrorKind::InvalidData, error));
        let refused = rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA);
        assert_eq!(of(refused), HandshakeResult::Refused);
        assert_eq!(of(rustls::Error::NoApplicationProtocol), HandshakeResult::Incompatible);
        let old = rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered);
        assert_eq!(of(old), HandshakeResult::Incompatible);
        assert_eq!(of(rustls::Error::DecryptError), HandshakeResult::Malformed);
        assert_eq!(classify(&io::ErrorKind::UnexpectedEof.into()), HandshakeResult::Closed);
    }
}
