//! How sizes, ages, objects and faults are printed.

use std::io::{self, BufWriter, StdoutLock, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use bytesize::ByteSize;
use serde_json::{Value, json};

use crate::rules::encoding::Coding;
use crate::store::cas::{Fault, KeyParts, ObjectInfo};

/// Standard output, buffered. A closed pipe is an error like any other here, not a panic.
pub struct Printed {
    out: BufWriter<StdoutLock<'static>>,
}

impl Printed {
    /// Lock the output.
    pub fn new() -> Self {
        Self { out: BufWriter::new(io::stdout().lock()) }
    }

    /// Print a line.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }

    /// Print a JSON document on a line.
    pub fn json(&mut self, value: &Value) -> io::Result<()> {
        writeln!(self.out, "{value}")
    }

    /// Hand on what is buffered.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// `4.2 MiB`.
pub fn size(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

/// `1 blob`, `2 blobs`.
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Seconds since 1970.
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// How long ago, in the largest unit that fits: `5 s`, `12 min`, `3 h`, `40 d`.
pub fn age(time: SystemTime, now: SystemTime) -> String {
    // A time in the future is a clock that jumped: now, for people.
    let seconds = now.duration_since(time).map_or(0, |since| since.as_secs());
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// An object for people: length, age, pinned or not, the beginnings of its hash and of its variant, path and query. None of them has
/// control characters.
pub fn object_line(object: &ObjectInfo, now: SystemTime) -> String {
    let KeyParts { path, query, variant } = KeyParts::of(&object.path);
    format!(
        "{:>10}  {:>7}  {}  {}  {:8}  {}",
        size(object.size),
        age(object.stored_at, now),
        if object.pinned { "pinned" } else { "filled" },
        &object.hash.to_hex()[..12],
        variant.and_then(|variant| variant.get(..8)).unwrap_or("-"),
        KeyParts { path, query, variant: None },
    )
}

/// An object for machines.
pub fn object_json(object: &ObjectInfo) -> Value {
    let coding = match object.coding {
        Coding::Identity => "identity",
        Coding::Gzip => "gzip",
        Coding::Brotli => "br",
        Coding::Zstd => "zstd",
    };
    let KeyParts { path, query, variant } = KeyParts::of(&object.path);
    json!({
        "path": path, "query": query, "variant": variant, "hash": object.hash.to_hex().as_str(), "size": object.size, "pinned": object.pinned,
        "content_type": object.content_type, "coding": coding, "last_modified": object.last_modified.map(seconds),
        "stored_at": seconds(object.stored_at), "last_used": seconds(object.last_used),
        "extra_bytes": object.extra.as_ref().map(|extra| extra.len()),
    })
}

/// A fault for people.
pub fn fault_line(fault: &Fault) -> String {
    match fault {
        Fault::Corrupt { hash, paths, quarantined } => {
            let moved = if *quarantined { ", moved to quarantine" } else { "" };
            let names: Vec<_> = paths.iter().map(|key| KeyParts::of(key).to_string()).collect();
            let names = if names.is_empty() { "no object".to_owned() } else { names.join(", ") };
            format!("corrupt     {}{moved} (named by {names})", hash.to_hex())
        }
        Fault::Unreadable { hash, error } => format!("unreadable  {}: {error}", hash.to_hex()),
        Fault::Missing { path, hash } => {
            format!("missing     {}: its blob {} is not there", KeyParts::of(path), hash.to_hex())
        }
        Fault::Lost { path, hash } => {
            let path = KeyParts::of(path);
            format!("lost        {path}: its blob {} was corrupt or missing; import or purge it", hash.to_hex())
        }
    }
}

/// A fault for machines.
pub fn fault_json(fault: &Fault) -> Value {
    match fault {
        Fault::Corrupt { hash, paths, quarantined } => {
            let paths: Vec<_> = paths.iter().map(|key| KeyParts::of(key).to_string()).collect();
            json!({"fault": "corrupt", "hash": hash.to_hex().as_str(), "paths": paths, "quarantined": quarantined})
        }
        Fault::Unreadable { hash, error } => {
            json!({"fault": "unreadable", "hash": hash.to_hex().as_str(), "error": error})
        }
        Fault::Missing { path, hash } => {
            json!({"fault": "missing", "path": KeyParts::of(path).to_string(), "hash": hash.to_hex().as_str()})
        }
        Fault::Lost { path, hash } => {
            json!({"fault": "lost", "path": KeyParts::of(path).to_string(), "hash": hash.to_hex().as_str()})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_filled_object_shows_its_query_and_variant_and_no_nul() {
        let key = crate::store::cas::variant_key(&crate::store::cas::filled_key("a/b", Some("q=1")), [0xab; 16]);
        let hash = blake3::hash(b"");
        let object = ObjectInfo {
            path: key.clone(),
            hash,
            size: 1,
            pinned: false,
            content_type: "text/plain".into(),
            coding: Coding::Identity,
            last_modified: None,
            stored_at: UNIX_EPOCH,
            last_used: UNIX_EPOCH,
            extra: None,
        };
        let (line, json) = (object_line(&object, UNIX_EPOCH), object_json(&object));
        assert!(line.ends_with("  abababab  a/b?q=1"), "{line}");
        let variant = "ab".repeat(16);
        assert_eq!((&json["path"], &json["query"], &json["variant"]), (&json!("a/b"), &json!("q=1"), &json!(variant)));
        let plain = object_line(&ObjectInfo { path: "a/b".into(), ..object }, UNIX_EPOCH);
        assert!(plain.ends_with("  -         a/b"), "{plain}");
        for fault in [
            Fault::Corrupt { hash, paths: vec![key.clone()], quarantined: true },
            Fault::Missing { path: key.clone(), hash },
            Fault::Lost { path: key, hash },
        ] {
            let (line, json) = (fault_line(&fault), fault_json(&fault).to_string());
            assert!(line.contains(&format!("a/b?q=1 (variant {variant})")) && !line.contains('\0'), "{line:?}");
            assert!(!json.contains("\\u0000"), "{json}");
        }
    }

    #[test]
    fn ages_and_sizes_are_short_and_have_units() {
        let now = UNIX_EPOCH + Duration::from_secs(10_000_000);
        for (seconds, text) in [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (172_800, "2 d")] {
            assert_eq!(age(now - Duration::from_secs(seconds), now), text);
        }
        assert_eq!(age(now + Duration::from_secs(5), now), "0 s");
        assert_eq!((size(0), size(4_404_019)), ("0 B".into(), "4.2 MiB".into()));
        assert_eq!((count(1, "blob"), count(0, "blob")), ("1 blob".into(), "0 blobs".into()));
    }
}
