//! Names to addresses: asked off the caller's way, one lookup a name at a time, remembered for a while.
//!
//! Whether an address may be asked is judged by `peer`, each time: what stands here is only what the resolver said.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::watch;

/// Addresses that are kept of one name.
const MAX_ADDRESSES: usize = 16;
/// How long a lookup is waited for; it goes on behind, and no second one is begun meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same where there are old addresses to fall back on.
const PATIENCE_WITH_OLD: Duration = Duration::from_millis(100);
/// How long a failed lookup is taken for granted.
const NEGATIVE_TTL: Duration = Duration::from_secs(2);
/// How long old addresses serve while the resolver fails: a machine that was there is more likely to be still there than not.
const OLD_FOR: Duration = Duration::from_secs(600);

/// Asks a resolver.
#[async_trait]
pub(super) trait Lookup: Send + Sync + 'static {
    /// The addresses of a name, the preferred first.
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver. It blocks a thread of the runtime's blocking pool, never a worker.
pub(super) struct System;

#[async_trait]
impl Lookup for System {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// The names of the conf, and what is known of them. The set is fixed: nothing grows.
pub(super) struct Dns {
    names: HashMap<String, Arc<Name>>,
    ttl: Duration,
    lookup: Arc<dyn Lookup>,
}

#[derive(Default)]
struct Name(Mutex<State>);

#[derive(Default)]
struct State {
    /// The addresses and when they were asked for.
    found: Option<(Arc<[IpAddr]>, Instant)>,
    /// Why the last lookup failed, and when it was begun.
    failed: Option<(String, Instant)>,
    /// The lookup under way: its sender is dropped when it ends, even by a panic.
    running: Option<watch::Receiver<()>>,
}

impl Dns {
    /// What asks `lookup` for these names, and for no others.
    pub(super) fn new(names: impl Iterator<Item = String>, ttl: Duration, lookup: Arc<dyn Lookup>) -> Self {
        Self { names: names.map(|name| (name, Arc::default())).collect(), ttl, lookup }
    }

    /// The addresses of `name`, both families taking turns (RFC 8305 §4). Fails with what the resolver said.
    pub(super) async fn resolve(&self, name: &str, now: Instant) -> Result<Arc<[IpAddr]>, String> {
        let Some(state) = self.names.get(name) else {
            return Err("a name that the conf doesn't have".into());
        };
        let (mut end, patience) = {
            let mut known = state.lock();
            if let Some(answer) = known.fresh(self.ttl, now) {
                return answer;
            }
            let patience = if known.old(now).is_some() { PATIENCE_WITH_OLD } else { PATIENCE };
            // A receiver whose sender is gone belongs to a lookup that has ended.
            let running = known.running.take().filter(|end| end.has_changed().is_ok());
            let end = running.unwrap_or_else(|| self.start(name, state.clone(), now));
            known.running = Some(end.clone());
            (end, patience)
        };
        // Nothing is ever sent: it ends when the lookup does.
        let ended = tokio::time::timeout(patience, end.changed()).await.is_ok();
        let mut known = state.lock();
        if !ended {
            // Those who come now don't wait for it again.
            known.failed = Some(("the resolver doesn't answer".into(), now));
        }
        match (known.fresh(self.ttl, now), known.old(now)) {
            (Some(answer), _) => answer,
            (None, Some(old)) => Ok(old),
            (None, None) => {
                Err(known.failed.as_ref().map_or("the lookup ended without an answer", |(why, _)| why.as_str()).into())
            }
        }
    }

    /// Begin a lookup as a task of its own, so that it outlives whoever asked.
    fn start(&self, name: &str, state: Arc<Name>, now: Instant) -> watch::Receiver<()> {
        let (ended, end) = watch::channel(());
        let (lookup, name) = (self.lookup.clone(), name.to_owned());
        tokio::spawn(async move {
            let answer = lookup.lookup(&name).await;
            state.lock().learn(answer, now);
            drop(ended);
        });
        end
    }
}

impl Name {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No step leaves a state half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What can be answered without asking.
    fn fresh(&self, ttl: Duration, now: Instant) -> Option<Result<Arc<[IpAddr]>, String>> {
        if let Some((addresses, at)) = &self.found
            && now.saturating_duration_since(*at) < ttl
        {
            return Some(Ok(addresses.clone()));
        }
        let (why, at) = self.failed.as_ref()?;
        let recent = now.saturating_duration_since(*at) < NEGATIVE_TTL;
        recent.then(|| self.old(now).ok_or_else(|| why.clone()))
    }

    fn old(&self, now: Instant) -> Option<Arc<[IpAddr]>> {
        let (addresses, at) = self.found.as_ref()?;
        (now.saturating_duration_since(*at) < OLD_FOR).then(|| addresses.clone())
    }

    fn learn(&mut self, answer: io::Result<Vec<IpAddr>>, asked: Instant) {
        match answer {
            Ok(addresses) if !addresses.is_empty() => {
                self.found = Some((interleave(addresses).into(), asked));
                self.failed = None;
            }
            Ok(_) => self.failed = Some(("the name has no address".into(), asked)),
            Err(error) => self.failed = Some((error.to_string(), asked)),
        }
    }
}

/// Each address once, the two families taking turns, beginning with that of the first.
fn interleave(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (mut first, mut second): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    for address in addresses {
        let family = if address.is_ipv6() == first_is_v6 { &mut first } else { &mut second };
        if !family.contains(&address) && family.len() < MAX_ADDRESSES {
            family.push(address);
        }
    }
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turns = Vec::new();
    loop {
        let pair = (first.next(), second.next());
        if pair == (None, None) || turns.len() >= MAX_ADDRESSES {
            turns.truncate(MAX_ADDRESSES);
            return turns;
        }
        turns.extend(pair.0);
        turns.extend(pair.1);
    }
}

#[cfg(test)]
#[path = "dns/tests.rs"]
mod tests;
