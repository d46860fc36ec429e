//! The public side of a server without its sockets: what a listener would hand its connections to. For benches and tests that measure what a request
//! costs without the kernel's share; nothing of a running server comes through here.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pingora::proxy::http_proxy;

use super::fronting::{bounds, front};
use super::live::{self, Lives};
use super::{open_stores, pingora_conf};
use crate::conf::{Conf, Mode};
use crate::edge::{Certificates, Edge, Front, Now, Settings, Stores};
use crate::shed::Shed;

/// The front of an edge by `conf`, with its packs and its CAS, made of the same parts as by [`super::serve`]: give connections to
/// [`Front::serve`]. Nothing listens, keeps house, reloads or logs.
///
/// Errors: what `serve` would refuse to start for; and `mode: live`, as there are no workers that fill.
pub fn in_process(conf: &Conf) -> Result<Front, String> {
    if conf.edge.mode == Mode::Live {
        return Err("edge.mode: live needs a server, whose workers fill".into());
    }
    let (mounts, cas) = open_stores(conf)?;
    let bound = conf.edge.bind.first().ok_or("edge.bind is empty")?.addr;
    let settings = Settings::new(&conf.edge, bound).map_err(|error| format!("edge.http: {error}"))?;
    let bounds = bounds(conf, &settings, None)?;
    let lock = conf.edge.pins.as_ref().map(live::lock);
    let stores = Stores::new(cas.clone(), conf.edge.cas.memory_bytes);
    // Nothing is opened by it offline.
    let (lives, _) = Lives::new(conf, &cas, &Arc::default(), Duration::ZERO);
    let now = Now::new(Arc::new(settings), mounts, Arc::new(live::table(conf)), lock, lives.open(conf)?);
    let edge = Edge::new(now, stores, Arc::new(Shed::new(&conf.edge.ingress.shed)));
    let certificates = Certificates::load(&conf.edge.bind, SystemTime::now());
    let certificates = certificates.map_err(|fault| format!("edge.bind: {fault}"))?;
    let pingora = Arc::new(pingora_conf(&conf.server, conf.edge.mode));
    let direct = edge.direct();
    Ok(front(conf, &certificates, (http_proxy(&pingora, edge), direct), bounds))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::conf::Flags;

    #[test]
    fn an_edge_that_would_fill_is_refused_as_nobody_would() {
        let origins = "origins: [{prefix: '', url: 'http://127.0.0.1:9/', allow_private: true}]";
        for (mode, refused) in [("offline", false), ("live", true)] {
            let yaml = format!("edge: {{mode: {mode}, packs: [], cas: {{store: memory}}, {origins}}}");
            let conf = Conf::from_parts(Some(("test.yaml", yaml.as_bytes())), [], &Flags::default()).unwrap();
            assert_eq!(in_process(&conf).is_err_and(|why| why.contains("edge.mode")), refused, "{mode}");
        }
    }
}
