//! What systemd is told: datagrams to the socket that `NOTIFY_SOCKET` names (sd_notify(3)).
//!
//! Without the variable nothing is told. A datagram that can't be sent is no fault of the server's: it is logged, and the server goes on.

use std::ffi::{OsStr, OsString};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Tells the service manager how the process is.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How often the manager wants to hear that the process works.
    watchdog: Option<Duration>,
    /// Whether it was told that the process serves.
    ready: AtomicBool,
}

impl Notifier {
    /// By the environment of this process. A successor takes the watchdog over, which was meant for the process that the manager started.
    pub fn from_environment(successor: bool) -> Self {
        let get = |name: &str| std::env::var_os(name);
        let mut notifier = Self::new(get("NOTIFY_SOCKET"));
        let own = get("WATCHDOG_PID").is_none_or(|pid| successor || pid == std::process::id().to_string().as_str());
        let usec = get("WATCHDOG_USEC").and_then(|usec| usec.to_str()?.parse::<u64>().ok());
        notifier.watchdog = usec.filter(|usec| *usec > 0 && own).map(Duration::from_micros);
        notifier
    }

    /// One that tells `socket`: a path, or `@` and the name of an abstract socket.
    pub fn new(socket: Option<OsString>) -> Self {
        let Some(name) = socket.filter(|name| !name.is_empty()) else { return Self::default() };
        let opened = address(&name).and_then(|address| Ok((UnixDatagram::unbound()?, address)));
        match opened {
            Ok((socket, address)) => {
                // A manager that does not read must not hold the server up.
                let _ = socket.set_nonblocking(true);
                Self { socket: Some((socket, address)), ..Self::default() }
            }
            Err(error) => {
                log::warn!(event = "notify", cause = error.to_string().as_str(); "NOTIFY_SOCKET can't be used");
                Self::default()
            }
        }
    }

    /// How often the manager wants to hear [`Notifier::alive`], at least; `None`: it does not.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.socket.is_some())
    }

    /// It serves. `main` says that this process is the main one from now on.
    pub fn ready(&self, main: bool, status: &str) {
        let main = if main { format!("MAINPID={}\n", std::process::id()) } else { String::new() };
        self.ready.store(true, Release);
        self.tell(&format!("{main}READY=1\nSTATUS={status}"));
    }

    /// The main process is another one from now on; or, after all, this one.
    pub fn main_process(&self, pid: u32) {
        self.tell(&format!("MAINPID={pid}"));
    }

    /// Whether it was said that it serves: before, a manager that heard READY behind a reload would take the start for done.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Acquire)
    }

    /// It reloads its conf. Say [`Notifier::ready`] when that is done, however it ended.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let usec = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    /// It stops.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=draining");
    }

    /// It works.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// What it does, for people.
    pub fn status(&self, status: &str) {
        self.tell(&format!("STATUS={status}"));
    }

    fn tell(&self, state: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            log::warn!(event = "notify", cause = error.to_string().as_str(); "the service manager was not told");
        }
    }
}

fn address(name: &OsStr) -> std::io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(std::io::Error::other("it is neither an absolute path nor an abstract name")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn heard(listener: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        listener.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let read = listener.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..read].to_vec()).unwrap()
    }

    #[test]
    fn what_is_told_arrives_at_a_path_and_at_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("svc-edge-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        for (listener, variable) in [
            (UnixDatagram::bind(&path).unwrap(), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&abstract_address).unwrap(), OsString::from(format!("@{name}"))),
        ] {
            let notifier = Notifier::new(Some(variable));
            notifier.ready(false, "serves");
            assert_eq!(heard(&listener), "READY=1\nSTATUS=serves");
            notifier.ready(true, "serves");
            assert_eq!(heard(&listener), format!("MAINPID={}\nREADY=1\nSTATUS=serves", std::process::id()));
            notifier.main_process(7);
            assert_eq!(heard(&listener), "MAINPID=7");
            notifier.reloading();
            let reloading = heard(&listener);
            let usec = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(usec.parse::<u64>().unwrap() > 0);
            notifier.stopping();
            assert_eq!(heard(&listener), "STOPPING=1\nSTATUS=draining");
            notifier.alive();
            assert_eq!(heard(&listener), "WATCHDOG=1");
            notifier.status("upgrading");
            assert_eq!(heard(&listener), "STATUS=upgrading");
        }
    }

    #[test]
    fn without_a_socket_nothing_is_told_and_nothing_is_wrong() {
        for variable in [None, Some(""), Some("relative"), Some("/nowhere/at/all")] {
            let notifier = Notifier::new(variable.map(OsString::from));
            notifier.ready(true, "x");
            notifier.stopping();
            assert_eq!(notifier.watchdog(), None);
        }
    }
}
