#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

fn network(text: &str) -> Network {
    text.parse().unwrap_or_else(|error| panic!("{text} {error}"))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The client of a request from `peer`, where 10.0.0.0/8 and fd00::/8 are trusted.
fn client(peer: &str, fields: &[&str]) -> String {
    let trusted = [network("10.0.0.0/8"), network("fd00::/8")];
    forwarded(ip(peer), &trusted, fields.iter().map(|field| field.as_bytes())).to_string()
}

#[test]
fn a_network_holds_its_first_and_last_address_and_not_their_neighbours() {
    for (text, inside, outside) in [
        ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
        ("192.0.2.128/25", ["192.0.2.128", "192.0.2.255"], ["192.0.2.127", "192.0.3.0"]),
        ("192.0.2.7", ["192.0.2.7", "::ffff:192.0.2.7"], ["192.0.2.6", "192.0.2.8"]),
        ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], ["::", "2001:db8::1"]),
        ("::/0", ["::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], ["0.0.0.0", "::ffff:10.0.0.1"]),
        ("2001:db8::/32", ["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"], ["2001:db7:ffff::", "2001:db9::"]),
        ("2001:db8::1", ["2001:db8::1", "2001:db8::1"], ["2001:db8::", "2001:db8::2"]),
        ("::ffff:10.0.0.0/104", ["10.0.0.0", "::ffff:10.255.255.255"], ["11.0.0.0", "::"]),
    ] {
        for address in inside {
            assert!(network(text).contains(ip(address)), "{address} is in {text}");
        }
        for address in outside {
            assert!(!network(text).contains(ip(address)), "{address} is not in {text}");
        }
    }
    assert_eq!(network("::ffff:10.0.0.0/104"), network("10.0.0.0/8"));
    assert_eq!(network("10.0.0.0/8").to_string(), "10.0.0.0/8");
}

#[test]
fn what_is_no_network_is_refused_with_its_reason() {
    for text in ["", "/8", "10.0.0/8", "10.0.0.256", "localhost", "10.0.0.0 /8", "[::1]", "fe80::1%1", "10.00.0.1"] {
        assert_eq!(text.parse::<Network>(), Err(NetworkError::Address), "{text}");
    }
    for text in
        ["10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0.0/256", "10.0.0.0/ 8"]
    {
        assert_eq!(text.parse::<Network>(), Err(NetworkError::Prefix { most: 32 }), "{text}");
    }
    assert_eq!("::/129".parse::<Network>(), Err(NetworkError::Prefix { most: 128 }));
    let error = "10.1.2.3/8".parse::<Network>().unwrap_err();
    assert_eq!(error.to_string(), "has bits set behind its prefix; the network is `10.0.0.0/8`");
    let error = "2001:db8::1/64".parse::<Network>().unwrap_err();
    assert_eq!(error, NetworkError::HostBits { meant: network("2001:db8::/64") });
}

#[test]
fn a_client_is_counted_by_its_whole_ipv4_address_or_by_its_ipv6_network_of_64_bits() {
    let key = |text| client_key(ip(text));
    assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
    assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff:ffff:ffff:ffff"));
    assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    // The IPv4 address 0.0.0.1 and the network ::1:0:0:0:0/64 have the same bits.
    assert_ne!(key("0.0.0.1"), key("0:0:0:1::"));
}

#[test]
fn nothing_counts_that_an_untrusted_peer_says() {
    assert_eq!(client("192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
    assert_eq!(client("::ffff:192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
    assert_eq!(client("fe80::1", &["198.51.100.1"]), "fe80::1");
}

#[test]
fn of_a_trusted_peer_the_last_address_counts_that_is_no_trusted_proxy() {
    for (fields, wanted) in [
        (&["198.51.100.1"][..], "198.51.100.1"),
        (&["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        (&["203.0.113.9, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        (&["203.0.113.9,198.51.100.1 ,\t10.0.0.2, fd00::7"], "198.51.100.1"),
        // Lines of one field are one list (RFC 9110 §5.3).
        (&["203.0.113.9", "198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        (&["203.0.113.9, 198.51.100.1", "10.0.0.2, 10.0.0.3"], "198.51.100.1"),
        // Trusted ones alone: the first of them is where the request came from.
        (&["10.0.0.7, 10.0.0.2"], "10.0.0.7"),
        (&[], "10.0.0.1"),
        (&[""], "10.0.0.1"),
        (&[" , ,, "], "10.0.0.1"),
        (&["198.51.100.1,, ,"], "198.51.100.1"),
        (&["198.51.100.1:4711"], "198.51.100.1"),
        (&["[2001:db8::1]:4711"], "2001:db8::1"),
        (&["[2001:db8::1]"], "2001:db8::1"),
        (&["2001:db8::1"], "2001:db8::1"),
        (&["::ffff:198.51.100.1"], "198.51.100.1"),
        (&["198.51.100.1, [::ffff:10.0.0.2]:80"], "198.51.100.1"),
    ] {
        assert_eq!(client("10.0.0.1", fields), wanted, "{fields:?}");
    }
}

#[test]
fn at_an_element_that_is_no_address_the_last_good_one_counts() {
    let long = "1".repeat(100);
    let padded = format!("198.51.100.1{}", " ".repeat(100));
    for junk in [
        "unknown",
        "_hidden",
        "198.51.100",
        "198.51.100.1:",
        "198.51.100.1:x",
        "198.51.100.1:65536",
        "198.51.100.1:-1",
        "198.51.100.1:+1",
        "[198.51.100.1]",
        "[::1",
        "::1]",
        "[::1]x",
        "fe80::1%eth0",
        "\"198.51.100.1\"",
        "198.51.100.1 198.51.100.2",
        "\u{e9}",
        &long,
        &padded,
    ] {
        assert_eq!(client("10.0.0.1", &[junk]), "10.0.0.1", "{junk}");
        assert_eq!(client("10.0.0.1", &[&format!("198.51.100.1, {junk}, 10.0.0.2")]), "10.0.0.2", "{junk}");
        assert_eq!(client("10.0.0.1", &["198.51.100.1", junk, "10.0.0.2"]), "10.0.0.2", "{junk}");
    }
}

#[test]
fn a_list_without_end_is_walked_for_a_few_steps() {
    let trusted = "10.0.0.9, ".repeat(3000);
    assert_eq!(client("10.0.0.1", &[&format!("198.51.100.1, {trusted}")]), "10.0.0.9");
    assert_eq!(client("10.0.0.1", &[&format!("198.51.100.1, {}", ",".repeat(30_000))]), "10.0.0.1");
    let fields: Vec<_> = std::iter::once("198.51.100.1").chain(std::iter::repeat_n("10.0.0.9", 300)).collect();
    assert_eq!(client("10.0.0.1", &fields), "10.0.0.9");
    assert_eq!(client("10.0.0.1", &fields[..MAX_HOPS]), "198.51.100.1");
}

proptest! {
    #[test]
    fn a_network_that_is_printed_and_read_again_is_the_same(bits: u128, prefix in 0_u8..=128, v4: bool) {
        let network = match v4 {
            true => Network::of(Ipv4Addr::from_bits(bits as u32).into(), prefix % 33),
            false => Network::of(Ipv6Addr::from_bits(bits).into(), prefix),
        };
        prop_assert_eq!(network.to_string().parse(), Ok(network));
        prop_assert!(network.contains(network.first));
    }

    #[test]
    fn an_address_is_in_a_network_if_their_first_bits_agree(bits: u128, near: u128, shift in 0_u32..128, prefix in 0_u8..=128) {
        let other = bits ^ near.checked_shr(shift).unwrap_or(0);
        let network = Network::of(Ipv6Addr::from_bits(bits).into(), prefix);
        let other_is_v6 = Ipv6Addr::from_bits(other).to_ipv4_mapped().is_none() && network.first.is_ipv6();
        let agree = (0..u32::from(prefix)).all(|bit| (bits ^ other) >> (127 - bit) & 1 == 0);
        prop_assert_eq!(network.contains(Ipv6Addr::from_bits(other).into()), agree && other_is_v6);
    }

    #[test]
    fn no_field_panics_and_what_counts_is_the_peer_or_stands_in_it(fields in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..4)) {
        let trusted = [network("0.0.0.0/0"), network("::/0")];
        let peer = ip("192.0.2.1");
        let found = forwarded(peer, &trusted, fields.iter().map(Vec::as_slice));
        let elements = fields.iter().flat_map(|field| field.split(|byte| *byte == b','));
        let named = elements.filter_map(|element| address(trim(element))).any(|address| address == found);
        prop_assert!(found == peer || named);
        prop_assert_eq!(forwarded(peer, &[], fields.iter().map(Vec::as_slice)), peer);
    }

    #[test]
    fn what_a_client_prepends_changes_nothing(
        said in "[0-9a-f:., \\[\\]]{0,80}",
        v4: u32,
        proxies in prop::collection::vec(0_u32..1 << 24, 0..8),
    ) {
        // Each proxy appends whom it was asked by: first the client's address, then those of the proxies before the last.
        let address = IpAddr::from(Ipv4Addr::from_bits(v4));
        prop_assume!(!network("10.0.0.0/8").contains(address));
        let mut field = format!("{said}, {address}");
        proxies.iter().for_each(|proxy| field += &format!(", {}", Ipv4Addr::from_bits(10 << 24 | proxy)));
        prop_assert_eq!(client("10.0.0.1", &[&field]), address.to_string());
    }
}
