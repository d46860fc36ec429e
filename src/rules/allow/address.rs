//! Addresses that no fill may reach, whatever name resolved to them: what keeps an origin's name from being pointed at the
//! machine, its network or its cloud (server-side request forgery, DNS rebinding).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why no connection may be made to `address`, if none may. Ask this of every address that a name resolved to, and of those
/// that stand in a URL, just before connecting.
///
/// `allow_private` lifts what an operator may mean: this machine, private, shared, link-local and unique local networks. What
/// nobody means stays refused: metadata services of clouds, which hand out credentials, unspecified, multicast, reserved and
/// documentation addresses, and the tunnels that embed an IPv4 address and would carry a packet around this table. An IPv4
/// address behind NAT64 (RFC 6052), as a network without IPv4 resolves every other origin, is judged itself; so is, with
/// `allow_private`, an IPv4-mapped one (RFC 4291 §2.5.5.2), which no resolver hands out.
///
/// Sources: the IANA registries of special-purpose addresses (RFC 6890), RFC 4291, RFC 8215, RFC 9637, RFC 9780.
pub fn refused_address(address: IpAddr, allow_private: bool) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => v4(address, allow_private),
        IpAddr::V6(address) => v6(address, allow_private),
    }
}

/// A block of addresses: its first, the length of its prefix in bits, what it is, and whether `allow_private` lifts it.
type Block<A> = (A, u32, &'static str, bool);

const METADATA: &str = "a metadata service";
const UNSPECIFIED: &str = "unspecified";
const LOOPBACK: &str = "loopback";
const PRIVATE: &str = "private";
const LINK_LOCAL: &str = "link-local";
const DOCUMENTATION: &str = "documentation";
const BENCHMARKING: &str = "benchmarking";
const MULTICAST: &str = "multicast";
const RESERVED: &str = "reserved";

/// The first that holds an address counts.
#[rustfmt::skip]
const V4: [Block<Ipv4Addr>; 21] = [
    (Ipv4Addr::new(169, 254, 169, 254), 32, METADATA, false),
    // Credentials of tasks and pods, Alibaba's and Azure's own.
    (Ipv4Addr::new(169, 254, 170, 2), 32, METADATA, false),
    (Ipv4Addr::new(169, 254, 170, 23), 32, METADATA, false),
    (Ipv4Addr::new(100, 100, 100, 200), 32, METADATA, false),
    (Ipv4Addr::new(168, 63, 129, 16), 32, METADATA, false),
    (Ipv4Addr::new(0, 0, 0, 0), 8, UNSPECIFIED, false),
    (Ipv4Addr::new(10, 0, 0, 0), 8, PRIVATE, true),
    // Shared by carriers with their customers (RFC 6598): as private as the others.
    (Ipv4Addr::new(100, 64, 0, 0), 10, PRIVATE, true),
    (Ipv4Addr::new(127, 0, 0, 0), 8, LOOPBACK, true),
    (Ipv4Addr::new(169, 254, 0, 0), 16, LINK_LOCAL, true),
    (Ipv4Addr::new(172, 16, 0, 0), 12, PRIVATE, true),
    (Ipv4Addr::new(192, 0, 0, 0), 24, RESERVED, false),
    (Ipv4Addr::new(192, 0, 2, 0), 24, DOCUMENTATION, false),
    (Ipv4Addr::new(192, 88, 99, 0), 24, RESERVED, false),
    (Ipv4Addr::new(192, 168, 0, 0), 16, PRIVATE, true),
    (Ipv4Addr::new(198, 18, 0, 0), 15, BENCHMARKING, false),
    (Ipv4Addr::new(198, 51, 100, 0), 24, DOCUMENTATION, false),
    (Ipv4Addr::new(203, 0, 113, 0), 24, DOCUMENTATION, false),
    (Ipv4Addr::new(224, 0, 0, 0), 4, MULTICAST, false),
    (Ipv4Addr::new(255, 255, 255, 255), 32, "broadcast", false),
    (Ipv4Addr::new(240, 0, 0, 0), 4, RESERVED, false),
];

/// The first that holds an address counts. What none holds, and is no global unicast address (2000::/3), is reserved.
#[rustfmt::skip]
const V6: [Block<Ipv6Addr>; 19] = [
    (Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254), 128, METADATA, false),
    (Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254), 128, METADATA, false),
    (Ipv6Addr::new(0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x42), 128, METADATA, false),
    (Ipv6Addr::UNSPECIFIED, 128, UNSPECIFIED, false),
    (Ipv6Addr::LOCALHOST, 128, LOOPBACK, true),
    (Ipv6Addr::UNSPECIFIED, 96, "IPv4-compatible", false),
    // Which 32 bits are the IPv4 address is each network's own choice (RFC 8215): nobody can judge it.
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "local NAT64", false),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, "discard-only", false),
    (Ipv6Addr::new(0x100, 0, 0, 1, 0, 0, 0, 0), 64, "discard-only", false),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, "Teredo", false),
    (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48, BENCHMARKING, false),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, RESERVED, false),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, DOCUMENTATION, false),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4", false),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, DOCUMENTATION, false),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "unique local", true),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, LINK_LOCAL, true),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local", true),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, MULTICAST, false),
];

/// The prefix of IPv4-mapped addresses, and that of NAT64, both of 96 bits.
const MAPPED: u128 = 0xffff << 32;
const NAT64: u128 = 0x0064_ff9b << 96;

fn v4(address: Ipv4Addr, allow_private: bool) -> Option<&'static str> {
    let holds = |block: &Ipv4Addr, bits: u32| (address.to_bits() ^ block.to_bits()) >> (32 - bits) == 0;
    let (_, _, what, lifted) = V4.iter().find(|(block, bits, ..)| holds(block, *bits))?;
    (!(allow_private && *lifted)).then_some(what)
}

fn v6(address: Ipv6Addr, allow_private: bool) -> Option<&'static str> {
    let bits = address.to_bits();
    // The lower 32 bits of it.
    let embedded = Ipv4Addr::from_bits(bits as u32);
    match bits & !u128::from(u32::MAX) {
        MAPPED if allow_private => return v4(embedded, true),
        MAPPED => return Some("IPv4-mapped"),
        NAT64 => return v4(embedded, allow_private),
        _ => {}
    }
    let holds = |block: &Ipv6Addr, length: u32| (bits ^ block.to_bits()) >> (128 - length) == 0;
    match V6.iter().find(|(block, length, ..)| holds(block, *length)) {
        Some((_, _, _, true)) if allow_private => None,
        Some((_, _, what, _)) => Some(what),
        None => (bits >> 125 != 1).then_some(RESERVED),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn both(address: &str) -> (Option<&'static str>, Option<&'static str>) {
        let address = address.parse().unwrap();
        (refused_address(address, false), refused_address(address, true))
    }

    /// The first and the last address of each block, what they are, whether `allow_private` lifts them; then the neighbours
    /// of the block that are in none.
    #[rustfmt::skip]
    const BOUNDARIES: &[(&str, &str, &str, bool, &[&str])] = &[
        ("0.0.0.0", "0.255.255.255", UNSPECIFIED, false, &["1.0.0.0"]),
        ("10.0.0.0", "10.255.255.255", PRIVATE, true, &["9.255.255.255", "11.0.0.0"]),
        ("100.64.0.0", "100.127.255.255", PRIVATE, true, &["100.63.255.255", "100.128.0.0"]),
        ("100.100.100.200", "100.100.100.200", METADATA, false, &[]),
        ("127.0.0.0", "127.255.255.255", LOOPBACK, true, &["126.255.255.255", "128.0.0.0"]),
        ("168.63.129.16", "168.63.129.16", METADATA, false, &["168.63.129.15", "168.63.129.17"]),
        ("169.254.0.0", "169.254.255.255", LINK_LOCAL, true, &["169.253.255.255", "169.255.0.0"]),
        ("169.254.169.253", "169.254.169.255", LINK_LOCAL, true, &[]),
        ("169.254.169.254", "169.254.169.254", METADATA, false, &[]),
        ("169.254.170.2", "169.254.170.23", METADATA, false, &[]),
        ("172.16.0.0", "172.31.255.255", PRIVATE, true, &["172.15.255.255", "172.32.0.0"]),
        ("192.0.0.0", "192.0.0.255", RESERVED, false, &["191.255.255.255", "192.0.1.0"]),
        ("192.0.2.0", "192.0.2.255", DOCUMENTATION, false, &["192.0.1.255", "192.0.3.0"]),
        ("192.88.99.0", "192.88.99.255", RESERVED, false, &["192.88.98.255", "192.88.100.0"]),
        ("192.168.0.0", "192.168.255.255", PRIVATE, true, &["192.167.255.255", "192.169.0.0"]),
        ("198.18.0.0", "198.19.255.255", BENCHMARKING, false, &["198.17.255.255", "198.20.0.0"]),
        ("198.51.100.0", "198.51.100.255", DOCUMENTATION, false, &["198.51.99.255", "198.51.101.0"]),
        ("203.0.113.0", "203.0.113.255", DOCUMENTATION, false, &["203.0.112.255", "203.0.114.0"]),
        ("224.0.0.0", "239.255.255.255", MULTICAST, false, &["223.255.255.255"]),
        ("240.0.0.0", "255.255.255.254", RESERVED, false, &[]),
        ("255.255.255.255", "255.255.255.255", "broadcast", false, &[]),
        ("::", "::", UNSPECIFIED, false, &[]),
        ("::1", "::1", LOOPBACK, true, &[]),
        ("::2", "::ffff:ffff", "IPv4-compatible", false, &[]),
        ("::1:0:0", "::fffe:ffff:ffff", RESERVED, false, &[]),
        ("::1:0:0:0", "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", RESERVED, false, &[]),
        ("64:ff9b:0:0:0:1::", "64:ff9b::ffff:ffff:ffff:ffff", RESERVED, false, &[]),
        ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "local NAT64", false, &[]),
        ("64:ff9b:2::", "ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", RESERVED, false, &[]),
        ("100::", "100:0:0:1:ffff:ffff:ffff:ffff", "discard-only", false, &[]),
        ("100:0:0:2::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", RESERVED, false, &["2000::"]),
        ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "Teredo", false, &["2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]),
        ("2001:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", RESERVED, false, &["2001:200::"]),
        ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", BENCHMARKING, false, &[]),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", DOCUMENTATION, false,
            &["2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"]),
        ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "6to4", false,
            &["2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"]),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", DOCUMENTATION, false,
            &["3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]),
        ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", RESERVED, false, &[]),
        ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "unique local", true, &[]),
        ("fd00:ec2::254", "fd20:ce::254", METADATA, false, &[]),
        ("fd00:42::42", "fd00:42::42", METADATA, false, &[]),
        ("fd00:ec2::253", "fd00:ec2::255", "unique local", true, &[]),
        ("fe00::", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", RESERVED, false, &[]),
        ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", LINK_LOCAL, true, &[]),
        ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local", true, &[]),
        ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", MULTICAST, false, &[]),
    ];

    #[test]
    fn every_block_begins_and_ends_where_its_registry_says() {
        for (first, last, what, lifted, free) in BOUNDARIES {
            let wanted = (Some(*what), (!lifted).then_some(*what));
            for address in [first, last] {
                assert_eq!(both(address), wanted, "{address}");
            }
            for address in *free {
                assert_eq!(both(address), (None, None), "{address}");
            }
        }
    }

    #[test]
    fn an_address_inside_another_is_judged_or_refused() {
        for (address, strict, lifted) in [
            ("::ffff:127.0.0.1", Some("IPv4-mapped"), None),
            ("::ffff:8.8.8.8", Some("IPv4-mapped"), None),
            ("::ffff:169.254.169.254", Some("IPv4-mapped"), Some(METADATA)),
            ("::ffff:0.0.0.0", Some("IPv4-mapped"), Some(UNSPECIFIED)),
            ("64:ff9b::8.8.8.8", None, None),
            ("64:ff9b::10.0.0.1", Some(PRIVATE), None),
            ("64:ff9b::169.254.169.254", Some(METADATA), Some(METADATA)),
            ("64:ff9b::224.0.0.1", Some(MULTICAST), Some(MULTICAST)),
            ("::8.8.8.8", Some("IPv4-compatible"), Some("IPv4-compatible")),
            ("2002:808:808::1", Some("6to4"), Some("6to4")),
            ("2001:0:808:808::", Some("Teredo"), Some("Teredo")),
        ] {
            assert_eq!(both(address), (strict, lifted), "{address}");
        }
    }

    proptest! {
        #[test]
        fn what_the_standard_library_knows_of_an_ipv4_address_is_refused(bits: u32, near in 0..V4.len(), low in 0_u32..512) {
            // Random addresses seldom meet a small block.
            for address in [Ipv4Addr::from_bits(bits), Ipv4Addr::from_bits(V4[near].0.to_bits() ^ low)] {
                let lifted = address.is_loopback() || address.is_private() || address.is_link_local();
                let never = address.is_unspecified() || address.is_multicast() || address.is_broadcast() || address.is_documentation();
                if lifted || never {
                    prop_assert!(refused_address(address.into(), false).is_some(), "{address}");
                }
                if never {
                    prop_assert!(refused_address(address.into(), true).is_some(), "{address}");
                }
                let octets = address.octets();
                if octets[0] < 240 && refused_address(address.into(), true) == Some(RESERVED) {
                    prop_assert!(octets[..3] == [192, 0, 0] || octets[..3] == [192, 88, 99], "{address}");
                }
            }
        }

        #[test]
        fn what_the_standard_library_knows_of_an_ipv6_address_is_refused(bits: u128, near in 0..V6.len(), low in 0_u128..512) {
            for address in [Ipv6Addr::from_bits(bits), Ipv6Addr::from_bits(V6[near].0.to_bits() ^ low)] {
                let lifted = address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local();
                if lifted || address.is_unspecified() || address.is_multicast() {
                    prop_assert!(refused_address(address.into(), false).is_some(), "{address}");
                }
                if address.is_unspecified() || address.is_multicast() {
                    prop_assert!(refused_address(address.into(), true).is_some(), "{address}");
                }
                if refused_address(address.into(), false).is_none() {
                    prop_assert!(bits >> 125 == 1 || address.segments()[0] >> 13 == 1 || address.segments()[..2] == [0x64, 0xff9b]);
                }
            }
        }

        #[test]
        fn private_addresses_are_the_only_ones_that_the_conf_lifts(bits: u128) {
            for address in [IpAddr::from(Ipv4Addr::from_bits(bits as u32)), IpAddr::from(Ipv6Addr::from_bits(bits))] {
                match (refused_address(address, false), refused_address(address, true)) {
                    (None, lifted) => prop_assert_eq!(lifted, None),
                    (Some(what), None) => {
                        prop_assert!([LOOPBACK, PRIVATE, LINK_LOCAL, "unique local", "site-local", "IPv4-mapped"].contains(&what));
                    }
                    (Some(_), Some(_)) => {}
                }
            }
        }

        #[test]
        fn no_spelling_of_an_ipv4_address_gets_around_its_block(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            let inside = |prefix: u128| IpAddr::from(Ipv6Addr::from_bits(prefix | u128::from(bits)));
            for allow_private in [false, true] {
                let own = refused_address(address.into(), allow_private);
                prop_assert_eq!(refused_address(inside(NAT64), allow_private), own);
                prop_assert!(own.is_none() || refused_address(inside(MAPPED), allow_private).is_some());
                prop_assert!(refused_address(inside(0), allow_private).is_some() || bits == 1);
                let sixtofour = Ipv6Addr::from_bits(0x2002 << 112 | u128::from(bits) << 80);
                prop_assert!(refused_address(sixtofour.into(), allow_private).is_some());
            }
        }
    }
}
