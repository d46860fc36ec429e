//! Conf → stores → edge → Pingora server: the only file that sees everything.

mod banner;
#[cfg(feature = "console")]
mod console;
mod daemon;
mod drain;
mod fronting;
mod housekeeping;
mod in_process;
mod listening;
mod live;
mod notify;
mod pid_file;
mod reload;
mod signals;
mod sockets;
mod stability;
mod supervise;
pub mod upgrade;
mod watchdog;

use std::fs::File;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use pingora::apps::http_app::HttpServer;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::services::background::GenBackgroundService;
use pingora::services::listening::Service;

use self::banner::{banner, mode_word};
use self::daemon::{ErrorLog, Side, Word};
use self::drain::Drain;
use self::fronting::{bounds, front};
use self::housekeeping::{Housekeeping, Hurry};
pub use self::in_process::in_process;
use self::listening::{Listening, Ties};
use self::live::Lives;
use self::notify::Notifier;
use self::reload::{Connections, Limits, Manager, Part, Reloader, Reloading, Renewals};
use self::signals::{Asked, Signals};
use self::sockets::{Role, Sockets};
use self::upgrade::program::Program;
use self::upgrade::successor::{self, Predecessor};
use crate::admin::{Admin, Purger};
use crate::conf::version::{COMMIT, VERSION};
use crate::conf::{CasBacking, Conf, LogFormat, Mode, ServerSection, Sources};
use crate::edge::{Certificates, Edge, Now, Settings, Stores};
use crate::observe::log::Format;
use crate::observe::{audit, bus, panics};
use crate::shed::Shed;
use crate::store::cas::Cas;
use crate::store::pack::mounts::Mounts;

/// Serve until the process is asked to stop; on SIGHUP, by what `sources` says then; as a successor of the running server where `upgrade` says so. Says what is wrong in one line and
/// returns 1 when it can't start, or ends with a fault.
pub fn serve(conf: Conf, sources: Sources, upgrade: bool) -> ExitCode {
    let program = match Program::of_this_process() {
        Ok(program) => program,
        Err(error) => return fault(None, &format!("the path of this program: {error}")),
    };
    let word = match daemon::enter(&conf.server) {
        Ok(Side::Daemon(word)) => Arc::new(word),
        Ok(Side::Command(waiting)) => {
            let outcome = waiting.outcome(Duration::from_secs(conf.server.daemon_ready_timeout_seconds));
            return outcome.map_or_else(|why| fault(None, &why), |()| ExitCode::SUCCESS);
        }
        Err(why) => return fault(None, &why),
    };
    let (error_log, terminal) = match ErrorLog::redirect(conf.server.error_log.clone()) {
        Ok(redirected) => redirected,
        Err(why) => {
            word.failed(&why);
            return fault(None, &why);
        }
    };
    let ended = start(conf, sources, Origin { upgrade, program, word: word.clone(), error_log });
    flush();
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        // The log says why.
        Ok(false) => ExitCode::from(1),
        Err(why) => {
            word.failed(&why);
            fault(terminal, &why)
        }
    }
}

/// Write what is still to be written: events go to the log and the audit file before the process ends.
fn flush() {
    bus::flush();
    audit::flush();
    crate::observe::log::flush();
}

/// Say in one line what is wrong, on standard error and, where that is a file, on what it was before; and 1.
fn fault(terminal: Option<File>, why: &str) -> ExitCode {
    let line = format!("svc-edge: {why}\n");
    // Nobody is left to be told that they can't be written.
    let _ = std::io::stderr().write_all(line.as_bytes());
    let _ = terminal.map(|mut terminal| terminal.write_all(line.as_bytes()));
    ExitCode::from(1)
}

/// How this process came to be.
struct Origin {
    upgrade: bool,
    program: Program,
    word: Arc<Word>,
    error_log: ErrorLog,
}

/// Start, serve, end; whether it ended as it was asked to.
fn start(mut conf: Conf, sources: Sources, origin: Origin) -> Result<bool, String> {
    // Before ports are claimed: what is read again is compared with what was written.
    let running = conf.clone();
    start_log(&conf)?;
    #[cfg(feature = "console")]
    console::start()?;
    panics::install();
    let events = Mutex::new(Some(bus::subscribe()));
    if let Some(path) = &conf.edge.log.audit {
        audit::open(path)?;
    }
    let descriptors = raise_descriptor_limit();
    signals::survive().map_err(|error| format!("signal handlers: {error}"))?;
    // A taken port refuses the start at once; a successor asks for the sockets when everything else is sure.
    let bound = if origin.upgrade { None } else { Some(Sockets::open(&mut conf, Vec::new())?) };
    let (mounts, cas) = open_stores(&conf)?;
    let (sockets, predecessor) = bound.map_or_else(|| take_over(&mut conf), |sockets| Ok((sockets, None)))?;
    let sockets = Arc::new(sockets);
    let banner = banner(&conf, &mounts);

    let mut server = Server::new_with_opt_and_conf(None, pingora_conf(&conf.server, conf.edge.mode));
    server.bootstrap();

    let bound = conf.edge.bind.first().ok_or("edge.bind is empty")?.addr;
    let settings = Settings::new(&conf.edge, bound).map_err(|error| format!("edge.http: {error}"))?;
    let bounds = bounds(&conf, &settings, descriptors)?;
    let lock = conf.edge.pins.as_ref().map(live::lock);
    let table = Arc::new(live::table(&conf));
    let stores = Stores::new(cas.clone(), conf.edge.cas.memory_bytes);
    let (fills, grace) = (Arc::default(), Duration::from_secs(conf.server.grace_period_seconds));
    let (lives, filling) = Lives::new(&conf, &cas, &fills, grace);
    let now = Now::new(Arc::new(settings), mounts, table, lock, lives.open(&conf)?);
    let shed = Arc::new(Shed::new(&conf.edge.ingress.shed));
    let edge = Edge::new(now, stores, shed.clone());
    let generations = edge.generations();
    let certificates = Certificates::load(&conf.edge.bind, SystemTime::now());
    let certificates = Arc::new(certificates.map_err(|fault| format!("edge.bind: {fault}"))?);
    let direct = edge.direct();
    let front = front(&conf, &certificates, (http_proxy(&server.configuration, edge), direct), bounds);

    let mut ties = Ties::new();
    let tasks = conf.server.listener_tasks_per_fd;
    let (edge_gate, tie) = ties.tie(conf.edge.bind.len() * tasks);
    server.add_service(Listening::new(front.clone(), sockets.duplicates(Role::Edge)?, tie));
    let purger = Arc::new(Purger::new(conf.edge.admin.token.clone(), cas.clone(), fills.clone()));
    let mut admin_gate = None;
    if let Some(admin) = admin_service(&conf, &purger) {
        let (gate, tie) = ties.tie(tasks);
        admin_gate = Some(gate);
        server.add_service(Listening::new(admin, sockets.duplicates(Role::Admin)?, tie));
    }
    // Also offline: a reload may go live.
    let mut filling = GenBackgroundService::new("fills".into(), Arc::new(filling));
    filling.threads = Some(conf.server.threads);
    server.add_service(filling);

    let hurry = Arc::new(Hurry::default());
    let housekeeping = Housekeeping {
        generations: generations.clone(),
        cas: cas.clone(),
        certificates: certificates.clone(),
        shed: shed.clone(),
        listeners: conf.edge.bind.iter().map(|bind| bind.addr).chain(conf.edge.metrics).collect(),
        accepting: ties.accepting(),
        events,
        banner,
        hurry: hurry.clone(),
        stopping: Arc::default(),
    };
    server.add_service(GenBackgroundService::new("housekeeping".into(), Arc::new(housekeeping)));
    let connections = Connections { front: front.clone(), bound, descriptors, next: None };
    let notifier = Arc::new(Notifier::from_environment(predecessor.is_some()));
    let parts: Vec<Box<dyn Part>> = vec![
        Box::new(Limits(shed)),
        Box::new(connections),
        Box::new(Renewals(certificates)),
        Box::new(Manager(notifier.clone())),
    ];
    let reloader = Reloader::new(Reloading { sources, running, bound, generations, lives, cas, purger, hurry, parts });
    let (failed, delay) = (Arc::new(AtomicBool::new(false)), conf.edge.ingress.shutdown_delay);
    let asked = Asked::listen().map_err(|error| format!("signal handlers: {error}"))?;
    let signals = Signals {
        asked: Mutex::new(Some(asked)),
        drain: Drain { grace, delay, fills, clients: front, sockets, edge: edge_gate, admin: admin_gate },
        mode: mode_word(conf.edge.mode),
        hangup: Arc::new(move || {
            // The tool that rotates logs asks for it too.
            audit::reopen();
            reloader.ask();
        }),
        upgrade_sock: conf.server.upgrade_sock,
        upgrade_timeout: conf.edge.upgrade_timeout,
        program: origin.program,
        notifier,
        predecessor,
        pulses: ties.pulses,
        lost: Mutex::new(ties.lost),
        word: origin.word,
        error_log: origin.error_log,
        pid_file: conf.server.pid_file,
        failed: failed.clone(),
    };
    server.run(RunArgs { shutdown_signal: Box::new(signals) });
    Ok(!failed.load(Ordering::Acquire))
}

/// What listens on `edge.metrics`.
fn admin_service(conf: &Conf, purger: &Arc<Purger>) -> Option<Service<HttpServer<Admin>>> {
    let address = conf.edge.metrics?;
    let admin = Admin { version: VERSION, commit: COMMIT, purger: purger.clone() };
    let mut admin = Service::new("admin".into(), HttpServer::new_app(admin));
    admin.add_tcp(&address.to_string());
    admin.threads = Some(1);
    Some(admin)
}

/// The listeners of the running server, as far as the conf names them, and the rest bound; and the connection to it.
fn take_over(conf: &mut Conf) -> Result<(Sockets, Option<Predecessor>), String> {
    let path = conf.server.upgrade_sock.clone().ok_or("--upgrade: upgrade_sock is null, so there are no upgrades")?;
    let (inherited, predecessor) = successor::take_over(&path, conf.edge.upgrade_timeout)?;
    Ok((Sockets::open(conf, inherited)?, Some(predecessor)))
}

fn start_log(conf: &Conf) -> Result<(), String> {
    let format = match conf.edge.log.format {
        LogFormat::Json => Format::Json,
        LogFormat::Text => Format::Text,
    };
    crate::observe::log::init(format, conf.edge.log.level, None).map_err(|error| format!("log: {error}"))
}

/// Allow as many descriptors as the system lets us: each connection takes one.
/// Tells how many; `None` is no limit.
fn raise_descriptor_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        log::warn!(event = "descriptor_limit", cause = error.to_string().as_str(); "the soft limit stays");
        return limit.current;
    }
    limit.maximum
}

fn open_stores(conf: &Conf) -> Result<(Arc<Mounts>, Arc<Cas>), String> {
    let cas = Cas::open(&conf.edge.cas).map_err(|error| format!("cas: {error}"))?;
    let digests = (conf.edge.cas.store == CasBacking::Disk).then(|| conf.edge.cas.dir.join("packs.json"));
    let mounts = Mounts::open(&conf.edge.packs, digests).map_err(|error| error.to_string())?;
    Ok((Arc::new(mounts), Arc::new(cas)))
}

/// Pingora's conf. Its grace period is a sleep without condition: ours, in `shutdown`, ends when nothing is in flight.
fn pingora_conf(section: &ServerSection, mode: Mode) -> ServerConf {
    let ca_file = section.ca_file.as_ref().map(|path| path.to_string_lossy().into_owned());
    ServerConf {
        version: section.version,
        threads: section.threads,
        listener_tasks_per_fd: section.listener_tasks_per_fd,
        work_stealing: section.work_stealing,
        max_blocking_threads: Some(section.max_blocking_threads),
        blocking_threads_ttl_seconds: Some(section.blocking_threads_ttl_seconds),
        fast_timeout_to_tokio_threshold_seconds: section.fast_timeout_to_tokio_threshold_seconds,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(section.graceful_shutdown_timeout_seconds),
        // Pingora's default is a socket in /tmp, where whoever listens first would be handed our listeners: nobody listens here.
        upgrade_sock: "/dev/null".into(),
        // Offline there is no upstream and no trust store: Pingora's connector panics where the system has none, and takes 13 ms to load one.
        ca_file: if mode == Mode::Live { ca_file } else { Some("/dev/null".into()) },
        ..ServerConf::default()
    }
}
