//! What the process is asked for by signals, from its first ready moment to its last.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::daemon::{ErrorLog, Word};
use super::drain::Drain;
use super::notify::Notifier;
use super::upgrade::predecessor::{hand_over, reap};
use super::upgrade::program::Program;
use super::upgrade::successor::Predecessor;
use super::watchdog::{self, Pulse};
use super::{pid_file, supervise};
use crate::conf::version::VERSION;
use crate::observe::bus::{Event, publish};
use crate::observe::faults;
use crate::observe::metrics::{Component, UPGRADES, UpgradeResult};
use crate::observe::readiness::READINESS;

/// How long a successor that we started may take to end by itself when its upgrade failed.
const LAST_WISH: Duration = Duration::from_secs(5);

/// Waits for the signals of the process, and does what they ask for.
pub struct Signals {
    /// The signals, caught from before anybody could be answered; taken when they are waited for.
    pub asked: Mutex<Option<Asked>>,
    /// How the process ends.
    pub drain: Drain,
    /// `offline` or `live`.
    pub mode: &'static str,
    /// What SIGHUP asks for.
    pub hangup: Arc<dyn Fn() + Send + Sync>,
    /// Where listeners are handed over; `None`: nowhere.
    pub upgrade_sock: Option<PathBuf>,
    /// How long that may take.
    pub upgrade_timeout: Duration,
    /// What SIGUSR2 starts.
    pub program: Program,
    /// The process whose listeners this one has.
    pub predecessor: Option<Predecessor>,
    /// The names of listening services that ended unasked.
    pub lost: Mutex<mpsc::Receiver<String>>,
    /// What shows that they work.
    pub pulses: Vec<Arc<Pulse>>,
    /// The service manager.
    pub notifier: Arc<Notifier>,
    /// The command that started this daemon.
    pub word: Arc<Word>,
    /// Where standard error goes.
    pub error_log: ErrorLog,
    /// The file with this process's id.
    pub pid_file: Option<PathBuf>,
    /// Set where the process ends with a fault.
    pub failed: Arc<AtomicBool>,
}

/// What a signal asks for.
enum Wish {
    Stop,
    Upgrade { start: bool },
    Reload,
    Reopen,
}

/// Why the process ends.
enum End {
    Asked,
    Retired(u32),
    Failed(String),
    /// The predecessor has not left: it goes on, and this process must not.
    Unrelieved(String),
}

/// The signals, caught.
pub struct Asked {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

/// Install handlers for the signals that ask a running server for something: without one the kernel's default ends the process. Tokio keeps
/// a handler for good once it is installed, so that a runtime that lives for a moment is enough, and start-up is covered too.
pub fn survive() -> std::io::Result<()> {
    let runtime = moment()?;
    let _guard = runtime.enter();
    let asking = [SignalKind::hangup(), SignalKind::quit(), SignalKind::user_defined1(), SignalKind::user_defined2()];
    asking.into_iter().try_for_each(|kind| signal(kind).map(drop))
}

/// A runtime to install handlers by. What comes then is told by whichever runtime runs.
fn moment() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()
}

impl Asked {
    /// Catch them from now on; until now SIGTERM and SIGINT ended the process, which served nobody.
    pub fn listen() -> std::io::Result<Self> {
        let runtime = moment()?;
        let _guard = runtime.enter();
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.quit.recv() => Wish::Upgrade { start: false },
            _ = self.user2.recv() => Wish::Upgrade { start: true },
            _ = self.hangup.recv() => Wish::Reload,
            _ = self.user1.recv() => Wish::Reopen,
        }
    }

    /// Wait for SIGTERM or SIGINT; the others ask a process that ends for nothing any more.
    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Pingora asks once.
        let Some(mut asked) = asked else { return std::future::pending().await };
        let mut watchdog = JoinSet::new();
        let (notifier, pulses) = (self.notifier.clone(), self.pulses.clone());
        watchdog.spawn(supervise::task(Component::Watchdog, move || watchdog::watch(notifier.clone(), pulses.clone())));
        let end = self.serve(&mut asked).await;
        drop(watchdog);
        self.end(end, &mut asked).await
    }
}

impl Signals {
    /// Until something ends the process.
    async fn serve(&self, asked: &mut Asked) -> End {
        let mut rising = std::pin::pin!(self.rise());
        let (mut risen, mut upgrades) = (false, JoinSet::new());
        let mut lost = std::pin::pin!(self.lost());
        loop {
            tokio::select! {
                rose = &mut rising, if !risen => match rose {
                    Ok(()) => risen = true,
                    Err(why) => return End::Unrelieved(why),
                },
                name = &mut lost => return End::Failed(format!("the service `{name}` ended unasked")),
                Some(done) = upgrades.join_next() => match done.unwrap_or_else(|panic| Err(panic.to_string())) {
                    Ok(successor) => return End::Retired(successor),
                    Err(why) => self.goes_on(&why),
                },
                wish = asked.next() => match wish {
                    Wish::Stop if self.predecessor.is_some() && !risen => {
                        return End::Unrelieved("it was asked to stop before it served".into());
                    }
                    Wish::Stop => return End::Asked,
                    Wish::Upgrade { .. } if !upgrades.is_empty() || self.predecessor.is_some() && !risen => {
                        log::warn!(event = "upgrade_refused"; "another upgrade is under way");
                    }
                    Wish::Upgrade { start } => { upgrades.spawn(self.upgrade(start)); }
                    Wish::Reload => self.reload(),
                    Wish::Reopen => self.reopen(),
                },
            }
        }
    }

    /// Become the one that serves: ready, and past the predecessor.
    async fn rise(&self) -> Result<(), String> {
        let ready = async {
            while !READINESS.ready() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match &self.predecessor {
            Some(predecessor) => {
                predecessor.relieve(ready).await?;
                UPGRADES.inc(UpgradeResult::Ok);
            }
            None => ready.await,
        }
        if let Some(path) = &self.pid_file
            && let Err(error) = pid_file::write(path, std::process::id())
        {
            log::error!(event = "pid_file", cause = error.to_string().as_str(); "it could not be written");
        }
        self.notifier.ready(self.predecessor.is_some(), "serving");
        publish(Event::Started { version: VERSION, mode: self.mode });
        log::info!(event = "serving", upgraded = self.predecessor.is_some(); "");
        self.word.ready();
        Ok(())
    }

    /// The name of a listening service that ended unasked.
    async fn lost(&self) -> String {
        loop {
            let name = self.lost.lock().unwrap_or_else(PoisonError::into_inner).try_recv();
            match name {
                Ok(name) => return name,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Hand over to a successor, which is started first if nobody else does that.
    fn upgrade(&self, start: bool) -> impl Future<Output = Result<u32, String>> + Send + use<> {
        let (socket, patience) = (self.upgrade_sock.clone(), self.upgrade_timeout);
        let (sockets, program, notifier) = (self.drain.sockets.clone(), self.program.clone(), self.notifier.clone());
        notifier.status("upgrading");
        publish(Event::UpgradeStarted);
        async move {
            faults::panic_here("boot.upgrade");
            let socket = socket.ok_or("upgrade_sock is null: there are no upgrades")?;
            let mut started = Started(None);
            if start {
                started.0 = Some(program.start_successor().map_err(|error| error.to_string())?);
            }
            let hand_on = |successor| notifier.main_process(successor);
            let done = hand_over(&socket, &sockets, started.0.as_mut(), patience, hand_on).await;
            if let Some(child) = started.0.take() {
                reap(child, done.is_err().then_some(LAST_WISH));
            }
            done
        }
    }

    /// An upgrade failed.
    fn goes_on(&self, why: &str) {
        UPGRADES.inc(UpgradeResult::Failed);
        publish(Event::UpgradeFailed { cause: why.to_owned() });
        // The successor may have been named already.
        self.notifier.main_process(std::process::id());
        self.notifier.status("serving");
    }

    fn reload(&self) {
        let reload = || {
            faults::panic_here("boot.hangup");
            (self.hangup)();
        };
        // What a reload leaves behind is swapped whole or not at all.
        if catch_unwind(AssertUnwindSafe(reload)).is_err() {
            supervise::panicked(Component::Signals);
        }
    }

    fn reopen(&self) {
        match self.error_log.reopen() {
            Ok(()) => log::info!(event = "log_reopened"; ""),
            Err(why) => log::error!(event = "log_reopened", cause = why.as_str(); "the old file goes on"),
        }
    }

    /// Come to rest.
    async fn end(&self, end: End, asked: &mut Asked) -> ShutdownSignal {
        if let End::Failed(why) | End::Unrelieved(why) = &end {
            self.failed.store(true, Ordering::Release);
            log::error!(event = "failed", cause = why.as_str(); "the process ends");
            self.word.failed(why);
        }
        let how = match end {
            End::Retired(successor) => {
                // The successor has the pid file and the service manager's ear by now.
                publish(Event::UpgradeDone);
                log::info!(event = "retiring", successor = successor; "");
                self.drain.retire(asked).await
            }
            End::Unrelieved(_) => self.drain.retire(asked).await,
            End::Asked | End::Failed(_) => {
                self.notifier.stopping();
                let how = self.drain.stop(asked).await;
                if let Some(path) = &self.pid_file {
                    pid_file::remove(path, std::process::id());
                }
                how
            }
        };
        publish(Event::Stopped);
        how
    }
}

/// A successor that we started: it does not outlive the wish for it.
struct Started(Option<Child>);

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(child) = self.0.take() {
            reap(child, Some(Duration::ZERO));
        }
    }
}
