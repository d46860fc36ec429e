//! `svc-edge cas lock`: what is stored, as the lock file that pins it.

use std::io::{self, Write};
use std::ops::ControlFlow;

use serde_json::json;

use super::print::{Printed, count};
use super::{End, Stop};
use crate::rules::lock;
use crate::store::cas::{Cas, ObjectInfo};

/// Print a pin for each object below `prefix`, in the order of their paths. What a lock file has no name for is counted on
/// stderr.
pub(super) fn lock(cas: &Cas, prefix: &str, json: bool, out: &mut Printed) -> Result<End, Stop> {
    let mut result = Ok(());
    let mut left_out = 0;
    cas.list(prefix, &mut |object| {
        if names_more_than_a_path(&object) {
            left_out += 1;
            return ControlFlow::Continue(());
        }
        result = if json {
            out.json(&json!({"path": object.path, "hash": object.hash.to_hex().as_str()}))
        } else {
            out.line(&lock::line(&object.path, object.hash.as_bytes()))
        };
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    result?;
    out.flush()?;
    if left_out > 0 {
        let objects = count(left_out, "object");
        // Nothing is left to do when stderr is closed too.
        let _ =
            writeln!(io::stderr(), "left out {objects}: filled with a query or chosen by Vary, which no path names");
    }
    Ok(End::Done)
}

/// Whether the object is one of several at its path: its key in the index is `path`, then NUL and a query or a variant.
fn names_more_than_a_path(object: &ObjectInfo) -> bool {
    object.path.contains('\0')
}
