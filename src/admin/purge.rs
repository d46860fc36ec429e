//! `PURGE` and `DELETE` of `/admin/objects/{path}`: one object with all its variants, or everything below a prefix, which ends in `/`. Only with the
//! token of the conf.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::answer;
use crate::conf::Secret;
use crate::fill::AllFills;
use crate::observe::bus::{Event, publish};
use crate::rules::asset_key;
use crate::store::cas::{Cas, CasError, Purge, Removed};

/// Where objects stand on the admin listener.
pub const OBJECTS: &str = "/admin/objects/";

/// Removes objects for whoever knows the token.
pub struct Purger {
    /// `None`: nobody knows one.
    token: ArcSwapOption<Secret>,
    cas: Arc<Cas>,
    /// Fills under way, which must not bring back what is purged.
    fills: Arc<AllFills>,
}

impl Purger {
    /// For bearers of `token`; for nobody without one.
    pub fn new(token: Option<Secret>, cas: Arc<Cas>, fills: Arc<AllFills>) -> Self {
        Self { token: ArcSwapOption::from_pointee(token), cas, fills }
    }

    /// For bearers of another token from now on.
    pub fn set_token(&self, token: Option<Secret>) {
        self.token.store(token.map(Arc::new));
    }

    /// Whether there is a token that could be known.
    pub fn is_open(&self) -> bool {
        self.token.load().is_some()
    }

    /// Answer a request for the raw path behind `/admin/objects/`.
    /// `peer` is who asks, for the log.
    pub async fn answer(&self, headers: &HeaderMap, raw: &str, peer: Option<SocketAddr>) -> Response<Vec<u8>> {
        let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
        if !self.allowed(headers) {
            publish(Event::PurgeDenied { peer });
            let mut refused = text(StatusCode::UNAUTHORIZED, "the token of edge.admin.token is needed\n");
            refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return refused;
        }
        let Ok(what) = target(raw) else {
            return text(
                StatusCode::BAD_REQUEST,
                "not a path as it follows /edge/assets/, nor a prefix that ends in /\n",
            );
        };
        self.fills.detach(|path| covers(&what, path));
        let (cas, purged) = (self.cas.clone(), what.clone());
        match tokio::task::spawn_blocking(move || purge(&cas, &purged)).await {
            Ok(Ok(removed)) => {
                publish(Event::Purged { peer, what, objects: removed.objects, bytes: removed.bytes });
                let body = serde_json::json!({
                    "objects": removed.objects, "blobs": removed.blobs, "bytes": removed.bytes
                });
                answer(StatusCode::OK, "application/json", format!("{body}\n"))
            }
            Ok(Err(error)) => failed(&error.to_string()),
            Err(panic) => failed(&panic.to_string()),
        }
    }

    fn allowed(&self, headers: &HeaderMap) -> bool {
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else { return false };
        let Some((scheme, token)) = field.as_bytes().split_at_checked(7) else { return false };
        let known = self.token.load();
        scheme.eq_ignore_ascii_case(b"bearer ") && known.as_ref().is_some_and(|known| known.matches(token.trim_ascii()))
    }
}

/// The canonical path or, with a `/` at its end, prefix; nothing at all is everything.
fn target(raw: &str) -> Result<String, asset_key::KeyError> {
    match raw.strip_suffix('/') {
        None if raw.is_empty() => Ok("/".to_owned()),
        Some(prefix) => Ok(format!("{}/", asset_key::canonical(prefix.as_bytes())?)),
        None => asset_key::canonical(raw.as_bytes()).map(|key| key.into_owned()),
    }
}

/// Whether `what` is the path, or a prefix of it.
fn covers(what: &str, path: &str) -> bool {
    what == path || what == "/" || (what.ends_with('/') && path.starts_with(what))
}

fn purge(cas: &Cas, what: &str) -> Result<Removed, CasError> {
    match what.strip_suffix('/') {
        Some(prefix) => cas.purge(Purge::Prefix(prefix)),
        None => cas.purge(Purge::Path(what)),
    }
}

fn failed(cause: &str) -> Response<Vec<u8>> {
    log::error!(event = "purge_failed", cause = cause; "");
    text(StatusCode::INTERNAL_SERVER_ERROR, "the purge failed; see the log\n")
}

fn text(status: StatusCode, body: &str) -> Response<Vec<u8>> {
    answer(status, "text/plain; charset=utf-8", body.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_target_is_a_path_or_a_prefix_in_canonical_form() {
        for (raw, what) in [("a/b", "a/b"), ("a%2Fb", "a/b"), ("a/b/", "a/b/"), ("%41", "A"), ("", "/")] {
            assert_eq!(target(raw).unwrap(), what, "{raw}");
        }
        for bad in ["/", "..", "a/../b", "a//b", "a//", "%00", "%zz"] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }
}
