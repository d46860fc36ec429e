//! Cold objects: each key is loaded once however many ask for it at the same time, and shared by all it is being sent to.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Mutex as AsyncMutex;

use super::blocking;
use super::fail::Refusal;
use super::now::Now;
use super::ready::Ready;

/// Keys remembered before those that nobody uses any more are forgotten.
const SWEEP_AT: usize = 1024;

/// The object of one key, as long as somebody uses it.
type Slot = Arc<AsyncMutex<Weak<Ready>>>;

/// What is being loaded or sent. Objects too heavy for the hot set are shared through it.
#[derive(Default)]
pub struct Flights(Mutex<HashMap<Box<str>, Slot>>);

impl Flights {
    /// The object of `key`: the one that somebody else loads or sends, else the one that `load` makes. Waits for the others at most
    /// `ingress.timeout`.
    pub async fn join(
        &self,
        now: &Now,
        key: &str,
        load: impl Future<Output = Result<Arc<Ready>, Refusal>>,
    ) -> Result<Arc<Ready>, Refusal> {
        let slot = self.slot(key);
        let Ok(mut held) = tokio::time::timeout(now.settings.ingress.timeout, slot.lock()).await else {
            return Err(blocking::timed_out());
        };
        if let Some(ready) = held.upgrade().filter(|ready| now.holds(ready)) {
            return Ok(ready);
        }
        let ready = load.await?;
        *held = Arc::downgrade(&ready);
        Ok(ready)
    }

    fn slot(&self, key: &str) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(key) {
            return slot.clone();
        }
        if slots.len() >= SWEEP_AT {
            // A slot that somebody else holds, or whose object is being sent, is in use.
            slots.retain(|_, slot| {
                Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|ready| ready.strong_count() > 0)
            });
        }
        let slot = Slot::default();
        slots.insert(key.into(), slot.clone());
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_has_one_slot_and_forgotten_keys_are_swept() {
        let flights = Flights::default();
        let held = flights.slot("held");
        assert!(Arc::ptr_eq(&held, &flights.slot("held")));
        for n in 0..3 * SWEEP_AT {
            flights.slot(&n.to_string());
        }
        assert!(flights.0.lock().is_ok_and(|slots| slots.len() <= SWEEP_AT + 1));
        assert!(Arc::ptr_eq(&held, &flights.slot("held")), "one that is in use stays");
    }
}
