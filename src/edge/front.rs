//! The way of a connection, before its first request and after its last: the listener it came to, its place, its handshakes, its deadlines.
//!
//! [`Front`] accepts, and hands what it accepted to Pingora's HTTP server wrapped in a [`Conn`]. The wrapper stands above TLS: it sees the bytes of HTTP, so that
//! it knows when a request's header began.

mod accept;
mod bounds;
mod conn;
mod h2;
mod listener;
mod places;
mod proxied;
mod socket;
mod state;
mod timer;
mod tls;
mod transport;
mod words;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::Result;
use pingora::apps::{HttpServerApp as _, HttpServerOptions, ServerApp as _};
use pingora::protocols::Shutdown as _;
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Edge;
use super::direct::{Direct, Next};
use crate::observe::metrics::{IO_TIMEOUTS, REJECTED, Reason, TimeoutOp};
use crate::rules::client::client_key;
use places::{Place, Places};
use proxied::Received;
use socket::Socket;
use state::Phase;
use tls::Secure;
use transport::Transport;

pub use bounds::Bounds;
pub use conn::Conn;
pub use listener::prepare as prepare_listener;
pub use state::{ConnState, Fate, Left, Underway};

pub use tls::Certificates;

/// What stands between the sockets and the edge. A clone is another handle of the same.
#[derive(Clone)]
pub struct Front {
    shared: Arc<Shared>,
}

struct Shared {
    proxy: Arc<HttpProxy<Edge>>,
    direct: Direct,
    listeners: Vec<Listener>,
    bounds: ArcSwap<Bounds>,
    places: Arc<Places>,
    draining: AtomicBool,
    /// Refused clients that are being told so. They have no place, so they are bounded apart.
    refusing: Semaphore,
}

/// An address that is listened on, and what is spoken there.
pub struct Listener {
    /// As it is bound.
    pub address: SocketAddr,
    /// What makes connections secure; `None`: they are in clear text.
    pub tls: Option<Arc<dyn Handshake>>,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Whether HTTP/2 is spoken in clear text with prior knowledge (RFC 9113 §3.3).
    pub h2c: bool,
}

/// What makes a secure connection of a socket. Its deadline is the front's.
#[async_trait]
pub trait Handshake: Send + Sync {
    /// Speak TLS; what comes back tells what was negotiated.
    async fn handshake(&self, socket: Socket) -> Result<Secure>;
}

/// Seconds that Pingora waits for a request whose bytes it has; each request says anew how long the next may take.
const KEEPALIVE: u64 = 60;

/// Refused clients that are told why at a time; the others are closed without a word.
const REFUSING: usize = 64;

/// A connection that Pingora may serve, and the shutdown watch that is its own.
type Entered = (Conn, Option<ShutdownWatch>);

impl Front {
    /// A front before `proxy`, and before `direct` for what needs none. There is at least one listener.
    pub fn new(mut proxy: HttpProxy<Edge>, direct: Direct, listeners: Vec<Listener>, bounds: Bounds) -> Self {
        let mut options = HttpServerOptions::default();
        // For all listeners or none, says Pingora. `Conn` makes it a matter of each.
        options.h2c = listeners.iter().any(|listener| listener.h2c);
        options.h2_idle_timeout = Some(bounds.times.first);
        proxy.server_options = Some(options);
        proxy.h2_options = Some(h2::options(bounds.header_bytes));
        let shared = Shared {
            proxy: Arc::new(proxy),
            direct,
            listeners,
            bounds: ArcSwap::from_pointee(bounds),
            places: Places::new(),
            draining: AtomicBool::new(false),
            refusing: Semaphore::new(REFUSING),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Set other bounds. They hold for connections that are made from now on; those of HTTP/2 on idle time and headers stay as they were at the start.
    pub fn set(&self, bounds: Bounds) {
        self.shared.bounds.store(Arc::new(bounds));
    }

    /// Accept on `sockets`, each in so many `tasks`, until `stop` says so; then see to it that those who are there go. Ends early, with an error, where a socket is none to
    /// accept on; a panic of one that accepts is one of this.
    pub async fn accept(&self, sockets: Vec<OwnedFd>, tasks: usize, stop: ShutdownWatch) -> io::Result<()> {
        let mut accepting = JoinSet::new();
        for socket in sockets {
            let listener = std::net::TcpListener::from(socket);
            listener.set_nonblocking(true)?;
            let listener = Arc::new(TcpListener::from_std(listener)?);
            for _ in 0..tasks {
                accepting.spawn(accept::accept(self.shared.clone(), listener.clone(), stop.clone()));
            }
        }
        while let Some(ended) = accepting.join_next().await {
            if let Some(panic) = ended.err().and_then(|error| error.try_into_panic().ok()) {
                std::panic::resume_unwind(panic);
            }
        }
        self.cleanup().await;
        Ok(())
    }

    /// Serve a connection that was accepted elsewhere from `peer`, to its end, as [`Front::accept`] does with each.
    pub async fn serve(&self, tcp: TcpStream, peer: SocketAddr, stop: ShutdownWatch) {
        accept::connection(self.shared.clone(), tcp, peer, stop).await;
    }

    /// Nothing is accepted any more: those that are there go, as they can.
    async fn cleanup(&self) {
        self.drain();
        let patience = words::LINGER + self.shared.bounds.load().times.header;
        let until = Instant::now() + patience;
        while self.connections() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.shared.proxy.cleanup().await;
    }

    /// Connections that have a place, in handshakes or behind them.
    pub fn connections(&self) -> usize {
        self.shared.places.open()
    }

    /// Tell every client to go, those too that are still to come: HTTP/1 by `Connection: close` on the next answer, HTTP/2 by GOAWAY. A connection on which
    /// nothing is answered is closed a second later, when nobody can be about to ask that has not been told. [`Front::connections`] comes to zero
    /// when the last answer is out. It may be called twice.
    pub fn drain(&self) {
        self.shared.draining.store(true, SeqCst);
        self.shared.places.each(ConnState::end);
    }
}

impl Shared {
    /// The listener that a connection came to: the one of its local address, or of any address on its port.
    fn listener(&self, socket: &Socket) -> Option<&Listener> {
        if let [only] = &self.listeners[..] {
            return Some(only);
        }
        let local = socket.local()?;
        let exact = self.listeners.iter().find(|listener| listener.address == local);
        let any =
            |listener: &&Listener| listener.address.ip().is_unspecified() && listener.address.port() == local.port();
        exact.or_else(|| self.listeners.iter().find(any))
    }

    /// Everything before the first request. `None`: there will be none.
    async fn enter(&self, socket: Socket) -> Option<Entered> {
        let listener = self.listener(&socket)?;
        let bounds = self.bounds.load_full();
        let by = Instant::now() + bounds.times.header;
        let Some(place) = self.places.enter(bounds.max_connections) else {
            self.turn_away(socket, listener, &bounds).await;
            return None;
        };
        let (transport, place) = {
            let mut hands = pin!(self.shake_hands(socket, place, listener, &bounds));
            match tokio::time::timeout_at(by, &mut hands).await {
                Ok(shaken) => shaken?,
                // Counted before it is closed.
                Err(_) => {
                    IO_TIMEOUTS.inc(TimeoutOp::Header);
                    return None;
                }
            }
        };
        self.admit(transport, place, listener, bounds, by)
    }

    /// Whatever stands before HTTP on a listener.
    async fn shake_hands(
        &self,
        mut socket: Socket,
        mut place: Place,
        listener: &Listener,
        bounds: &Bounds,
    ) -> Option<(Transport, Place)> {
        if listener.proxy_protocol {
            let trusted = socket.peer_ip().is_some_and(|peer| trusts(bounds, peer));
            match proxied::receive(&mut socket, trusted).await {
                Received::Header => {}
                Received::Nothing => return None,
                Received::Other => {
                    REJECTED.inc(Reason::ProxyHeader);
                    return None;
                }
            }
        }
        // A trusted proxy that speaks for itself, or that names its clients in each request, is no client.
        let client = socket.peer_ip().filter(|peer| !trusts(bounds, *peer));
        if let (Some(client), Some(max)) = (client, bounds.max_of_client)
            && !place.of_client(client_key(client), max)
        {
            self.turn_away(socket, listener, bounds).await;
            return None;
        }
        let transport = match &listener.tls {
            // A client that can't agree with us has been told by TLS.
            Some(tls) => Transport::Secure(Box::new(tls.handshake(socket).await.ok()?)),
            None => Transport::Plain(socket),
        };
        Some((transport, place))
    }

    /// Behind the handshakes, which had time until `by`.
    fn admit(
        &self,
        transport: Transport,
        place: Place,
        listener: &Listener,
        bounds: Arc<Bounds>,
        by: Instant,
    ) -> Option<Entered> {
        let phase = Conn::first_phase(&transport);
        let h2c = listener.h2c && listener.tls.is_none();
        let (state, watch) = ConnState::new(phase, bounds.requests, h2c || phase == Phase::Preface);
        let conn = Conn::new(transport, place, state.clone(), bounds, h2c, by).ok()?;
        // Whoever drains has seen the new connection, or is seen here.
        if self.draining.load(SeqCst) {
            state.end();
        }
        Some((conn, watch))
    }

    /// The requests of a connection, to its end: those that `direct` knows an answer to, and the others by Pingora.
    async fn serve(&self, mut conn: Conn, stop: ShutdownWatch) {
        if conn.may_be_h2().await {
            self.proxy.process_new(Box::new(conn), &stop).await;
            return;
        }
        let mut conn = Box::new(conn);
        while let Next::Long = self.direct.requests(&mut conn).await {
            conn.rest(None);
            // Boxed by Pingora, and given back with the connection.
            let mut session = ServerSession::new_http1(conn);
            session.set_keepalive(if *stop.borrow() { None } else { Some(KEEPALIVE) });
            let Some(reused) = self.proxy.process_new_http(session, &stop).await else { return };
            let (stream, _) = reused.consume();
            // What was given to Pingora comes back.
            let Ok(same) = stream.into_any().downcast::<Conn>() else { return };
            conn = same;
            conn.back(self.direct.patience());
        }
        // Whoever waits for the end of an answer sees it.
        conn.shutdown().await;
    }

    /// Refuse a connection for which there is no place. In clear text its client is told why; a handshake would cost more than the answer that it is for.
    async fn turn_away(&self, mut socket: Socket, listener: &Listener, bounds: &Bounds) {
        REJECTED.inc(Reason::Connections);
        if listener.tls.is_some() {
            return;
        }
        let Ok(_turn) = self.refusing.try_acquire() else { return };
        words::say_and_close(&mut socket, &bounds.words.refusal(Reason::Connections)).await;
    }
}

fn trusts(bounds: &Bounds, peer: IpAddr) -> bool {
    bounds.trusted.iter().any(|network| network.contains(peer))
}
