//! The files of a directory, and bodies of any length.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::request::Request;
use crate::script::Script;

/// Bound on a generated body, in bytes.
const GENERATED_MAX: u64 = 1 << 40;

/// Answers `GET` and `HEAD` of a directory's files with validators, and of `/gen/{bytes}` with a generated body.
#[derive(Clone, Debug)]
pub struct Directory {
    root: Option<PathBuf>,
    cache_control: String,
}

impl Directory {
    /// Serve the files below `root` with this Cache-Control; without a root, generated bodies alone. An error says that `root` can't be read.
    pub fn new(root: Option<&Path>, cache_control: &str) -> io::Result<Self> {
        let root = root.map(Path::canonicalize).transpose()?;
        Ok(Self { root, cache_control: cache_control.into() })
    }

    /// The answer to a request.
    pub fn answer(&self, request: &Request) -> Script {
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Script::status(405).header("Allow", "GET, HEAD");
        }
        if let Some(length) = request.path().strip_prefix("/gen/") {
            return self.generated(length);
        }
        let opened = decode(request.path()).and_then(|path| self.open(&path));
        opened.map_or_else(not_found, |(file, name, length, modified)| self.file(file, &name, length, modified))
    }

    fn generated(&self, length: &str) -> Script {
        match length.parse() {
            Ok(length) if length <= GENERATED_MAX => Script::status(200)
                .header("ETag", &format!("\"gen-{length}\""))
                .header("Content-Type", "application/octet-stream")
                .cache_control(&self.cache_control)
                .conditional()
                .ranges()
                .pattern(length),
            _ => not_found(),
        }
    }

    /// A regular file below the root, wherever links lead.
    fn open(&self, path: &str) -> Option<(File, String, u64, SystemTime)> {
        let root = self.root.as_ref()?;
        let place = root.join(path).canonicalize().ok()?;
        if !place.starts_with(root) {
            return None;
        }
        let file = File::open(&place).ok()?;
        let facts = file.metadata().ok()?;
        let name = place.file_name()?.to_string_lossy().into_owned();
        facts.is_file().then_some(())?;
        Some((file, name, facts.len(), facts.modified().ok()?))
    }

    fn file(&self, file: File, name: &str, length: u64, modified: SystemTime) -> Script {
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        let script = Script::status(200)
            .header("ETag", &format!("\"{length:x}-{:x}\"", since.as_nanos()))
            .header("Content-Type", media_type(name))
            .cache_control(&self.cache_control);
        // httpdate ends with the year 9999 by a panic.
        let script = match since.as_secs() {
            ..253_402_300_800 => script.header("Last-Modified", &httpdate::fmt_http_date(modified)),
            _ => script,
        };
        script.conditional().ranges().file(file, length)
    }
}

fn not_found() -> Script {
    Script::status(404).header("Content-Type", "text/plain").body(b"not found\n")
}

/// A target's path as one relative path; `None` where it has a segment that would climb, or is no UTF-8.
fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.strip_prefix('/')?.as_bytes();
    while let [byte, behind @ ..] = rest {
        rest = behind;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    let path = String::from_utf8(bytes).ok()?;
    let climbs = path.split('/').any(|segment| matches!(segment, "" | "." | ".."));
    (!climbs && !path.contains(['\0', '\\'])).then_some(path)
}

/// By the name's extension.
fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css",
        Some("js" | "mjs") => "text/javascript",
        Some("json") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        Some("png") => "image/png",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        Some("pbf") => "application/x-protobuf",
        Some("pmtiles") => "application/vnd.pmtiles",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_target_climbs_out_of_the_directory() {
        assert_eq!(decode("/a/b%20c"), Some("a/b c".into()));
        for target in
            ["", "a", "/", "/..", "/a/../b", "/%2e%2e/b", "/a//b", "//etc", "/a%2f..%2fb", "/%", "/%0", "/%00", "/%ff"]
        {
            assert_eq!(decode(target), None, "{target}");
        }
    }
}
