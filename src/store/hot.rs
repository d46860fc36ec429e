//! The hot set: what is answered from RAM, under a bound in bytes. Concurrent and scan-resistant; a lookup allocates nothing.
//!
//! What the values are is their owner's business, and whether they are still right too (see `Cas::holds`).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

/// An entry heavier than this share of the bound would push out too much: it isn't held.
const SHARE: u64 = 16;

/// Bytes that an entry takes besides its key and its value: the tables of the cache.
const OVERHEAD: u64 = 96;

/// A cache of values by path, or by any other bytes.
pub struct Hot<V> {
    cache: Cache<Box<[u8]>, Weighed<V>, ByWeight>,
    heaviest: AtomicU64,
}

#[derive(Clone)]
struct Weighed<V> {
    value: V,
    weight: u64,
}

#[derive(Clone)]
struct ByWeight;

impl<V> Weighter<Box<[u8]>, Weighed<V>> for ByWeight {
    fn weight(&self, _: &Box<[u8]>, entry: &Weighed<V>) -> u64 {
        entry.weight
    }
}

impl<V: Clone> Hot<V> {
    /// An empty cache of at most `bytes` bytes; with zero it holds nothing. Values are cloned on every hit: make them cheap.
    pub fn new(bytes: u64) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let options = OptionsBuilder::new()
            // At most half as many shards as shares, so that the heaviest entry has room in a shard.
            .shards(cores.next_power_of_two().min(SHARE as usize / 2))
            // A guess of 4 KiB an entry; it sizes only the memory of keys that were pushed out.
            .estimated_items_capacity(usize::try_from(bytes / 4096).unwrap_or(usize::MAX).clamp(256, 1 << 20))
            .weight_capacity(bytes)
            .build();
        // `build` asks for the two capacities, which stand above.
        let cache = match options {
            Ok(options) => {
                Cache::with_options(options, ByWeight, DefaultHashBuilder::default(), DefaultLifecycle::default())
            }
            Err(_) => Cache::with_weighter(256, bytes, ByWeight),
        };
        Self { cache, heaviest: AtomicU64::new(bytes / SHARE) }
    }

    /// The value at `key`.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<V> {
        self.cache.get(key.as_ref()).map(|entry| entry.value)
    }

    /// Hold `value`, which takes `weight` bytes, in place of what `key` had. One that is heavier than a sixteenth of the bound
    /// isn't held, and what `key` had is gone all the same.
    pub fn insert(&self, key: impl AsRef<[u8]>, value: V, weight: u64) {
        let key = key.as_ref();
        let weight = weight.saturating_add(key.len() as u64 + OVERHEAD);
        if weight > self.heaviest.load(Relaxed) {
            self.remove(key);
            return;
        }
        self.cache.insert(key.into(), Weighed { value, weight });
    }

    /// Let go of `key`.
    pub fn remove(&self, key: impl AsRef<[u8]>) {
        self.cache.remove(key.as_ref());
    }

    /// Let go of every value that is not to be `kept`.
    pub fn retain(&self, kept: impl Fn(&V) -> bool) {
        self.cache.retain(|_, entry| kept(&entry.value));
    }

    /// Hold at most `bytes` bytes from now on; what is above goes at once.
    pub fn set_bound(&self, bytes: u64) {
        self.heaviest.store(bytes / SHARE, Relaxed);
        self.cache.set_capacity(bytes);
    }

    /// Let go of everything.
    pub fn clear(&self) {
        self.cache.clear();
    }

    /// Bytes held, with keys and tables.
    pub fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Bytes;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_bound_in_bytes_holds_whatever_is_inserted() {
        let hot = Hot::new(4 * MIB);
        for number in 0..20_000_u32 {
            let weight = u64::from(number * 7919 % 30_000);
            hot.insert(format!("path/{number}"), number, weight);
            assert!(hot.bytes() <= 4 * MIB, "{number}: {}", hot.bytes());
        }
        assert!(hot.bytes() > 3 * MIB, "and is made use of: {}", hot.bytes());
        assert!(!hot.is_empty());
    }

    #[test]
    fn a_value_heavier_than_a_sixteenth_is_not_held_and_displaces_the_old_one() {
        let hot = Hot::new(16 * MIB);
        hot.insert("a", 1, MIB - 1000);
        assert_eq!(hot.get("a"), Some(1), "just below the share");
        hot.insert("a", 2, MIB);
        assert_eq!((hot.get("a"), hot.bytes()), (None, 0));
        hot.insert("b", 3, u64::MAX);
        assert!(hot.is_empty());
    }

    #[test]
    fn what_was_put_is_found_by_text_or_bytes_until_it_is_removed() {
        let hot = Hot::new(MIB);
        hot.insert("a/b", Bytes::from_static(b"1"), 1);
        hot.insert("a/b", Bytes::from_static(b"2"), 1);
        assert_eq!(hot.get(b"a/b").unwrap(), "2");
        assert_eq!(hot.len(), 1);
        hot.remove("a/b");
        assert_eq!(hot.get("a/b"), None);
        hot.insert("c", Bytes::new(), 1);
        hot.clear();
        assert_eq!((hot.get("c"), hot.bytes()), (None, 0));
    }

    #[test]
    fn a_lower_bound_holds_at_once_and_a_higher_one_takes_heavier_values() {
        let hot = Hot::new(8 * MIB);
        for number in 0..1500_u32 {
            hot.insert(format!("path/{number}"), number, 4096);
        }
        assert!(hot.bytes() > 4 * MIB);
        hot.set_bound(2 * MIB);
        assert!(hot.bytes() <= 2 * MIB, "{}", hot.bytes());
        hot.insert("heavy", 1, MIB);
        assert_eq!(hot.get("heavy"), None);
        hot.set_bound(32 * MIB);
        hot.insert("heavy", 1, MIB);
        assert_eq!(hot.get("heavy"), Some(1));
    }

    #[test]
    fn what_is_not_kept_is_gone_and_the_rest_stays() {
        let hot = Hot::new(MIB);
        (0..100).for_each(|number| hot.insert(format!("path/{number}"), number, 10));
        hot.retain(|number| number % 2 == 0);
        assert_eq!((hot.len(), hot.get("path/4"), hot.get("path/5")), (50, Some(4), None));
    }

    #[test]
    fn a_bound_of_zero_holds_nothing() {
        let hot = Hot::new(0);
        hot.insert("a", 1, 0);
        assert_eq!((hot.get("a"), hot.len()), (None, 0));
    }

    #[test]
    fn entries_that_are_used_outlive_a_scan() {
        let hot = Hot::new(4 * MIB);
        for number in 0..100 {
            hot.insert(format!("used/{number}"), number, 4096);
        }
        for round in 0..20_000 {
            hot.insert(format!("scan/{round}"), round, 4096);
            if round % 100 == 0 {
                for number in 0..100 {
                    hot.get(format!("used/{number}"));
                }
            }
        }
        let left = (0..100).filter(|number| hot.get(format!("used/{number}")).is_some()).count();
        assert!(left >= 95, "{left} of 100");
    }

    #[test]
    fn many_threads_read_and_write_at_once() {
        let hot = Hot::new(MIB);
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let hot = &hot;
                scope.spawn(move || {
                    for number in 0..5000_u32 {
                        let key = (number % 500).to_be_bytes();
                        hot.insert(key, (number % 500, thread), 100);
                        let found = hot.get(key);
                        assert!(found.is_none_or(|(value, _)| value == number % 500));
                    }
                });
            }
        });
        assert!(hot.bytes() <= MIB);
    }
}
