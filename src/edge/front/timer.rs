//! One timer a connection, for all of its deadlines.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// Armed for a time that is not after any deadline which is waited for. When it fires it is armed again for the deadline as it is by then, so that a deadline
/// that moves, or is met, costs nothing.
#[derive(Debug, Default)]
pub struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Whether `deadline` has passed. If not, the task is woken at that time, or earlier.
    pub fn is_due(&mut self, cx: &mut Context<'_>, deadline: Instant) -> bool {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.is_elapsed() || sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            match sleep.as_mut().poll(cx) {
                Poll::Pending => return false,
                Poll::Ready(()) if Instant::now() >= deadline => return true,
                Poll::Ready(()) => sleep.as_mut().reset(deadline),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    async fn due(timer: &mut Timer, deadline: Instant) {
        poll_fn(|cx| if timer.is_due(cx, deadline) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    #[tokio::test]
    async fn it_is_due_at_the_deadline_that_is_asked_for_whatever_it_was_armed_for() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let mut timer = Timer::default();
        // Armed for a time that nobody waits for.
        assert!(!poll_fn(|cx| Poll::Ready(timer.is_due(cx, at(3_600_000)))).await);
        due(&mut timer, at(30)).await;
        assert!((30..60_000).contains(&began.elapsed().as_millis()));
        // It fires early for what is later by then.
        assert!(!poll_fn(|cx| Poll::Ready(timer.is_due(cx, at(3_600_000)))).await);
        assert!(!poll_fn(|cx| Poll::Ready(timer.is_due(cx, Instant::now() + Duration::from_millis(40)))).await);
        let later = Instant::now() + Duration::from_millis(120);
        due(&mut timer, later).await;
        assert!(Instant::now() >= later);
        // What has passed is due at once.
        assert!(poll_fn(|cx| Poll::Ready(timer.is_due(cx, at(5)))).await);
    }
}
