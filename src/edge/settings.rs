//! What the edge is told by the conf, made ready for the hit path.

use std::net::SocketAddr;

use http::HeaderValue;

use super::busy::Busy;
use crate::conf::{AccessLog, BindConf, CorsConf, Edge, IngressConf};
use crate::observe::access::Policy;
use crate::store::decode::Caps;

/// The settings of the edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Bounds on requests and connections.
    pub ingress: IngressConf,
    /// Whether several ranges are answered as `multipart/byteranges`.
    pub multi_range: bool,
    /// Whether what RAM holds is answered the short way.
    pub direct: bool,
    /// Bytes read and sent at a time from what is not in memory.
    pub chunk_bytes: usize,
    /// `Cache-Control` of objects whose pack doesn't say otherwise.
    pub cache_control: HeaderValue,
    /// Origins that may read answers; `None`: all.
    pub allow_origins: Option<Vec<HeaderValue>>,
    /// `scheme://authority` of absolute URLs, when the conf gives one.
    pub public_url: Option<String>,
    /// Values of Host from which absolute URLs may be made.
    pub hosts: Vec<String>,
    /// The address of the first listener, the base of absolute URLs otherwise.
    pub bound: SocketAddr,
    /// The scheme of its URLs.
    pub scheme: &'static str,
    /// Whether answers over TLS have `Strict-Transport-Security`.
    pub hsts: bool,
    /// Bounds on decoding for clients that don't accept a stored coding.
    pub decode: Caps,
    /// Which requests are logged.
    pub access: Policy,
    /// What Via and CDN-Loop call this edge.
    pub name: String,
    /// What it adds to Via.
    pub via: HeaderValue,
    /// Bound on the body of a request that goes through, in bytes.
    pub pass_body_bytes: u64,
    /// Refusals of what is too much.
    pub busy: Busy,
}

impl Settings {
    /// From the checked conf. `bound` is the first listener's address as it is bound, its port chosen.
    pub fn new(conf: &Edge, bound: SocketAddr) -> Result<Self, http::header::InvalidHeaderValue> {
        let allow_origins = match &conf.http.cors {
            CorsConf::Any => None,
            CorsConf::Origins(origins) => Some(origins.iter().map(HeaderValue::try_from).collect::<Result<_, _>>()?),
        };
        let access = match conf.log.access {
            AccessLog::All => Policy::All,
            AccessLog::Off => Policy::Off,
            AccessLog::Sampled => Policy::Sampled(u32::try_from(conf.log.sample).unwrap_or(u32::MAX)),
        };
        Ok(Self {
            ingress: conf.ingress.clone(),
            multi_range: conf.http.multi_range,
            direct: conf.http.direct,
            chunk_bytes: conf.http.chunk_bytes,
            cache_control: HeaderValue::try_from(&conf.http.cache_control)?,
            allow_origins,
            public_url: conf.public_url.clone(),
            hosts: conf.http.hosts.clone(),
            bound,
            scheme: conf.bind.first().map_or("http", BindConf::scheme),
            hsts: conf.http.hsts,
            decode: Caps {
                ratio: u32::try_from(conf.http.decode.ratio).unwrap_or(u32::MAX),
                bytes: conf.http.decode.bytes,
            },
            access,
            name: conf.fill.name.clone(),
            via: HeaderValue::try_from(format!("1.1 {}", conf.fill.name))?,
            pass_body_bytes: conf.fill.max_object_bytes,
            busy: Busy::default(),
        })
    }

    /// Whether what is made ready by both looks the same. These only say what a request may cost, and what is told of it.
    pub fn looks_like(&self, other: &Self) -> bool {
        let shown = Self {
            ingress: other.ingress.clone(),
            multi_range: other.multi_range,
            direct: other.direct,
            chunk_bytes: other.chunk_bytes,
            access: other.access,
            hsts: other.hsts,
            pass_body_bytes: other.pass_body_bytes,
            ..self.clone()
        };
        shown == *other
    }
}
