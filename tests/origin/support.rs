//! A scripted server, and origins that point at it.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method};
use pingora::server::configuration::ServerConf;
use svc_edge::fill::fetch::{Fetch as _, FetchError, Head, Incoming, Wanted};
use svc_edge::origin::{CircuitConf, Host, OriginConf, OriginUrl, Origins, OriginsConf, RetryConf, Timeouts};

pub const MS: Duration = Duration::from_millis(1);

/// A server on loopback: one thread a connection, each of which runs the script.
pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    heads: Mutex<Vec<String>>,
    connections: AtomicUsize,
}

/// One connection of a client.
pub struct Conn {
    /// Which connection this is, from 0.
    pub n: usize,
    stream: TcpStream,
    seen: Arc<Seen>,
}

/// Serve each connection by `script`.
pub fn serve(script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Server {
    serve_at("127.0.0.1:0", script)
}

pub fn serve_at(bind: &str, script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind(bind).unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::<Seen>::default();
    let (script, ours) = (Arc::new(script), seen.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let n = ours.connections.fetch_add(1, SeqCst);
            let mut conn = Conn { n, stream: stream.unwrap(), seen: ours.clone() };
            let script = script.clone();
            std::thread::spawn(move || script(&mut conn));
        }
    });
    Server { address, seen }
}

/// Answer every request on every connection with this.
pub fn always(answer: impl Into<Vec<u8>>) -> Server {
    let answer = answer.into();
    serve(move |conn| while conn.request().is_some() && conn.send(&answer) {})
}

/// Answer the n-th request (over all connections) with the n-th of these, the last one again and again.
pub fn in_turn<const N: usize>(answers: [&'static str; N]) -> Server {
    let next = AtomicUsize::new(0);
    serve(move |conn| {
        while conn.request().is_some() {
            let n = next.fetch_add(1, SeqCst).min(N - 1);
            if !conn.send(answers[n]) {
                return;
            }
        }
    })
}

impl Server {
    /// The heads of all requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().unwrap().clone()
    }

    /// Number of requests so far.
    pub fn requests(&self) -> usize {
        self.seen.heads.lock().unwrap().len()
    }

    /// Number of connections so far.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(SeqCst)
    }

    pub fn url(&self) -> OriginUrl {
        url(self.address)
    }
}

impl Conn {
    /// Read a request's head and record it; `None` when the client has closed.
    pub fn request(&mut self) -> Option<String> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if self.stream.read(&mut byte).ok()? == 0 {
                return None;
            }
            head.push(byte[0]);
        }
        self.record(&head)
    }

    /// The same without taking it off the socket: closing such a connection is a reset.
    pub fn peek_request(&mut self) -> Option<String> {
        let mut head = [0; 8192];
        loop {
            let n = self.stream.peek(&mut head).ok()?;
            if head[..n].ends_with(b"\r\n\r\n") {
                return self.record(&head[..n]);
            }
        }
    }

    fn record(&self, head: &[u8]) -> Option<String> {
        let head = String::from_utf8(head.to_vec()).unwrap();
        self.seen.heads.lock().unwrap().push(head.clone());
        Some(head)
    }

    /// Whether it could be sent.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Do nothing for a while.
    pub fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            std::thread::park_timeout(until - Instant::now());
        }
    }

    /// Wait until the client closes; whether it did within the time.
    pub fn closes_within(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        // A reset is an end too.
        !matches!(self.stream.read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

pub fn url(address: SocketAddr) -> OriginUrl {
    OriginUrl { https: false, host: Host::Ip(address.ip()), port: address.port(), path: "/s/".into() }
}

/// A conf for servers of a test: no waits worth speaking of, loopback allowed.
pub fn conf(urls: Vec<OriginUrl>) -> OriginsConf {
    OriginsConf {
        origins: vec![OriginConf { prefix: "live/".into(), urls, allow_private: true, headers: Vec::new() }],
        name: "edge-7".into(),
        version: "1.2.3".into(),
        contact: Some("ops@edge.example".into()),
        timeouts: Timeouts { connect: 500 * MS, read: 500 * MS, total: 5000 * MS, min_rate: None },
        retry: RetryConf {
            base: 5 * MS,
            max: 300 * MS,
            count: 3,
            jitter: true,
            statuses: vec![503, 504],
            timeouts: true,
            budget: 20,
        },
        circuit: CircuitConf { failures: 0, open_for: 300 * MS },
        dns_ttl: Duration::from_secs(30),
        target: |path, rest, query| {
            format!("{path}{}{}", rest.replace(' ', "%20"), query.map(|query| format!("?{query}")).unwrap_or_default())
        },
        refuse_address: |address: IpAddr, allow_private| {
            (address.is_loopback() && !allow_private).then_some("loopback")
        },
    }
}

/// The origins of `conf(urls)`, changed by `change`.
pub fn origins(urls: Vec<OriginUrl>, change: impl FnOnce(&mut OriginsConf)) -> Arc<Origins> {
    let mut conf = conf(urls);
    change(&mut conf);
    // No TLS, no trust store.
    let server = ServerConf { ca_file: Some("/dev/null".into()), ..ServerConf::default() };
    Origins::new(conf, &Arc::new(server))
}

/// One origin at one server.
pub fn one(server: &Server) -> Arc<Origins> {
    origins(vec![server.url()], |_| {})
}

pub fn wanted(rest: &str) -> Wanted {
    Wanted {
        origin: 0,
        method: Method::GET,
        rest: rest.into(),
        query: None,
        headers: HeaderMap::new(),
        corr_id: Bytes::from_static(b"test"),
        fill: true,
        tap: None,
    }
}

/// Ask for `/s/a`.
pub async fn fetch(origins: &Origins) -> Result<(Head, Box<dyn Incoming>), FetchError> {
    origins.fetch(wanted("a")).await
}

/// All that comes, and how it ends.
pub async fn drain(body: &mut Box<dyn Incoming>) -> (Vec<u8>, Result<(), FetchError>) {
    let mut all = Vec::new();
    loop {
        match body.next().await {
            Ok(Some(bytes)) => all.extend_from_slice(&bytes),
            Ok(None) => return (all, Ok(())),
            Err(error) => return (all, Err(error)),
        }
    }
}

/// Status and body of an answer that must be whole.
pub async fn whole(origins: &Origins) -> (u16, String) {
    let (head, mut body) = fetch(origins).await.unwrap();
    let (bytes, end) = drain(&mut body).await;
    end.unwrap();
    assert!(body.next().await.unwrap().is_none(), "the end is told again");
    (head.status.as_u16(), String::from_utf8(bytes).unwrap())
}

/// The error of a fetch that must give no header.
pub async fn refused(origins: &Origins) -> FetchError {
    match fetch(origins).await {
        Ok((head, _)) => panic!("a header came: {}", head.status),
        Err(error) => error,
    }
}
