//! A client's TCP connection.
//!
//! Pingora has a type for it, which keeps buffers of its own for as long as a connection is open, asks for the time with every read, and gives no way to the descriptor by which a
//! file can be sent. Here an idle connection holds nothing, and what is written in small pieces is held until it is flushed, so that the header of an answer leaves with its body.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd as _, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pingora::protocols::SocketDigest;
use rustix::io::Errno;
use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::listener;

/// Bytes that are held back for what follows them, at most.
const HELD: usize = 8 * 1024;

/// A connection of TCP, with what is known of its ends.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
    digest: Arc<SocketDigest>,
    /// Read, and to be read again.
    again: Vec<u8>,
    /// Written, and not sent yet.
    held: Vec<u8>,
}

impl Socket {
    /// A connection that was accepted from `peer`.
    pub fn new(tcp: TcpStream, peer: SocketAddr) -> Self {
        let digest = digest(&tcp, peer);
        Self { tcp, digest, again: Vec::new(), held: Vec::new() }
    }

    /// The client: who connected, or whom a proxy names.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.digest.peer_addr()?.as_inet().copied()
    }

    /// The address of the client.
    pub fn peer_ip(&self) -> Option<IpAddr> {
        Some(self.peer()?.ip())
    }

    /// The address that the client connected to.
    pub fn local(&self) -> Option<SocketAddr> {
        self.digest.local_addr()?.as_inet().copied()
    }

    /// The client is `peer`, for whom the one that connected speaks.
    pub fn speaks_for(&mut self, peer: SocketAddr) {
        self.digest = digest(&self.tcp, peer);
    }

    /// What Pingora asks of a connection's ends.
    pub fn digest(&self) -> &Arc<SocketDigest> {
        &self.digest
    }

    /// The number of its descriptor.
    pub fn descriptor(&self) -> RawFd {
        self.tcp.as_raw_fd()
    }

    /// Bytes that the client has acknowledged; none where the kernel can't say.
    pub fn acked(&self) -> Option<u64> {
        Some(self.digest.tcp_info()?.tcpi_bytes_acked)
    }

    /// Have `bytes` read again, before everything else.
    pub fn rewind(&mut self, bytes: &[u8]) {
        self.again.splice(..0, bytes.iter().copied());
    }

    /// The first byte, which stays to be read; none at the end.
    pub async fn first(&mut self) -> io::Result<Option<u8>> {
        if let Some(first) = self.again.first() {
            return Ok(Some(*first));
        }
        let mut first = [0];
        let peeked = self.tcp.peek(&mut first).await?;
        Ok((peeked > 0).then_some(first[0]))
    }

    /// Send what was held, and `bufs` behind it, as far as the kernel takes them. With `more` the kernel may wait for what follows, so that a header leaves with the file behind it.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>], more: bool) -> Poll<io::Result<usize>> {
        ready!(self.poll_held(cx))?;
        loop {
            ready!(self.tcp.poll_write_ready(cx))?;
            let flags = if more { SendFlags::MORE | SendFlags::NOSIGNAL } else { SendFlags::NOSIGNAL };
            let sent = self.tcp.try_io(Interest::WRITABLE, || {
                // One buffer needs no message header.
                let sent = match bufs {
                    [one] => rustix::net::send(&self.tcp, one, flags),
                    _ => rustix::net::sendmsg(&self.tcp, bufs, &mut Default::default(), flags),
                };
                Ok(sent?)
            });
            match sent {
                Err(error) if is_passing(&error) => {}
                sent => return Poll::Ready(sent),
            }
        }
    }

    /// Send up to `length` bytes of `file` from `offset`, without a copy of them here, as far as the kernel takes them. 0: the file ends before that.
    pub fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        file: &impl AsFd,
        offset: u64,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_held(cx))?;
        loop {
            ready!(self.tcp.poll_write_ready(cx))?;
            let sent = self.tcp.try_io(Interest::WRITABLE, || {
                let mut at = offset;
                Ok(rustix::fs::sendfile(&self.tcp, file, Some(&mut at), length)?)
            });
            match sent {
                Err(error) if is_passing(&error) => {}
                sent => return Poll::Ready(sent),
            }
        }
    }

    /// Let it have all the room of its buffer, or as much as every other connection.
    pub fn treat(&self, generously: bool) {
        listener::treat(&self.tcp, generously);
    }

    /// Send what is held.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let sent = ready!(Pin::new(&mut self.tcp).poll_write(cx, &self.held))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.drain(..sent);
        }
        // An idle connection holds no memory.
        self.held = Vec::new();
        Poll::Ready(Ok(()))
    }

    /// Send what is held with `bufs` behind it. How many bytes of `bufs` were sent; 0 while some of what is held is left.
    fn poll_behind_held(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            if self.held.is_empty() {
                return Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
            }
            let mut all = [IoSlice::new(&[]); 16];
            let room = bufs.len().min(all.len() - 1);
            all[0] = IoSlice::new(&self.held);
            all[1..=room].copy_from_slice(&bufs[..room]);
            let sent = ready!(Pin::new(&mut self.tcp).poll_write_vectored(cx, &all[..=room]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_held = sent.min(self.held.len());
            self.held.drain(..of_held);
            if sent > of_held {
                return Poll::Ready(Ok(sent - of_held));
            }
        }
    }
}

/// What is held still goes out, if that needs no waiting: the alert of a handshake that failed, the beginning of an answer that broke off.
impl Drop for Socket {
    fn drop(&mut self) {
        if !self.held.is_empty() {
            // Nobody is left to be told that it failed.
            let _ = self.tcp.try_write(&self.held);
        }
    }
}

/// What is known of the ends of a connection from `peer`.
fn digest(tcp: &TcpStream, peer: SocketAddr) -> Arc<SocketDigest> {
    let digest = SocketDigest::from_raw_fd(tcp.as_raw_fd());
    // Set before anybody asks: the cell is new.
    let _ = digest.peer_addr.set(Some(peer.into()));
    Arc::new(digest)
}

/// Whether it is tried again: at once, or when the runtime says that there is room.
fn is_passing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(Errno::INTR.raw_os_error())
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.again.is_empty() {
            return Pin::new(&mut self.tcp).poll_read(cx, buf);
        }
        let count = self.again.len().min(buf.remaining());
        buf.put_slice(&self.again[..count]);
        self.again.drain(..count);
        if self.again.is_empty() {
            self.again = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_held(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = bufs.iter().map(|buf| buf.len()).sum();
        if self.held.len() + length > HELD {
            return self.poll_behind_held(cx, bufs);
        }
        if self.held.capacity() == 0 {
            self.held.reserve_exact(HELD);
        }
        bufs.iter().for_each(|buf| self.held.extend_from_slice(buf));
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::future::poll_fn;
    use std::io::{Read as _, Write};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Both ends of a connection: ours, and a client's that blocks.
    async fn pair() -> (Socket, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (tcp, peer) = listener.accept().await.unwrap();
        (Socket::new(tcp, peer), client)
    }

    /// What the client reads until the end.
    fn reading(mut client: std::net::TcpStream) -> std::thread::JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let mut all = Vec::new();
            client.read_to_end(&mut all).unwrap();
            all
        })
    }

    #[tokio::test]
    async fn small_pieces_wait_for_the_flush_and_nothing_is_held_behind_it() {
        let (mut socket, client) = pair().await;
        client.set_nonblocking(true).unwrap();
        socket.write_all(b"head").await.unwrap();
        socket.write_all(b"body").await.unwrap();
        assert_eq!((&client).read(&mut [0; 16]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        socket.flush().await.unwrap();
        assert_eq!(socket.held.capacity(), 0);
        client.set_nonblocking(false).unwrap();
        drop(socket);
        assert_eq!(reading(client).join().unwrap(), b"headbody");
    }

    #[tokio::test]
    async fn what_is_held_leaves_before_what_is_too_much_to_hold_however_it_is_cut() {
        let (mut socket, client) = pair().await;
        let reading = reading(client);
        let large: Vec<u8> = (0..3_000_000_u32).map(|at| at as u8).collect();
        let mut expected = Vec::new();
        for piece in [&b"head"[..], &large, b"x", &large[..HELD - 1], b"y", b"", &large[..HELD + 1], b"end"] {
            socket.write_all(piece).await.unwrap();
            expected.extend_from_slice(piece);
        }
        let bufs = [IoSlice::new(b"more "), IoSlice::new(b"of it")];
        assert_eq!(poll_fn(|cx| socket.poll_send(cx, &bufs, false)).await.unwrap(), 10);
        expected.extend_from_slice(b"more of it");
        socket.shutdown().await.unwrap();
        assert!(reading.join().unwrap() == expected);
    }

    #[tokio::test]
    async fn a_file_is_sent_behind_what_is_held_and_its_end_is_told() {
        let (mut socket, client) = pair().await;
        let reading = reading(client);
        let mut file = tempfile::tempfile().unwrap();
        Write::write_all(&mut file, &[7; 1_000_000]).unwrap();
        socket.write_all(b"head").await.unwrap();
        let mut at = 10;
        loop {
            match poll_fn(|cx| socket.poll_send_file(cx, &file, at, 600_000)).await.unwrap() {
                0 => break,
                sent => at += sent as u64,
            }
        }
        assert_eq!(at, 1_000_000);
        socket.shutdown().await.unwrap();
        assert!(reading.join().unwrap() == [b"head".as_slice(), &[7; 999_990]].concat());
    }

    #[tokio::test]
    async fn what_was_read_is_read_again_and_first_looks_without_taking() {
        let (mut socket, mut client) = pair().await;
        Write::write_all(&mut client, b"cdef").unwrap();
        assert_eq!(socket.first().await.unwrap(), Some(b'c'));
        socket.rewind(b"b");
        socket.rewind(b"a");
        assert_eq!(socket.first().await.unwrap(), Some(b'a'));
        let mut all = [0; 6];
        socket.read_exact(&mut all).await.unwrap();
        assert_eq!(&all, b"abcdef");
        drop(client);
        assert_eq!(socket.first().await.unwrap(), None);
        socket.speaks_for("192.0.2.1:7".parse().unwrap());
        assert_eq!(socket.peer(), Some("192.0.2.1:7".parse().unwrap()));
        assert!(socket.local().unwrap().ip().is_loopback());
    }
}
