//! Listening services on sockets of ours, told by us when to accept no more.
//!
//! Pingora would bind in a task, try a taken port for half a minute and panic there; and it stops to accept when its server stops, which
//! is too late for a stop that drains, and for an upgrade.

use std::net::SocketAddr;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service as PingoraService;
use pingora::services::listening::Service;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use super::watchdog::{BEAT, Pulse};
use crate::edge::Front;
use crate::observe::faults;

/// How often it is looked whether the accepting tasks have begun.
const LOOK: Duration = Duration::from_millis(1);

/// By which a service is told to accept no more, and by which its connections are known.
///
/// It is the watch that Pingora's service is given in place of the server's: the service holds it, each of its accepting tasks has a clone, and
/// each connection has one, from the moment that it is accepted.
#[derive(Clone)]
pub struct Gate {
    stop: watch::Sender<bool>,
    /// Tasks that accept.
    accepting: usize,
    /// The service holds its watch no more.
    ended: Arc<AtomicBool>,
}

impl Gate {
    /// An open one, for a service of so many tasks that accept.
    fn new(accepting: usize) -> Self {
        Self { stop: watch::Sender::new(false), accepting, ended: Arc::default() }
    }

    /// Accept no more.
    pub fn close(&self) {
        self.stop.send_replace(true);
    }

    /// Connections that are open. Never too few: as accepting ends, what accepts is counted too for as long as it may still accept one.
    pub fn connections(&self) -> u64 {
        let service = usize::from(!self.ended.load(Ordering::Acquire));
        let accepting = if self.is_closed() { 0 } else { self.accepting };
        self.stop.receiver_count().saturating_sub(service + accepting) as u64
    }

    fn is_closed(&self) -> bool {
        *self.stop.borrow()
    }

    /// Whether every accepting task has begun.
    fn accepts(&self) -> bool {
        self.stop.receiver_count() > self.accepting
    }
}

/// What a listening service is told, and tells.
pub struct Tie {
    /// Closed when it shall accept no more.
    gate: Gate,
    /// One more of those that accept.
    accepting: watch::Sender<usize>,
    /// Beats while the service's runtime runs tasks.
    pulse: Arc<Pulse>,
    /// Where its name goes if it ends unasked.
    lost: mpsc::Sender<String>,
}

/// The other ends of the ties of all services.
pub struct Ties {
    accepting: watch::Sender<usize>,
    /// What shows that they work.
    pub pulses: Vec<Arc<Pulse>>,
    to_lost: mpsc::Sender<String>,
    /// The names of services that ended unasked.
    pub lost: mpsc::Receiver<String>,
}

impl Ties {
    /// Of no service yet.
    pub fn new() -> Self {
        let (to_lost, lost) = mpsc::channel(8);
        Self { accepting: watch::Sender::new(0), pulses: Vec::new(), to_lost, lost }
    }

    /// The tie of one more service, which accepts in so many tasks, and what tells that one to accept no more.
    pub fn tie(&mut self, accepting: usize) -> (Gate, Tie) {
        let (gate, pulse) = (Gate::new(accepting), Arc::new(Pulse::new()));
        self.pulses.push(pulse.clone());
        (gate.clone(), Tie { gate, accepting: self.accepting.clone(), pulse, lost: self.to_lost.clone() })
    }

    /// How many services accept, and how many there are so far.
    pub fn accepting(&self) -> (watch::Receiver<usize>, usize) {
        (self.accepting.subscribe(), self.pulses.len())
    }
}

/// What accepts on sockets.
#[async_trait]
pub trait Accepts: Send + Sync + 'static {
    /// Its name, and how many threads it has; none: as many as the conf says.
    fn service(&self) -> (String, Option<usize>);

    /// Accept on `sockets`, in so many `tasks` each, until `stop` says so. Each task has a clone of `stop`, and each connection.
    async fn accept(self, sockets: BoundSockets, fds: Option<ListenFds>, stop: ShutdownWatch, tasks: usize);
}

/// Sockets that listen, and their addresses.
pub type BoundSockets = Vec<(SocketAddr, OwnedFd)>;

/// A service of Pingora's, whose endpoints have the addresses of the sockets as text.
#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> Accepts for Service<A> {
    fn service(&self) -> (String, Option<usize>) {
        (PingoraService::name(self).to_owned(), self.threads)
    }

    async fn accept(mut self, sockets: BoundSockets, fds: Option<ListenFds>, stop: ShutdownWatch, tasks: usize) {
        // Put where Pingora looks for them before it binds.
        if let Some(fds) = &fds {
            let mut fds = fds.lock();
            for (address, fd) in sockets {
                // From here on the descriptor is Pingora's to close.
                fds.add(address.to_string(), fd.into_raw_fd());
            }
        }
        self.start_service(fds, stop, tasks).await;
    }
}

/// The edge accepts by itself.
#[async_trait]
impl Accepts for Front {
    fn service(&self) -> (String, Option<usize>) {
        ("edge".into(), None)
    }

    async fn accept(self, sockets: BoundSockets, _: Option<ListenFds>, stop: ShutdownWatch, tasks: usize) {
        let sockets = sockets.into_iter().map(|(_, socket)| socket).collect();
        if let Err(error) = Front::accept(&self, sockets, tasks, stop).await {
            log::error!(event = "listen_failed", cause = error.to_string().as_str(); "");
        }
    }
}

/// A listening service on sockets of ours.
pub struct Listening<A> {
    name: String,
    threads: Option<usize>,
    /// Until it is started.
    service: Option<A>,
    sockets: BoundSockets,
    tie: Tie,
}

impl<A: Accepts> Listening<A> {
    /// `service` on `sockets`.
    pub fn new(service: A, sockets: BoundSockets, tie: Tie) -> Self {
        let (name, threads) = service.service();
        Self { name, threads, service: Some(service), sockets, tie }
    }
}

#[async_trait]
impl<A: Accepts> PingoraService for Listening<A> {
    async fn start_service(&mut self, fds: Option<ListenFds>, _shutdown: ShutdownWatch, tasks: usize) {
        let Some(service) = self.service.take() else { return };
        let sockets = std::mem::take(&mut self.sockets);
        let (stopped, ended) = (self.tie.gate.stop.subscribe(), self.tie.gate.ended.clone());
        // In a task of its own, whose panic is seen.
        let mut running = JoinSet::new();
        running.spawn(async move {
            faults::panic_here("boot.listener");
            service.accept(sockets, fds, stopped, tasks).await;
            ended.store(true, Ordering::Release);
        });
        let mut begun = false;
        loop {
            tokio::select! {
                ended = running.join_next() => {
                    let failed = ended.and_then(Result::err);
                    if failed.as_ref().is_some_and(JoinError::is_cancelled) {
                        // With the runtime, behind a drain.
                        return;
                    }
                    let panicked = failed.is_some();
                    if panicked || !self.tie.gate.is_closed() {
                        log::error!(event = "listener_lost", service = self.name.as_str(), panicked = panicked; "");
                        // Full, it holds such a name already.
                        let _ = self.tie.lost.try_send(self.name.clone());
                    }
                    return;
                }
                () = sleep(if begun { BEAT } else { LOOK }) => {
                    self.tie.pulse.beat();
                    if !begun && self.tie.gate.accepts() {
                        begun = true;
                        self.tie.accepting.send_modify(|count| *count += 1);
                    }
                }
            }
        }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn threads(&self) -> Option<usize> {
        self.threads
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use pingora::protocols::Stream;
    use pingora::server::Fds;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Says back what it hears, and panics in its cleanup where it is told to.
    struct Echo {
        panics: bool,
    }

    #[async_trait]
    impl ServerApp for Echo {
        async fn process_new(self: &Arc<Self>, mut session: Stream, _: &ShutdownWatch) -> Option<Stream> {
            let mut byte = [0];
            while session.read_exact(&mut byte).await.is_ok() && session.write_all(&byte).await.is_ok() {
                session.flush().await.ok()?;
            }
            None
        }

        async fn cleanup(&self) {
            assert!(!self.panics, "asked to");
        }
    }

    /// A started service: who tells it to close, whether it accepts, what it says when it is lost.
    fn start(panics: bool) -> (SocketAddr, Gate, watch::Receiver<usize>, mpsc::Receiver<String>) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let mut service = Service::new("echo".into(), Echo { panics });
        service.add_tcp(&address.to_string());
        let mut ties = Ties::new();
        let (gate, tie) = ties.tie(2);
        let mut listening = Listening::new(service, vec![(address, socket.into())], tie);
        let fds = fds();
        tokio::spawn(async move {
            let (_keep, shutdown) = watch::channel(false);
            listening.start_service(Some(fds), shutdown, 2).await;
        });
        (address, gate, ties.accepting().0, ties.lost)
    }

    /// An empty table: the type of its lock is Pingora's own, so that it is made by inference.
    fn fds() -> ListenFds {
        fn shared<T>(value: T) -> Arc<T> {
            Arc::new(value)
        }
        shared(Fds::new().into())
    }

    #[tokio::test]
    async fn it_accepts_on_the_socket_it_was_given_and_closes_when_it_is_told() {
        let (address, gate, mut accepts, mut losses) = start(false);
        accepts.wait_for(|count| *count == 1).await.unwrap();
        assert_eq!(gate.connections(), 0);
        let talk = tokio::task::spawn_blocking(move || {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(b"x").unwrap();
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            (client, byte)
        });
        let (client, byte) = talk.await.unwrap();
        assert_eq!((byte, gate.connections()), (*b"x", 1));
        gate.close();
        assert!(gate.connections() >= 1);
        while TcpStream::connect(address).is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
        assert!(gate.connections() >= 1, "it is open still");
        drop(client);
        while gate.connections() > 0 {
            sleep(Duration::from_millis(5)).await;
        }
        assert!(losses.try_recv().is_err(), "that was asked for");
    }

    #[tokio::test]
    async fn one_that_panics_says_so() {
        let (_address, gate, mut accepts, mut losses) = start(true);
        accepts.wait_for(|count| *count == 1).await.unwrap();
        gate.close();
        assert_eq!(losses.recv().await.unwrap(), "echo");
    }
}
