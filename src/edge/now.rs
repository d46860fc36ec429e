//! What the conf means for a request: a generation. A request takes the one of its start and lives by it to its end, so that no
//! answer is half of one conf and half of another. What outlives a generation (the CAS, the hot set, what is being looked up)
//! stands in `Stores`.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::live::Live;
use super::lookup::Stores;
use super::origins::{Lock, OriginTable};
use super::ready::Ready;
use super::settings::Settings;
use crate::observe::metrics::{SHARDS, shard};
use crate::store::pack::mounts::Mounts;

/// One generation of what the conf says. A copy is cheap: it shares everything.
#[derive(Clone)]
pub struct Now {
    /// What the edge is told by the conf.
    pub settings: Arc<Settings>,
    /// The packs.
    pub mounts: Arc<Mounts>,
    /// What the conf says of origins, in its order; also offline, where what they once filled is still served.
    pub origins: Arc<OriginTable>,
    /// Hashes that paths are pinned to.
    pub lock: Option<Arc<Lock>>,
    /// What misses are filled from; none offline.
    pub live: Option<Arc<Live>>,
    /// Which way objects look that were made ready by this generation: the same number, the same headers and the same bytes.
    look: u64,
}

/// The generation that requests take, and what all of them share.
pub struct Generations {
    /// One a shard: the count of who holds a generation is written at every request's start and end, and two threads that did so
    /// to the same cache line would wait for each other.
    shards: Box<[Shard]>,
    stores: Stores,
    /// Held while a generation takes over.
    turn: Mutex<()>,
}

/// Alone on its cache lines.
#[repr(align(128))]
struct Shard(ArcSwap<Now>);

impl Now {
    /// A generation. Its parts may be those of another one.
    pub fn new(
        settings: Arc<Settings>,
        mounts: Arc<Mounts>,
        origins: Arc<OriginTable>,
        lock: Option<Arc<Lock>>,
        live: Option<Arc<Live>>,
    ) -> Self {
        Self { settings, mounts, origins, lock, live, look: 0 }
    }

    /// Which way what it makes ready looks.
    pub(super) fn look(&self) -> u64 {
        self.look
    }

    /// Whether what was made ready may be answered by this generation, without asking its store again.
    pub(super) fn holds(&self, ready: &Ready) -> bool {
        ready.look == self.look && ready.holds()
    }

    /// Whether the same object looks the same by both. What can't be compared, looks another way.
    fn looks_like(&self, other: &Self) -> bool {
        let same_lock = match (&self.lock, &other.lock) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        same_lock && Arc::ptr_eq(&self.origins, &other.origins) && self.settings.looks_like(&other.settings)
    }
}

impl Generations {
    pub(super) fn new(first: Now, stores: Stores) -> Self {
        let shards = (0..SHARDS).map(|_| Shard(ArcSwap::from_pointee(first.clone()))).collect();
        Self { shards, stores, turn: Mutex::new(()) }
    }

    /// The generation of now. Neither waits nor allocates.
    pub fn now(&self) -> Arc<Now> {
        self.shards[shard()].0.load_full()
    }

    /// What all generations share.
    pub(super) fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Let `next` take over: every request that begins when this has returned lives by it, and none sees a part of it. What it shares
    /// with the generation of now (packs, origins, pins, fills) goes on as it is; what is made ready in RAM stays if it looks the same.
    ///
    /// Call it from a thread that may block: it goes through the hot set.
    pub fn swap(&self, mut next: Now) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.now();
        next.look = old.look + u64::from(!next.looks_like(&old));
        self.shards.iter().for_each(|shard| shard.0.store(Arc::new(next.clone())));
        if !Arc::ptr_eq(&next.mounts, &old.mounts) {
            next.mounts.supersede(&old.mounts);
        }
        // What is not answered any more would still hold memory, and files of packs that are gone. What a request of the old
        // generation puts there behind this is never answered by the new one, and makes room like everything else.
        self.stores.hot.retain(|ready| next.holds(ready));
    }

    /// Bound the hot set, in bytes.
    pub fn set_memory(&self, bytes: u64) {
        self.stores.hot.set_bound(bytes);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use http::HeaderValue;

    use super::*;
    use crate::conf::{Conf, Flags};
    use crate::edge::ready::{Presentation, Source};
    use crate::observe::metrics::{HitKind, Route};
    use crate::rules::caching::CachingConf;
    use crate::rules::encoding::Coding;
    use crate::store::cas::Cas;
    use crate::store::{Body, Object};

    fn table() -> Arc<OriginTable> {
        let zero = std::time::Duration::ZERO;
        let caching =
            CachingConf { default_ttl: zero, negative_ttl: zero, stale_if_error: zero, store_set_cookie: false };
        let none = crate::edge::OriginRules {
            prefix: String::new(),
            paths: Vec::new(),
            keep_query: false,
            pass: false,
            ignore_client_cache_control: false,
            caching,
        };
        Arc::new(OriginTable::new(Vec::new(), none))
    }

    fn first(yaml: &str) -> Now {
        let conf = Conf::from_parts(Some(("test.yaml", yaml.as_bytes())), [], &Flags::default()).unwrap();
        let settings = Settings::new(&conf.edge, conf.edge.bind[0].addr).unwrap();
        Now::new(Arc::new(settings), Arc::new(Mounts::open(&[], None).unwrap()), table(), None, None)
    }

    fn settings(yaml: &str) -> Arc<Settings> {
        first(yaml).settings
    }

    fn stores() -> Stores {
        let conf = Conf::from_parts(Some(("test.yaml", b"edge: {cas: {store: memory}}")), [], &Flags::default());
        let conf = conf.unwrap().edge.cas;
        Stores::new(Arc::new(Cas::open(&conf).unwrap()), conf.memory_bytes)
    }

    /// What a request that lives by `now` makes ready and puts into the hot set.
    fn put(generations: &Generations, now: &Now, key: &str) {
        let cas = generations.stores().cas.clone();
        let source = Source::Cas { stamp: cas.stamp(key), cas, recency: None };
        let object = Object {
            body: Body::Whole("body".into()),
            etag: "\"tag\"".into(),
            hash: None,
            last_modified: None,
            content_type: "text/plain".into(),
            coding: Coding::Identity,
        };
        let presentation = Presentation {
            route: Route::Asset,
            kind: HitKind::Cas,
            cache_control: now.settings.cache_control.clone(),
            negotiable: false,
            ranges: true,
        };
        let ready = Arc::new(Ready::object(now, object, source, presentation).unwrap());
        generations.stores().hot.insert(key, ready.clone(), ready.weight());
    }

    /// The Cache-Control that a request which lives by `now` is answered from the hot set with.
    fn hot(generations: &Generations, now: &Now, key: &str) -> Option<HeaderValue> {
        let ready = generations.stores().hot.get(key).filter(|ready| now.holds(ready))?;
        Some(ready.presentation.cache_control.clone())
    }

    #[test]
    fn what_an_older_generation_made_ready_is_answered_by_no_newer_one_that_looks_another_way() {
        let generations = Generations::new(first("edge: {http: {cache_control: old}}"), stores());
        let old = generations.now();
        put(&generations, &old, "before");
        generations.swap(Now { settings: settings("edge: {http: {cache_control: new}}"), ..Now::clone(&old) });
        let new = generations.now();
        assert_eq!(generations.stores().hot.len(), 0, "what nobody is answered with holds no memory");
        // A request that began before the swap goes on, and knows nothing of it.
        put(&generations, &old, "behind");
        assert_eq!(hot(&generations, &old, "behind"), Some(HeaderValue::from_static("old")));
        assert_eq!(hot(&generations, &new, "behind"), None);
        put(&generations, &new, "behind");
        assert_eq!(hot(&generations, &new, "behind"), Some(HeaderValue::from_static("new")));
        assert_eq!(hot(&generations, &old, "behind"), None, "nor the other way round");
    }

    #[test]
    fn what_looks_the_same_stays_in_the_hot_set() {
        let generations = Generations::new(first("edge: {}"), stores());
        let old = generations.now();
        put(&generations, &old, "kept");
        let same = settings("edge: {ingress: {timeout: 9s}, log: {access: all}, http: {multi_range: true}}");
        generations.swap(Now { settings: same, ..Now::clone(&old) });
        let new = generations.now();
        assert!(new.settings.multi_range && hot(&generations, &new, "kept").is_some());
        assert!(hot(&generations, &old, "kept").is_some());
    }

    #[test]
    fn each_part_that_an_answer_shows_makes_another_look() {
        let old = first("edge: {}");
        let shown = [
            "http: {cors: {allow_origins: ['https://a.example']}}",
            "http: {hosts: [a.example]}",
            "http: {decode: {ratio: 3}}",
            "fill: {name: other}",
            "public_url: https://a.example",
        ];
        for keys in shown {
            let next = Now { settings: settings(&format!("edge: {{{keys}}}")), ..old.clone() };
            assert!(!next.looks_like(&old), "{keys}");
        }
        assert!(!Now { origins: table(), ..old.clone() }.looks_like(&old), "the freshness of what was filled");
        let pinned = Now { lock: Some(Arc::default()), ..old.clone() };
        assert!(!pinned.looks_like(&old), "what may be answered at all");
        assert!(pinned.looks_like(&pinned.clone()) && !old.looks_like(&pinned));
    }

    #[test]
    fn a_look_up_that_an_older_generation_made_is_not_shared_with_a_newer_one() {
        let generations = Generations::new(first("edge: {http: {cache_control: old}}"), stores());
        let old = generations.now();
        generations.swap(Now { settings: settings("edge: {http: {cache_control: new}}"), ..Now::clone(&old) });
        let new = generations.now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let load = |now: Arc<Now>| {
            let generations = &generations;
            async move {
                put(generations, &now, "key");
                Ok(generations.stores().hot.get("key").unwrap())
            }
        };
        let flights = &generations.stores().flights;
        let held = runtime.block_on(flights.join(&old, "key", load(old.clone()))).unwrap();
        let again = runtime.block_on(flights.join(&new, "key", load(new.clone()))).unwrap();
        assert_eq!(held.presentation.cache_control, "old");
        assert_eq!(again.presentation.cache_control, "new");
    }
}
