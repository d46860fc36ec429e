//! Conf → stores → edge → Pingora server: the only file that sees everything.

mod housekeeping;
mod live;
mod reload;
mod shutdown;
mod stability;

use std::io::Write as _;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use pingora::apps::http_app::HttpServer;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::services::background::GenBackgroundService;
use pingora::services::listening::Service;

use self::housekeeping::{Housekeeping, Hurry};
use self::live::Lives;
use self::reload::{Connections, Limits, Part, Reloader, Reloading, Renewals};
use self::shutdown::Signals;
use crate::admin::{Admin, Purger};
use crate::conf::version::{COMMIT, VERSION};
use crate::conf::{BindConf, CasBacking, Conf, LogFormat, Mode, ServerSection, Sources};
use crate::edge::{Bounds, Certificates, Edge, Front, Listener, Now, Settings, Stores};
use crate::observe::bus::{self, Event};
use crate::observe::log::Format;
use crate::observe::{audit, panics};
use crate::shed::Shed;
use crate::store::cas::Cas;
use crate::store::pack::mounts::Mounts;

/// A connection's write buffer: header and body of a small answer leave in one `send`. Pingora's default of 1,460 bytes takes two.
const WRITE_BUFFER: usize = 8 * 1024;
/// A connection's read buffer. Requests are small; Pingora's default of 64 KiB is paid by every idle connection.
const READ_BUFFER: usize = 4 * 1024;

/// Serve until the process is asked to stop; on SIGHUP, by what `sources` says then. Says what is wrong in one line and returns 1 when it can't start.
pub fn serve(conf: Conf, sources: Sources) -> ExitCode {
    match start(conf, sources) {
        Ok(()) => {
            bus::publish(Event::Stopped);
            flush();
            ExitCode::SUCCESS
        }
        Err(fault) => {
            flush();
            // Nobody is left to be told that standard error is closed.
            let _ = writeln!(std::io::stderr(), "svc-edge: {fault}");
            ExitCode::from(1)
        }
    }
}

/// Write what is still to be written: events go to the log and the audit file before the process ends.
fn flush() {
    bus::flush();
    audit::flush();
    crate::observe::log::flush();
}

fn start(mut conf: Conf, sources: Sources) -> Result<(), String> {
    // Before ports are claimed: what is read again is compared with what was written.
    let running = conf.clone();
    start_log(&conf)?;
    panics::install();
    let events = Mutex::new(Some(bus::subscribe()));
    if let Some(path) = &conf.edge.log.audit {
        audit::open(path)?;
    }
    let descriptors = raise_descriptor_limit();
    shutdown::keep_alive_on_hangup().map_err(|error| format!("signal handlers: {error}"))?;
    claim_ports(&mut conf)?;
    let (mounts, cas) = open_stores(&conf)?;
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
    let certificates =
        Certificates::load(&conf.edge.bind, SystemTime::now()).map_err(|fault| format!("edge.bind: {fault}"))?;
    let certificates = Arc::new(certificates);
    let front = front(&conf, &certificates, http_proxy(&server.configuration, edge), bounds);
    let mut edge = Service::new("edge".into(), front.clone());
    for bind in &conf.edge.bind {
        let buffers = L4BufferSettings::new(READ_BUFFER, WRITE_BUFFER);
        edge.add_listener(ListenerConfig::tcp(bind.addr.to_string()).l4_buffer(buffers));
    }
    server.add_service(edge);
    let purger = Arc::new(Purger::new(conf.edge.admin.token.clone(), cas.clone(), fills.clone()));
    if let Some(address) = conf.edge.metrics {
        let admin = Admin { version: VERSION, commit: COMMIT, purger: purger.clone() };
        let mut admin = Service::new("admin".into(), HttpServer::new_app(admin));
        admin.add_tcp(&address.to_string());
        admin.threads = Some(1);
        server.add_service(admin);
    }

    // Also offline: a reload may go live.
    let mut filling = GenBackgroundService::new("fills".into(), Arc::new(filling));
    filling.threads = Some(conf.server.threads);
    server.add_service(filling);

    let hurry = Arc::new(Hurry::default());
    let listeners = conf.edge.bind.iter().map(|bind| bind.addr).chain(conf.edge.metrics).collect();
    let housekeeping = Housekeeping {
        generations: generations.clone(),
        cas: cas.clone(),
        certificates: certificates.clone(),
        shed: shed.clone(),
        listeners,
        events,
        mode: mode_name(conf.edge.mode),
        banner,
        hurry: hurry.clone(),
        stopping: Arc::default(),
    };
    server.add_service(GenBackgroundService::new("housekeeping".into(), Arc::new(housekeeping)));
    let connections = Connections { front: front.clone(), bound, descriptors, next: None };
    let parts: Vec<Box<dyn Part>> =
        vec![Box::new(Limits(shed)), Box::new(connections), Box::new(Renewals(certificates))];
    let reloader = Reloader::new(Reloading { sources, running, bound, generations, lives, cas, purger, hurry, parts });
    let signals = Signals {
        grace,
        front,
        fills,
        hangup: Arc::new(move || {
            // The tool that rotates logs asks for it too.
            audit::reopen();
            reloader.ask();
        }),
    };
    server.run(RunArgs { shutdown_signal: Box::new(signals) });
    Ok(())
}

/// What the connections of the public listeners go through. The addresses are those that are bound.
fn front(conf: &Conf, certificates: &Certificates, proxy: HttpProxy<Edge>, bounds: Bounds) -> Front {
    let listener = |bind: &BindConf| Listener {
        address: bind.addr,
        tls: certificates.handshake(bind.addr),
        proxy_protocol: bind.proxy_protocol,
        h2c: bind.h2c,
    };
    let listeners = conf.edge.bind.iter().map(listener).collect();
    Front::new(proxy, listeners, bounds)
}

/// Bounds on connections: as many as the conf says, if there are descriptors for them.
fn bounds(conf: &Conf, settings: &Settings, descriptors: Option<u64>) -> Result<Bounds, String> {
    let asked = conf.edge.ingress.max_connections;
    let trusted = conf.edge.ingress.trusted_proxies.clone();
    let bounds = Bounds::new(settings, trusted, descriptors).map_err(|error| format!("edge.http: {error}"))?;
    let (max, descriptors) = (bounds.max_connections(), descriptors.unwrap_or_default());
    if max < asked {
        log::warn!(event = "max_connections", asked, descriptors, max; "fewer than asked for: the limit on descriptors is too low");
    }
    Ok(bounds)
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

/// Bind every address once and let it go again: Pingora would try a taken one for half a minute, and then panic in a task.
/// A port of 0 becomes the one that the system chose.
fn claim_ports(conf: &mut Conf) -> Result<(), String> {
    let mut claimed = Vec::new();
    for address in conf.edge.bind.iter_mut().map(|bind| &mut bind.addr).chain(conf.edge.metrics.as_mut()) {
        let listener = TcpListener::bind(*address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
        *address = listener.local_addr().map_err(|error| format!("cannot listen on {address}: {error}"))?;
        // Held until all are bound, or two ports of 0 could be the same.
        claimed.push(listener);
    }
    Ok(())
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

fn mode_name(mode: Mode) -> &'static str {
    if mode == Mode::Live { "live" } else { "offline" }
}

/// What to open, for whoever started the server by hand. It goes to standard output; the log goes to standard error.
fn banner(conf: &Conf, mounts: &Mounts) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let base =
        conf.edge.bind.first().map(|bind| format!("{}://{}/edge/assets", bind.scheme(), bind.addr)).unwrap_or_default();
    let mode = mode_name(conf.edge.mode);
    let _ = writeln!(text, "svc-edge {VERSION} serves {base}/ ({mode})");
    for pack in &conf.edge.packs {
        let Some(mount) = mounts.get(&pack.name) else { continue };
        let _ = match mount.facts() {
            Some(facts) => writeln!(
                text,
                "  pack {:12} {base}/{}.json   zoom {} to {}",
                pack.name, pack.name, facts.min_zoom, facts.max_zoom
            ),
            None => writeln!(text, "  pack {:12} out of service", pack.name),
        };
    }
    if let Some(address) = conf.edge.metrics {
        let _ = writeln!(text, "  metrics           http://{address}/metrics");
    }
    for warning in conf.edge.warnings().into_iter().chain(conf.edge.certificate_warnings(SystemTime::now())) {
        let _ = writeln!(text, "  warning: {warning}");
    }
    text
}
