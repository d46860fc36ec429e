//! The real binary, on ports of its own, with a log that is read: a WARN or ERROR that the test did not claim fails it.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::http::{Client, Response};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_svc-edge");

/// A server that is being set up.
pub struct Setup {
    pub dir: TempDir,
    packs: Vec<(String, PathBuf, String)>,
    /// Its public listeners, each an item of `edge.bind`.
    bind: Vec<String>,
    extra: String,
    top: String,
    environment: Vec<(String, String)>,
    import: Option<PathBuf>,
}

/// A running server.
pub struct Server {
    pub dir: TempDir,
    /// Its first public listener.
    pub address: SocketAddr,
    /// Every public listener, in the order of the conf; the first is `address`.
    pub addresses: Vec<SocketAddr>,
    pub admin: SocketAddr,
    pub conf: PathBuf,
    child: Child,
    /// Of the server itself, where it runs under another program.
    pid: u32,
    log: Arc<Mutex<Vec<serde_json::Value>>>,
    claimed: Mutex<Vec<String>>,
    ended: bool,
}

/// Begin to set up a server: its directory is new, its packs and assets are those that are added.
pub fn setup() -> Setup {
    let dir = tempfile::tempdir().expect("a directory");
    let bind = vec!["127.0.0.1:0".to_owned()];
    Setup {
        dir,
        packs: Vec::new(),
        bind,
        extra: String::new(),
        top: String::new(),
        environment: Vec::new(),
        import: None,
    }
}

/// An address on loopback that nobody listens on now; for those who can't be told by the server which port it took.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}

/// Wait until a server answers at an address. That something accepts is not enough: ports are tried before they are served.
pub fn await_answer(address: SocketAddr) {
    let until = Instant::now() + Duration::from_secs(20);
    let answers = || {
        let mut client = Client::over(TcpStream::connect(address).ok()?);
        client.send(b"GET /healthz HTTP/1.1\r\nHost: edge.test\r\nConnection: close\r\n\r\n");
        client.response(false).ok()
    };
    while answers().is_none_or(|answer| answer.status != 200) {
        assert!(Instant::now() < until, "nobody answers at {address}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Setup {
    /// Mount a pack. `options` are further keys of its conf, as YAML flow: `, verify: full`.
    pub fn pack(mut self, name: &str, path: &Path, options: &str) -> Self {
        self.packs.push((name.into(), path.into(), options.into()));
        self
    }

    /// Write a file and have it imported below `site/`.
    pub fn asset(mut self, path: &str, bytes: &[u8]) -> Self {
        let root = self.dir.path().join("assets");
        let file = root.join(path);
        std::fs::create_dir_all(file.parent().expect("a parent")).expect("directories");
        std::fs::write(file, bytes).expect("a file");
        self.import = Some(root);
        self
    }

    /// The items of `edge.bind`, as YAML flow, in place of one in clear text.
    pub fn bind(mut self, items: &[&str]) -> Self {
        self.bind = items.iter().map(|item| (*item).to_owned()).collect();
        self
    }

    /// Further lines below `edge:`, indented by two.
    pub fn edge(mut self, lines: &str) -> Self {
        self.extra.push_str(lines);
        self
    }

    /// Further lines at the top level.
    pub fn top(mut self, lines: &str) -> Self {
        self.top.push_str(lines);
        self
    }

    /// A variable of the server's environment.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Without the limit on requests a second, for a test that asks faster than it allows and is about something else.
    pub fn unlimited(self) -> Self {
        self.environment("SVC_EDGE_EDGE__INGRESS__RPS_LIMIT", "null")
    }

    /// The conf as it will be written. The server chooses its ports: another suite on this machine can't take them in between.
    fn yaml(&self) -> String {
        let cas = self.dir.path().join("cas");
        let mut yaml =
            format!("threads: 2\n{}edge:\n  bind: [{}]\n  metrics: 127.0.0.1:0\n", self.top, self.bind.join(", "));
        if !self.extra.contains("cas:") {
            let _ = writeln!(yaml, "  cas: {{dir: {}}}", cas.display());
        }
        if !self.extra.contains("log:") {
            let _ = writeln!(yaml, "  log: {{access: all}}");
        }
        if !self.packs.is_empty() {
            yaml.push_str("  packs:\n");
        }
        for (name, path, options) in &self.packs {
            let _ = writeln!(yaml, "    - {{path: {}, name: {name}{options}}}", path.display());
        }
        yaml.push_str(&self.extra);
        yaml
    }

    /// Import, start, and wait until the server says that it is ready.
    pub fn start(self) -> Server {
        let server = self.start_unready();
        server.await_ready();
        server
    }

    /// Start under strace, which writes what the server does with sockets to `trace`, and wait until it is ready.
    pub fn start_under_strace(self, trace: &Path) -> Server {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-e", "trace=connect,sendto,sendmsg,socket", "-o"]).arg(trace).arg(BINARY);
        let mut server = self.spawn(strace);
        let children = format!("/proc/{0}/task/{0}/children", server.child.id());
        let children = std::fs::read_to_string(children).expect("the children of strace");
        server.pid = children.trim().parse().expect("strace has one child");
        server.await_ready();
        server
    }

    /// Start with so many descriptors and no right to more, and wait until it is ready.
    pub fn start_with_descriptors(self, most: u32) -> Server {
        let mut prlimit = Command::new("prlimit");
        prlimit.arg(format!("--nofile={most}:{most}")).arg(BINARY);
        let server = self.spawn(prlimit);
        server.await_ready();
        server
    }

    /// Start, and wait only until it listens.
    pub fn start_unready(self) -> Server {
        self.spawn(Command::new(BINARY))
    }

    /// Import, run the server by `command`, and wait until it listens.
    fn spawn(self, command: Command) -> Server {
        let listeners = self.bind.len();
        let mut server = self.run(command);
        server.addresses = vec![server.address; listeners];
        server.learn_addresses();
        server
    }

    /// Start one that will not listen.
    #[allow(dead_code, reason = "the tests under faults use it, which share this file")]
    pub fn start_unlistening(self) -> Server {
        self.run(Command::new(BINARY))
    }

    /// Import, then run the server by `command`.
    fn run(self, mut command: Command) -> Server {
        let conf = self.dir.path().join("svc-edge.yaml");
        std::fs::write(&conf, self.yaml()).expect("a conf");
        if let Some(root) = &self.import {
            let done = Command::new(BINARY)
                .args(["cas", "import"])
                .arg(root)
                .args(["--prefix", "site", "--conf"])
                .arg(&conf)
                .output()
                .expect("the binary runs");
            assert!(done.status.success(), "import: {}", String::from_utf8_lossy(&done.stderr));
        }
        command.arg("--conf").arg(&conf).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.dir.path());
        Server::launch(command, self.dir, conf)
    }
}

impl Server {
    /// Run `command`, whose log is read; it may listen nowhere yet.
    fn launch(mut command: Command, dir: TempDir, conf: PathBuf) -> Server {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, kept) = (BufReader::new(child.stderr.take().expect("stderr")), log.clone());
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                // What is no JSON (a panic, say) must not go unseen.
                let value = serde_json::from_str(&line)
                    .unwrap_or_else(|_| serde_json::json!({"level": "error", "event": "no_json", "message": line}));
                kept.lock().expect("the log").push(value);
            }
        });
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let (pid, claimed) = (child.id(), Mutex::default());
        // As many as there are is not known yet.
        let addresses = Vec::new();
        Server { dir, address: nowhere, addresses, admin: nowhere, conf, child, pid, log, claimed, ended: false }
    }

    /// A process with this server's conf that is to take its place, and waits for that. This server outlives it, for its directory.
    pub fn successor(&self, arguments: &[&str]) -> Server {
        let mut command = Command::new(BINARY);
        command.arg("--upgrade").args(arguments).arg("--conf").arg(&self.conf).current_dir(self.home());
        let mut successor = Server::launch(command, tempfile::tempdir().expect("a directory"), self.conf.clone());
        successor.addresses.clone_from(&self.addresses);
        successor
    }

    /// The directory that it was started in.
    fn home(&self) -> &Path {
        self.conf.parent().expect("the conf is in a directory")
    }

    /// As [`Server::successor`], with another conf.
    pub fn successor_with(&self, conf: &Path) -> Server {
        let mut command = Command::new(BINARY);
        command.args(["--upgrade", "--conf"]).arg(conf).current_dir(self.home());
        Server::launch(command, tempfile::tempdir().expect("a directory"), conf.to_owned())
    }

    /// Have another process take this server's place; this one has ended when it returns.
    pub fn upgraded(&mut self) -> Server {
        let mut successor = self.successor(&[]);
        successor.eventually("waiting", || !successor.logged("upgrade_waiting").is_empty());
        self.signal("QUIT");
        successor.learn_addresses();
        assert!(self.wait().success(), "the log: {:#?}", self.story());
        successor
    }

    /// The server's log says where it listens: first the public listeners, then the admin's.
    pub fn learn_addresses(&mut self) {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let told = self.logged("listening");
            let addresses: Vec<_> =
                told.iter().filter_map(|line| line["address"].as_str()?.parse::<SocketAddr>().ok()).collect();
            // All are told one after the other, and then that they accept.
            let all = match self.addresses.len() {
                0 => self.logged("readiness_changed").iter().any(|line| {
                    line["missing"].as_str().is_some_and(|missing| !missing.split(',').any(|one| one == "listener"))
                }),
                count => addresses.len() == count + 1,
            };
            if let [public @ .., admin] = &addresses[..]
                && all
            {
                (self.address, self.admin) = (public[0], *admin);
                self.addresses = public.to_vec();
                return;
            }
            assert!(self.alive(), "the server ended; the log: {:#?}", self.story());
            assert!(Instant::now() < until, "it listens nowhere; the log: {:#?}", self.story());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A new connection to the public listener.
    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// One GET on a connection of its own.
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.client().request("GET", path, headers)
    }

    /// One GET on the admin listener.
    pub fn admin(&self, path: &str) -> Response {
        Client::connect(self.admin).request("GET", path, &[])
    }

    /// The value of one series of `/metrics`, e.g. `rejected_total{reason="bad_path"}`.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.admin("/metrics").text();
        let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
        let line = line.unwrap_or_else(|| panic!("no series {series} in\n{text}"));
        line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
    }

    /// The sum of all series of a metric, e.g. `edge_queue_dropped_total`, whatever their labels.
    pub fn total(&self, metric: &str) -> f64 {
        let text = self.admin("/metrics").text();
        let of_metric = |line: &&str| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let lines: Vec<_> = text.lines().filter(of_metric).collect();
        assert!(!lines.is_empty(), "no series of {metric} in\n{text}");
        lines.iter().filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Run a command of the binary with this server's conf; its output where it exits with 0.
    pub fn command(&self, words: &[&str]) -> String {
        let done = Command::new(BINARY).args(words).arg("--conf").arg(&self.conf).output().expect("the binary runs");
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("text")
    }

    /// Lines of the log so far with this event.
    pub fn logged(&self, event: &str) -> Vec<serde_json::Value> {
        self.log.lock().expect("the log").iter().filter(|line| line["event"] == event).cloned().collect()
    }

    /// Every line so far.
    pub fn log(&self) -> Vec<serde_json::Value> {
        self.log.lock().expect("the log").clone()
    }

    /// Every line but those of requests, for a failure's message.
    fn story(&self) -> Vec<String> {
        self.log().iter().filter(|line| line["event"] != "request").map(ToString::to_string).collect()
    }

    /// A WARN or ERROR of this event is what the test is about.
    pub fn claim(&self, event: &str) {
        self.claimed.lock().expect("claims").push(event.into());
    }

    /// Wait until `/readyz` is 200.
    pub fn await_ready(&self) {
        self.eventually("ready", || self.admin("/readyz").status == 200);
    }

    /// Wait for something that happens within seconds.
    pub fn eventually(&self, what: &str, check: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !check() {
            assert!(Instant::now() < until, "not {what} within 20 s; the log: {:#?}", self.story());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Wait until a metric is `value`: what a client sees is often counted a moment after it has seen it.
    pub fn counts(&self, series: &str, value: f64) {
        self.eventually(&format!("{series} at {value}"), || self.metric(series) == value);
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the process still runs.
    pub fn alive(&mut self) -> bool {
        self.child.try_wait().expect("a status").is_none()
    }

    /// Send a signal to the process we started.
    pub fn signal(&self, name: &str) {
        self.signal_to(self.pid().into(), name);
    }

    /// Send a signal to a process that this server started.
    pub fn signal_to(&self, pid: u64, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Wait until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        self.ended = true;
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return status;
            }
            assert!(Instant::now() < until, "the server does not end; the log: {:#?}", self.story());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most resident memory that there ever was, in bytes.
    pub fn peak_rss(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("status");
        let line = status.lines().find(|line| line.starts_with(field)).expect("the field");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("KiB") * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The test has said what is wrong; a second panic would hide it.
            let _ = self.child.kill();
            let _ = self.child.wait();
            return;
        }
        if !self.ended {
            self.signal("TERM");
            let status = self.wait();
            assert!(status.success(), "the server ended with {status}; the log: {:#?}", self.story());
        }
        let claimed = self.claimed.lock().expect("claims");
        for line in self.log() {
            let grave = line["level"] == "warn" || line["level"] == "error";
            let known = claimed.iter().any(|event| line["event"] == event.as_str());
            assert!(!grave || known, "a line that the test did not claim: {line}");
        }
    }
}
