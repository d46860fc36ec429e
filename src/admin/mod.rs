//! The admin listener: `/metrics`, `/healthz`, `/readyz`, `/version`, and purges where the conf has a token for them. Never shed, never
//! public.

mod purge;

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderValue, Method, Response, StatusCode, header};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;

use crate::observe::metrics;
use crate::observe::readiness::READINESS;

pub use purge::Purger;

/// The admin service.
pub struct Admin {
    /// Version of the program.
    pub version: &'static str,
    /// Commit it was built from.
    pub commit: &'static str,
    /// Who may purge.
    pub purger: Arc<Purger>,
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        session.set_read_timeout(Some(std::time::Duration::from_secs(5)));
        session.set_write_timeout(Some(std::time::Duration::from_secs(10)));
        let request = session.req_header();
        let head = request.method == Method::HEAD;
        let path = request.uri.path();
        if let Some(object) = path.strip_prefix(purge::OBJECTS)
            && self.purger.is_open()
            && matches!(request.method.as_str(), "PURGE" | "DELETE")
        {
            let peer = session.client_addr().and_then(|peer| peer.as_inet().copied());
            return self.purger.answer(&request.headers, object, peer).await;
        }
        if request.method != Method::GET && !head {
            // What may follow as a body is not for us.
            session.set_keepalive(None);
            let mut response =
                answer(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "GET and HEAD only\n".into());
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let mut response = self.page(request.uri.path());
        if head {
            // Content-Length stays: HEAD has GET's headers.
            response.body_mut().clear();
        }
        response
    }
}

impl Admin {
    fn page(&self, path: &str) -> Response<Vec<u8>> {
        const JSON: &str = "application/json";
        match path {
            "/metrics" => {
                let text = metrics::text(self.version, self.commit);
                answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
            }
            "/healthz" => answer(StatusCode::OK, JSON, r#"{"healthy":true}"#.into()),
            "/readyz" if READINESS.ready() => answer(StatusCode::OK, JSON, r#"{"ready":true,"missing":[]}"#.into()),
            "/readyz" => {
                let body = serde_json::json!({"ready": false, "missing": READINESS.missing(), "retry_after": 1});
                let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, JSON, body.to_string());
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                response
            }
            "/version" => {
                let body = serde_json::json!({"name": "svc-edge", "version": self.version, "commit": self.commit});
                answer(StatusCode::OK, JSON, body.to_string())
            }
            _ => {
                let body = "/metrics /healthz /readyz /version\n";
                answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", body.into())
            }
        }
    }
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<Vec<u8>> {
    let mut response = Response::new(body.into_bytes());
    *response.status_mut() = status;
    let length = HeaderValue::from(response.body().len());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_admin_pages_are_the_four_of_the_design() {
        let conf =
            crate::conf::Conf::from_parts(Some(("test", b"edge: {cas: {store: memory}}")), [], &Default::default());
        let cas = Arc::new(crate::store::cas::Cas::open(&conf.unwrap().edge.cas).unwrap());
        let purger = Arc::new(Purger::new(None, cas, Arc::default()));
        assert!(!purger.is_open());
        let admin = Admin { version: "1.2.3", commit: "abc", purger };
        for (path, status) in
            [("/metrics", 200), ("/healthz", 200), ("/version", 200), ("/", 404), ("/edge/assets/x", 404)]
        {
            assert_eq!(admin.page(path).status(), status, "{path}");
        }
        assert_eq!(admin.page("/version").body(), br#"{"commit":"abc","name":"svc-edge","version":"1.2.3"}"#);
    }
}
