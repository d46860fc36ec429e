//! One fill a key: who waits for it, how far it has come, how it ended.
//!
//! Knows no bytes, no clock and no runtime: what is told to readers (`H`), how a fill ends (`D`, `E`) is its user's. `testing/models` compiles
//! this very file with the locks of a scheduler that tries orders of threads.
//!
//! Two locks, always taken in this order: the table's, then a flight's. Wakers are called with neither held. A flight that stands in the table
//! has not ended: it ends and leaves the table in one step, so that whoever looks finds it moving or doesn't find it.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::{Hash, Hasher};
use std::task::{Context, Poll, Waker};

use super::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counters of ends. Keys that share one see each other's ends, which costs a second look at the store and nothing else.
const STRIPES: usize = 1024;

/// The fills under way, by key. Clones are the same table.
pub struct Flights<H, D, E> {
    table: Arc<Mutex<Table<H, D, E>>>,
    lost: Arc<dyn Fn() -> E + Send + Sync>,
}

struct Table<H, D, E> {
    flights: HashMap<Box<str>, Shared<H, D, E>>,
    ends: Box<[u64]>,
}

type Shared<H, D, E> = Arc<Mutex<State<H, D, E>>>;

struct State<H, D, E> {
    /// Where it stands in the table; none when it was detached or has ended.
    keys: Vec<Box<str>>,
    head: Option<H>,
    written: u64,
    whole: bool,
    end: Option<Result<D, E>>,
    readers: usize,
    whole_wanted: bool,
    detached: bool,
    next_reader: u64,
    waiting: Vec<Waiting>,
    /// Waits for the last reader to leave.
    filler: Option<Waker>,
}

struct Waiting {
    reader: u64,
    want: Want,
    waker: Waker,
}

#[derive(Clone, Copy)]
enum Want {
    Head,
    /// So many bytes, or the end.
    Bytes(u64),
    End,
}

/// How many fills of a key had ended well when this was taken. Take it before looking into the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen(u64);

/// What became of a wish to join.
pub enum Joined<H, D, E> {
    /// There was no fill of the key: this one is to be begun.
    Started(Follower<H, D, E>, Filler<H, D, E>),
    /// Somebody else's.
    Boarded(Follower<H, D, E>),
    /// A fill of the key ended after [`Seen`] was taken: what it left may be in the store.
    LookAgain,
}

/// How far a fill has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that can be read.
    pub written: u64,
    /// Whether those are all, and found good.
    pub whole: bool,
}

impl<H, D, E> Clone for Flights<H, D, E> {
    fn clone(&self) -> Self {
        Self { table: self.table.clone(), lost: self.lost.clone() }
    }
}

impl<H, D, E> Flights<H, D, E> {
    /// No fill yet. `lost` says how one ends whose [`Filler`] is dropped.
    pub fn new(lost: impl Fn() -> E + Send + Sync + 'static) -> Self {
        let table = Table { flights: HashMap::new(), ends: vec![0; STRIPES].into() };
        Self { table: Arc::new(Mutex::new(table)), lost: Arc::new(lost) }
    }

    /// How many fills of `key`, or of its variants, have ended well.
    pub fn seen(&self, key: &str) -> Seen {
        Seen(lock(&self.table).ends[stripe(key)])
    }

    /// Join the fill of `key`, or start it, unless one ended since `seen`. `whole`: this reader wants all of the bytes.
    pub fn join(&self, key: &str, seen: Option<Seen>, whole: bool) -> Joined<H, D, E> {
        let mut table = lock(&self.table);
        let Table { flights, ends } = &mut *table;
        if let Some(flight) = flights.get(key) {
            let mut state = lock(flight);
            let reader = state.board(whole);
            return Joined::Boarded(Follower { flight: flight.clone(), reader });
        }
        if seen.is_some_and(|seen| seen.0 != ends[stripe(key)]) {
            return Joined::LookAgain;
        }
        let mut state = State::new(key, whole);
        let reader = state.board(whole);
        let flight = Arc::new(Mutex::new(state));
        flights.insert(key.into(), flight.clone());
        let filler = Filler { flights: self.clone(), flight: flight.clone() };
        Joined::Started(Follower { flight, reader }, filler)
    }

    /// Start a fill of `key` that nobody reads yet; `None` where there is one.
    pub fn launch(&self, key: &str, whole: bool) -> Option<Filler<H, D, E>> {
        match lock(&self.table).flights.entry(key.into()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(vacant) => {
                let flight = Arc::new(Mutex::new(State::new(key, whole)));
                vacant.insert(flight.clone());
                Some(Filler { flights: self.clone(), flight })
            }
        }
    }

    /// Take the fills of the keys that `which` picks out of the table: they go on for their readers, and later ones start anew.
    pub fn detach(&self, which: impl Fn(&str) -> bool) {
        let mut table = lock(&self.table);
        let picked = table.flights.iter().filter(|(key, _)| which(key)).map(|(_, flight)| flight.clone());
        for flight in picked.collect::<Vec<_>>() {
            let mut state = lock(&flight);
            state.detached = true;
            table.remove(&flight, &mut state, false);
        }
    }

    /// Keys under way.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        lock(&self.table).flights.len()
    }
}

impl<H, D, E> Table<H, D, E> {
    /// Take a flight out; `well` tells those who look meanwhile.
    fn remove(&mut self, flight: &Shared<H, D, E>, state: &mut State<H, D, E>, well: bool) {
        for key in state.keys.drain(..) {
            if well {
                let ends = &mut self.ends[stripe(&key)];
                *ends = ends.wrapping_add(1);
            }
            if self.flights.get(&key).is_some_and(|found| Arc::ptr_eq(found, flight)) {
                self.flights.remove(&key);
            }
        }
    }
}

impl<H, D, E> State<H, D, E> {
    fn new(key: &str, whole_wanted: bool) -> Self {
        Self {
            keys: vec![key.into()],
            head: None,
            written: 0,
            whole: false,
            end: None,
            readers: 0,
            whole_wanted,
            detached: false,
            next_reader: 0,
            waiting: Vec::new(),
            filler: None,
        }
    }

    fn board(&mut self, whole: bool) -> u64 {
        self.readers += 1;
        self.whole_wanted |= whole;
        self.next_reader += 1;
        self.next_reader
    }

    /// Those who wait for what is there now.
    fn due(&mut self) -> Vec<Waker> {
        let (head, written) = (self.head.is_some(), self.written);
        let (whole, ended) = (self.whole, self.end.is_some());
        let met = |waiting: &mut Waiting| match waiting.want {
            Want::Head => head || ended,
            Want::Bytes(bytes) => written >= bytes || whole || ended,
            Want::End => ended,
        };
        self.waiting.extract_if(.., met).map(|waiting| waiting.waker).collect()
    }
}

/// One reader of a flight. Dropping it leaves.
pub struct Follower<H, D, E> {
    flight: Shared<H, D, E>,
    reader: u64,
}

impl<H: Clone, D: Clone, E: Clone> Follower<H, D, E> {
    /// What is told first. A fill that failed later still has it.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<H, E>> {
        self.poll(cx, Want::Head, |state| match (&state.head, &state.end) {
            (Some(head), _) => Some(Ok(head.clone())),
            (None, Some(Err(error))) => Some(Err(error.clone())),
            _ => None,
        })
    }

    /// Wait until `bytes` of them can be read, or there are no more. An error where the fill failed before it was whole: whatever was read
    /// of it is part of something that does not exist.
    pub fn poll_bytes(&mut self, bytes: u64, cx: &mut Context<'_>) -> Poll<Result<Progress, E>> {
        self.poll(cx, Want::Bytes(bytes), |state| match &state.end {
            Some(Err(error)) if !state.whole => Some(Err(error.clone())),
            end => {
                let whole = state.whole || end.is_some();
                (whole || state.written >= bytes).then_some(Ok(Progress { written: state.written, whole }))
            }
        })
    }

    /// Wait for the end.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<D, E>> {
        self.poll(cx, Want::End, |state| state.end.clone())
    }

    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        want: Want,
        ready: impl FnOnce(&State<H, D, E>) -> Option<T>,
    ) -> Poll<T> {
        let mut state = lock(&self.flight);
        if let Some(value) = ready(&state) {
            return Poll::Ready(value);
        }
        // Seen and registered under one lock: no change falls between.
        let reader = self.reader;
        match state.waiting.iter_mut().find(|waiting| waiting.reader == reader) {
            Some(waiting) => {
                waiting.want = want;
                waiting.waker.clone_from(cx.waker());
            }
            None => state.waiting.push(Waiting { reader, want, waker: cx.waker().clone() }),
        }
        Poll::Pending
    }
}

impl<H, D, E> Drop for Follower<H, D, E> {
    fn drop(&mut self) {
        let mut state = lock(&self.flight);
        let gone = state.waiting.iter().position(|waiting| waiting.reader == self.reader);
        let gone = gone.map(|at| state.waiting.swap_remove(at));
        state.readers -= 1;
        let filler = if state.readers == 0 { state.filler.take() } else { None };
        drop(state);
        // Its waker may hold anything: never dropped under the lock.
        drop(gone);
        if let Some(filler) = filler {
            filler.wake();
        }
    }
}

/// The side that fills. Dropped before it said how the fill ended, it ends it as lost: readers get an error, not silence.
pub struct Filler<H, D, E> {
    flights: Flights<H, D, E>,
    flight: Shared<H, D, E>,
}

impl<H, D, E> Filler<H, D, E> {
    /// Tell the head.
    pub fn head(&self, head: H) {
        self.change(|state| state.head = Some(head));
    }

    /// So many bytes can be read.
    pub fn progress(&self, written: u64) {
        self.change(|state| state.written = written);
    }

    /// What can be read is all, and good, whatever becomes of its commit.
    pub fn whole(&self) {
        self.change(|state| state.whole = true);
    }

    /// The end; `head` is told with it where there was none before. Whoever comes from now on starts anew, or finds what was stored.
    pub fn finish(self, head: Option<H>, end: Result<D, E>) {
        self.end(head, end, false);
    }

    /// End it if nobody reads it; whether that was so. In one step with the count of readers: nobody joins a fill that is being given up.
    pub fn cancel_if_abandoned(&self, error: E) -> bool {
        self.end(None, Err(error), true)
    }

    /// Stand at `key` too; not where another fill stands, nor once detached.
    pub fn alias(&self, key: &str) -> bool {
        let mut table = lock(&self.flights.table);
        let mut state = lock(&self.flight);
        if state.detached || state.end.is_some() {
            return false;
        }
        match table.flights.entry(key.into()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(self.flight.clone());
                state.keys.push(key.into());
                true
            }
        }
    }

    /// Ready when nobody reads.
    pub fn poll_abandoned(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.flight);
        if state.readers == 0 {
            return Poll::Ready(());
        }
        let old = state.filler.replace(cx.waker().clone());
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// Whether a reader ever wanted all of the bytes.
    pub fn whole_wanted(&self) -> bool {
        lock(&self.flight).whole_wanted
    }

    /// Whether it was taken out of the table: what it brings must not be stored.
    pub fn is_detached(&self) -> bool {
        lock(&self.flight).detached
    }

    fn change(&self, change: impl FnOnce(&mut State<H, D, E>)) {
        let mut state = lock(&self.flight);
        change(&mut state);
        let due = state.due();
        drop(state);
        due.into_iter().for_each(Waker::wake);
    }

    fn end(&self, head: Option<H>, end: Result<D, E>, only_abandoned: bool) -> bool {
        let mut table = lock(&self.flights.table);
        let mut state = lock(&self.flight);
        if state.end.is_some() || (only_abandoned && state.readers > 0) {
            return false;
        }
        table.remove(&self.flight, &mut state, end.is_ok());
        if state.head.is_none() {
            state.head = head;
        }
        state.end = Some(end);
        let due = state.due();
        drop(state);
        drop(table);
        due.into_iter().for_each(Waker::wake);
        true
    }
}

impl<H, D, E> Drop for Filler<H, D, E> {
    fn drop(&mut self) {
        self.end(None, Err((self.flights.lost)()), false);
    }
}

/// A lock's holder does nothing that can panic half-way: what a panic elsewhere left is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The counter of a key: variants and queries share their path's, so that whoever looked for the path sees a variant end.
fn stripe(key: &str) -> usize {
    let path = key.split('\0').next().unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    // Below STRIPES: fits a usize.
    (hasher.finish() % STRIPES as u64) as usize
}
