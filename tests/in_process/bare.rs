//! What Pingora itself costs: a `ProxyHttp` that answers every request with one head and body, from `request_filter`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::modules::http::HttpModules;
use pingora::prelude::HttpPeer;
use pingora::proxy::{HttpProxy, ProxyHttp, Session, http_proxy};
use pingora::server::configuration::ServerConf;

use super::wire::Answer;

/// Answers the same to everybody.
pub struct Bare {
    head: ResponseHeader,
    body: Option<Bytes>,
}

impl Bare {
    /// What answers as `answer` was.
    pub fn like(answer: &Answer) -> Arc<HttpProxy<Self>> {
        let status = StatusCode::from_bytes(answer.status().as_bytes()).unwrap();
        let fields = answer.fields();
        let mut head = ResponseHeader::build_no_case(status, Some(fields.len())).unwrap();
        for (name, value) in fields {
            let name = HeaderName::try_from(name).unwrap();
            // Pingora adds these itself.
            if name != http::header::DATE && name != http::header::CONNECTION {
                head.append_header(name, HeaderValue::try_from(value).unwrap()).unwrap();
            }
        }
        let body = (!answer.body.is_empty()).then(|| Bytes::from(answer.body.clone()));
        // No upstream, so no trust store: the system's costs 13 ms and may be missing.
        let conf = ServerConf { ca_file: Some("/dev/null".into()), ..ServerConf::default() };
        Arc::new(http_proxy(&Arc::new(conf), Self { head, body }))
    }
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    /// None, as ours has none.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, _ctx: &mut ()) -> Result<bool> {
        session.write_response_header(Box::new(self.head.clone()), self.body.is_none()).await?;
        session.write_response_body(self.body.clone(), true).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        pingora::Error::e_explain(pingora::ErrorType::InternalError, "there is no upstream")
    }
}
