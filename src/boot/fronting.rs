//! What stands between the sockets and the edge, by the conf.

use pingora::proxy::HttpProxy;

use crate::conf::{BindConf, Conf};
use crate::edge::{Bounds, Certificates, Direct, Edge, Front, Listener, Settings};

/// What the connections of the public listeners go through. The addresses are those that are bound.
pub fn front(
    conf: &Conf,
    certificates: &Certificates,
    (proxy, direct): (HttpProxy<Edge>, Direct),
    bounds: Bounds,
) -> Front {
    let listener = |bind: &BindConf| Listener {
        address: bind.addr,
        tls: certificates.handshake(bind.addr),
        proxy_protocol: bind.proxy_protocol,
        h2c: bind.h2c,
    };
    let listeners = conf.edge.bind.iter().map(listener).collect();
    Front::new(proxy, direct, listeners, bounds)
}

/// Bounds on connections: as many as the conf says, if there are descriptors for them.
pub fn bounds(conf: &Conf, settings: &Settings, descriptors: Option<u64>) -> Result<Bounds, String> {
    let asked = conf.edge.ingress.max_connections;
    let trusted = conf.edge.ingress.trusted_proxies.clone();
    let bounds = Bounds::new(settings, trusted, descriptors).map_err(|error| format!("edge.http: {error}"))?;
    let (max, descriptors) = (bounds.max_connections(), descriptors.unwrap_or_default());
    if max < asked {
        log::warn!(event = "max_connections", asked, descriptors, max; "fewer than asked for: the limit on descriptors is too low");
    }
    Ok(bounds)
}
