//! Requests that are proxied as they are, to origins whose conf says `pass: true`: methods other than GET and HEAD, and what carries
//! credentials. Nothing of them is stored; one that changes something at the origin invalidates what is stored (RFC 9111 §4.4).

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use tokio::sync::OwnedSemaphorePermit;

use super::cors;
use super::fail::Refusal;
use super::filled::{self, How};
use super::live::Live;
use super::origins::{OriginRules, query_of};
use super::settings::Settings;
use crate::fill::fetch::FetchError;
use crate::fill::{FillError, FillKey};
use crate::observe::metrics::Reason;
use crate::origin;
use crate::rules::cache_status::Forward;
use crate::rules::{asset_key, caching, header as fields};

/// A request that goes through.
pub struct Through {
    /// Its origin's place in the conf.
    origin: usize,
    rules: Arc<OriginRules>,
    /// Its path below `/edge/assets/`, canonical.
    path: String,
    /// Its query, as it was sent.
    query: Option<String>,
    method: Method,
    credentials: Option<HeaderValue>,
    /// Bytes of its body that may still come.
    body_left: u64,
    /// Which of the origin's URLs was chosen.
    url: usize,
    /// What the request's target is at the origin, once that is known.
    target: Option<Uri>,
    /// Why the origin could not be reached, for the answer.
    fault: Option<FetchError>,
    /// 1xx answers so far.
    interim: u32,
    _place: OwnedSemaphorePermit,
}

impl Through {
    /// `origin` is the place of `rules` in the conf.
    pub fn new(
        settings: &Settings,
        request: &RequestHeader,
        path: &str,
        (origin, rules): (usize, &Arc<OriginRules>),
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            origin,
            rules: rules.clone(),
            path: path.to_owned(),
            query: query_of(request).map(str::to_owned),
            method: request.method.clone(),
            credentials: request.headers.get(header::AUTHORIZATION).cloned(),
            body_left: settings.pass_body_bytes,
            url: 0,
            target: None,
            fault: None,
            interim: 0,
            _place: place,
        }
    }

    /// What a client is told when the exchange failed before the origin's header.
    pub fn refusal(&mut self, error: &Error) -> Refusal {
        match (self.fault.take(), error.etype()) {
            (Some(fault), _) => FillError::Fetch(fault).into(),
            (None, ErrorType::HTTPStatus(413)) => Refusal::close(Reason::BodyCap),
            // What Pingora says of it may quote the origin's answer, or its address.
            (None, _) => FillError::Fetch(origin::fault_of(error)).into(),
        }
    }

    /// Where to connect.
    pub async fn peer(&mut self, live: &Live) -> Result<Box<HttpPeer>> {
        match live.origins.peer_for(self.origin).await {
            Ok(place) => {
                self.url = place.url;
                Ok(place.peer)
            }
            Err(fault) => Err(self.failed(fault)),
        }
    }

    /// Make the client's header the one that is sent. Credentials go along, for which the origin's conf was asked; cookies and what says where
    /// the client is do not.
    pub fn dress(&mut self, live: &Live, request: &mut RequestHeader) -> Result<()> {
        let rest = self.path.strip_prefix(&*self.rules.prefix).unwrap_or(&self.path);
        let dressed = live.origins.dress(self.origin, self.url, rest, self.query.as_deref(), request);
        dressed.map_err(|fault| self.failed(fault))?;
        // Those that the conf has for its origin are the origin's own, and win.
        if let Some(credentials) = &self.credentials
            && !request.headers.contains_key(header::AUTHORIZATION)
        {
            request.insert_header(header::AUTHORIZATION, credentials.clone())?;
        }
        let authority = request.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let target = Uri::builder().scheme("http").authority(authority).path_and_query(request.raw_path());
        self.target = target.build().ok();
        Ok(())
    }

    fn failed(&mut self, fault: FetchError) -> Box<Error> {
        let cause = fault.to_string();
        self.fault = Some(fault);
        Error::explain(ErrorType::ConnectError, cause)
    }

    /// The next piece of the request's body. A client can't send more than the largest object.
    pub fn body(&mut self, piece: Option<&Bytes>) -> Result<()> {
        let length = piece.map_or(0, Bytes::len) as u64;
        match self.body_left.checked_sub(length) {
            Some(left) => {
                self.body_left = left;
                Ok(())
            }
            None => {
                let cause = "the request's body is longer than edge.fill.max_object_bytes";
                Error::e_explain(ErrorType::HTTPStatus(413), cause)
            }
        }
    }

    /// The origin's answer on its way to the client: our fields replace its, and what it says was changed is no longer stored.
    pub async fn answer(
        &mut self,
        settings: &Settings,
        live: &Live,
        (request, corr_id): (&RequestHeader, &HeaderValue),
        response: &mut ResponseHeader,
    ) -> Result<()> {
        if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS {
            self.interim += 1;
            return match self.interim {
                ..=origin::MAX_INTERIM => Ok(()),
                _ => Error::e_explain(ErrorType::InvalidHTTPHeader, "too many interim answers"),
            };
        }
        if caching::invalidates(&self.method, response.status.as_u16()) {
            self.invalidate(live, &response.headers).await;
        }
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            return Error::e_explain(ErrorType::InvalidHTTPHeader, "an upgrade that nobody asked for");
        }
        let from = fields::end_to_end(&response.headers);
        let mut header = ResponseHeader::build_no_case(response.status, Some(from.len() + 16))?;
        filled::fields(settings, &mut header, &from, false)?;
        // What the edge writes itself of objects that it has, it takes from the origin here.
        for name in [header::ETAG, header::AGE, header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::ACCEPT_RANGES]
        {
            for value in response.headers.get_all(&name) {
                header.append_header(name.clone(), value.clone())?;
            }
        }
        if response.headers.contains_key(header::TRANSFER_ENCODING) {
            if !fields::is_chunked(&response.headers) {
                return Error::e_explain(ErrorType::InvalidHTTPHeader, "a transfer coding other than chunked");
            }
            // RFC 9112 §6.1: not for a client of HTTP/1.0, whose answer ends with its connection.
            if request.version >= Version::HTTP_11 {
                header.insert_header(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
            }
        }
        let how = How { forward: Some(Forward::Method), status: Some(response.status.as_u16()), ..How::default() };
        header.append_header("cache-status", how.value(None, None))?;
        cors::insert_listed(settings, request.headers.get(header::ORIGIN), &mut header)?;
        header.insert_header("x-corr-id", corr_id.clone())?;
        *response = header;
        Ok(())
    }

    /// RFC 9111 §4.4: the target, and what Location and Content-Location name on the same host, all in the origin's URL space.
    async fn invalidate(&self, live: &Live, headers: &HeaderMap) {
        let query = self.query.clone().filter(|_| self.rules.keep_query);
        let mut keys = vec![FillKey { path: self.path.clone(), query, variant: None }];
        if let Some(target) = &self.target {
            keys.extend(caching::invalidated(target, headers).iter().filter_map(|uri| self.key_of(uri)));
        }
        for key in keys {
            if let Err(error) = live.fills.invalidate(&key).await {
                log::warn!(event = "not_invalidated", path = key.path.as_str(), cause = error.to_string().as_str(); "");
            }
        }
    }

    /// The key whose target at the origin is `uri`: what stands there of the origin's URL is the prefix here.
    fn key_of(&self, uri: &str) -> Option<FillKey> {
        let uri: Uri = uri.parse().ok()?;
        let base = self.rules.paths.get(self.url)?;
        let rest = asset_key::canonical(uri.path().strip_prefix(&**base)?.as_bytes()).ok()?;
        let query = uri.query().filter(|_| self.rules.keep_query).map(str::to_owned);
        Some(FillKey { path: format!("{}{rest}", self.rules.prefix), query, variant: None })
    }
}
