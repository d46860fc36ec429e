//! The loop: accept, read, write, and wait where the socket is full.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::SendFlags;

use crate::answer::{Answer, Answers};

/// What the listener's events are called; connections are called by numbers from 1 on.
const LISTENER: u64 = 0;
/// The longest head of a request, in bytes; a connection that sends more is closed.
const HEAD: usize = 16 << 10;

/// Whether a connection stays.
#[derive(PartialEq, Eq)]
enum Go {
    On,
    Away,
}

struct Connection {
    stream: TcpStream,
    /// What came of requests that are not answered yet.
    read: Vec<u8>,
    /// What is being sent, and how much of it was, in bytes of `bytes` and then of `file`.
    answer: Option<(Rc<Answer>, u64)>,
    /// Whether epoll tells of room to write, instead of bytes to read.
    waits_for_room: bool,
}

/// Answer requests for ever.
///
/// # Errors
/// What epoll says. Errors of a connection end that connection.
pub fn serve(listener: &TcpListener, mut answers: Answers) -> io::Result<Infallible> {
    listener.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut connections: HashMap<u64, Connection> = HashMap::new();
    let mut next = LISTENER + 1;
    let mut events = Vec::with_capacity(256);
    let mut scratch = vec![0; HEAD];
    loop {
        match epoll::wait(&poll, spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.drain(..) {
            let number = event.data.u64();
            if number == LISTENER {
                // A connection that is gone already, or for which no descriptor is left, is tried again at the next event.
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    epoll::add(&poll, &stream, EventData::new_u64(next), EventFlags::IN)?;
                    connections.insert(next, Connection::new(stream));
                    next += 1;
                }
                continue;
            }
            let Some(connection) = connections.get_mut(&number) else { continue };
            let waited = connection.waits_for_room;
            if connection.proceed(&mut answers, &mut scratch).unwrap_or(Go::Away) == Go::Away {
                // Closing takes it out of the epoll set.
                connections.remove(&number);
            } else if waited != connection.waits_for_room {
                let wanted = if waited { EventFlags::IN } else { EventFlags::OUT };
                epoll::modify(&poll, &connection.stream, EventData::new_u64(number), wanted)?;
            }
        }
    }
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self { stream, read: Vec::new(), answer: None, waits_for_room: false }
    }

    /// Send what is to be sent, else read and answer.
    fn proceed(&mut self, answers: &mut Answers, scratch: &mut [u8]) -> io::Result<Go> {
        if self.waits_for_room {
            self.send()?;
            if self.waits_for_room {
                return Ok(Go::On);
            }
        } else {
            let count = match self.stream.read(scratch) {
                Ok(0) => return Ok(Go::Away),
                Ok(count) => count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    return Ok(Go::On);
                }
                Err(error) => return Err(error),
            };
            let came = &scratch[..count];
            if self.read.is_empty() && ends_a_head(came) == Some(count) {
                // The one way that a load goes: a whole request in one read, which is not copied.
                self.answer = Some((answers.answer(came), 0));
                self.send()?;
                return Ok(Go::On);
            }
            self.read.extend_from_slice(came);
        }
        while !self.waits_for_room
            && let Some(end) = ends_a_head(&self.read)
        {
            self.answer = Some((answers.answer(&self.read[..end]), 0));
            self.read.drain(..end);
            self.send()?;
        }
        Ok(if self.read.len() > HEAD { Go::Away } else { Go::On })
    }

    /// Send the answer as far as the socket takes it, and say whether it waits for room.
    fn send(&mut self) -> io::Result<()> {
        let Some((answer, sent)) = &mut self.answer else { return Ok(()) };
        let head = answer.bytes.len() as u64;
        let whole = head + answer.file.as_ref().map_or(0, |(_, _, length)| *length);
        while *sent < whole {
            let step = match &answer.file {
                _ if *sent < head => {
                    // The kernel holds a head back until the file's first bytes are there, so that both go in one segment.
                    let more = if answer.file.is_some() { SendFlags::MORE } else { SendFlags::empty() };
                    rustix::net::send(&self.stream, &answer.bytes[*sent as usize..], more | SendFlags::NOSIGNAL)
                }
                Some((file, first, length)) => {
                    let mut offset = first + (*sent - head);
                    let left = length - (*sent - head);
                    rustix::fs::sendfile(
                        &self.stream,
                        file,
                        Some(&mut offset),
                        usize::try_from(left).unwrap_or(usize::MAX),
                    )
                }
                None => break,
            };
            match step {
                // A file that became shorter.
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => *sent += count as u64,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    self.waits_for_room = true;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.answer = None;
        self.waits_for_room = false;
        Ok(())
    }
}

/// Where the first request ends, just behind its blank line.
fn ends_a_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

#[cfg(test)]
mod tests {
    // A pause between two pieces of a request is what is tested.
    #![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]
    use super::*;
    use std::io::Write;

    /// A floor of its own, which lives as long as the test's process.
    fn start(files: &[(&str, &[u8])]) -> (tempfile::TempDir, std::net::SocketAddr) {
        let directory = tempfile::tempdir().unwrap();
        for (name, body) in files {
            std::fs::write(directory.path().join(name), body).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, path) = (listener.local_addr().unwrap(), directory.path().to_owned());
        let (told, ready) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let answers = Answers::of(&path).unwrap();
            told.send(()).unwrap();
            serve(&listener, answers)
        });
        ready.recv().unwrap();
        (directory, address)
    }

    fn read_answer(stream: &mut TcpStream, length: usize) -> (String, Vec<u8>) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut one = [0];
            stream.read_exact(&mut one).unwrap();
            head.push(one[0]);
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        (String::from_utf8(head).unwrap(), body)
    }

    #[test]
    fn a_connection_is_kept_and_answers_come_whole_however_long_they_are() {
        let long: Vec<u8> = (0..5 << 20).map(|at: u32| (at % 251) as u8).collect();
        let (_directory, address) = start(&[("small", b"abc"), ("long", &long)]);
        let mut stream = TcpStream::connect(address).unwrap();
        for _ in 0..3 {
            stream.write_all(b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            assert_eq!(read_answer(&mut stream, 3).1, b"abc");
            stream.write_all(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            assert!(read_answer(&mut stream, long.len()).1 == long);
        }
    }

    #[test]
    fn requests_that_come_in_pieces_or_together_are_answered_in_turn() {
        let (_directory, address) = start(&[("a", b"first"), ("b", b"other")]);
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        for piece in ["GET /a HT", "TP/1.1\r\nHost: x\r\n", "\r\nGET /b HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\n\r\n"] {
            stream.write_all(piece.as_bytes()).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        for body in [b"first", b"other", b"first"] {
            assert_eq!(read_answer(&mut stream, 5).1, body);
        }
    }

    #[test]
    fn a_head_without_an_end_is_not_kept_for_ever() {
        let (_directory, address) = start(&[("a", b"first")]);
        let mut stream = TcpStream::connect(address).unwrap();
        let flood = stream.write_all(&vec![b'x'; 4 * HEAD]);
        let mut rest = Vec::new();
        // Reset or closed: it is gone in either case.
        assert!(flood.is_err() || stream.read_to_end(&mut rest).map_or(true, |_| rest.is_empty()));
    }
}
