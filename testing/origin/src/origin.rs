//! The origin: its routes, and what it has been asked.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::connection;
use crate::gate::Gate;
use crate::request::Request;
use crate::script::{Script, Scripts};

/// How long a test waits for a request before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running origin. Dropping it ends its listener and its connections at once.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

type Answer = Arc<dyn Fn(&Request) -> Script + Send + Sync>;
type Listener = Arc<dyn Fn(&Request, u16) + Send + Sync>;

enum Route {
    Scripts { scripts: Vec<Script>, next: usize },
    Answer(Answer),
}

/// What the threads of an origin share.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) stop: Gate,
    routes: Mutex<HashMap<String, Route>>,
    fallback: Mutex<Option<Answer>>,
    listener: Mutex<Option<Listener>>,
    requests: Mutex<Vec<Arc<Request>>>,
    came: Condvar,
    connections: AtomicU64,
    streams: Mutex<HashMap<u64, Arc<TcpStream>>>,
    broken: AtomicBool,
    forgetful: AtomicBool,
    held: Mutex<Option<Gate>>,
}

impl Origin {
    /// Start on a port of 127.0.0.1 that the system chooses.
    pub fn start() -> Self {
        Self::start_on((Ipv4Addr::LOCALHOST, 0).into()).expect("IPv4 loopback has a free port")
    }

    /// Start on a port of ::1 that the system chooses; an error where the machine has no IPv6.
    pub fn start_on_v6() -> io::Result<Self> {
        Self::start_on((Ipv6Addr::LOCALHOST, 0).into())
    }

    /// Start on an address; port 0 takes a free one.
    pub fn start_on(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let held = shared.clone();
        let acceptor = std::thread::Builder::new().name("origin".into()).spawn(move || accept(&held, &listener))?;
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path: `http://127.0.0.1:PORT/path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answer `path` by scripts: the n-th request from now on gets the n-th, and the last is repeated. What stood there is replaced.
    pub fn route(&self, path: &str, scripts: impl Into<Scripts>) {
        let scripts = scripts.into().0;
        assert!(!scripts.is_empty(), "a route has at least one script");
        lock(&self.shared.routes).insert(path.into(), Route::Scripts { scripts, next: 0 });
    }

    /// Answer `path` by the script that `answer` makes for each request.
    pub fn answer(&self, path: &str, answer: impl Fn(&Request) -> Script + Send + Sync + 'static) {
        lock(&self.shared.routes).insert(path.into(), Route::Answer(Arc::new(answer)));
    }

    /// Answer what no route answers; without a fallback that is a 404 that may not be stored.
    pub fn fallback(&self, answer: impl Fn(&Request) -> Script + Send + Sync + 'static) {
        *lock(&self.shared.fallback) = Some(Arc::new(answer));
    }

    /// Be told of each request and its status when its answer has ended.
    pub fn on_answer(&self, listener: impl Fn(&Request, u16) + Send + Sync + 'static) {
        *lock(&self.shared.listener) = Some(Arc::new(listener));
    }

    /// The requests to a path so far, whatever their query and method, in the order in which they came.
    pub fn requests(&self, path: &str) -> Vec<Arc<Request>> {
        lock(&self.shared.requests).iter().filter(|request| request.path() == path).cloned().collect()
    }

    /// All requests so far.
    pub fn all_requests(&self) -> Vec<Arc<Request>> {
        lock(&self.shared.requests).clone()
    }

    /// Record no requests from now on: what runs for long must not grow by each.
    pub fn forget_requests(&self) {
        self.shared.forgetful.store(true, Ordering::Release);
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// Wait until a path has been asked for `count` times.
    ///
    /// # Panics
    ///
    /// When it has not been within 20 seconds.
    pub fn await_requests(&self, path: &str, count: usize) -> Vec<Arc<Request>> {
        let until = Instant::now() + PATIENCE;
        let mut requests = lock(&self.shared.requests);
        loop {
            let found: Vec<_> = requests.iter().filter(|request| request.path() == path).cloned().collect();
            if found.len() >= count {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{path} was asked for {} times, not {count}", found.len());
            let waited = self.shared.came.wait_timeout(requests, left);
            requests = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// From now on reset every new connection, or no longer; those that are there end when `broken`.
    pub fn set_broken(&self, broken: bool) {
        self.shared.broken.store(broken, Ordering::Release);
        if broken {
            self.shared.end_connections();
        }
    }

    /// Accept slowly: connections are made, as the kernel makes them, and nobody reads from them before the gate is open.
    pub fn hold_accepts(&self, gate: &Gate) {
        *lock(&self.shared.held) = Some(gate.clone());
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stop.open();
        // Wakes the acceptor, which looks whether it is to stop.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.shared.end_connections();
    }
}

impl Shared {
    /// The script that answers `request`.
    pub(crate) fn script(&self, request: &Request) -> Script {
        // Made outside of the lock, for an answer may take its time.
        let answer = match lock(&self.routes).get_mut(request.path()) {
            Some(Route::Scripts { scripts, next }) => {
                let script = scripts[(*next).min(scripts.len() - 1)].clone();
                *next += 1;
                return script;
            }
            Some(Route::Answer(answer)) => Some(answer.clone()),
            None => lock(&self.fallback).clone(),
        };
        answer.map_or_else(|| Script::status(404).cache_control("no-store"), |answer| answer(request))
    }

    pub(crate) fn record(&self, request: &Arc<Request>) {
        if self.forgetful.load(Ordering::Acquire) {
            return;
        }
        lock(&self.requests).push(request.clone());
        self.came.notify_all();
    }

    pub(crate) fn tell(&self, request: &Request, status: u16) {
        let listener = lock(&self.listener).clone();
        if let Some(listener) = listener {
            listener(request, status);
        }
    }

    fn end_connections(&self) {
        for stream in lock(&self.streams).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    loop {
        let accepted = listener.accept();
        if shared.stop.wait(Duration::ZERO) {
            return;
        }
        let Ok((stream, _)) = accepted else { continue };
        let id = shared.connections.fetch_add(1, Ordering::AcqRel) + 1;
        if shared.broken.load(Ordering::Acquire) {
            connection::reset(&stream);
            continue;
        }
        let held = lock(&shared.held).clone();
        while held.as_ref().is_some_and(|gate| !gate.wait(Duration::from_millis(20))) {
            if shared.stop.wait(Duration::ZERO) {
                return;
            }
        }
        let stream = Arc::new(stream);
        lock(&shared.streams).insert(id, stream.clone());
        let of_thread = shared.clone();
        let spawned = std::thread::Builder::new().spawn(move || {
            // Ours must be the last handle of the socket when the connection ends: its end is what the peer waits for.
            connection::serve(&of_thread, &stream, id);
            lock(&of_thread.streams).remove(&id);
        });
        if spawned.is_err() {
            lock(&shared.streams).remove(&id);
        }
    }
}

/// A script that panicked leaves what the lock guards whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
