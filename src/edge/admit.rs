//! Whether a request may be answered at all: whether there is room for it, then its form, its bounds, its method.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderName, Method, Version, header};
use pingora::proxy::Session;

use super::ctx::Ctx;
use super::fail::Refusal;
use super::route;
use super::settings::Settings;
use crate::observe::metrics::{self, Reason};
use crate::rules::client::{Network, client_key, forwarded};
use crate::rules::fields::Fields;
use crate::rules::host;
use crate::shed::{Shed, Shedding};

/// Whom each proxy was asked by: of no RFC, and what proxies send.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Take a place for the request, if there is room. Before anything of it is looked at but what says whose it is: a refusal is to be cheap.
///
/// Probes need none: whoever asks whether a server that sheds is well is told that it is.
pub fn enter(settings: &Settings, shed: &Shed, session: &Session, ctx: &mut Ctx) -> Result<(), Shedding> {
    let request = session.req_header();
    // The id comes first: every refusal carries it.
    ctx.identify(request.headers.get("x-corr-id"));
    ctx.method = match request.method {
        Method::GET => metrics::Method::Get,
        Method::HEAD => metrics::Method::Head,
        Method::OPTIONS => metrics::Method::Options,
        _ => metrics::Method::Other,
    };
    let peer = session.client_addr().and_then(|peer| peer.as_inet()).copied();
    ctx.client = peer.map(|peer| client(&settings.ingress.trusted_proxies, peer, &request.headers));
    // It was given one by the short way, which did not know what to answer.
    if route::probe(route::raw_path(request)).is_some() || ctx.place.is_some() {
        return Ok(());
    }
    // Whose address is not known is one client together with all of these.
    let address = ctx.client.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |client| client.ip());
    ctx.place = Some(shed.admit(ctx.started, client_key(address))?);
    Ok(())
}

/// The client: who connected, or whom a trusted proxy names in `X-Forwarded-For`; then without a port, which is 0.
pub fn client(trusted: &[Network], peer: SocketAddr, fields: &impl Fields) -> SocketAddr {
    if trusted.is_empty() {
        return peer;
    }
    let client = forwarded(peer.ip(), trusted, fields.lines(&FORWARDED_FOR));
    if client == peer.ip().to_canonical() { peer } else { SocketAddr::new(client, 0) }
}

/// Check what can be checked before the path is looked at; the cheapest and the most telling first.
pub fn check(settings: &Settings, session: &Session) -> Result<(), Refusal> {
    let request = session.req_header();
    // RFC 9112 §3.2: a request without Host, or with one that is none, is bad. Pingora refuses several of them, and a URI's authority that differs.
    match request.headers.get(header::HOST) {
        None if request.version == Version::HTTP_11 => return Err(Refusal::close(Reason::BadRequest)),
        Some(value) if !host::valid(value.as_bytes()) => return Err(Refusal::close(Reason::BadRequest)),
        _ => {}
    }
    if request.raw_path().len() > settings.ingress.uri_bytes {
        return Err(Refusal::close(Reason::UriCap));
    }
    if header_bytes(session) > settings.ingress.header_bytes {
        return Err(Refusal::close(Reason::HeaderCap));
    }
    Ok(())
}

/// Size of the header block: on HTTP/1 as it came over the wire, on HTTP/2 as RFC 9113 §6.5.2 counts it.
fn header_bytes(session: &Session) -> usize {
    match session.as_http1() {
        Some(h1) => h1.get_headers_raw_bytes().len(),
        None => session.req_header().headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum(),
    }
}

/// Read away a body that nobody asked for, within bounds, so that it is not taken for the next request. No method of ours has one.
pub async fn discard_body(settings: &Settings, session: &mut Session) -> Result<(), Refusal> {
    if session.as_downstream_mut().is_body_done() {
        return Ok(());
    }
    if session.req_header().headers.contains_key(header::EXPECT) {
        // It waits to be asked for its body (RFC 9110 §10.1.1). It won't be: the answer is final, and what may follow is not read.
        session.set_keepalive(None);
        return Ok(());
    }
    let declared = session.req_header().headers.get(header::CONTENT_LENGTH);
    // Pingora has refused what is no number.
    let declared = declared.and_then(|length| length.to_str().ok()).and_then(|text| text.trim().parse::<u64>().ok());
    if declared.is_some_and(|length| length > settings.ingress.body_bytes) {
        return Err(Refusal::close(Reason::BodyCap));
    }
    let reading = async {
        let mut left = settings.ingress.body_bytes;
        loop {
            match session.as_downstream_mut().read_request_body().await {
                Ok(Some(bytes)) => match left.checked_sub(bytes.len() as u64) {
                    Some(rest) => left = rest,
                    None => return Err(Refusal::close(Reason::BodyCap)),
                },
                Ok(None) => return Ok(()),
                Err(_) => return Err(Refusal::close(Reason::BadRequest)),
            }
        }
    };
    tokio::time::timeout(settings.ingress.timeout, reading)
        .await
        .unwrap_or_else(|_| Err(Refusal::close(Reason::BadRequest)))
}
