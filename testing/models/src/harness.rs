//! What every model needs: payloads that are counted, a store, readers, and many schedules.

use std::future::poll_fn;

use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::{Arc, Mutex};
use shuttle::{Config, Runner};

use crate::flight::{Filler, Flights, Follower};

/// Schedules of each kind that a model is run under.
const SCHEDULES: usize = 25_000;

/// A payload, and a share of the token by which leaks are seen.
#[derive(Clone, Debug)]
pub struct Payload {
    pub text: &'static str,
    _token: Arc<()>,
}

pub type Table = Flights<Payload, Payload, &'static str>;
pub type Writer = Filler<Payload, Payload, &'static str>;
pub type Seat = Follower<Payload, Payload, &'static str>;

/// A table, and what stands for the store beside it.
#[derive(Clone)]
pub struct World {
    pub flights: Table,
    pub store: Arc<Mutex<Option<&'static str>>>,
    pub fetches: Arc<Mutex<usize>>,
    token: Arc<()>,
}

/// The end of a fill whose filler was dropped.
pub const LOST: &str = "lost";
/// The end of a fill that nobody read.
pub const CANCELLED: &str = "cancelled";

impl World {
    fn new() -> Self {
        let (store, fetches) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(0)));
        Self { flights: Flights::new(|| LOST), store, fetches, token: Arc::new(()) }
    }

    pub fn payload(&self, text: &'static str) -> Payload {
        Payload { text, _token: self.token.clone() }
    }

    pub fn stored(&self) -> Option<&'static str> {
        *self.store.lock().unwrap()
    }

    pub fn store(&self, text: Option<&'static str>) {
        *self.store.lock().unwrap() = text;
    }

    /// Do a whole fill: two steps of bytes, the commit, the end.
    pub fn fill(&self, writer: Writer, text: &'static str) {
        *self.fetches.lock().unwrap() += 1;
        writer.head(self.payload(text));
        writer.progress(1);
        writer.progress(2);
        writer.whole();
        self.store(Some(text));
        writer.finish(None, Ok(self.payload(text)));
    }
}

/// Wait for head, each byte and the end, as a client does; the head's text, or the error.
pub fn read(seat: &mut Seat) -> Result<&'static str, &'static str> {
    let head = block_on(poll_fn(|cx| seat.poll_head(cx)))?.text;
    let mut at = 0;
    loop {
        let progress = block_on(poll_fn(|cx| seat.poll_bytes(at + 1, cx)))?;
        assert!(progress.written > at || progress.whole, "woken for nothing");
        if progress.written <= at {
            assert_eq!(at, 2, "ended before its last byte");
            break;
        }
        at = progress.written;
    }
    let done = block_on(poll_fn(|cx| seat.poll_end(cx)))?;
    assert_eq!(done.text, head);
    Ok(head)
}

/// Run `model` under many schedules, and see after each that nothing is left: no flight in the table, no payload alive.
pub fn explore(model: impl Fn(World) + Send + Sync + Copy + 'static) {
    let run = move || {
        let world = World::new();
        model(world.clone());
        assert_eq!(world.flights.len(), 0, "a flight is left in the table");
        let World { token, flights, .. } = world;
        drop(flights);
        assert_eq!(Arc::strong_count(&token), 1, "a payload is still held");
    };
    under(RandomScheduler::new(SCHEDULES), run);
    under(PctScheduler::new(3, SCHEDULES), run);
}

fn under(scheduler: impl Scheduler + 'static, run: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    // The default holds no table of stripes.
    config.stack_size = 256 * 1024;
    Runner::new(scheduler, config).run(run);
}
