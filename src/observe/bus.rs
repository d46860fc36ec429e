//! The event bus: what happened, told to the log (and, later, to an audit file) without slowing a request.

use std::sync::OnceLock;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::metrics::{BUS_LAGGED, Bus};

/// Events that a listener may fall behind before it loses the oldest.
const CAPACITY: usize = 1024;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A pack was mounted, at start or after it was replaced.
    PackMounted {
        /// Its name in URLs.
        pack: String,
        /// Its entity tag.
        etag: String,
    },
    /// A pack was taken out of service.
    PackLost {
        /// Its name in URLs.
        pack: String,
        /// Why.
        cause: String,
    },
    /// An object was evicted to keep the CAS below its bounds.
    ObjectsEvicted {
        /// How many.
        objects: u64,
        /// Bytes they freed.
        bytes: u64,
    },
    /// A blob that does not hash to its name was set aside.
    BlobQuarantined {
        /// Its name: 64 hex digits.
        hash: String,
    },
    /// The index was unreadable and was set aside; a new one takes its place.
    IndexSetAside {
        /// What was wrong.
        cause: String,
    },
    /// A fill was committed.
    FillFinished {
        /// What follows `/edge/assets/`.
        path: String,
        /// BLAKE3 of the body: 64 hex digits.
        hash: String,
        /// Its length in bytes.
        bytes: u64,
        /// Milliseconds from the first wish for it to the commit.
        ms: u64,
        /// The origin, as the conf calls it.
        origin: String,
    },
    /// A fill stored nothing, though it was to.
    FillFailed {
        /// What follows `/edge/assets/`.
        path: String,
        /// Why, in a word.
        cause: &'static str,
        /// Why, in a sentence; empty where the word says it all.
        detail: String,
    },
    /// Somebody purged by the admin listener.
    Purged {
        /// The path, or the prefix, which ends in `/`.
        what: String,
        /// Objects removed.
        objects: u64,
        /// Bytes that freed.
        bytes: u64,
    },
    /// Readiness changed.
    ReadinessChanged {
        /// Whether every condition holds now.
        ready: bool,
        /// The conditions that don't.
        missing: Vec<&'static str>,
    },
}

fn sender() -> &'static broadcast::Sender<Event> {
    static BUS: OnceLock<broadcast::Sender<Event>> = OnceLock::new();
    BUS.get_or_init(|| broadcast::channel(CAPACITY).0)
}

/// Tell everyone who listens; never waits.
pub fn publish(event: Event) {
    // An error means that nobody listens, which is nobody's fault.
    let _ = sender().send(event);
}

/// Listen from now on.
pub fn subscribe() -> broadcast::Receiver<Event> {
    sender().subscribe()
}

/// Start the thread that tells the log what `events` hears. Subscribe before the first event.
pub fn start_log_listener(mut events: broadcast::Receiver<Event>) -> std::io::Result<()> {
    std::thread::Builder::new().name("events".into()).spawn(move || {
        loop {
            match events.blocking_recv() {
                Ok(event) => event.log(),
                Err(RecvError::Lagged(lost)) => BUS_LAGGED.add(Bus::Events, lost),
                Err(RecvError::Closed) => return,
            }
        }
    })?;
    Ok(())
}

impl Event {
    /// Tell the log. What an operator must look at is a WARN; what heals by itself or was asked for is an INFO.
    fn log(&self) {
        match self {
            Self::PackMounted { pack, etag } => {
                log::info!(event = "pack_mounted", pack = pack.as_str(), etag = etag.as_str(); "");
            }
            Self::PackLost { pack, cause } => {
                log::warn!(event = "pack_lost", pack = pack.as_str(), cause = cause.as_str(); "");
            }
            Self::ObjectsEvicted { objects, bytes } => {
                log::info!(event = "objects_evicted", objects = *objects, bytes = *bytes; "");
            }
            Self::BlobQuarantined { hash } => log::warn!(event = "blob_quarantined", hash = hash.as_str(); ""),
            Self::IndexSetAside { cause } => log::warn!(event = "index_set_aside", cause = cause.as_str(); ""),
            Self::FillFinished { path, hash, bytes, ms, origin } => {
                // One for each miss: nothing that an operator reads day by day.
                log::debug!(
                    event = "fill_finished", path = path.as_str(), hash = hash.as_str(), bytes = *bytes, ms = *ms,
                    origin = origin.as_str();
                    ""
                );
            }
            Self::FillFailed { path, cause, detail } => {
                // That a circuit is open was told when it opened, and a fill that nobody wants any more is no failure.
                let level = match *cause {
                    "abandoned" | "circuit_open" | "draining" => log::Level::Debug,
                    _ => log::Level::Warn,
                };
                log::log!(level, event = "fill_failed", path = path.as_str(), cause = *cause, detail = detail.as_str(); "");
            }
            Self::Purged { what, objects, bytes } => {
                log::info!(event = "purged", what = what.as_str(), objects = *objects, bytes = *bytes; "");
            }
            Self::ReadinessChanged { ready, missing } => {
                log::info!(event = "readiness_changed", ready = *ready, missing = missing.join(",").as_str(); "");
            }
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
        let _idle = subscribe();
        for _ in 0..3 * CAPACITY {
            publish(Event::ObjectsEvicted { objects: 1, bytes: 1 });
        }
    }
}
