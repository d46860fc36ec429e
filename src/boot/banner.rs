//! What is said to whoever starts the server by hand.

use std::time::SystemTime;

use crate::conf::version::VERSION;
use crate::conf::{Conf, Mode};
use crate::store::pack::mounts::Mounts;

/// What to open, for whoever started the server by hand. It goes to standard output; the log goes to standard error.
pub fn banner(conf: &Conf, mounts: &Mounts) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let base =
        conf.edge.bind.first().map(|bind| format!("{}://{}/edge/assets", bind.scheme(), bind.addr)).unwrap_or_default();
    let mode = mode_word(conf.edge.mode);
    let _ = writeln!(text, "svc-edge {VERSION} serves {base}/ ({mode})");
    for pack in &conf.edge.packs {
        let Some(mount) = mounts.get(&pack.name) else { continue };
        let _ = match mount.facts() {
            Some(facts) => writeln!(
                text,
                "  pack {:12} {base}/{}.json   zoom {} to {}",
                pack.name, pack.name, facts.min_zoom, facts.max_zoom
            ),
            None => writeln!(text, "  pack {:12} out of service", pack.name),
        };
    }
    if let Some(address) = conf.edge.metrics {
        let _ = writeln!(text, "  metrics           http://{address}/metrics");
    }
    for warning in conf.edge.warnings().into_iter().chain(conf.edge.certificate_warnings(SystemTime::now())) {
        let _ = writeln!(text, "  warning: {warning}");
    }
    text
}

/// The mode, as the conf calls it.
pub fn mode_word(mode: Mode) -> &'static str {
    if mode == Mode::Live { "live" } else { "offline" }
}
