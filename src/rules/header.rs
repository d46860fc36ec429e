//! Header fields as lists and tokens (RFC 9110 §5.6), which of them end at the next hop (§7.6.1), and which tell one client
//! from another. What a field means is for its own module to say.

use http::header::{self, HeaderMap, HeaderName};

/// The fields of a message without those that are for its connection only: `Connection` and what it nominates
/// (RFC 9110 §7.6.1), the framing of HTTP/1.1, and every `Proxy-*` field, of which RFC 9111 §3.1 forbids to store the
/// ones that authenticate. Everything else is kept, known or not, several lines of a field in their order.
pub fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let nominated: Vec<HeaderName> = nominated(headers).collect();
    let mut kept = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        if !is_hop_by_hop(name) && !nominated.contains(name) {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

/// Whether a field of this name is for one connection only, without being nominated by `Connection`.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    const NAMES: [HeaderName; 5] =
        [header::CONNECTION, header::TE, header::TRAILER, header::TRANSFER_ENCODING, header::UPGRADE];
    NAMES.contains(name)
        || matches!(name.as_str(), "keep-alive" | "http2-settings")
        || name.as_str().starts_with("proxy-")
}

/// Whether a field of a request says who the client is, where it is, or what it may see: the one list of what no origin
/// gets from a client, neither by a fill nor with what passes through, which alone is given its `Authorization` back.
///
/// `Origin` and `Referer` are not among them. They say which page asks, and a service behind `pass: true` may refuse what
/// doesn't say it (its defence against forged requests); a fill sends neither, as they make no difference that may be shared.
pub fn is_of_a_client(name: &HeaderName) -> bool {
    const NAMES: [&str; 17] = [
        "authorization",
        "cf-connecting-ip",
        "client-ip",
        "cookie",
        "cookie2",
        "fastly-client-ip",
        "fly-client-ip",
        "forwarded",
        "from",
        "true-client-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-envoy-external-address",
        "x-forwarded",
        "x-original-forwarded-for",
        "x-real-ip",
        "x-remote-ip",
    ];
    NAMES.contains(&name.as_str()) || name.as_str().starts_with("x-forwarded-")
}

/// The names that `Connection` nominates; options that are no field names can't name a field.
pub fn nominated(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> + '_ {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| elements(line.as_bytes()))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
}

/// Whether a message says how it is transferred, and its only transfer coding is chunked (RFC 9112 §7).
pub fn is_chunked(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::TRANSFER_ENCODING).iter();
    let only = lines.next().is_some_and(|line| line.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
    only && lines.next().is_none()
}

/// The elements of a list (RFC 9110 §5.6.1) in one line: split at commas outside quoted strings, white space around
/// them cut off. Empty elements are among them; a string that does not end takes the rest of the line.
pub fn elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let current = rest?;
        let end = end_of_element(current);
        let (element, after) = current.split_at(end);
        rest = after.split_first().map(|(_, behind)| behind);
        Some(trim(element))
    })
}

/// Where the first comma outside a quoted string stands, or the end of `line`.
pub(super) fn end_of_element(line: &[u8]) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    line.iter()
        .position(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b',' if !quoted => return true,
                _ => {}
            }
            false
        })
        .unwrap_or(line.len())
}

/// `bytes` without optional white space (RFC 9110 §5.6.3) at either end.
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    let inside = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let Some(start) = bytes.iter().position(inside) else { return &[] };
    let end = bytes.iter().rposition(inside).map_or(0, |last| last + 1);
    &bytes[start..end]
}

/// A character of a token (RFC 9110 §5.6.2).
pub(super) fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        headers
    }

    #[test]
    fn what_is_for_one_connection_only_is_not_kept() {
        let kept = end_to_end(&headers(&[
            ("Connection", "close, X-Hop"),
            ("Connection", "another, , \"quoted\", not a name"),
            ("X-Hop", "1"),
            ("Another", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Authenticate", "Basic"),
            ("Proxy-Authentication-Info", "x"),
            ("Proxy-Authorization", "x"),
            ("Proxy-Connection", "keep-alive"),
            ("Proxy-Status", "x"),
            ("TE", "trailers"),
            ("Trailer", "x"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "x"),
            ("ETag", "\"a\""),
        ]));
        assert_eq!(kept, headers(&[("ETag", "\"a\"")]));
    }

    #[test]
    fn what_names_a_client_its_place_or_its_rights_is_of_a_client_and_which_page_asks_is_not() {
        let of = |name: &str| is_of_a_client(&name.parse().unwrap());
        for name in [
            "Authorization",
            "Cookie",
            "Cookie2",
            "Forwarded",
            "From",
            "True-Client-IP",
            "X-Client-IP",
            "X-Real-IP",
            "X-Forwarded-For",
            "X-Forwarded-Anything",
            "CF-Connecting-IP",
        ] {
            assert!(of(name), "{name}");
        }
        for name in ["Origin", "Referer", "Accept", "User-Agent", "X-Forward", "Set-Cookie", "Via", "traceparent"] {
            assert!(!of(name), "{name}");
        }
    }

    #[test]
    fn everything_else_is_kept_in_its_order_known_or_not() {
        let all =
            headers(&[("X-Unknown", "1"), ("Link", "<a>"), ("X-Unknown", "2"), ("Link", "<b>"), ("Proxied", "y")]);
        assert_eq!(end_to_end(&all), all);
    }

    #[test]
    fn elements_stand_between_commas_outside_of_strings() {
        let table: [(&str, &[&str]); 7] = [
            ("", &[""]),
            ("a", &["a"]),
            (" a ,\tb,, c", &["a", "b", "", "c"]),
            ("a=\"b, c\", d", &["a=\"b, c\"", "d"]),
            ("\"\\\",\", d", &["\"\\\",\"", "d"]),
            ("\"a, b", &["\"a, b"]),
            ("a,", &["a", ""]),
        ];
        for (line, expected) in table {
            let found: Vec<&[u8]> = elements(line.as_bytes()).collect();
            assert_eq!(found, expected.iter().map(|text| text.as_bytes()).collect::<Vec<_>>(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn elements_lose_nothing_but_white_space_and_commas(line in "[ab\", \t\\\\]{0,40}") {
            let found: Vec<&[u8]> = elements(line.as_bytes()).collect();
            prop_assert!(found.len() <= line.len() + 1);
            let joined = found.concat();
            let mut rest = joined.iter();
            let mut next = rest.next();
            for byte in line.bytes() {
                if next == Some(&byte) {
                    next = rest.next();
                }
            }
            prop_assert_eq!(next, None, "in order, and nothing that was not there");
        }
    }
}
