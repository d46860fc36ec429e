//! How the process is asked to stop, and how it does: readiness goes first, then the requests in flight, then the listeners.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::edge::Front;
use crate::fill::AllFills;
use crate::observe::bus::{self, Event};
use crate::observe::metrics::INFLIGHT;
use crate::observe::readiness::{Condition, READINESS};

/// Waits for the signals of the process.
pub struct Signals {
    /// How long requests in flight may take after a stop was asked for.
    pub grace: Duration,
    /// The connections of clients, which are told to go.
    pub front: Front,
    /// Fills, which may go on as long.
    pub fills: Arc<AllFills>,
    /// What SIGHUP asks for.
    pub hangup: Arc<dyn Fn() + Send + Sync>,
}

/// Install the handler of SIGHUP: without one the kernel's default ends the process. Tokio keeps a handler for good once it is
/// installed, so that a runtime that lives for a moment is enough, and start-up is covered too.
pub fn keep_alive_on_hangup() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _guard = runtime.enter();
    signal(SignalKind::hangup()).map(drop)
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let (Ok(mut terminate), Ok(mut interrupt), Ok(mut quit), Ok(mut hangup)) = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
            signal(SignalKind::quit()),
            signal(SignalKind::hangup()),
        ) else {
            // Without handlers the kernel's defaults hold: SIGTERM still ends the process.
            log::error!(event = "signals"; "signal handlers could not be installed");
            return std::future::pending().await;
        };
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                // As nginx: a graceful stop. Pingora would offer our listeners to whoever waits at its socket.
                _ = quit.recv() => break,
                _ = hangup.recv() => (self.hangup)(),
            }
        }
        bus::publish(Event::Stopping);
        READINESS.set(Condition::NotDraining, false);
        self.front.drain();
        log::info!(event = "draining", inflight = self.inflight(); "");
        if self.drain(&mut terminate, &mut interrupt).await {
            ShutdownSignal::GracefulTerminate
        } else {
            ShutdownSignal::FastShutdown
        }
    }
}

impl Signals {
    /// Requests and fills in flight.
    fn inflight(&self) -> u64 {
        INFLIGHT.get().max(0) as u64 + self.fills.under_way() as u64
    }

    /// Wait until nothing is in flight and every client has gone, at most the grace period. A second signal ends the wait: then `false`.
    async fn drain(&self, terminate: &mut Signal, interrupt: &mut Signal) -> bool {
        let until = Instant::now() + self.grace;
        while self.inflight() > 0 || self.front.connections() > 0 {
            if Instant::now() >= until {
                log::warn!(event = "drain_timeout", inflight = self.inflight(); "");
                return true;
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
                _ = terminate.recv() => return false,
                _ = interrupt.recv() => return false,
            }
        }
        true
    }
}
