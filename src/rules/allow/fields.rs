//! Which request header fields an origin may get beside our own: fixed ones from the conf, and a client's that are passed on.

use http::HeaderName;

use crate::rules::header::{is_hop_by_hop, is_of_a_client};

/// Why the conf may not set `name` on every request to an origin, if it may not.
///
/// Fields of the connection are the connection's (RFC 9110 §7.6.1), and a fill asks for a whole object, once, in codings that
/// the edge can handle: what says otherwise is not for the conf. Authorization and Cookie may be set: they are the edge's own,
/// and the same for every client.
pub fn refused_setting(name: &HeaderName) -> Option<&'static str> {
    connection(name).or_else(|| ours(name.as_str()))
}

/// Why a client's `name` may not be passed on by fills, if it may not.
///
/// A stored answer is for every client, so what tells one from another never reaches an origin or a key; neither does what
/// asks for a part of an object, or for less than an answer.
pub fn refused_forwarding(name: &HeaderName) -> Option<&'static str> {
    connection(name).or_else(|| ours(name.as_str())).or_else(|| of_a_client(name))
}

fn connection(name: &HeaderName) -> Option<&'static str> {
    is_hop_by_hop(name).then_some("belongs to a connection")
}

fn ours(name: &str) -> Option<&'static str> {
    match name {
        "host" => Some("comes from the URL"),
        "content-length" | "expect" => Some("belongs to a body, and a fill has none"),
        "accept-encoding" => Some("names the codings that the edge can decode"),
        "user-agent" => Some("is made of `edge.fill.name` and `edge.fill.contact`"),
        "via" | "cdn-loop" => Some("is how the edge finds loops"),
        "traceparent" | "tracestate" => Some("is passed on anyway"),
        "range" => Some("asks for a part, and a fill is of the whole"),
        _ if name.starts_with("if-") => Some("is a precondition, which the edge answers itself"),
        _ => None,
    }
}

/// Beside what says who the client is: which page it shows, which request this is of it, and what it sends.
fn of_a_client(name: &HeaderName) -> Option<&'static str> {
    const ONE: &str = "tells one client from another";
    match name.as_str() {
        _ if is_of_a_client(name) => Some(ONE),
        "origin" | "referer" | "x-corr-id" | "x-request-id" => Some(ONE),
        "cache-control" | "pragma" => Some("is for the edge, which answers it itself"),
        name if name.starts_with("content-") => Some(ONE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> impl Iterator<Item = HeaderName> {
        list.split(' ').filter_map(|name| name.parse().ok())
    }

    #[test]
    fn what_is_of_a_connection_or_of_the_edge_is_neither_set_nor_passed_on() {
        let refused = "connection keep-alive te trailer transfer-encoding upgrade proxy-authorization proxy-connection expect \
                       host content-length accept-encoding user-agent via cdn-loop range if-match if-none-match \
                       if-modified-since if-unmodified-since if-range traceparent";
        assert_eq!(names(refused).count(), 22);
        for name in names(refused) {
            assert!(refused_setting(&name).is_some(), "{name}");
            assert!(refused_forwarding(&name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_tells_one_client_from_another_is_not_passed_on_but_may_be_set() {
        let of_clients =
            "authorization cookie forwarded x-forwarded-for x-forwarded-host x-real-ip origin referer cache-control";
        assert_eq!(names(of_clients).count(), 9);
        for name in names(of_clients) {
            assert_eq!(refused_setting(&name), None, "{name}");
            assert!(refused_forwarding(&name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_selects_a_representation_may_be_passed_on() {
        for name in names("accept accept-language save-data x-tile-style dpr") {
            assert_eq!((refused_setting(&name), refused_forwarding(&name)), (None, None), "{name}");
        }
    }
}
