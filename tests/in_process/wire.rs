//! A connection in memory, and a client on it that allocates nothing once it has begun.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pingora::apps::ServerApp;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::protocols::{GetSocketDigest, SocketDigest};
use svc_edge::boot::{READ_BUFFER, WRITE_BUFFER};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream, DuplexStream, ReadBuf, duplex};
use tokio::task::JoinHandle;

/// Bytes that a connection holds in each direction: as a socket's buffers, more than an answer of 64 KiB.
const HELD: usize = 256 * 1024;

/// The server's end, with the buffers that a listener of ours gives each connection.
#[derive(Debug)]
struct End(BufStream<DuplexStream>);

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

/// A client with its connection. It ends when this is dropped.
pub struct Client {
    stream: DuplexStream,
    served: JoinHandle<()>,
    room: Vec<u8>,
}

/// An answer, taken apart.
pub struct Answer {
    /// Status line and fields, with the empty line behind them.
    pub head: Vec<u8>,
    /// The content.
    pub body: Vec<u8>,
}

impl Answer {
    /// The status code.
    pub fn status(&self) -> &str {
        std::str::from_utf8(&self.head[9..12]).unwrap()
    }

    /// Names and values in their order.
    pub fn fields(&self) -> Vec<(String, String)> {
        let text = std::str::from_utf8(&self.head).unwrap();
        let lines = text.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
    }

    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }
}

impl Client {
    /// A new connection to `app`, as Pingora's listener would hand it over. Call it inside a runtime.
    pub fn connect<A: ServerApp + Send + Sync + 'static>(app: &Arc<A>) -> Self {
        let (ours, theirs) = duplex(HELD);
        let end = End(BufStream::with_capacity(READ_BUFFER, WRITE_BUFFER, theirs));
        let mut stream = Stream::from(VirtualSocketStream::new(Box::new(end)));
        // No descriptor: nobody asks the kernel once the addresses are known.
        let digest = SocketDigest::from_raw_fd(-1);
        let address = |port| Some(SocketAddr::Inet(([127, 0, 0, 1], port).into()));
        digest.peer_addr.set(address(50_000)).unwrap();
        digest.local_addr.set(address(8080)).unwrap();
        stream.set_socket_digest(digest);
        let app = app.clone();
        let served = tokio::spawn(async move {
            let (_keep, shutdown) = tokio::sync::watch::channel(false);
            let mut next = app.process_new(Box::new(stream), &shutdown).await;
            while let Some(stream) = next {
                next = app.process_new(stream, &shutdown).await;
            }
        });
        Self { stream: ours, served, room: vec![0; HELD] }
    }

    /// Ask, and read an answer of which nothing is known yet. `content`: whether its Content-Length is followed by as much.
    pub async fn ask(&mut self, request: &[u8], content: bool) -> Answer {
        self.stream.write_all(request).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.expect("a whole head"));
        }
        let mut answer = Answer { head, body: Vec::new() };
        let length = answer.fields().into_iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        if let Some((_, length)) = length.filter(|_| content) {
            answer.body.resize(length.parse().unwrap(), 0);
            self.stream.read_exact(&mut answer.body).await.unwrap();
        }
        answer
    }

    /// Ask what was answered as `known` before, and read as long an answer of the same status. Nothing is allocated here.
    pub async fn again(&mut self, request: &[u8], known: &Answer) {
        self.stream.write_all(request).await.unwrap();
        let mut left = known.len();
        let mut first = true;
        while left > 0 {
            let room = left.min(HELD);
            let read = self.stream.read(&mut self.room[..room]).await.unwrap();
            assert!(read > 0, "the connection was closed");
            assert!(!first || self.room[..12] == known.head[..12], "another status");
            (left, first) = (left - read, false);
        }
    }

    /// Close the connection, and wait until its server has let go of it.
    pub async fn close(self) {
        drop(self.stream);
        self.served.await.unwrap();
    }
}
