//! The certificates of all listeners, and how changed files are taken up: read whole, checked, and swapped at once, or not at all.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::Tls;
use super::names::{Names, Served};
use crate::conf::{BindConf, CertConf, Certificate, Stamp};
use crate::edge::Handshake;
use crate::observe::bus::{self, Event};
use crate::observe::metrics::CERTIFICATES_NOT_AFTER;

/// Looks after which files that can't be used are a fault: a certificate and its key are two files, and are written one after the other.
const PATIENCE: u32 = 5;
/// How often a certificate is warned of that expires soon.
const DAY: Duration = Duration::from_secs(86_400);

/// The certificates of a server. Those in use stay until others are there that can be used.
pub struct Certificates {
    listeners: Vec<Listener>,
    state: Mutex<State>,
}

struct Listener {
    address: SocketAddr,
    /// The files of its certificates, in the order of the conf: positions in [`State::files`].
    files: Vec<usize>,
    served: Arc<Served>,
    tls: Arc<Tls>,
}

struct State {
    /// Each pair of files once, however many listeners have it.
    files: Vec<Watched>,
    /// When it was last said which expire soon.
    told: SystemTime,
}

/// A pair of files that is looked at.
struct Watched {
    conf: CertConf,
    certificate: Arc<Certificate>,
    /// What the files looked like before they were read.
    stamp: Stamp,
    /// What they look like since, where they changed.
    changed: Option<Changed>,
}

struct Changed {
    stamp: Stamp,
    /// Looks in a row at which they looked like this.
    still: u32,
    /// Looks in a row at which they were other than those in use.
    looks: u32,
    /// Whether it was said that these can't be used.
    told: bool,
}

impl Certificates {
    /// Read the certificates of every listener that has some.
    pub fn load(binds: &[BindConf], now: SystemTime) -> Result<Self, String> {
        let mut files: Vec<Watched> = Vec::new();
        let mut listeners = Vec::new();
        for bind in binds.iter().filter(|bind| !bind.tls.is_empty()) {
            let mut places = Vec::new();
            for conf in &bind.tls {
                let place = match files.iter().position(|watched| watched.conf == *conf) {
                    Some(place) => place,
                    None => {
                        files.push(Watched::load(conf)?);
                        files.len() - 1
                    }
                };
                places.push(place);
            }
            let served = Arc::new(Served::new(names(&files, &places)));
            let tls = Tls::new(served.clone()).map_err(|error| format!("tls: {error}"))?;
            listeners.push(Listener { address: bind.addr, files: places, served, tls: Arc::new(tls) });
        }
        let state = State { files, told: now };
        state.measure();
        state.warn(now);
        Ok(Self { listeners, state: Mutex::new(state) })
    }

    /// What makes connections of the listener at `address` secure, if it has certificates.
    pub fn handshake(&self, address: SocketAddr) -> Option<Arc<dyn Handshake>> {
        let listener = self.listeners.iter().find(|listener| listener.address == address)?;
        Some(listener.tls.clone())
    }

    /// Look whether files changed, and take up those that did: at the second look that finds them the same, as somebody may be in the middle of
    /// writing them.
    pub fn look(&self, now: SystemTime) {
        self.each(now, Watched::look);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(state.told).is_ok_and(|since| since >= DAY) {
            state.told = now;
            state.warn(now);
        }
    }

    /// Read all files again, now: whoever asks for it has written them.
    pub fn reload(&self, now: SystemTime) {
        self.each(now, Watched::reload);
    }

    /// Do something about each pair of files, then swap the certificates of the listeners that have one which became another.
    fn each(&self, now: SystemTime, act: impl Fn(&mut Watched, SystemTime) -> Looked) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let looked: Vec<_> = state.files.iter_mut().map(|watched| act(watched, now)).collect();
        for listener in &self.listeners {
            let mut reloaded = Vec::new();
            for place in &listener.files {
                match &looked[*place] {
                    Looked::Same => {}
                    Looked::Other => reloaded.extend(state.files[*place].certificate.told_names()),
                    Looked::Unusable(cause) => bus::publish(Event::CertificatesRefused {
                        listener: listener.address.to_string(),
                        cause: cause.clone(),
                    }),
                }
            }
            if !reloaded.is_empty() {
                listener.served.swap(names(&state.files, &listener.files));
                bus::publish(Event::CertificatesReloaded { listener: listener.address.to_string(), names: reloaded });
            }
        }
        if looked.iter().any(|looked| matches!(looked, Looked::Other)) {
            state.measure();
            state.warn(now);
        }
    }
}

/// What a look at a pair of files found.
enum Looked {
    /// Those in use, or nothing to be said yet.
    Same,
    /// Others, which are in use now.
    Other,
    /// Others that can't be used, and why.
    Unusable(String),
}

impl Watched {
    fn load(conf: &CertConf) -> Result<Self, String> {
        let stamp = conf.stamp();
        let certificate = conf.load().map_err(|fault| format!("{}: {fault}", conf.cert.display()))?;
        Ok(Self { conf: conf.clone(), certificate: Arc::new(certificate), stamp, changed: None })
    }

    fn look(&mut self, now: SystemTime) -> Looked {
        let stamp = self.conf.stamp();
        if stamp == self.stamp {
            self.changed = None;
            return Looked::Same;
        }
        let changed = match self.changed.take() {
            Some(before) if before.stamp == stamp => {
                Changed { still: before.still + 1, looks: before.looks + 1, ..before }
            }
            before => Changed { stamp, still: 1, looks: before.map_or(0, |before| before.looks) + 1, told: false },
        };
        let (still, patient, told) = (changed.still > 1, changed.looks < PATIENCE, changed.told);
        self.changed = Some(changed);
        if !still {
            return Looked::Same;
        }
        match self.take_up(now) {
            Err(_) if patient || told => Looked::Same,
            Err(cause) => self.refuse(cause),
            Ok(()) => Looked::Other,
        }
    }

    fn reload(&mut self, now: SystemTime) -> Looked {
        let before = (self.certificate.clone(), self.stamp);
        match self.take_up(now) {
            Err(cause) => {
                let stamp = self.conf.stamp();
                let looks = self.changed.as_ref().map_or(1, |changed| changed.looks);
                self.changed = (stamp != self.stamp).then_some(Changed { stamp, still: 1, looks, told: false });
                self.refuse(cause)
            }
            Ok(()) if before.1 == self.stamp && before.0.is_same(&self.certificate) => Looked::Same,
            Ok(()) => Looked::Other,
        }
    }

    fn refuse(&mut self, cause: String) -> Looked {
        if let Some(changed) = &mut self.changed {
            changed.told = true;
        }
        Looked::Unusable(cause)
    }

    /// Read the files, and use them if they can be. One that has expired can't, as clients would rather have what is in use.
    fn take_up(&mut self, now: SystemTime) -> Result<(), String> {
        let found = Self::load(&self.conf)?;
        if found.certificate.is_expired(now) {
            return Err(format!("{}: the certificate has expired", self.conf.cert.display()));
        }
        *self = found;
        Ok(())
    }
}

impl State {
    /// Tell the metric until when each certificate is valid. Of two of one name, the one that expires first.
    fn measure(&self) {
        let mut ends = BTreeMap::new();
        for certificate in self.files.iter().map(|watched| &watched.certificate) {
            let end = ends.entry(certificate.name.clone()).or_insert(certificate.not_after);
            *end = certificate.not_after.min(*end);
        }
        CERTIFICATES_NOT_AFTER.set(ends.into_iter().collect());
    }

    /// Tell which certificates are not valid, or not for long.
    fn warn(&self, now: SystemTime) {
        for watched in &self.files {
            if let Some(what) = watched.certificate.validity(now) {
                let (name, file) = (watched.certificate.name.as_str(), watched.conf.cert.display().to_string());
                log::warn!(event = "certificate_validity", name = name, file = file.as_str(); "{what}");
            }
        }
    }
}

fn names(files: &[Watched], places: &[usize]) -> Names {
    Names::new(places.iter().map(|place| files[*place].certificate.clone()).collect())
}
