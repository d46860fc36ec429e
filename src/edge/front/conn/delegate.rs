//! What a connection is asked beside bytes: its stream knows.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};

use tokio::io::AsyncWriteExt;

use super::{Conn, PREFACE};

#[async_trait]
impl Shutdown for Conn {
    async fn shutdown(&mut self) {
        // It is closed in any case.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

#[async_trait]
impl Peek for Conn {
    /// Pingora asks this of every connection in clear text as soon as one listener speaks HTTP/2 there. On another one `buf` is left as it is, which is no
    /// preface, without waiting for a byte.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        if self.h2c
            && self.begins_h2().await?
            && let Some(front) = buf.get_mut(..PREFACE.len())
        {
            front.copy_from_slice(PREFACE);
        }
        Ok(true)
    }
}

impl UniqueID for Conn {
    fn id(&self) -> UniqueIDType {
        self.inner.socket().descriptor()
    }
}

impl Ssl for Conn {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        Some(self.inner.secure()?.digest().clone())
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        // Nothing else is offered.
        self.inner.secure().map(|secure| if secure.is_h2() { ALPN::H2 } else { ALPN::H1 })
    }
}

impl GetTimingDigest for Conn {
    /// None: Pingora asks with each request, nobody reads it, and it would be an allocation.
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Conn {
    /// Made for connections through CONNECT proxies; it is what each request can reach of its connection.
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(self.digest.clone())
    }
}

impl GetSocketDigest for Conn {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.inner.socket().digest().clone())
    }
}
