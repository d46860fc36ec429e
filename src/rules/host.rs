//! The Host field (RFC 9110 §7.2): `uri-host [ ":" port ]`.

/// Whether `value` can be a Host. An empty one can: it says that the target has no authority.
pub fn valid(value: &[u8]) -> bool {
    let (host, port) = match value {
        [b'[', rest @ ..] => match rest.iter().position(|byte| *byte == b']') {
            Some(end) => {
                let (address, port) = rest.split_at(end);
                if !address.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')) {
                    return false;
                }
                return port_valid(port.get(1..).unwrap_or_default());
            }
            None => return false,
        },
        _ => value.split_at(value.iter().position(|byte| *byte == b':').unwrap_or(value.len())),
    };
    // reg-name (RFC 3986 §3.2.2): unreserved, percent-encoded, sub-delims.
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte)) && port_valid(port)
}

/// Nothing, or a colon and digits; the digits may be missing (RFC 3986 §3.2.3).
fn port_valid(port: &[u8]) -> bool {
    match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for good in
            ["", "a", "edge.test", "edge.test:8080", "a_b", "127.0.0.1:80", "[::1]", "[::1]:8080", "a:", "x%20y"]
        {
            assert!(valid(good.as_bytes()), "{good:?}");
        }
        for bad in
            ["a b", "a/b", "a\\b", "a?b", "a#b", "u@h", "a:b", "a:80:80", "a:123456", "[::1", "[g]", "[::1]x", "\u{e9}"]
        {
            assert!(!valid(bad.as_bytes()), "{bad:?}");
        }
    }
}
