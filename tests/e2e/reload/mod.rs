//! SIGHUP: the conf is read again and is in force at once, or not at all.

use std::time::Duration;

use serde_json::Value;

use crate::fixtures::{noise, sample};
use crate::live::support::*;
use crate::server::{Server, setup};

mod keys;
mod live;
mod load;
mod refused;

/// The conf with every `from` made `to`, put in place by rename: half of a file may be a whole conf.
fn rewrite(server: &Server, from: &str, to: &str) {
    let text = std::fs::read_to_string(&server.conf).unwrap();
    assert!(text.contains(from), "no {from} in\n{text}");
    let beside = server.conf.with_extension("new");
    std::fs::write(&beside, text.replace(from, to)).unwrap();
    std::fs::rename(beside, &server.conf).unwrap();
}

/// SIGHUP, and until what it asked for is over; whether the conf was put in force.
fn hang_up(server: &Server) -> bool {
    let counts = || {
        let of = |result: &str| server.metric(&format!("conf_reloads_total{{result=\"{result}\"}}"));
        (of("ok"), of("refused"))
    };
    let before = counts();
    server.signal("HUP");
    server.eventually("reloaded", || counts() != before);
    counts().0 > before.0
}

/// The conf with every `from` made `to` is in force.
fn reload(server: &Server, from: &str, to: &str) {
    rewrite(server, from, to);
    assert!(hang_up(server), "refused: {:?}", server.logged("conf_refused"));
}

/// The last line of an event, once there are so many.
fn line(server: &Server, event: &str, count: usize) -> Value {
    server.eventually(event, || server.logged(event).len() >= count);
    let lines = server.logged(event);
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines[count - 1].clone()
}
