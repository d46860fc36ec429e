//! Bounds on connections, as the conf has them.

use std::time::Duration;

use pingora::Result;

use super::words::Words;
use crate::conf::IngressConf;
use crate::edge::settings::Settings;
use crate::rules::client::Network;

/// Descriptors that are left for other things than connections of clients: files, connections to origins, listeners.
pub const OTHER_DESCRIPTORS: u64 = 256;

/// Bounds on connections. They are those of the moment in which a connection is made.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Connections in all.
    pub(super) max_connections: usize,
    /// Connections of one client.
    pub(super) max_of_client: Option<u32>,
    /// Requests of one connection.
    pub(super) requests: Option<u32>,
    pub(super) times: Times,
    /// Bytes of a header block.
    pub(super) header_bytes: usize,
    /// Whose PROXY headers are believed, and who is no client itself.
    pub(super) trusted: Vec<Network>,
    pub(super) words: Words,
}

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For the handshakes, and for a request's header.
    pub header: Duration,
    /// Before its first request.
    pub first: Duration,
    /// Without taking anything of an answer.
    pub write: Duration,
    /// Bytes a second that it takes at least.
    pub min_rate: u64,
}

impl Bounds {
    /// From the checked conf; `trusted` are the proxies in front. `descriptors` is the process's limit on them.
    pub fn new(settings: &Settings, trusted: Vec<Network>, descriptors: Option<u64>) -> Result<Self> {
        let ingress: &IngressConf = &settings.ingress;
        let asked = ingress.max_connections;
        let most = descriptors.map(most_connections).and_then(|most| usize::try_from(most).ok());
        Ok(Self {
            max_connections: most.map_or(asked, |most| asked.min(most)),
            max_of_client: ingress.max_connections_per_client,
            requests: ingress.keepalive_requests,
            times: Times {
                header: ingress.header_timeout,
                first: first(ingress),
                write: ingress.write_timeout,
                min_rate: ingress.min_send_rate.unwrap_or(0),
            },
            header_bytes: ingress.header_bytes,
            trusted,
            words: Words::new(settings)?,
        })
    }

    /// Connections that may be open at a time: what the conf says, or what the descriptors allow.
    pub fn max_connections(&self) -> usize {
        self.max_connections
    }
}

/// How long a connection may wait for its first request, and one of HTTP/2 for the next.
pub fn first(ingress: &IngressConf) -> Duration {
    ingress.keepalive.unwrap_or(ingress.header_timeout)
}

/// Connections for which there are descriptors. A limit that is too small for anything leaves some all the same.
pub fn most_connections(descriptors: u64) -> u64 {
    descriptors.saturating_sub(OTHER_DESCRIPTORS).max(descriptors / 4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_other_things() {
        for (descriptors, most) in [(20_000, 19_744), (1024, 768), (512, 256), (300, 75), (256, 64), (0, 1)] {
            assert_eq!(most_connections(descriptors), most, "of {descriptors}");
        }
    }
}
