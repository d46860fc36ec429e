//! What goes over the socket of an upgrade: one message with descriptors, then words. Whatever comes in is bounded and checked.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::boot::sockets::{Role, Socket};
use crate::conf::MAX_LISTENERS;

/// What the message begins with: a later version may say more.
const MAGIC: &str = "svc-edge listeners 1";
/// Bytes of its text. Each listener takes at most 71: `admin=`, and an IPv6 address with its scope and port.
const MAX_TEXT: usize = 4096;
/// Bytes of a word and its newline.
const MAX_WORD: usize = 16;

/// A word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The successor has the listeners.
    Hello,
    /// It serves.
    Serving,
    /// The predecessor leaves.
    Retiring,
}

impl Word {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Hello, "hello\n"), (Self::Serving, "serving\n"), (Self::Retiring, "retiring\n")];

    fn text(self) -> &'static str {
        Self::ALL.iter().find(|(word, _)| *word == self).map_or("", |(_, text)| text)
    }
}

/// Send the sockets with their addresses, in one message.
pub async fn send(stream: &UnixStream, sockets: &[Socket]) -> io::Result<()> {
    let mut text = MAGIC.to_owned();
    for socket in sockets {
        text.push_str(&format!(" {}={}", socket.role.word(), socket.address));
    }
    text.push('\n');
    if sockets.len() > MAX_LISTENERS || text.len() > MAX_TEXT {
        return Err(io::Error::other(format!("{} listeners; at most {MAX_LISTENERS}", sockets.len())));
    }
    let fds: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let sent = stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_LISTENERS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
                return Err(io::Error::other("no room for the descriptors"));
            }
            Ok(sendmsg(stream, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL)?)
        })
        .await?;
    // A socket that takes no 4 KiB at once is no use.
    if sent == text.len() { Ok(()) } else { Err(io::Error::other("the message was cut")) }
}

/// Receive them. Errors: whatever is not the message of [`send`].
pub async fn receive(stream: &UnixStream) -> io::Result<Vec<Socket>> {
    let (mut text, mut fds) = (Vec::new(), Vec::new());
    while text.last() != Some(&b'\n') {
        let (some, more) = stream.async_io(Interest::READABLE, || receive_some(stream)).await?;
        text.extend(some);
        fds.extend(more);
        if text.len() > MAX_TEXT || fds.len() > MAX_LISTENERS {
            return Err(invalid("it is too long"));
        }
    }
    let text = std::str::from_utf8(&text).map_err(|_| invalid("it is no text"))?;
    let named = parse(text.trim_end_matches('\n'))?;
    if named.len() != fds.len() {
        return Err(invalid(&format!("{} addresses and {} descriptors", named.len(), fds.len())));
    }
    let sockets = named.into_iter().zip(fds).map(|((role, address), fd)| Socket::received(role, address, fd));
    sockets.collect::<Result<_, _>>().map_err(io::Error::other)
}

/// One look: bytes, and the descriptors that came with them.
fn receive_some(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; MAX_TEXT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_LISTENERS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if got.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    bytes.truncate(got.bytes);
    Ok((bytes, fds))
}

/// The roles and addresses of a message.
fn parse(text: &str) -> io::Result<Vec<(Role, SocketAddr)>> {
    let rest = text.strip_prefix(MAGIC).ok_or_else(|| invalid("it is of another version"))?;
    let listener = |word: &str| {
        let (role, address) = word.split_once('=')?;
        Some((Role::of(role)?, address.parse().ok()?))
    };
    let listeners = rest.split_ascii_whitespace().map(|word| listener(word).ok_or_else(|| invalid(word)));
    listeners.collect()
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the message with the listeners: {why:?}"))
}

/// Say a word.
pub async fn say(stream: &UnixStream, word: Word) -> io::Result<()> {
    let text = word.text().as_bytes();
    let sent = stream.async_io(Interest::WRITABLE, || stream.try_write(text)).await?;
    if sent == text.len() { Ok(()) } else { Err(io::Error::other("the word was cut")) }
}

/// Hear `wanted`. Errors: another word, or the end of the connection ([`io::ErrorKind::UnexpectedEof`]).
pub async fn hear(stream: &UnixStream, wanted: Word) -> io::Result<()> {
    let mut heard = Vec::new();
    while heard.last() != Some(&b'\n') {
        let mut byte = [0];
        let read = stream.async_io(Interest::READABLE, || stream.try_read(&mut byte)).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        heard.extend(byte);
        if heard.len() > MAX_WORD {
            break;
        }
    }
    if heard == wanted.text().as_bytes() {
        return Ok(());
    }
    let heard = String::from_utf8_lossy(&heard).into_owned();
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("{heard:?} in place of {:?}", wanted.text())))
}

/// Wait until the other side is gone, or says something unasked, which is no better.
pub async fn gone(stream: &UnixStream) {
    // Whatever comes is the end of the upgrade; only a false alarm is not.
    let _ = stream.async_io(Interest::READABLE, || stream.try_read(&mut [0])).await;
}
