//! A bound on how many threads do a piece of work at the same time. The others wait: the work is short and always ends.

use std::sync::{Condvar, Mutex, PoisonError};

/// A counting gate for threads that may block.
pub(super) struct Gate {
    free: Mutex<usize>,
    left: Condvar,
}

impl Gate {
    /// A gate that lets `places` threads in at a time; 0 would let none in, ever.
    pub(super) const fn new(places: usize) -> Self {
        Self { free: Mutex::new(places), left: Condvar::new() }
    }

    /// Wait for a place, and hold it until the pass is dropped. A thread that holds one must not ask for another.
    pub(super) fn enter(&self) -> Pass<'_> {
        // A panic can't leave a count half-changed.
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.left.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Pass(self)
    }
}

/// A place within the gate.
pub(super) struct Pass<'a>(&'a Gate);

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_more_than_its_places_are_within_and_all_get_in() {
        let (gate, within, most, done) = (Gate::new(3), AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..24 {
                scope.spawn(|| {
                    let _pass = gate.enter();
                    most.fetch_max(within.fetch_add(1, SeqCst) + 1, SeqCst);
                    std::thread::park_timeout(Duration::from_millis(5));
                    within.fetch_sub(1, SeqCst);
                    done.fetch_add(1, SeqCst);
                });
            }
        });
        assert_eq!((most.into_inner(), done.into_inner()), (3, 24));
    }

    #[test]
    fn a_panic_within_leaves_its_place() {
        let gate = Gate::new(1);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _pass = gate.enter();
            panic!("within");
        }));
        assert!(result.is_err());
        drop(gate.enter());
    }
}
