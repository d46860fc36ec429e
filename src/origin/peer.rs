//! Where a try goes: the addresses of an origin's URLs in the order in which they are tried, each judged after its name was
//! resolved, and the connection that is made to one.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pingora::protocols::ALPN;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};

use super::Origins;
use super::conf::{Host, OriginConf};
use super::state::State;
use crate::fill::fetch::FetchError;

/// How long a connection to an origin stays open unused. Servers close theirs after 5 to 75 s: one that we close first is never
/// asked in vain.
const IDLE: Duration = Duration::from_secs(30);

/// Group keys from here up name a connection that nobody shares.
const ALONE: u64 = 1 << 63;

/// One place to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    /// Which origin.
    pub(super) origin: usize,
    /// Which of its URLs.
    pub(super) url: usize,
    /// Where that is.
    pub(super) address: SocketAddr,
}

/// Whether a connection may be one that was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    /// One from the pool, if there is one.
    Allowed,
    /// A new one, which is closed after this request: the one from the pool had been closed by the origin.
    Never,
}

/// The places of one origin, one after the other, for ever: the addresses of its first URL, of its second, and so on; those that failed
/// to connect of late last.
pub(super) struct Route<'o> {
    origins: &'o Origins,
    origin: usize,
    conf: &'o OriginConf,
    state: &'o State,
    /// The next URL whose addresses are wanted.
    url: usize,
    queue: VecDeque<Stop>,
    resting: VecDeque<Stop>,
    /// Why nothing was found since the start of this round.
    fault: Option<FetchError>,
}

impl<'o> Route<'o> {
    pub(super) fn new(origins: &'o Origins, origin: usize) -> Result<Self, FetchError> {
        let conf = origins.conf.origins.get(origin).ok_or_else(unknown)?;
        let state = origins.states.get(origin).ok_or_else(unknown)?;
        let (queue, resting) = Default::default();
        Ok(Self { origins, origin, conf, state, url: 0, queue, resting, fault: None })
    }

    /// The next place. Fails where no URL has an address, or none that may be asked.
    pub(super) async fn next(&mut self, now: Instant) -> Result<Stop, FetchError> {
        // One round is all URLs once; what is left of the round before comes first.
        let mut round = 0;
        loop {
            if let Some(stop) = self.queue.pop_front() {
                return Ok(stop);
            }
            if self.url < self.conf.urls.len() {
                self.look_up(now).await;
                self.url += 1;
                continue;
            }
            if let Some(stop) = self.resting.pop_front() {
                return Ok(stop);
            }
            if round > 0 || self.conf.urls.is_empty() {
                return Err(self.fault.take().unwrap_or_else(unknown));
            }
            (round, self.url, self.fault) = (1, 0, None);
        }
    }

    async fn look_up(&mut self, now: Instant) {
        let Some(url) = self.conf.urls.get(self.url) else { return };
        let resolved;
        let addresses: &[IpAddr] = match &url.host {
            Host::Ip(address) => std::slice::from_ref(address),
            Host::Name(name) => match self.origins.dns.resolve(name, now).await {
                Ok(addresses) => {
                    resolved = addresses;
                    &resolved
                }
                Err(why) => {
                    self.fault = Some(FetchError::Unreachable(format!("{name}: {why}")));
                    return;
                }
            },
        };
        for address in addresses {
            // Here and nowhere before: a name may resolve to anything.
            if let Some(why) = (self.origins.conf.refuse_address)(*address, self.conf.allow_private) {
                // Being out of reach is worth another try, being refused isn't: that is told where both hold.
                self.fault.get_or_insert_with(|| FetchError::NotAllowed(format!("{address}: {why}")));
                continue;
            }
            let stop = Stop { origin: self.origin, url: self.url, address: SocketAddr::new(*address, url.port) };
            let queue = if self.state.rests(stop.address, now) { &mut self.resting } else { &mut self.queue };
            queue.push_back(stop);
        }
    }
}

impl Origins {
    /// The connection to a place. Pingora shares connections by address, scheme, SNI, verification and group key; the group is the
    /// origin of this conf, so that no two origins share one even where all the rest is equal.
    pub(super) fn peer(&self, stop: &Stop, reuse: Reuse) -> Result<HttpPeer, FetchError> {
        static NEXT_ALONE: AtomicU64 = AtomicU64::new(ALONE);
        let url =
            self.conf.origins.get(stop.origin).and_then(|origin| origin.urls.get(stop.url)).ok_or_else(unknown)?;
        let sni = match &url.host {
            Host::Name(name) => name.clone(),
            // No name goes out for an address (RFC 6066 §3), but the certificate is held against it.
            Host::Ip(address) => address.to_string(),
        };
        if sni.is_empty() {
            // Pingora verifies nothing where there is no name.
            return Err(unknown());
        }
        let timeouts = &self.conf.timeouts;
        let mut peer = HttpPeer::new(stop.address, url.https, sni);
        peer.group_key = self.group | stop.origin as u64;
        let options = &mut peer.options;
        options.verify_cert = true;
        options.verify_hostname = true;
        options.alpn = ALPN::H1;
        options.connection_timeout = Some(timeouts.connect);
        options.total_connection_timeout = Some(timeouts.connect);
        options.read_timeout = Some(timeouts.read);
        options.write_timeout = Some(timeouts.read);
        options.idle_timeout = Some(IDLE);
        options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        if reuse == Reuse::Never {
            // A group of its own finds nothing in the pool, and leaves nothing there that anyone could find.
            peer.group_key = NEXT_ALONE.fetch_add(1, Relaxed) | ALONE;
            peer.options.idle_timeout = Some(Duration::ZERO);
        }
        Ok(peer)
    }
}

/// The conf has no such origin, or nothing to connect to: a fault of ours, told as one of the origin's.
pub(super) fn unknown() -> FetchError {
    FetchError::Unreachable("the conf has no such origin".into())
}

#[cfg(test)]
#[path = "peer/tests.rs"]
mod tests;
