//! What happens beside the requests: packs are looked at for changes, the CAS for its bounds, digests are computed behind.
//!
//! Threads are started here, by a service of Pingora, when everything that can refuse to start has started.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::sync::watch;

use super::{stability, supervise};
use crate::edge::{Certificates, Generations};
use crate::observe::metrics::Component;
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
    /// How many services accept on them by now, and how many will.
    pub accepting: (watch::Receiver<usize>, usize),
    /// What happens, from before the stores were opened; taken by the thread that tells the log.
    pub events: Mutex<Option<bus::Listener>>,
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
        self.await_listeners(shutdown.clone()).await;
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
        supervise::thread("pack_watcher", Component::PackWatcher, self.stopping.clone(), move || {
            faults::panic_here("boot.pack_watcher");
            let _ = hurry.0.set(thread::current());
            // Of the generation no more than its packs: a look may take a while, and what it holds on to must not.
            let mounts = generations.now().mounts.clone();
            mounts.poll();
            READINESS.set(Condition::PacksVerified, mounts.lost().is_empty());
            thread::park_timeout(LOOK);
        })?;
        let cas = self.cas.clone();
        supervise::thread("cas_keeper", Component::CasKeeper, self.stopping.clone(), move || {
            faults::panic_here("boot.cas_keeper");
            if let Err(error) = cas.poll() {
                log::warn!(event = "cas_housekeeping", cause = error.to_string().as_str(); "");
            }
            READINESS.set(Condition::CasWritable, cas.writable());
            thread::park_timeout(KEEP);
        })?;
        let certificates = self.certificates.clone();
        supervise::thread("certificates", Component::CertificateWatcher, self.stopping.clone(), move || {
            certificates.look(SystemTime::now());
            thread::park_timeout(LOOK_AT_CERTIFICATES);
        })?;
        let (generations, stopping) = (self.generations.clone(), self.stopping.clone());
        supervise::thread("digester", Component::Digester, self.stopping.clone(), move || {
            faults::panic_here("boot.digester");
            let mounts = generations.now().mounts.clone();
            mounts.digest_behind(&stopping);
            thread::park_timeout(Duration::from_secs(5));
        })
    }

    /// The kernel takes connections from the moment that the sockets are bound; they are answered when every service accepts.
    async fn await_listeners(&self, mut shutdown: ShutdownWatch) {
        let (mut accepting, services) = self.accepting.clone();
        tokio::select! {
            _ = accepting.wait_for(|begun| *begun >= services) => {}
            // One that ended instead was told; the process ends.
            _ = shutdown.wait_for(|stopping| *stopping) => return,
        }
        for address in &self.listeners {
            log::info!(event = "listening", address = address.to_string().as_str(); "");
        }
        faults::stall("boot.listen");
        READINESS.set(Condition::Listener, true);
        // Nobody has to read it.
        let _ = std::io::stdout().write_all(self.banner.as_bytes());
    }
}
