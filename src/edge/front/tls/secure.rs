//! A connection over TLS as Pingora's HTTP server sees it.
//!
//! Pingora has such a type, and makes it itself only, by an acceptor that keeps why a handshake failed to itself; and its end of a connection is a
//! WARN for each client that left first.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_rustls::server::TlsStream;

/// How long the last record may take, which says that nothing follows.
const CLOSE: Duration = Duration::from_secs(2);

/// A connection whose handshake is done.
#[derive(Debug)]
pub struct Secure {
    stream: TlsStream<Socket>,
    digest: Arc<SslDigest>,
    timing: TimingDigest,
}

impl Secure {
    /// The connection of `stream`, whose handshake took so long.
    pub fn new(stream: TlsStream<Socket>, took: Duration) -> Self {
        let (_, session) = stream.get_ref();
        let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
        let version = session.protocol_version().and_then(|version| version.as_str()).unwrap_or_default();
        // Clients are not asked for certificates.
        let digest = Arc::new(SslDigest::new(cipher, version, None, None, Vec::new()));
        let timing = TimingDigest {
            established_ts: SystemTime::now(),
            establishment_duration: Some(took),
            ..TimingDigest::default()
        };
        Self { stream, digest, timing }
    }

    fn socket(&self) -> &Socket {
        self.stream.get_ref().0
    }
}

impl AsyncRead for Secure {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secure {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Secure {
    /// A client that left already, or takes no more, is not waited for.
    async fn shutdown(&mut self) {
        let _ = tokio::time::timeout(CLOSE, self.stream.shutdown()).await;
    }
}

/// HTTP/2 is chosen by ALPN: nobody has to look ahead.
impl Peek for Secure {}

impl UniqueID for Secure {
    fn id(&self) -> UniqueIDType {
        self.socket().id()
    }
}

impl Ssl for Secure {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        Some(self.digest.clone())
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        // Nothing else is offered.
        match self.stream.get_ref().1.alpn_protocol()? {
            b"h2" => Some(ALPN::H2),
            _ => Some(ALPN::H1),
        }
    }
}

impl GetTimingDigest for Secure {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        let mut timing = self.socket().get_timing_digest();
        timing.push(Some(self.timing.clone()));
        timing
    }

    fn get_read_pending_time(&self) -> Duration {
        self.socket().get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.socket().get_write_pending_time()
    }
}

impl GetProxyDigest for Secure {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.socket().get_proxy_digest()
    }
}

impl GetSocketDigest for Secure {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.socket().get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.get_mut().0.set_socket_digest(digest);
    }
}
