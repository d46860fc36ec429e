//! How many connections there are, in all and of each client, and which.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::state::ConnState;
use crate::observe::metrics::{CONNECTIONS, CONNECTIONS_ACCEPTED};
use crate::rules::client::ClientKey;

/// Connections that come and go at once rarely meet in one of so many maps.
const SHARDS: usize = 16;

/// The connections of this process.
pub struct Places {
    open: AtomicUsize,
    next: AtomicU64,
    /// Behind their handshakes.
    shards: [Mutex<HashMap<u64, Arc<ConnState>>>; SHARDS],
    /// Of those clients alone that have connections, and that are counted.
    clients: [Mutex<HashMap<ClientKey, u32>>; SHARDS],
}

/// The place of a connection; dropped with it.
pub struct Place {
    places: Arc<Places>,
    id: u64,
    client: Option<ClientKey>,
}

impl Places {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            next: AtomicU64::new(0),
            shards: Default::default(),
            clients: Default::default(),
        })
    }

    /// Connections that have a place.
    pub fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    /// Take a place, if fewer than `max` are taken.
    pub fn enter(self: &Arc<Self>, max: usize) -> Option<Place> {
        CONNECTIONS_ACCEPTED.inc();
        let taken = self.open.fetch_update(SeqCst, SeqCst, |open| (open < max).then_some(open + 1));
        taken.ok()?;
        CONNECTIONS.add(1);
        Some(Place { places: self.clone(), id: self.next.fetch_add(1, Relaxed), client: None })
    }

    /// Every connection behind its handshakes, one after the other.
    pub fn each(&self, mut see: impl FnMut(&ConnState)) {
        for shard in &self.shards {
            // Not under the lock: whoever is woken may want it.
            let states: Vec<_> = lock(shard).values().cloned().collect();
            states.iter().for_each(|state| see(state));
        }
    }

    fn client(&self, key: ClientKey) -> MutexGuard<'_, HashMap<ClientKey, u32>> {
        let bits = match key {
            ClientKey::V4(bits) => u64::from(bits),
            ClientKey::V6(bits) => bits,
        };
        // Neighbours differ in their last bits; the remainder is below SHARDS.
        lock(&self.clients[((bits ^ bits >> 32) % SHARDS as u64) as usize])
    }
}

impl Place {
    /// Count it as one of its client's, if that one has fewer than `max`.
    pub fn of_client(&mut self, key: ClientKey, max: u32) -> bool {
        let mut clients = self.places.client(key);
        let count = clients.entry(key).or_insert(0);
        if *count >= max {
            // An entry that was there: what is new has none, and `max` is at least one.
            return false;
        }
        *count += 1;
        self.client = Some(key);
        true
    }

    /// It is behind its handshakes.
    pub fn known_as(&self, state: &Arc<ConnState>) {
        lock(self.shard()).insert(self.id, state.clone());
    }

    fn shard(&self) -> &Mutex<HashMap<u64, Arc<ConnState>>> {
        &self.places.shards[(self.id % SHARDS as u64) as usize]
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Place({})", self.id)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut shard = lock(self.shard());
        shard.remove(&self.id);
        shrink(&mut shard);
        drop(shard);
        if let Some(key) = self.client {
            let mut clients = self.places.client(key);
            if let Some(count) = clients.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    clients.remove(&key);
                    shrink(&mut clients);
                }
            }
        }
        self.places.open.fetch_sub(1, SeqCst);
        CONNECTIONS.add(-1);
    }
}

/// What a flood has made large does not stay so.
fn shrink<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>) {
    if map.capacity() > 64 && map.len() < map.capacity() / 8 {
        map.shrink_to(map.len() * 2);
    }
}

/// A map is whole between any two statements above: a panic leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::super::state::Phase;
    use super::*;

    proptest! {
        #[test]
        fn no_bound_is_passed_and_what_leaves_leaves_nothing_behind(
            arrivals in proptest::collection::vec((0_u32..20, any::<bool>()), 1..300),
            max in 1_usize..60,
            max_of_client in 1_u32..8,
        ) {
            let places = Places::new();
            let mut held: Vec<(u32, Place)> = Vec::new();
            for (client, leaves) in arrivals {
                if leaves && !held.is_empty() {
                    held.swap_remove(client as usize % held.len());
                    continue;
                }
                let mine = held.iter().filter(|(other, _)| *other == client).count();
                let Some(mut place) = places.enter(max) else {
                    prop_assert_eq!(held.len(), max);
                    continue;
                };
                let taken = place.of_client(ClientKey::V4(client), max_of_client);
                prop_assert_eq!(taken, mine < max_of_client as usize);
                if taken {
                    place.known_as(&ConnState::new(Phase::Waiting, None, false).0);
                    held.push((client, place));
                } else {
                    drop(place);
                }
                let mut seen = 0;
                places.each(|_| seen += 1);
                prop_assert_eq!((places.open(), seen), (held.len(), held.len()));
            }
            held.clear();
            prop_assert_eq!(places.open(), 0);
            prop_assert!(places.clients.iter().all(|clients| lock(clients).is_empty()));
            prop_assert!(places.shards.iter().all(|shard| lock(shard).is_empty()));
        }
    }

    #[test]
    fn the_maps_shrink_behind_a_flood() {
        let places = Places::new();
        let mut held: Vec<_> = (0..20_000_u32)
            .map(|client| {
                let mut place = places.enter(usize::MAX).unwrap();
                assert!(place.of_client(ClientKey::V6(u64::from(client)), 1));
                place.known_as(&ConnState::new(Phase::Waiting, None, false).0);
                place
            })
            .collect();
        held.truncate(3);
        let room = places.clients.iter().map(|clients| lock(clients).capacity()).sum::<usize>();
        assert!(room < 20 * SHARDS * 8, "room for {room} is kept for 3 clients");
    }
}
