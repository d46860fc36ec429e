//! Refusals that no session writes: of a connection that has no place, and of what never became a request. Both are said over HTTP/1 as whole
//! answers, like any other refusal.

use std::time::{Duration, SystemTime};

use http::HeaderValue;
use pingora::Result;
use pingora::http::ResponseHeader;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::edge::ctx::make_id;
use crate::edge::settings::Settings;
use crate::edge::{cors, fail, ready};
use crate::observe::metrics::Reason;
use crate::rules::cache_status::CacheStatus;
use crate::rules::problem;

/// How long a refused client may take to read its answer and to close. Closing at once on what it has sent would reset the connection, and the
/// answer with it (RFC 9112 §9.6).
pub const LINGER: Duration = Duration::from_secs(1);
/// What of a refused client's bytes is read away at most.
pub const LINGER_BYTES: usize = 256 * 1024;

/// What all refusals say.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// Field lines that stand on every answer.
    constant: Vec<u8>,
}

impl Words {
    pub fn new(settings: &Settings) -> Result<Self> {
        let mut header = ResponseHeader::build_no_case(400, Some(8))?;
        ready::constant(settings, &mut header)?;
        cors::insert_listed(settings, None, &mut header)?;
        let mut constant = Vec::new();
        for (name, value) in &header.headers {
            line(&mut constant, name.as_str(), value);
        }
        Ok(Self { constant })
    }

    /// A whole answer, after which the connection is closed.
    pub fn refusal(&self, reason: Reason) -> Vec<u8> {
        let (status, title, retry) = fail::row(reason);
        let id = make_id();
        let body = problem::body(status.as_u16(), reason.as_str(), title, id.to_str().unwrap_or_default());
        let mut answer = Vec::with_capacity(512 + self.constant.len() + body.len());
        let phrase = status.canonical_reason().unwrap_or_default();
        answer.extend_from_slice(format!("HTTP/1.1 {} {phrase}\r\n", status.as_u16()).as_bytes());
        line(&mut answer, "Date", httpdate::fmt_http_date(SystemTime::now()).as_bytes());
        line(&mut answer, "Content-Type", problem::MEDIA_TYPE.as_bytes());
        line(&mut answer, "Content-Length", HeaderValue::from(body.len()));
        line(&mut answer, "Connection", b"close");
        line(&mut answer, "X-Reason", reason.as_str());
        line(&mut answer, "X-Corr-ID", &id);
        line(&mut answer, "Cache-Status", CacheStatus::neither().detail(reason.as_str()).value());
        if status.is_server_error() {
            line(&mut answer, "Cache-Control", b"no-store");
        }
        if retry {
            line(&mut answer, "Retry-After", fail::retry_after());
        }
        if reason == Reason::Method {
            line(&mut answer, "Allow", cors::METHODS);
        }
        answer.extend_from_slice(&self.constant);
        answer.extend_from_slice(b"\r\n");
        answer.extend_from_slice(&body);
        answer
    }
}

fn line(to: &mut Vec<u8>, name: &str, value: impl AsRef<[u8]>) {
    to.extend_from_slice(name.as_bytes());
    to.extend_from_slice(b": ");
    to.extend_from_slice(value.as_ref());
    to.extend_from_slice(b"\r\n");
}

/// Say `answer`, and let the client close first, all within [`LINGER`]. Nobody is left to be told that it failed.
pub async fn say_and_close(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: &[u8]) {
    let saying = async {
        stream.write_all(answer).await?;
        stream.flush().await?;
        stream.shutdown().await?;
        let mut away = [0; 4096];
        let mut left = LINGER_BYTES;
        loop {
            match stream.read(&mut away).await? {
                0 => return Ok(()),
                read if read > left => return Ok(()),
                read => left -= read,
            }
        }
    };
    let _: std::result::Result<std::io::Result<()>, _> = tokio::time::timeout(LINGER, saying).await;
}
