//! The access log: one line a request, or one in N of the hits, from the log's own thread.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use log::Level;

use super::log::{Format, LineBuilder};
use super::metrics::{Method, Reason, Route};

/// Which requests are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Every refusal and failure, and one in `n` of the rest; what is refused for want of room is a part of the rest.
    Sampled(u32),
    /// Every request.
    All,
    /// None.
    Off,
}

/// What is told of one request. Never its query, its cookies or its path.
#[derive(Clone, Debug)]
pub struct Record {
    /// The request's id.
    pub corr_id: Bytes,
    /// The route it took.
    pub route: Route,
    /// Its method.
    pub method: Method,
    /// The status answered; 0 when the client left before.
    pub status: u16,
    /// Why it was refused.
    pub reason: Option<Reason>,
    /// From the end of its header to the end of the answer.
    pub latency: Duration,
    /// Body bytes sent.
    pub bytes_out: u64,
    /// The client: who connected, or whom a trusted proxy names; then without a port, which is 0.
    pub peer_addr: Option<SocketAddr>,
    /// BLAKE3 of the object answered.
    pub hash: Option<blake3::Hash>,
    /// The prefix of the origin that was asked, as the conf has it.
    pub origin: Option<String>,
}

impl Policy {
    /// Log `record` if it is its turn; builds it only then.
    pub fn log(self, refused: bool, record: impl FnOnce() -> Record) {
        let wanted = match self {
            Self::Off => false,
            Self::All => true,
            Self::Sampled(n) => refused || turn(n),
        };
        if wanted {
            super::log::access(record());
        }
    }
}

/// Whether this is the one in `n`; counted by thread, so that no line of memory is shared.
fn turn(n: u32) -> bool {
    thread_local! {
        static SEEN: Cell<u32> = const { Cell::new(0) };
    }
    SEEN.try_with(|seen| {
        let next = seen.get() + 1;
        seen.set(if next >= n { 0 } else { next });
        next >= n
    })
    .unwrap_or(false)
}

impl Record {
    /// One line, in `room`.
    pub(super) fn render(&self, format: Format, room: String) -> String {
        let mut line = LineBuilder::within(room, format, Level::Info, "request");
        line.word("corr_id", &String::from_utf8_lossy(&self.corr_id));
        line.word("route", self.route.as_str());
        line.word("method", self.method.as_str());
        line.number("status", self.status);
        if let Some(reason) = self.reason {
            line.word("reason", reason.as_str());
        }
        let micros = u64::try_from(self.latency.as_micros()).unwrap_or(u64::MAX);
        // With its point, whole or not.
        line.number("latency_ms", format_args!("{:?}", micros as f64 / 1000.0));
        line.number("bytes_out", self.bytes_out);
        if let Some(peer) = self.peer_addr {
            match peer.port() {
                0 => line.plain("peer_addr", peer.ip()),
                _ => line.plain("peer_addr", peer),
            }
        }
        if let Some(hash) = &self.hash {
            line.word("hash", hash.to_hex().as_str());
        }
        if let Some(origin) = &self.origin {
            line.word("origin", origin);
        }
        line.finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn one_in_n_is_logged_and_a_refusal_always() {
        let count = |policy: Policy, refused: bool| {
            let mut built = 0;
            for _ in 0..100 {
                policy.log(refused, || {
                    built += 1;
                    record()
                });
            }
            built
        };
        assert_eq!(count(Policy::Sampled(10), false), 10);
        assert_eq!(count(Policy::Sampled(10), true), 100);
        assert_eq!(count(Policy::All, false), 100);
        assert_eq!(count(Policy::Off, true), 0);
    }

    #[test]
    fn a_line_carries_the_fields_of_the_design() {
        let value: serde_json::Value = serde_json::from_str(&record().render(Format::Json, String::new())).unwrap();
        for key in [
            "ts",
            "level",
            "event",
            "corr_id",
            "route",
            "method",
            "status",
            "reason",
            "latency_ms",
            "bytes_out",
            "peer_addr",
            "hash",
            "origin",
        ] {
            assert!(!value[key].is_null(), "{key} in {value}");
        }
        assert_eq!(value["latency_ms"], 1.5);
    }

    fn record() -> Record {
        Record {
            corr_id: Bytes::from_static(b"abc"),
            route: Route::Tile,
            method: Method::Get,
            status: 404,
            reason: Some(Reason::NotFound),
            latency: Duration::from_micros(1500),
            bytes_out: 12,
            peer_addr: Some(([127, 0, 0, 1], 9).into()),
            hash: Some(blake3::hash(b"x")),
            origin: Some("fonts/".into()),
        }
    }
}
