//! A client of HTTP/2 that sends exactly the frames it is given (RFC 9113 §4.1).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// SETTINGS_INITIAL_WINDOW_SIZE (§6.5.2).
pub const INITIAL_WINDOW: u16 = 4;

/// A frame that came.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// What became of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It ended, with this body.
    Whole(Vec<u8>),
    /// RST_STREAM, with this code, after so many bytes of body.
    Reset(u32, usize),
    /// GOAWAY, with this code.
    GoAway(u32),
    /// The connection is closed.
    Closed,
}

pub struct H2 {
    pub stream: TcpStream,
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A literal field without indexing, its name from the static table (RFC 7541 §6.2.2), no Huffman code.
fn literal(index: u8, value: &str) -> Vec<u8> {
    assert!(index < 15 && value.len() < 127);
    [&[index, value.len() as u8], value.as_bytes()].concat()
}

/// The field block of `GET path`.
pub fn get_block(path: &str) -> Vec<u8> {
    // :method GET and :scheme http are in the static table (RFC 7541, appendix A).
    [&[0x82, 0x86][..], &literal(4, path), &literal(1, "edge.test")].concat()
}

/// HEADERS of `GET path`, with which the stream ends.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &get_block(path))
}

pub fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

pub fn window(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

pub fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        pairs.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    frame(SETTINGS, 0, 0, &payload)
}

impl H2 {
    /// Connect with prior knowledge, and send the preface with these settings.
    pub fn connect(address: SocketAddr, pairs: &[(u16, u32)]) -> Self {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_nodelay(true).expect("nodelay");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a read timeout");
        stream.set_write_timeout(Some(Duration::from_secs(30))).expect("a write timeout");
        let mut client = Self { stream };
        client.send(PREFACE);
        client.send(&settings(pairs));
        client
    }

    /// Send bytes; false when the server takes none any more.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next frame; none when the connection is closed. Settings are acknowledged.
    pub fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        if frame.kind == SETTINGS && frame.flags & ACK == 0 {
            self.send(&self::frame(SETTINGS, ACK, 0, b""));
        }
        if frame.kind == PING && frame.flags & ACK == 0 {
            self.send(&self::frame(PING, ACK, 0, &frame.payload));
        }
        Some(frame)
    }

    /// Read until `stream` ends in some way; what it sends is let through while it comes if `open`.
    pub fn end_of(&mut self, stream: u32, open: bool) -> End {
        let mut body = Vec::new();
        loop {
            let Some(frame) = self.frame() else { return End::Closed };
            let code = |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().expect("four bytes"));
            match frame.kind {
                GOAWAY if code(4) != 0 => return End::GoAway(code(4)),
                RST_STREAM if frame.stream == stream => return End::Reset(code(0), body.len()),
                DATA if frame.stream == stream => {
                    body.extend_from_slice(&frame.payload);
                    if open && !frame.payload.is_empty() {
                        let more = frame.payload.len() as u32;
                        self.send(&[window(0, more), window(stream, more)].concat());
                    }
                }
                _ => {}
            }
            if frame.stream == stream && matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
                return End::Whole(body);
            }
        }
    }
}
