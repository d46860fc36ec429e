//! Who a client is: networks in CIDR notation (RFC 4632 §3.1, RFC 4291 §2.3), the key that a client is counted by, and the address that a trusted
//! proxy gives. An IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2), as a socket for both has it, is the IPv4 address everywhere here.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use super::header::trim;

/// Proxies in a row that are walked through; of more, the last one counts as the client.
const MAX_HOPS: usize = 32;

/// Bytes that an element of `X-Forwarded-For` may take, whitespace around it included; a longer one is junk. The longest address with its
/// brackets and port has 53.
const MAX_ELEMENT: usize = 64;

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// Its first address; never an IPv4-mapped one.
    first: IpAddr,
    /// Bits that its addresses share: at most 32 of an IPv4 address, 128 of an IPv6 one.
    prefix: u8,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// What stands before the slash is no address; names are not resolved.
    #[error("is no IP address, with or without a prefix length")]
    Address,
    /// What stands behind the slash is no number, or more bits than the address has.
    #[error("has no prefix length from 0 to {most}")]
    Prefix {
        /// Bits of the address.
        most: u8,
    },
    /// Bits behind the prefix are set: which of the two was meant is anybody's guess.
    #[error("has bits set behind its prefix; the network is `{meant}`")]
    HostBits {
        /// The network with these bits cleared.
        meant: Network,
    },
}

impl FromStr for Network {
    type Err = NetworkError;

    /// `10.0.0.0/8`, `2001:db8::/32`, or an address alone for a network of one.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let written: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
        let most = if written.is_ipv4() { 32 } else { 128 };
        let prefix = match length {
            None => most,
            Some(length) => number(length).filter(|bits| *bits <= most).ok_or(NetworkError::Prefix { most })?,
        };
        let network = Self::of(written, prefix);
        if network.first.to_canonical() == written.to_canonical() {
            Ok(network)
        } else {
            Err(NetworkError::HostBits { meant: network })
        }
    }
}

/// Digits alone: `u8::from_str` takes a sign, too.
fn number(digits: &str) -> Option<u8> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

impl Network {
    /// The network of `address` with a prefix of at most as many bits as the address has.
    fn of(address: IpAddr, prefix: u8) -> Self {
        match address {
            IpAddr::V4(v4) => Self { first: Ipv4Addr::from_bits(v4.to_bits() & mask4(prefix)).into(), prefix },
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                // With a shorter prefix it holds more than what is mapped.
                Some(v4) if prefix >= 96 => Self::of(v4.into(), prefix - 96),
                _ => Self { first: Ipv6Addr::from_bits(v6.to_bits() & mask6(prefix)).into(), prefix },
            },
        }
    }

    /// Whether `address` is in it. No IPv4 address is in an IPv6 network, not even in `::/0`.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => address.to_bits() & mask4(self.prefix) == first.to_bits(),
            (IpAddr::V6(first), IpAddr::V6(address)) => address.to_bits() & mask6(self.prefix) == first.to_bits(),
            _ => false,
        }
    }
}

impl core::fmt::Display for Network {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// The leading `prefix` bits of an IPv4 address.
fn mask4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0)
}

/// The leading `prefix` bits of an IPv6 address.
fn mask6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128_u32.saturating_sub(prefix.into())).unwrap_or(0)
}

/// What a client is counted by: an IPv4 address, or the first 64 bits of an IPv6 address, as whoever has one address of such a network has all of them
/// (RFC 4291 §2.5.4, RFC 6177 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientKey {
    /// A whole IPv4 address.
    V4(u32),
    /// The first half of an IPv6 address.
    V6(u64),
}

/// The key of a client's address.
pub fn client_key(address: IpAddr) -> ClientKey {
    match address.to_canonical() {
        IpAddr::V4(v4) => ClientKey::V4(v4.to_bits()),
        // The upper half of 128 bits fits 64.
        IpAddr::V6(v6) => ClientKey::V6((v6.to_bits() >> 64) as u64),
    }
}

/// The client of a request that came from `peer`: `peer` itself, unless it is in one of the `trusted` networks; then the address that it gives in
/// `fields`, the values of `X-Forwarded-For` in the order they came.
///
/// Each proxy appends the address that it was asked from, so the list is walked from its end: through trusted proxies, up to the first address that
/// is none. What stands before that was written by whoever wanted to. An element that is no address ends the walk, and the last good address counts.
/// Ports and brackets around an address are tolerated, as are empty elements (RFC 9110 §5.6.1.2). Whatever is sent, at most 32 elements
/// of 64 bytes are looked at.
pub fn forwarded<'a>(peer: IpAddr, trusted: &[Network], fields: impl DoubleEndedIterator<Item = &'a [u8]>) -> IpAddr {
    let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    let mut hops = 0;
    for mut rest in fields.rev() {
        loop {
            if hops == MAX_HOPS || !is_trusted(client) {
                return client;
            }
            hops += 1;
            let from = rest.len().saturating_sub(MAX_ELEMENT + 1);
            let tail = rest.get(from..).unwrap_or_default();
            let comma = tail.iter().rposition(|byte| *byte == b',').map(|at| from + at);
            let element = match comma {
                Some(comma) => rest.get(comma + 1..).unwrap_or_default(),
                None if from > 0 => return client,
                None => rest,
            };
            match trim(element) {
                [] => {}
                element => match address(element) {
                    Some(address) => client = address,
                    None => return client,
                },
            }
            match comma {
                Some(comma) => rest = rest.get(..comma).unwrap_or_default(),
                None => break,
            }
        }
    }
    client
}

/// The address in an element: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = core::str::from_utf8(element).ok()?;
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return is_port(port).then(|| IpAddr::from(address).to_canonical());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (address, _) =
        text.split_once(':').filter(|(address, _)| is_port(text.get(address.len()..).unwrap_or_default()))?;
    address.parse::<Ipv4Addr>().ok().map(IpAddr::from)
}

/// Nothing, or a colon and a port.
fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        None => text.is_empty(),
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
    }
}

#[cfg(test)]
mod tests;
