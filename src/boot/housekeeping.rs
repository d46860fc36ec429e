//! What happens beside the requests: packs are looked at for changes, the CAS for its bounds, digests are computed behind.
//!
//! Threads are started here, by a service of Pingora, when everything that can refuse to start has started.

use std::io::Write as _;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::stability;
use crate::conf::version::VERSION;
use crate::edge::{Certificates, Generations};
use crate::observe::bus::Event;
use crate::observe::metrics::{Component, SERVICE_RESTARTS};
use crate::observe::readiness::{Condition, READINESS};
use crate::observe::{audit, bus, faults, log as log_writer};
use crate::shed::Shed;
use crate::store::cas::Cas;

/// How often packs are looked at. A new one is taken up when two looks agree: so it serves within a second.
const LOOK: Duration = Duration::from_millis(300);
/// How often the files of certificates are looked at.
const LOOK_AT_CERTIFICATES: Duration = Duration::from_secs(1);
/// How often the CAS is kept.
const KEEP: Duration = Duration::from_secs(1);

/// The background work of a server.
pub struct Housekeeping {
    /// Where the packs of now are.
    pub generations: Arc<Generations>,
    pub cas: Arc<Cas>,
    pub certificates: Arc<Certificates>,
    pub shed: Arc<Shed>,
    /// The addresses that will accept connections.
    pub listeners: Vec<SocketAddr>,
    /// What happens, from before the stores were opened; taken by the thread that tells the log.
    pub events: Mutex<Option<bus::Listener>>,
    /// `offline` or `live`, for the log.
    pub mode: &'static str,
    /// Told on standard output once the listeners accept.
    pub banner: String,
    /// Set by SIGHUP: look at once.
    pub hurry: Arc<Hurry>,
    /// Set when the process stops: the digester gives up.
    pub stopping: Arc<AtomicBool>,
}

/// Wakes the housekeeper before its tick.
#[derive(Default)]
pub struct Hurry(std::sync::OnceLock<Thread>);

impl Hurry {
    /// Look now.
    pub fn up(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }
}

#[async_trait]
impl BackgroundService for Housekeeping {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        log_writer::start_writer();
        if let Err(error) = self.start_threads() {
            log::error!(event = "threads", cause = error.to_string().as_str(); "background threads could not be started");
        }
        // It ends with the runtime of this service.
        tokio::spawn(stability::watch(self.shed.clone()));
        self.await_listeners(&shutdown).await;
        while !*shutdown.borrow() && shutdown.changed().await.is_ok() {}
        self.stopping.store(true, Relaxed);
    }
}

impl Housekeeping {
    fn start_threads(&self) -> std::io::Result<()> {
        if let Some(events) = self.events.lock().ok().and_then(|mut events| events.take()) {
            bus::start_log_listener(events)?;
        }
        audit::start()?;
        // A thread each: whatever a pack does to the one that looks at it, purges and evictions go on.
        let (generations, hurry) = (self.generations.clone(), self.hurry.clone());
        supervise("pack_watcher", Component::PackWatcher, self.stopping.clone(), move || {
            let _ = hurry.0.set(thread::current());
            // Of the generation no more than its packs: a look may take a while, and what it holds on to must not.
            let mounts = generations.now().mounts.clone();
            mounts.poll();
            READINESS.set(Condition::PacksVerified, mounts.lost().is_empty());
            thread::park_timeout(LOOK);
        })?;
        let cas = self.cas.clone();
        supervise("cas_keeper", Component::CasKeeper, self.stopping.clone(), move || {
            if let Err(error) = cas.poll() {
                log::warn!(event = "cas_housekeeping", cause = error.to_string().as_str(); "");
            }
            READINESS.set(Condition::CasWritable, cas.writable());
            thread::park_timeout(KEEP);
        })?;
        let certificates = self.certificates.clone();
        supervise("certificates", Component::CertificateWatcher, self.stopping.clone(), move || {
            certificates.look(SystemTime::now());
            thread::park_timeout(LOOK_AT_CERTIFICATES);
        })?;
        let (generations, stopping) = (self.generations.clone(), self.stopping.clone());
        supervise("digester", Component::Digester, self.stopping.clone(), move || {
            let mounts = generations.now().mounts.clone();
            mounts.digest_behind(&stopping);
            thread::park_timeout(Duration::from_secs(5));
        })
    }

    /// Pingora binds in a task and tells nobody: the listeners are there when they accept.
    async fn await_listeners(&self, shutdown: &ShutdownWatch) {
        for address in &self.listeners {
            let mut tries = 0;
            while let Err(error) = tokio::net::TcpStream::connect(reachable(*address)).await {
                if *shutdown.borrow() {
                    return;
                }
                tries += 1;
                if tries == 1000 {
                    let (address, cause) = (address.to_string(), error.to_string());
                    log::error!(event = "not_listening", address = address.as_str(), cause = cause.as_str(); "");
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            log::info!(event = "listening", address = address.to_string().as_str(); "");
        }
        faults::stall("boot.listen");
        READINESS.set(Condition::Listener, true);
        bus::publish(Event::Started { version: VERSION, mode: self.mode });
        // Nobody has to read it.
        let _ = std::io::stdout().write_all(self.banner.as_bytes());
    }
}

/// The address by which a listener on all addresses is reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

/// Run `round` again and again on a thread of its own, until `stopping`. A round that panics is counted and the next one begins after a
/// pause, longer each time in a row.
fn supervise(
    name: &'static str,
    component: Component,
    stopping: Arc<AtomicBool>,
    round: impl Fn() + Send + 'static,
) -> std::io::Result<()> {
    let body = move || {
        let mut failures = 0_u32;
        while !stopping.load(Relaxed) {
            // What a round leaves behind is behind locks and atomics that the stores keep whole.
            if catch_unwind(AssertUnwindSafe(&round)).is_ok() {
                failures = 0;
                continue;
            }
            SERVICE_RESTARTS.inc(component);
            log::error!(event = "service_restarted", component = component.as_str(); "");
            thread::park_timeout(Duration::from_millis(100) * 2_u32.pow(failures.min(8)));
            failures += 1;
        }
    };
    thread::Builder::new().name(name.into()).spawn(body).map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn a_round_that_panics_is_counted_and_the_next_one_runs() {
        let before = SERVICE_RESTARTS.get(Component::Digester);
        let stopping = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicU32::new(0));
        let (seen, stop) = (rounds.clone(), stopping.clone());
        supervise("test", Component::Digester, stopping, move || {
            if seen.fetch_add(1, Relaxed) == 0 {
                panic!("the first round");
            }
            stop.store(true, Relaxed);
        })
        .unwrap();
        while rounds.load(Relaxed) < 2 {
            thread::park_timeout(Duration::from_millis(10));
        }
        assert_eq!(SERVICE_RESTARTS.get(Component::Digester), before + 1);
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_loopback() {
        assert_eq!(reachable("0.0.0.0:80".parse().unwrap()), "127.0.0.1:80".parse().unwrap());
        assert_eq!(reachable("[::]:80".parse().unwrap()), "[::1]:80".parse().unwrap());
        assert_eq!(reachable("10.0.0.1:80".parse().unwrap()), "10.0.0.1:80".parse().unwrap());
    }
}
