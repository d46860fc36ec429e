//! What is remembered of keys for a minute, so that the next miss doesn't find it out again. Bounded: the least used are forgotten.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::VARY;
use quick_cache::sync::Cache;

/// How long it holds.
const KEEP: Duration = Duration::from_secs(60);
/// Keys remembered at the most, of each kind.
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
}

/// The memory. What an answer is and how it varies are remembered apart: to learn the one is not to forget the other.
pub(super) struct Memory {
    keys: Cache<Name, (Remembered, Instant)>,
    /// The Vary fields of their answers: `rules` says what selects one for a request.
    vary: Cache<Name, (Arc<HeaderMap>, Instant)>,
}

/// The hash of a key.
type Name = [u8; 32];

impl Memory {
    pub fn new() -> Self {
        Self { keys: Cache::new(KEYS), vary: Cache::new(KEYS) }
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

    /// The Vary fields of the answers at `key`, where there are any.
    pub fn vary(&self, key: &str, now: Instant) -> Option<Arc<HeaderMap>> {
        let (vary, until) = self.vary.get(&name(key))?;
        (now < until).then_some(vary)
    }

    /// Know how the answers at `key` vary.
    pub fn keep_vary(&self, key: &str, response: &HeaderMap, now: Instant) {
        let values = || response.get_all(VARY).iter();
        if values().map(|value| value.len()).sum::<usize>() <= MAX_VARY {
            let vary = values().map(|value| (VARY, value.clone())).collect();
            self.vary.insert(name(key), (Arc::new(vary), now + KEEP));
        }
    }

    /// Know no more that `key` is uncacheable or large.
    pub fn forget(&self, key: &str) {
        self.keys.remove(&name(key));
    }
}

/// Keys of any length take the same room.
fn name(key: &str) -> Name {
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
        assert_eq!(memory.vary("a", now).map(|vary| vary.len()), Some(2));
        assert_eq!(memory.vary("a", now + KEEP), None);
        for _ in 0..200 {
            headers.append(VARY, HeaderValue::from_static("x-another"));
        }
        memory.keep_vary("b", &headers, now);
        assert_eq!(memory.vary("b", now), None);
    }

    #[test]
    fn how_a_key_varies_is_known_beside_what_it_is() {
        let (memory, now) = (Memory::new(), Instant::now());
        let headers = HeaderMap::from_iter([(VARY, HeaderValue::from_static("accept"))]);
        memory.keep_vary("a", &headers, now);
        memory.keep("a", Remembered::Large(7), now);
        assert_eq!((memory.get("a", now), memory.vary("a", now).is_some()), (Some(Remembered::Large(7)), true));
        memory.keep("a", Remembered::Uncacheable, now);
        memory.keep_vary("a", &headers, now);
        assert_eq!((memory.get("a", now), memory.vary("a", now).is_some()), (Some(Remembered::Uncacheable), true));
        memory.forget("a");
        assert_eq!((memory.get("a", now), memory.vary("a", now).is_some()), (None, true));
    }

    #[test]
    fn the_memory_is_bounded() {
        let (memory, now) = (Memory::new(), Instant::now());
        let headers = HeaderMap::from_iter([(VARY, HeaderValue::from_static("accept"))]);
        for key in 0..3 * KEYS {
            memory.keep(&key.to_string(), Remembered::Uncacheable, now);
            memory.keep_vary(&key.to_string(), &headers, now);
        }
        assert!(memory.keys.len() <= KEYS && memory.vary.len() <= KEYS);
    }
}
