//! How the process ends: connections are told to close, accepting stops, what is in flight has its time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora::server::ShutdownSignal;

use super::listening::Gate;
use super::signals::Asked;
use super::sockets::{Role, Sockets};
use crate::edge::Front;
use crate::fill::AllFills;
use crate::observe::bus::{Event, publish};
use crate::observe::metrics::INFLIGHT;
use crate::observe::readiness::{Condition, READINESS};

/// What has to come to rest.
pub struct Drain {
    /// How long requests and fills in flight may take once accepting has stopped.
    pub grace: Duration,
    /// How long connections are accepted after the process says that it is not ready.
    pub delay: Duration,
    /// Fills in flight.
    pub fills: Arc<AllFills>,
    /// Who is connected, and told to go.
    pub clients: Front,
    /// The listening sockets.
    pub sockets: Arc<Sockets>,
    /// Tells the edge to accept no more.
    pub edge: Gate,
    /// Tells the admin likewise.
    pub admin: Option<Gate>,
}

impl Drain {
    /// Stop: `/readyz` says so at once, on the admin listener to the end. A second signal ends every wait.
    pub async fn stop(&self, asked: &mut Asked) -> ShutdownSignal {
        READINESS.set(Condition::NotDraining, false);
        publish(Event::Stopping);
        log::info!(event = "draining", inflight = self.inflight(), connections = self.connections(); "");
        tokio::select! {
            () = tokio::time::sleep(self.delay) => {}
            () = asked.stop() => return ShutdownSignal::FastShutdown,
        }
        self.close(Role::Edge);
        self.rest(asked).await
    }

    /// Leave the place to a successor: its addresses stay open.
    pub async fn retire(&self, asked: &mut Asked) -> ShutdownSignal {
        READINESS.retire();
        self.close(Role::Edge);
        self.close(Role::Admin);
        self.rest(asked).await
    }

    /// Accept no more.
    fn close(&self, role: Role) {
        match (role, &self.admin) {
            (Role::Edge, _) => self.edge.close(),
            (Role::Admin, Some(admin)) => admin.close(),
            (Role::Admin, None) => {}
        }
        self.sockets.close(role);
        if role == Role::Edge {
            self.clients.drain();
        }
    }

    /// Requests and fills in flight.
    fn inflight(&self) -> u64 {
        INFLIGHT.get().max(0) as u64 + self.fills.under_way() as u64
    }

    /// Connections, from their accept on.
    fn connections(&self) -> u64 {
        self.edge.connections().max(self.clients.connections() as u64)
    }

    /// Wait until nothing is in flight and every client has gone, at most the grace period.
    async fn rest(&self, asked: &mut Asked) -> ShutdownSignal {
        let since = Instant::now();
        loop {
            let (inflight, connections) = (self.inflight(), self.connections());
            if inflight == 0 && connections == 0 {
                return ShutdownSignal::GracefulTerminate;
            }
            if since.elapsed() >= self.grace {
                // A connection on which nothing is answered is no loss.
                if inflight > 0 {
                    log::warn!(event = "drain_timeout", inflight = inflight, connections = connections; "");
                }
                return ShutdownSignal::GracefulTerminate;
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
                () = asked.stop() => return ShutdownSignal::FastShutdown,
            }
        }
    }
}
