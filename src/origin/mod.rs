//! The second `ProxyHttp`: how an origin is asked. It is bound to no listener and reached only through Pingora's subrequests;
//! `fill` knows it as a `Fetch`.
//!
//! A request with its tries is in `fetch`; one try is one subrequest (`attempt`), whose phases are in `proxy`; where it goes is
//! decided in `peer` and `dns`, what it says in `request`, how it ended in `verdict`, and its bytes come through `body`.
//!
//! **Pingora never retries here.** Each try is a subrequest of its own, every error of one is final to Pingora, and whether to try
//! again is decided before a header is handed on (`retry`, `budget`, `circuit`: all pure). Retrying inside Pingora can splice two
//! bodies, sleeps in the choice of a peer, and has a panic for whoever forgets `decide_reuse`; none of this can happen here.

mod attempt;
mod body;
mod budget;
mod circuit;
mod conf;
mod dns;
mod fetch;
mod peer;
mod proxy;
mod request;
mod retry;
mod state;
mod trust;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use pingora::http::RequestHeader;
use pingora::proxy::{SubrequestSpawner, http_proxy};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use tokio::sync::watch;

pub use self::conf::{CircuitConf, Host, OriginConf, OriginUrl, OriginsConf, RetryConf, Timeouts};
use self::dns::Dns;
pub use self::proxy::MAX_INTERIM;
use self::request::Dress;
use self::state::State;
pub use self::trust::Trust;
pub use self::verdict::fault_of;
use crate::fill::fetch::FetchError;

/// The origins of the conf, and everything that is remembered of them. Works on whatever tokio runtime calls it.
pub struct Origins {
    conf: OriginsConf,
    dress: Dress,
    /// In the order of `conf.origins`.
    states: Vec<State>,
    dns: Dns,
    spawner: SubrequestSpawner,
    /// Whose certificates are believed where it is not us who connects, if that isn't who the edge's connector believes.
    trust: Option<Trust>,
    /// What the keys of connections of these origins begin with: no connection of another conf's is taken for one of them.
    group: u64,
    /// Whether nothing is to be asked any more.
    closed: watch::Sender<bool>,
}

/// Origins that one conf can have, as bits of a connection's key.
const GROUP_BITS: u32 = 16;

/// Where a request that passes through goes.
pub struct Place {
    /// Whom to connect to.
    pub peer: Box<HttpPeer>,
    /// Which of the origin's URLs this is, for [`Origins::dress`].
    pub url: usize,
}

impl Origins {
    /// The origins of `conf`. `server_conf` is Pingora's: its `ca_file` says whose certificates are believed. Panics where it names no
    /// file and the system has no bundle: `conf` has made sure.
    pub fn new(conf: OriginsConf, server_conf: &Arc<ServerConf>) -> Arc<Self> {
        Self::trusting(conf, server_conf, None)
    }

    /// As [`Origins::new`]; requests that the edge itself proxies believe `trust`, as its own connector keeps what it believed when it was
    /// made.
    pub fn trusting(conf: OriginsConf, server_conf: &Arc<ServerConf>, trust: Option<Trust>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let now = Instant::now();
        let names = conf.origins.iter().flat_map(|origin| &origin.urls).filter_map(|url| match &url.host {
            Host::Name(name) => Some(name.clone()),
            Host::Ip(_) => None,
        });
        let dns = Dns::new(names, conf.dns_ttl, Arc::new(dns::System));
        let states = conf.origins.iter().map(|origin| State::new(origin, &conf, now)).collect();
        let spawner = SubrequestSpawner::new(Arc::new(http_proxy(server_conf, proxy::Origin)));
        let group = NEXT.fetch_add(1, Relaxed) << GROUP_BITS;
        Arc::new(Self {
            dress: Dress::new(&conf),
            states,
            dns,
            spawner,
            trust,
            group,
            closed: watch::Sender::new(false),
            conf,
        })
    }

    /// Where a request goes that the edge itself proxies to origin `origin` of the conf: the first address that may be asked.
    /// It neither counts as a try nor asks the circuit: what passes through is not ours to repeat or to hold back.
    pub async fn peer_for(&self, origin: usize) -> Result<Place, FetchError> {
        let mut route = peer::Route::new(self, origin)?;
        let stop = tokio::select! {
            biased;
            () = self.closed() => return Err(FetchError::Offline),
            stop = route.next(Instant::now()) => stop?,
        };
        let mut peer = self.peer(&stop, peer::Reuse::Allowed)?;
        peer.options.ca = self.trust.as_ref().map(Trust::certificates);
        Ok(Place { peer: Box::new(peer), url: stop.url })
    }

    /// Ask nothing any more: what is being asked fails as [`FetchError::Offline`], and bodies on their way break off. For good.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Whether [`Origins::close`] was called.
    pub fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    async fn closed(&self) {
        // The sender is ours.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Make the head of a client's request one to URL `url` of origin `origin` (as [`Origins::peer_for`] chose it): sets its target, Host,
    /// User-Agent and the origin's fixed fields, appends to Via and CDN-Loop, and removes what tells one client from another
    /// (`rules::header::is_of_a_client`) and what belongs to the connection (RFC 9110 §7.6.1). Origin and Referer stay.
    /// `rest` is decoded, as in `Wanted::rest`. Framing (Content-Length, Transfer-Encoding) stays: it is the proxy's.
    pub fn dress(
        &self,
        origin: usize,
        url: usize,
        rest: &str,
        query: Option<&str>,
        head: &mut RequestHeader,
    ) -> Result<(), FetchError> {
        let origin = self.conf.origins.get(origin).ok_or_else(peer::unknown)?;
        let url = origin.urls.get(url).ok_or_else(peer::unknown)?;
        let target = (self.conf.target)(&url.path, rest, query);
        self.dress.client(url, origin, &target, head)
    }
}
