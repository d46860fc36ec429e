//! The event bus: what happened, told to the log (and, later, to an audit file) without slowing a request.

use std::sync::OnceLock;

use tokio::sync::broadcast;

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
