//! The way of a connection, before its first request and after its last: the listener it came to, its place, its handshakes, its deadlines.
//!
//! Pingora accepts; what it accepted comes to [`Front`], which hands it to Pingora's HTTP server wrapped in a [`Conn`]. The wrapper stands above TLS:
//! it sees the bytes of HTTP, so that it knows when a request's header began.

mod conn;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::Result;
use pingora::apps::ServerApp;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::{GetSocketDigest, Stream};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;

use super::Edge;
use conn::Conn;

pub use tls::Certificates;

/// What stands between the sockets and the edge. A clone is another handle of the same.
#[derive(Clone)]
pub struct Front {
    shared: Arc<Shared>,
}

struct Shared {
    proxy: Arc<HttpProxy<Edge>>,
    listeners: Vec<Listener>,
    bounds: ArcSwap<Bounds>,
}

/// An address that is listened on, and what is spoken there.
pub struct Listener {
    /// As it is bound.
    pub address: SocketAddr,
    /// What makes connections secure; `None`: they are in clear text.
    pub tls: Option<Arc<dyn Handshake>>,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Whether HTTP/2 is spoken in clear text with prior knowledge (RFC 9113 §3.3).
    pub h2c: bool,
}

/// What makes a secure connection of a socket. Its deadline is the front's.
#[async_trait]
pub trait Handshake: Send + Sync {
    /// Speak TLS; what comes back tells what was negotiated.
    async fn handshake(&self, socket: Socket) -> Result<Stream>;
}

/// Bounds on connections.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// How long a handshake may take.
    pub header_timeout: Duration,
}

impl Front {
    /// A front before `proxy`. There is at least one listener.
    pub fn new(proxy: HttpProxy<Edge>, listeners: Vec<Listener>, bounds: Bounds) -> Self {
        Self { shared: Arc::new(Shared { proxy: Arc::new(proxy), listeners, bounds: ArcSwap::from_pointee(bounds) }) }
    }

    /// Set other bounds. They hold for connections that are made from now on.
    pub fn set(&self, bounds: Bounds) {
        self.shared.bounds.store(Arc::new(bounds));
    }
}

impl Shared {
    /// The listener that a connection came to: the one of its local address, or of any address on its port.
    fn listener(&self, socket: &Socket) -> Option<&Listener> {
        if let [only] = &self.listeners[..] {
            return Some(only);
        }
        let digest = socket.get_socket_digest()?;
        let local = digest.local_addr()?.as_inet()?;
        let exact = self.listeners.iter().find(|listener| listener.address == *local);
        let any =
            |listener: &&Listener| listener.address.ip().is_unspecified() && listener.address.port() == local.port();
        exact.or_else(|| self.listeners.iter().find(any))
    }

    /// Everything before the first request. `None`: there will be none.
    async fn enter(&self, stream: Stream) -> Option<Conn> {
        let socket = *stream.into_any().downcast::<Socket>().ok()?;
        let listener = self.listener(&socket)?;
        let bounds = self.bounds.load_full();
        let stream: Stream = match &listener.tls {
            Some(tls) => tokio::time::timeout(bounds.header_timeout, tls.handshake(socket)).await.ok()?.ok()?,
            None => Box::new(socket),
        };
        Some(Conn::new(stream))
    }
}

#[async_trait]
impl ServerApp for Front {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let conn = self.shared.enter(stream).await?;
        self.shared.proxy.process_new(Box::new(conn), shutdown).await
    }

    async fn cleanup(&self) {
        self.shared.proxy.cleanup().await;
    }
}
