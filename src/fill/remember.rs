//! What is remembered of keys for a minute, so that the next miss doesn't find it out again. Bounded: the least used are forgotten.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::VARY;
use quick_cache::sync::Cache;

/// How long it holds.
const KEEP: Duration = Duration::from_secs(60);
/// Keys remembered at the most.
const KEYS: usize = 16 * 1024;
/// Bytes of a Vary field that are remembered at the most: those that name more are looked at anew each time.
const MAX_VARY: usize = 1024;

/// What is known of a key whose answer is not in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// Its last answer could not be stored: ask for each request alone ([`super::Fills::pass`]).
    Uncacheable,
    /// It was longer than `fill.range_fill_max`, so many bytes: a Range is best passed on.
    Large(u64),
    /// Its answers vary by what these Vary fields name: `rules` says what selects one for a request.
    Varies(Arc<HeaderMap>),
}

/// The memory.
pub(super) struct Memory {
    keys: Cache<[u8; 32], (Remembered, Instant)>,
}

impl Memory {
    pub fn new() -> Self {
        Self { keys: Cache::new(KEYS) }
    }

    /// What is known of `key` at `now`.
    pub fn get(&self, key: &str, now: Instant) -> Option<Remembered> {
        let (what, until) = self.keys.get(&name(key))?;
        (now < until).then_some(what)
    }

    /// Know `what` of `key` from now on, in place of what was known.
    pub fn keep(&self, key: &str, what: Remembered, now: Instant) {
        self.keys.insert(name(key), (what, now + KEEP));
    }

    /// Know how the answers at `key` vary.
    pub fn keep_vary(&self, key: &str, response: &HeaderMap, now: Instant) {
        let values = || response.get_all(VARY).iter();
        if values().map(|value| value.len()).sum::<usize>() <= MAX_VARY {
            let vary = values().map(|value| (VARY, value.clone())).collect();
            self.keep(key, Remembered::Varies(Arc::new(vary)), now);
        }
    }

    /// Know no more that `key` is uncacheable or large.
    pub fn forget(&self, key: &str) {
        self.keys.remove(&name(key));
    }
}

/// Keys of any length take the same room.
fn name(key: &str) -> [u8; 32] {
    *blake3::hash(key.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_was_learnt_holds_for_a_minute() {
        let (memory, now) = (Memory::new(), Instant::now());
        memory.keep("a", Remembered::Large(7), now);
        assert_eq!(memory.get("a", now + KEEP - Duration::from_millis(1)), Some(Remembered::Large(7)));
        assert_eq!(memory.get("a", now + KEEP), None);
        assert_eq!(memory.get("b", now), None);
        memory.forget("a");
        assert_eq!(memory.get("a", now), None);
    }

    #[test]
    fn only_short_vary_fields_are_remembered_and_nothing_but_them() {
        let (memory, now) = (Memory::new(), Instant::now());
        let mut headers = HeaderMap::new();
        headers.append(VARY, HeaderValue::from_static("accept"));
        headers.append(VARY, HeaderValue::from_static("x-y"));
        headers.insert("x-big", HeaderValue::from_static("1"));
        memory.keep_vary("a", &headers, now);
        assert!(matches!(memory.get("a", now), Some(Remembered::Varies(vary)) if vary.len() == 2));
        for _ in 0..200 {
            headers.append(VARY, HeaderValue::from_static("x-another"));
        }
        memory.keep_vary("b", &headers, now);
        assert_eq!(memory.get("b", now), None);
    }

    #[test]
    fn the_memory_is_bounded() {
        let (memory, now) = (Memory::new(), Instant::now());
        for key in 0..3 * KEYS {
            memory.keep(&key.to_string(), Remembered::Uncacheable, now);
        }
        assert!(memory.keys.len() <= KEYS);
    }
}
