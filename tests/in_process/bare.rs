//! What Pingora itself costs: a `ProxyHttp` that answers every request with one head and body, from `request_filter`.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use pingora::Result;
use pingora::apps::ServerApp;
use pingora::http::ResponseHeader;
use pingora::modules::http::HttpModules;
use pingora::prelude::HttpPeer;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::protocols::{GetSocketDigest, SocketDigest};
use pingora::proxy::{HttpProxy, ProxyHttp, Session, http_proxy};
use pingora::server::configuration::ServerConf;
use tokio::io::{AsyncRead, AsyncWrite, BufStream, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::wire::{Answer, Serves};

/// Buffers of a connection, as whoever cares for speed sets them on a listener of Pingora's: header and body of a small answer leave in one `send`.
const READ_BUFFER: usize = 4 * 1024;
const WRITE_BUFFER: usize = 8 * 1024;

/// A server of one answer.
#[derive(Clone)]
pub struct Pingora(Arc<HttpProxy<Bare>>);

/// Answers the same to everybody.
struct Bare {
    head: ResponseHeader,
    body: Option<Bytes>,
}

impl Pingora {
    /// What answers as `answer` was.
    pub fn like(answer: &Answer) -> Self {
        let status = StatusCode::from_bytes(answer.status().as_bytes()).unwrap();
        let fields = answer.fields();
        let mut head = ResponseHeader::build_no_case(status, Some(fields.len())).unwrap();
        for (name, value) in fields {
            let name = HeaderName::try_from(name).unwrap();
            // Pingora adds these itself.
            if name != http::header::DATE && name != http::header::CONNECTION {
                head.append_header(name, HeaderValue::try_from(value).unwrap()).unwrap();
            }
        }
        let body = (!answer.body.is_empty()).then(|| Bytes::from(answer.body.clone()));
        // No upstream, so no trust store: the system's costs 13 ms and may be missing.
        let conf = ServerConf { ca_file: Some("/dev/null".into()), ..ServerConf::default() };
        Self(Arc::new(http_proxy(&Arc::new(conf), Bare { head, body })))
    }
}

impl Serves for Pingora {
    async fn serve(self, tcp: TcpStream, peer: SocketAddr) {
        // Pingora's listeners alone can give its own stream buffers: here they stand below it.
        let end = End(BufStream::with_capacity(READ_BUFFER, WRITE_BUFFER, tcp));
        let mut stream = Stream::from(VirtualSocketStream::new(Box::new(end)));
        let digest = SocketDigest::from_raw_fd(-1);
        digest.peer_addr.set(Some(peer.into())).unwrap();
        digest.local_addr.set(Some(peer.into())).unwrap();
        stream.set_socket_digest(digest);
        let (_keep, shutdown) = watch::channel(false);
        let mut next = self.0.process_new(Box::new(stream), &shutdown).await;
        while let Some(stream) = next {
            next = self.0.process_new(stream, &shutdown).await;
        }
    }
}

/// A connection with buffers.
#[derive(Debug)]
struct End(BufStream<TcpStream>);

impl AsyncRead for End {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for End {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl VirtualSocket for End {
    fn set_socket_option(&self, _option: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    /// None, as ours has none.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> Result<bool> {
        session.write_response_header(Box::new(self.head.clone()), self.body.is_none()).await?;
        session.write_response_body(self.body.clone(), true).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        pingora::Error::e_explain(pingora::ErrorType::InternalError, "there is no upstream")
    }
}
