//! The event bus: what happened, told to the log and to the audit file without slowing a request.
//!
//! It is bounded. A listener that falls behind loses the oldest events, which `bus_lagged_total` counts; whoever publishes never waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::faults;
use super::metrics::{BUS_LAGGED, Bus, Component, SERVICE_RESTARTS};

pub use super::event::Event;

/// Events that a listener may fall behind before it loses the oldest.
const CAPACITY: usize = 1024;

/// An event with the time at which it was published: a listener may hear of it much later.
pub(super) type Dated = (SystemTime, Event);

/// What goes over the bus.
#[derive(Clone)]
enum Message {
    Event(Dated),
    /// Answered by the log's listener when it has told what was published before.
    Flush(SyncSender<()>),
}

/// One who hears every event from its subscription on.
pub struct Listener(broadcast::Receiver<Message>);

fn sender() -> &'static broadcast::Sender<Message> {
    static BUS: OnceLock<broadcast::Sender<Message>> = OnceLock::new();
    BUS.get_or_init(|| broadcast::channel(CAPACITY).0)
}

/// Tell everyone who listens; never waits.
pub fn publish(event: Event) {
    // An error means that nobody listens, which is nobody's fault.
    let _ = sender().send(Message::Event((SystemTime::now(), event)));
}

/// Wait until the log was told what was published so far, at most a second.
pub fn flush() {
    let (done, wait) = sync_channel(1);
    if sender().send(Message::Flush(done)).is_ok() {
        // Where nobody tells the log, the last who hears of this drops it, and nobody is waited for.
        let _ = wait.recv_timeout(Duration::from_secs(1));
    }
}

/// Listen from now on.
pub fn subscribe() -> Listener {
    Listener(sender().subscribe())
}

impl Listener {
    /// The next event, if there is one. An error, too, where events were lost: then the next call has the oldest that is left.
    pub fn try_recv(&mut self) -> Result<Event, TryRecvError> {
        self.try_dated().map(|(_, event)| event)
    }

    pub(super) fn try_dated(&mut self) -> Result<Dated, TryRecvError> {
        loop {
            if let Message::Event(dated) = self.0.try_recv()? {
                return Ok(dated);
            }
        }
    }

    /// Wait for the next event. The error is how many were lost. A wait that is given up loses nothing.
    pub(super) async fn dated(&mut self) -> Result<Dated, u64> {
        loop {
            match self.0.recv().await {
                Ok(Message::Event(dated)) => return Ok(dated),
                Ok(Message::Flush(_)) => {}
                Err(RecvError::Lagged(lost)) => return Err(lost),
                // The sender is in a static, and is never dropped.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

/// Start the thread that tells the log what `events` hears. Subscribe before the first event.
pub fn start_log_listener(mut events: Listener) -> std::io::Result<()> {
    let listen = move || {
        // One event that makes it panic is lost; those behind it are not.
        while catch_unwind(AssertUnwindSafe(|| tell(&mut events))).is_err() {
            SERVICE_RESTARTS.inc(Component::EventLog);
            log::error!(event = "service_restarted", component = Component::EventLog.as_str(); "");
        }
    };
    std::thread::Builder::new().name("events".into()).spawn(listen).map(drop)
}

/// Tell the log what happens, until nothing can happen any more.
fn tell(events: &mut Listener) {
    loop {
        match events.0.blocking_recv() {
            Ok(Message::Event((_, event))) => {
                faults::stall("events.tell");
                faults::panic_here("events.tell");
                event.told().log();
            }
            Ok(Message::Flush(done)) => {
                // Whoever waited may have given up.
                let _ = done.try_send(());
            }
            Err(RecvError::Lagged(lost)) => BUS_LAGGED.add(Bus::Events, lost),
            Err(RecvError::Closed) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_listener_hears_what_is_published_after_it_subscribed() {
        let mut listener = subscribe();
        publish(Event::PackLost { pack: "heard".into(), cause: "test".into() });
        // Other tests publish too: ours is among what is heard.
        let heard = std::iter::from_fn(|| listener.try_recv().ok());
        assert!(heard.into_iter().any(|event| matches!(event, Event::PackLost { pack, .. } if pack == "heard")));
    }

    #[test]
    fn a_publisher_never_waits_for_a_listener_that_does_not_read() {
        let mut idle = subscribe();
        for _ in 0..3 * CAPACITY {
            publish(Event::ObjectsEvicted { objects: 1, bytes: 1 });
        }
        assert!(matches!(idle.try_recv(), Err(TryRecvError::Lagged(lost)) if lost >= 2 * CAPACITY as u64));
    }
}
