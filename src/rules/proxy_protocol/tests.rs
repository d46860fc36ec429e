#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

/// A header of version 2 with `block` behind its fixed part.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut bytes = V2.to_vec();
    bytes.extend([command, family]);
    bytes.extend((block.len() as u16).to_be_bytes());
    bytes.extend(block);
    bytes
}

fn block4(source: [u8; 4], port: u16) -> Vec<u8> {
    [&source[..], &[198, 51, 100, 1], &port.to_be_bytes(), &443_u16.to_be_bytes()].concat()
}

fn block6(source: [u8; 16], port: u16) -> Vec<u8> {
    [&source[..], &[0x20; 16], &port.to_be_bytes(), &443_u16.to_be_bytes()].concat()
}

fn client(bytes: &[u8]) -> Option<SocketAddr> {
    let header = parse(bytes).unwrap().unwrap();
    assert_eq!(header.length, bytes.len());
    header.client
}

#[test]
fn the_client_is_the_source_address_of_either_version() {
    let v4: SocketAddr = "192.0.2.1:4711".parse().unwrap();
    let v6: SocketAddr = "[2001:db8::1]:4711".parse().unwrap();
    let octets: [u8; 16] = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets();
    assert_eq!(client(b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n"), Some(v4));
    assert_eq!(client(b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n"), Some(v6));
    assert_eq!(client(b"PROXY TCP4 192.0.2.1 192.0.2.1 0 65535\r\n").unwrap().port(), 0);
    assert_eq!(client(&v2(0x21, 0x11, &block4([192, 0, 2, 1], 4711))), Some(v4));
    assert_eq!(client(&v2(0x21, 0x21, &block6(octets, 4711))), Some(v6));
    let with_extensions = [block4([192, 0, 2, 1], 4711), vec![0x04, 0, 3, 1, 2, 3]].concat();
    assert_eq!(client(&v2(0x21, 0x11, &with_extensions)), Some(v4));
}

#[test]
fn who_speaks_for_itself_or_knows_no_address_is_the_client() {
    assert_eq!(client(b"PROXY UNKNOWN\r\n"), None);
    assert_eq!(client(b"PROXY UNKNOWN ffff::1 whatever 1 2\r\n"), None);
    assert_eq!(client(&v2(0x20, 0x00, b"")), None);
    assert_eq!(client(&v2(0x20, 0x11, &block4([192, 0, 2, 1], 1))), None);
    assert_eq!(client(&v2(0x20, 0x11, b"less")), None, "a local connection's block is skipped");
    assert_eq!(client(&v2(0x21, 0x00, b"skipped")), None);
    assert_eq!(client(&v2(0x21, 0x31, &[7; 216])), None, "a socket of the file system");
    assert_eq!(client(&v2(0x21, 0x12, &block4([192, 0, 2, 1], 1))), None, "datagrams");
}

#[test]
fn what_is_no_header_is_known_at_the_first_byte_that_shows_it() {
    for (bytes, decided_at) in [
        (&b"GET / HTTP/1.1\r\n"[..], 1),
        (b"PRI * HTTP/2.0\r\n", 3),
        (b"\x16\x03\x01\x02\x00", 1),
        (b"\r\n\r\nGET", 5),
        (b"PROXYTCP4", 6),
        (b"proxy TCP4", 1),
        (b"\r\n\r\n\0\r\nQUIT\n\x11", 13),
        (b"\r\n\r\n\0\r\nQUIT\n\x22", 13),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x41", 14),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x13", 14),
    ] {
        for cut in 0..decided_at {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "{:?}", bytes[..cut].escape_ascii().to_string());
        }
        assert_eq!(parse(&bytes[..decided_at]), Err(NoHeader), "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_malformed_line_is_no_header() {
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1\t192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP6 [2001:db8::1] 2001:db8::2 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 2001:db8::2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n",
        "PROXY UNKNOWNS\r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(NoHeader), "{line:?}");
    }
}

#[test]
fn no_header_is_longer_than_its_bound() {
    let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
    assert_eq!(parse(&long[..106]), Ok(None));
    assert_eq!(parse(&long[..107]), Err(NoHeader));
    // The CRLF has to end within the bound.
    let line = |length: usize| [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; length - 16], b"\r\n".to_vec()].concat();
    assert_eq!(parse(&line(107)).unwrap().unwrap().length, 107);
    assert_eq!(parse(&line(108)), Err(NoHeader));
    assert_eq!(parse(&v2(0x21, 0x00, &[0; MAX_BYTES - 16])).unwrap().unwrap().length, MAX_BYTES);
    assert_eq!(parse(&v2(0x21, 0x00, &[0; MAX_BYTES - 15])[..16]), Err(NoHeader), "known without the bytes");
}

#[test]
fn addresses_that_are_shorter_than_their_family_are_no_header() {
    for (family, needed) in [(0x11, 12), (0x12, 12), (0x21, 36), (0x22, 36), (0x31, 216), (0x32, 216)] {
        assert_eq!(parse(&v2(0x21, family, &vec![0; needed - 1])[..16]), Err(NoHeader), "{family:#x}");
        assert!(parse(&v2(0x21, family, &vec![0; needed])).unwrap().is_some(), "{family:#x}");
    }
}

#[test]
fn every_truncation_of_a_header_may_still_become_one() {
    for whole in [
        b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        v2(0x20, 0x00, b""),
        v2(0x21, 0x11, &block4([192, 0, 2, 1], 4711)),
        v2(0x21, 0x21, &[block6([1; 16], 4711), vec![1; 300]].concat()),
    ] {
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole[..cut]), Ok(None), "{} of {}", cut, whole.escape_ascii());
        }
        let with_request = [&whole[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(parse(&with_request), parse(&whole), "what follows is not looked at");
        assert!(parse(&whole).unwrap().is_some());
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_decided_within_the_bound_and_stays_decided(
        signature in prop_oneof![Just(V1), Just(V2), Just(&b""[..])],
        bytes in proptest::collection::vec(any::<u8>(), 0..5000),
    ) {
        let bytes = [signature, &bytes].concat();
        let mut decided = None;
        for cut in (0..bytes.len()).step_by(7).chain([bytes.len()]) {
            let parsed = parse(&bytes[..cut]);
            if let Some(before) = decided {
                prop_assert_eq!(parsed, before);
            } else if parsed != Ok(None) {
                decided = Some(parsed);
                if let Ok(Some(header)) = parsed {
                    prop_assert!(header.length <= cut && header.length <= MAX_BYTES);
                }
            }
            prop_assert!(decided.is_some() || cut < MAX_BYTES);
        }
    }

    #[test]
    fn every_client_that_is_written_is_read(octets in any::<[u8; 16]>(), port in any::<u16>(), v4 in any::<bool>()) {
        let address: IpAddr = if v4 { [octets[0], octets[1], octets[2], octets[3]].into() } else { octets.into() };
        let expected = Some(SocketAddr::new(address, port));
        let family = if v4 { "TCP4" } else { "TCP6" };
        let line = format!("PROXY {family} {address} {address} {port} 443\r\n");
        prop_assert_eq!(client(line.as_bytes()), expected);
        let binary = match address {
            IpAddr::V4(v4) => v2(0x21, 0x11, &block4(v4.octets(), port)),
            IpAddr::V6(v6) => v2(0x21, 0x21, &block6(v6.octets(), port)),
        };
        prop_assert_eq!(client(&binary), expected);
    }
}
