//! `svc-edge cas lock`: what is stored, as the lock file that pins it.

use std::io::{self, Write};
use std::ops::ControlFlow;

use serde_json::json;

use super::print::{Printed, count};
use super::{End, Stop};
use crate::rules::{asset_key, lock};
use crate::store::cas::Cas;

/// Print a pin for each object below `prefix`, in the order of their paths. What a lock file has no name for is counted on
/// stderr.
pub(super) fn lock(cas: &Cas, prefix: &str, json: bool, out: &mut Printed) -> Result<End, Stop> {
    let mut result = Ok(());
    let mut left_out = 0;
    cas.list(prefix, &mut |object| {
        match pin(&object.path, object.hash.as_bytes(), json) {
            Some(pin) => result = out.line(&pin),
            None => left_out += 1,
        }
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    result?;
    out.flush()?;
    if left_out > 0 {
        // Nothing is left to do when stderr is closed too.
        let _ = writeln!(io::stderr(), "{}", left_out_line(left_out));
    }
    Ok(End::Done)
}

/// The line of an object. `None` where it is one of several at its path: its key in the index is the path, then NUL and a
/// query or a variant, which is no path.
fn pin(key: &str, hash: &[u8; 32], json: bool) -> Option<String> {
    asset_key::check(key).ok()?;
    let line = lock::line(key, hash);
    // The line begins with the digits of the hash.
    Some(if json { json!({"path": key, "hash": &line[..2 * hash.len()]}).to_string() } else { line })
}

fn left_out_line(objects: u64) -> String {
    format!("left out {}: filled with a query or chosen by Vary, which no path names", count(objects, "object"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_one_of_several_at_its_path_has_no_pin() {
        for key in ["a\0?v=1", "a\0v0123456789abcdef0123456789abcdef", "a\0?v=1\0v0123456789abcdef0123456789abcdef"] {
            assert_eq!((pin(key, &[0; 32], false), pin(key, &[0; 32], true)), (None, None));
        }
        let digits = "ab".repeat(32);
        assert_eq!(
            pin("a?v=1", &[0xab; 32], false),
            Some(format!("{digits}  a?v=1")),
            "a path may hold a question mark"
        );
        assert_eq!(pin("a", &[0xab; 32], true), Some(format!("{{\"hash\":\"{digits}\",\"path\":\"a\"}}")));
        assert!(left_out_line(2).starts_with("left out 2 objects: "));
    }
}
