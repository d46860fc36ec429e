//! `edge.http`: how answers look.

use super::read::Reader;
use super::url::{host, web_origin};
use super::value::{boolean, field, number, size};

/// How answers look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConf {
    /// Whether answers over TLS have `Strict-Transport-Security` (RFC 6797).
    pub hsts: bool,
    /// Whether several ranges are answered as `multipart/byteranges` (RFC 9110 §14.6).
    pub multi_range: bool,
    /// Whether what RAM holds is answered the short way, without Pingora's HTTP server in between.
    pub direct: bool,
    /// How much of a large body is read at a time, in bytes: 16 KiB–1 MiB.
    pub chunk_bytes: usize,
    /// Cache-Control of what has none of its own: a field value.
    pub cache_control: String,
    /// Host values, in lower case, from which absolute URLs may be made.
    pub hosts: Vec<String>,
    /// Bounds on decoding.
    pub decode: DecodeConf,
    /// Which pages may read answers.
    pub cors: CorsConf,
}

/// Bounds on decoding a stored coding that a client doesn't take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeConf {
    /// How many times the coded length.
    pub ratio: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// Which pages may read answers (Fetch, CORS protocol).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsConf {
    /// Those of any origin: `*`.
    Any,
    /// Those of these origins, in lower case; of none where the list is empty.
    Origins(Vec<String>),
}

/// Read the section.
pub(super) fn parse(r: &mut Reader) -> Option<HttpConf> {
    let hsts = r.get("edge.http.hsts", boolean);
    let multi_range = r.get("edge.http.multi_range", boolean);
    let direct = r.get("edge.http.direct", boolean);
    let chunk_bytes = r.length("edge.http.chunk_bytes");
    let cache_control = r.get("edge.http.cache_control", field);
    let hosts = r.list("edge.http.hosts", host);
    let ratio = r.get("edge.http.decode.ratio", number);
    let bytes = r.get("edge.http.decode.bytes", size);
    let origins = r.list("edge.http.cors.allow_origins", web_origin);
    let cors = origins.map(|origins| match origins.iter().any(|origin| origin == "*") {
        true if origins.len() > 1 => {
            r.contradiction("edge.http.cors.allow_origins", "has `*` among others; allowed: `*` alone, or origins");
            CorsConf::Any
        }
        true => CorsConf::Any,
        false => CorsConf::Origins(origins),
    });
    Some(HttpConf {
        hsts: hsts?,
        multi_range: multi_range?,
        direct: direct?,
        chunk_bytes: chunk_bytes?,
        cache_control: cache_control?,
        hosts: hosts?,
        decode: DecodeConf { ratio: ratio?, bytes: bytes? },
        cors: cors?,
    })
}
