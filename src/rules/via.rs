//! Loops: `Via` (RFC 9110 §7.6.3) and `CDN-Loop` (RFC 8586). Every request that goes to an origin carries both with our
//! name; a request that comes with our name in either has been here before.

use http::Version;
use http::header::{HeaderMap, HeaderName, HeaderValue, VIA};

use super::header::{is_tchar, trim};

/// `CDN-Loop`, which no origin and no client may take away, unlike `Via`.
pub const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// Whether `us` can be the name of an edge: a token, as a pseudonym in `Via` and an identifier in `CDN-Loop` have to be.
pub fn is_pseudonym(us: &str) -> bool {
    !us.is_empty() && us.bytes().all(is_tchar)
}

/// Whether the request has been here before: a member of `Via` was received by `us`, or `us` is a member of `CDN-Loop`.
/// Names are compared byte by byte; what stands in comments, parameters and other places of a member is none.
pub fn loops(request: &HeaderMap, us: &str) -> bool {
    let us = us.as_bytes();
    let lines = |name| request.get_all(name).iter().map(HeaderValue::as_bytes);
    lines(VIA).any(|line| any_member(line, Nesting::Comments, |member| received_by(member) == Some(us)))
        || lines(CDN_LOOP).any(|line| any_member(line, Nesting::Strings, |member| identifier(member) == us))
}

/// The member of `Via` to append to a message that was received over `version`; `None` if `us` is no pseudonym.
pub fn via(version: Version, us: &str) -> Option<HeaderValue> {
    // The protocol's name is left out for HTTP.
    let version = match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    };
    is_pseudonym(us).then(|| HeaderValue::try_from(format!("{version} {us}")).ok()).flatten()
}

/// The member of `CDN-Loop` to append; `None` if `us` is no pseudonym.
pub fn cdn_loop(us: &str) -> Option<HeaderValue> {
    is_pseudonym(us).then(|| HeaderValue::from_str(us).ok()).flatten()
}

/// What a comma of a list can hide in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nesting {
    /// Comments, which nest (RFC 9110 §5.6.5).
    Comments,
    /// Quoted strings.
    Strings,
    /// Nothing.
    Nothing,
}

/// Whether `wanted` holds for a member of the list in `line`. Where a comment or string does not end, every comma parts:
/// nobody is to hide us by opening one in front of us.
fn any_member(line: &[u8], nesting: Nesting, wanted: impl Fn(&[u8]) -> bool) -> bool {
    let mut rest = line;
    while !rest.is_empty() {
        let Some(end) = end_of_member(rest, nesting) else { return any_member(rest, Nesting::Nothing, wanted) };
        let (member, after) = rest.split_at(end);
        if wanted(trim(member)) {
            return true;
        }
        rest = after.get(1..).unwrap_or_default();
    }
    false
}

/// Where the first comma outside of what nests stands, or the end. `None` where something does not end.
fn end_of_member(line: &[u8], nesting: Nesting) -> Option<usize> {
    let (mut depth, mut escaped) = (0_usize, false);
    for (at, byte) in line.iter().enumerate() {
        match (byte, nesting) {
            _ if escaped => escaped = false,
            (b'\\', _) if depth > 0 => escaped = true,
            (b'(', Nesting::Comments) => depth += 1,
            (b')', Nesting::Comments) => depth = depth.saturating_sub(1),
            (b'"', Nesting::Strings) => depth = 1 - depth,
            (b',', _) if depth == 0 => return Some(at),
            _ => {}
        }
    }
    (depth == 0).then_some(line.len())
}

/// The second word of a member of `Via`, without a port; the first is the protocol.
fn received_by(member: &[u8]) -> Option<&[u8]> {
    let mut words = member.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let word = words.nth(1)?;
    word.split(|byte| matches!(byte, b':' | b'(')).next()
}

/// The identifier of a member of `CDN-Loop`, without a port and parameters (RFC 8586 §2).
fn identifier(member: &[u8]) -> &[u8] {
    trim(member.split(|byte| matches!(byte, b';' | b':')).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn request(name: &str, lines: &[&str]) -> HeaderMap {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        lines.iter().map(|line| (name.clone(), HeaderValue::from_bytes(line.as_bytes()).unwrap())).collect()
    }

    #[test]
    fn via_names_us_where_it_says_who_received() {
        for line in [
            "1.1 edge-a",
            "1.0 fred, 1.1 edge-a (svc-edge/0.1)",
            "1.1 edge-a:8080",
            "HTTP/2  edge-a",
            "1.1 x (a, b (c) \\) d), 1.1\tedge-a",
            ",, 1.1 edge-a ,",
            "1.1 edge-a(comment)",
            "1.0 x (never closed, 1.1 edge-a",
            "1.0 x ((a), 1.1 edge-a",
        ] {
            assert!(loops(&request("via", &[line]), "edge-a"), "{line}");
            assert!(loops(&request("via", &["1.1 other", line]), "edge-a"), "{line}");
        }
        for line in [
            "",
            "edge-a",
            "edge-a other",
            "1.1 edge-ab",
            "1.1 xedge-a",
            "1.1 EDGE-A",
            "1.1 fred (1.1 edge-a)",
            "1.1 fred (x, 1.1 edge-a)",
            "1.1 fred edge-a",
            "1.1 edge-a.example",
        ] {
            assert!(!loops(&request("via", &[line]), "edge-a"), "{line}");
        }
        assert!(!loops(&HeaderMap::new(), "edge-a"));
    }

    #[test]
    fn cdn_loop_names_us_where_it_identifies() {
        for line in [
            "edge-a",
            "foo123.foocdn.example, edge-a",
            "edge-a; abc=123; def=\"456\", anotherCDN",
            "x; a=\"b, c\", edge-a",
            "edge-a:443",
            "x; a=\"never closed, edge-a",
        ] {
            assert!(loops(&request("cdn-loop", &[line]), "edge-a"), "{line}");
            assert!(loops(&request("cdn-loop", &["other", line]), "edge-a"), "{line}");
        }
        for line in ["", "edge-ab", "Edge-A", "x; a=edge-a", "x; a=\"y, edge-a, z\"", "x edge-a"] {
            assert!(!loops(&request("cdn-loop", &[line]), "edge-a"), "{line}");
        }
        assert!(!loops(&request("x-cdn-loop", &["edge-a"]), "edge-a"));
    }

    #[test]
    fn a_name_that_is_no_token_is_not_written() {
        for us in ["", "a b", "a,b", "a(b", "a:b", "é", "a\r\nb"] {
            assert!(!is_pseudonym(us), "{us:?}");
            assert_eq!(via(Version::HTTP_11, us), None, "{us:?}");
            assert_eq!(cdn_loop(us), None, "{us:?}");
        }
        assert_eq!(via(Version::HTTP_11, "svc-edge").unwrap(), "1.1 svc-edge");
        assert_eq!(via(Version::HTTP_10, "svc-edge").unwrap(), "1.0 svc-edge");
        assert_eq!(via(Version::HTTP_2, "svc-edge").unwrap(), "2 svc-edge");
        assert_eq!(cdn_loop("svc-edge").unwrap(), "svc-edge");
    }

    proptest! {
        #[test]
        fn what_we_append_is_seen_behind_whatever_others_wrote(
            before in "[a-z0-9.,;()\"\\\\ \t=:]{0,40}", us in "[a-z][a-z0-9-]{0,8}", joined: bool,
        ) {
            for (name, ours) in [("via", via(Version::HTTP_11, &us)), ("cdn-loop", cdn_loop(&us))] {
                let ours = ours.unwrap();
                let ours = ours.to_str().unwrap();
                let both = format!("{before}, {ours}");
                let lines: &[&str] = if joined { &[&both] } else { &[&before, ours] };
                // A comment or string that ends behind us would hide us; none does, since nobody writes behind us.
                prop_assert!(loops(&request(name, lines), &us), "{:?}", lines);
            }
        }
    }
}
