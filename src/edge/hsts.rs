//! `Strict-Transport-Security` (RFC 6797): browsers that saw it ask this host over TLS alone.

use http::{HeaderValue, header};
use pingora::Result;
use pingora::http::ResponseHeader;

use super::settings::Settings;

/// A year, as browsers' lists ask for. Without `includeSubDomains`: other hosts are not ours to speak for.
pub const POLICY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Put it into an answer over TLS. In clear text it never stands (§7.2): whoever is in between could set it.
pub fn insert(settings: &Settings, secure: bool, header: &mut ResponseHeader) -> Result<()> {
    if secure && settings.hsts {
        header.insert_header(header::STRICT_TRANSPORT_SECURITY, POLICY)?;
    }
    Ok(())
}
