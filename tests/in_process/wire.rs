//! A connection over a socket pair, and a client on it that allocates nothing once it has begun.

use std::future::Future;
use std::net::{SocketAddr, TcpStream as Blocking};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use svc_edge::edge::Front;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes that the client reads at a time, at most.
const ROOM: usize = 256 * 1024;

/// Who the client is said to be.
pub const PEER: ([u8; 4], u16) = ([127, 0, 0, 1], 50_000);

/// What serves connections.
pub trait Serves: Clone + Send + 'static {
    /// Serve one to its end.
    fn serve(self, tcp: TcpStream, peer: SocketAddr) -> impl Future<Output = ()> + Send;
}

impl Serves for Front {
    async fn serve(self, tcp: TcpStream, peer: SocketAddr) {
        let (_keep, stop) = watch::channel(false);
        Front::serve(&self, tcp, peer, stop).await;
    }
}

/// A client with its connection. It ends when this is dropped.
pub struct Client {
    stream: TcpStream,
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
    /// A new connection to `server`. Call it inside a runtime.
    pub fn connect<S: Serves>(server: &S) -> Self {
        // To whoever reads and writes, a pair of Unix sockets is as good as TCP's; what is asked of TCP alone is told that nobody knows.
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (ours, theirs) = (tcp(ours), tcp(theirs));
        let served = tokio::spawn(server.clone().serve(theirs, PEER.into()));
        Self { stream: ours, served, room: vec![0; ROOM] }
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
            let room = left.min(ROOM);
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

fn tcp(end: UnixStream) -> TcpStream {
    end.set_nonblocking(true).unwrap();
    TcpStream::from_std(Blocking::from(OwnedFd::from(end))).unwrap()
}
