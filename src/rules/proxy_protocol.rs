//! The header of the PROXY protocol, versions 1 and 2: who the client behind a proxy is (HAProxy's proxy-protocol.txt, revision 2020/03/05).
//!
//! The header stands before everything else on a connection. It is read piece by piece: what came so far is either the beginning of a header, or a whole one
//! with what follows it, or none. Whether the proxy may be believed is asked elsewhere.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

/// The longest header of version 1, its CRLF included (§2.1).
const MAX_V1: usize = 107;
/// The longest header of version 2 that is taken, its extensions (§2.2.7) included. 536 bytes are said to suffice (§2.2); certificates take more.
pub const MAX_BYTES: usize = 4096;

const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const V2_FIXED: usize = 16;

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes that it takes; what follows is the client's.
    pub length: usize,
    /// The client; none where the proxy speaks for itself (a health check), or doesn't know.
    pub client: Option<SocketAddr>,
}

/// What came is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no header of the PROXY protocol")]
pub struct NoHeader;

/// The header that `bytes` begin with; `Ok(None)` while they may still become one, which is decided within [`MAX_BYTES`].
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    if begins(bytes, V2) {
        return version2(bytes);
    }
    if begins(bytes, V1) {
        return version1(bytes);
    }
    Err(NoHeader)
}

/// Whether `bytes` begin with `signature`, as far as they go.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(byte, expected)| byte == expected)
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n` (§2.1).
fn version1(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    let window = bytes.get(..MAX_V1).unwrap_or(bytes);
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if window.len() == MAX_V1 { Err(NoHeader) } else { Ok(None) };
    };
    let line = window.get(V1.len()..end).ok_or(NoHeader)?;
    let line = core::str::from_utf8(line).map_err(|_| NoHeader)?;
    let mut words = line.split(' ');
    let client = match words.next() {
        // What follows says nothing (§2.1).
        Some("UNKNOWN") => None,
        Some("TCP4") => Some(addresses::<Ipv4Addr>(words)?),
        Some("TCP6") => Some(addresses::<Ipv6Addr>(words)?),
        _ => return Err(NoHeader),
    };
    Ok(Some(Header { length: end + 2, client }))
}

/// Source and destination, then their ports; nothing else.
fn addresses<'a, A: FromStr + Into<IpAddr>>(mut words: impl Iterator<Item = &'a str>) -> Result<SocketAddr, NoHeader> {
    let mut address = || words.next().and_then(|word| word.parse::<A>().ok()).ok_or(NoHeader);
    let (source, _destination) = (address()?, address()?);
    let mut port = || words.next().and_then(port).ok_or(NoHeader);
    let (source_port, _destination_port) = (port()?, port()?);
    match words.next() {
        None => Ok(SocketAddr::new(source.into(), source_port)),
        Some(_) => Err(NoHeader),
    }
}

/// Digits alone, without leading zeros (§2.1).
fn port(word: &str) -> Option<u16> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    plain.then(|| word.parse().ok()).flatten()
}

/// Version 2 (§2.2): fixed part, addresses, extensions.
fn version2(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    let command = match bytes.get(V2.len()) {
        None => return Ok(None),
        Some(0x20) => Command::Local,
        Some(0x21) => Command::Proxy,
        Some(_) => return Err(NoHeader),
    };
    let Some(family) = bytes.get(V2.len() + 1) else { return Ok(None) };
    // How long the addresses are, by family (§2.2). A transport other than streams can't come here, and its addresses say nothing.
    let least = match family {
        0x00 => 0,
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        _ => return Err(NoHeader),
    };
    let Some(fixed) = bytes.get(..V2_FIXED) else { return Ok(None) };
    let rest = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    // A local connection's addresses are to be skipped, whatever they are.
    if V2_FIXED + rest > MAX_BYTES || (rest < least && command == Command::Proxy) {
        return Err(NoHeader);
    }
    let Some(block) = bytes.get(V2_FIXED..V2_FIXED + rest) else { return Ok(None) };
    let client = match (command, family) {
        (Command::Proxy, 0x11) => source::<4>(block, 8),
        (Command::Proxy, 0x21) => source::<16>(block, 32),
        _ => None,
    };
    Ok(Some(Header { length: V2_FIXED + rest, client }))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    /// The proxy itself connects.
    Local,
    /// For a client.
    Proxy,
}

/// The source of an address block: it begins with the address, and its port stands at `port_at`.
fn source<const N: usize>(block: &[u8], port_at: usize) -> Option<SocketAddr>
where
    IpAddr: From<[u8; N]>,
{
    let address: [u8; N] = block.get(..N)?.try_into().ok()?;
    let port: [u8; 2] = block.get(port_at..port_at + 2)?.try_into().ok()?;
    Some(SocketAddr::new(address.into(), u16::from_be_bytes(port)))
}

#[cfg(test)]
mod tests;
