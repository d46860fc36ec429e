//! A request's header as it stands in the bytes that came: the requests that can be answered from it alone.
//!
//! What is not taken here goes to Pingora's reader, which knows all of HTTP/1: every doubt is a reason. So nothing here has to be refused, and what is taken is what Pingora takes, with
//! the same parser below.

use std::mem::MaybeUninit;

use http::{HeaderName, header};
use httparse::{Header, ParserConfig, Status};

use crate::rules::fields::Fields;
use crate::rules::host;

/// Field lines of a request that is taken. Pingora takes more of them.
pub const MAX_FIELDS: usize = 64;

/// A request that may be answered from its header: GET or HEAD of HTTP/1.1, in origin form, with one Host and without content.
#[derive(Debug)]
pub struct Head<'a> {
    /// Whether it is HEAD, else GET.
    pub is_head: bool,
    /// The request target.
    pub target: &'a [u8],
    /// Whether the connection is to be closed behind the answer.
    pub closes: bool,
    /// Whether no field of it can select anything but the whole representation.
    pub is_plain: bool,
    /// Its bytes, with the empty line.
    pub length: usize,
    fields: &'a [Header<'a>],
}

/// What stands at the beginning of the bytes of a connection.
#[derive(Debug)]
pub enum Parsed<'a> {
    /// A request that may be answered from its header.
    Head(Head<'a>),
    /// Not a whole header yet.
    Partial,
    /// Something else.
    Other,
}

/// Room for the fields of one request.
pub type Room<'a> = [MaybeUninit<Header<'a>>; MAX_FIELDS];

/// Room with nothing in it.
pub fn room<'a>() -> Room<'a> {
    [const { MaybeUninit::uninit() }; MAX_FIELDS]
}

/// Look at what stands at the beginning of `bytes`.
pub fn parse<'a>(bytes: &'a [u8], room: &'a mut Room<'a>) -> Parsed<'a> {
    let mut request = httparse::Request::new(&mut []);
    let length = match ParserConfig::default().parse_request_with_uninit_headers(&mut request, bytes, room) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Parsed::Partial,
        Err(_) => return Parsed::Other,
    };
    let (Some(method), Some(target), Some(1)) = (request.method, request.path, request.version) else {
        return Parsed::Other;
    };
    let is_head = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Parsed::Other,
    };
    let target = target.as_bytes();
    // Escapes could make it the name of something else, and a fragment has no business here.
    if target.first() != Some(&b'/')
        || target.iter().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'%' | b'#'))
    {
        return Parsed::Other;
    }
    let mut head = Head { is_head, target, closes: false, is_plain: true, length, fields: request.headers };
    if head.judge() { Parsed::Head(head) } else { Parsed::Other }
}

impl Head<'_> {
    /// Whether its fields leave it one that is taken.
    fn judge(&mut self) -> bool {
        let mut hosts = 0;
        for field in self.fields {
            match kind(field.name.as_bytes()) {
                Kind::Neither => {}
                Kind::Condition => self.is_plain = false,
                Kind::Host => {
                    hosts += 1;
                    if !host::valid(field.value) {
                        return false;
                    }
                }
                Kind::Connection if field.value.eq_ignore_ascii_case(b"keep-alive") => {}
                Kind::Connection if field.value.eq_ignore_ascii_case(b"close") => self.closes = true,
                Kind::Connection | Kind::Other => return false,
            }
        }
        hosts == 1
    }

    /// The path of the target.
    pub fn path(&self) -> &[u8] {
        let end = self.target.iter().position(|byte| *byte == b'?').unwrap_or(self.target.len());
        &self.target[..end]
    }

    /// Whether the target has a query.
    pub fn has_query(&self) -> bool {
        self.target.contains(&b'?')
    }
}

impl Fields for Head<'_> {
    fn lines(&self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &[u8]> {
        let name = name.as_str();
        let of_name = move |field: &&Header<'_>| field.name.eq_ignore_ascii_case(name);
        self.fields.iter().filter(of_name).map(|field| field.value)
    }
}

/// What a field does to how a request is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing that this has to know.
    Neither,
    /// It may select another answer than the whole representation.
    Condition,
    Host,
    Connection,
    /// It is Pingora's reader that knows what it means: content, protocols, what is asked of hops.
    Other,
}

/// Told apart by length first: most fields of a browser are none of these.
fn kind(name: &[u8]) -> Kind {
    let is = |known: &HeaderName| name.eq_ignore_ascii_case(known.as_str().as_bytes());
    match name.len() {
        2 if is(&header::TE) => Kind::Other,
        4 if is(&header::HOST) => Kind::Host,
        5 if is(&header::RANGE) => Kind::Condition,
        6 if is(&header::EXPECT) => Kind::Other,
        7 if is(&header::UPGRADE) || is(&header::TRAILER) => Kind::Other,
        8 if is(&header::IF_MATCH) || is(&header::IF_RANGE) => Kind::Condition,
        10 if is(&header::CONNECTION) => Kind::Connection,
        13 if is(&header::IF_NONE_MATCH) => Kind::Condition,
        14 if is(&header::CONTENT_LENGTH) || name.eq_ignore_ascii_case(b"http2-settings") => Kind::Other,
        16 if name.eq_ignore_ascii_case(b"want-repr-digest") || name.eq_ignore_ascii_case(b"proxy-connection") => {
            Kind::Other
        }
        17 if is(&header::TRANSFER_ENCODING) => Kind::Other,
        17 if is(&header::IF_MODIFIED_SINCE) => Kind::Condition,
        19 if is(&header::IF_UNMODIFIED_SINCE) => Kind::Condition,
        _ => Kind::Neither,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn taken(bytes: &[u8]) -> Option<bool> {
        match parse(bytes, &mut room()) {
            Parsed::Head(_) => Some(true),
            Parsed::Other => Some(false),
            Parsed::Partial => None,
        }
    }

    #[test]
    fn plain_requests_are_taken_and_every_doubt_is_somebody_elses() {
        let with = |lines: &str| format!("GET /a HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        for good in [
            with(""),
            with("Connection: keep-alive\r\n"),
            with("connection: Close\r\n"),
            with("Range: bytes=0-1\r\nIf-Range: \"x\"\r\nIf-None-Match: *\r\n"),
            with("Cookie: a=b\r\nX-Thing: y\r\nAccept-Encoding: gzip, br\r\n"),
            "HEAD /a/b?c=d HTTP/1.1\r\nhOST: example.org:80\r\n\r\n".into(),
            "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HT".into(),
        ] {
            assert_eq!(taken(good.as_bytes()), Some(true), "{good}");
        }
        for other in [
            with("Host: h\r\n"),
            with("Content-Length: 0\r\n"),
            with("Transfer-Encoding: chunked\r\n"),
            with("Expect: 100-continue\r\n"),
            with("Upgrade: h2c\r\n"),
            with("Connection: keep-alive, upgrade\r\n"),
            with("Connection: te\r\n"),
            with("TE: trailers\r\n"),
            with("Want-Repr-Digest: sha-256=1\r\n"),
            with("Bad Name: x\r\n"),
            with(" folded\r\n"),
            with(&"X: y\r\n".repeat(MAX_FIELDS)),
            "GET /a HTTP/1.0\r\nHost: h\r\n\r\n".into(),
            "GET /a HTTP/1.1\r\n\r\n".into(),
            "GET /a HTTP/1.1\r\nHost: a b\r\n\r\n".into(),
            "GET /%61 HTTP/1.1\r\nHost: h\r\n\r\n".into(),
            "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n".into(),
            "GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n".into(),
            "GET * HTTP/1.1\r\nHost: h\r\n\r\n".into(),
            "POST /a HTTP/1.1\r\nHost: h\r\n\r\n".into(),
            "get /a HTTP/1.1\r\nHost: h\r\n\r\n".into(),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
            "\x16\x03\x01".into(),
        ] {
            assert_eq!(taken(other.as_bytes()), Some(false), "{other}");
        }
    }

    #[test]
    fn fields_are_found_in_any_case_and_in_their_order() {
        let bytes = b"GET /a?b HTTP/1.1\r\nHost: h\r\nVia: one\r\nVIA: two\r\nRange:  bytes=1-2 \r\n\r\nrest";
        let mut room = room();
        let Parsed::Head(head) = parse(bytes, &mut room) else { panic!("not taken") };
        assert_eq!(head.lines(&header::VIA).collect::<Vec<_>>(), [b"one", b"two"]);
        assert_eq!(head.lines(&header::RANGE).next(), Some(&b"bytes=1-2"[..]));
        assert!(!head.has(&header::COOKIE) && !head.is_plain && head.has_query());
        assert_eq!((head.path(), head.length), (&b"/a"[..], bytes.len() - 4));
    }

    proptest! {
        #[test]
        fn no_beginning_of_a_request_that_is_taken_is_taken_for_something_else(cut in 0..60_usize) {
            let whole = b"GET /edge/assets/a HTTP/1.1\r\nHost: example.org\r\nRange: bytes=0-\r\n\r\n";
            prop_assert_eq!(taken(&whole[..cut]), None);
        }

        #[test]
        fn any_bytes_are_looked_at_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            taken(&bytes);
            taken(&[b"GET /a HTTP/1.1\r\nHost: h\r\n", &bytes[..], b"\r\n\r\n"].concat());
        }
    }
}
