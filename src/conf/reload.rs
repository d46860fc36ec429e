//! What differs between two confs, key by key, and what of it may change while the process serves.
//!
//! Values are compared as they are meant, checked and with their types: `10GiB` is `10240MiB`, whichever of file, variable, flag and default
//! said it, and a secret or a pin that was read anew from the same file differs if what it read does.

use super::Conf;

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// On SIGHUP, for every request that begins then.
    Now,
    /// With the next process: by an upgrade, or a restart.
    Upgrade,
}

/// What a reload does about one key.
struct Row {
    path: &'static str,
    reload: Reload,
    same: fn(&Conf, &Conf) -> bool,
    /// Give the second conf the value of the first.
    keep: fn(&Conf, &mut Conf),
}

/// One line a key: its path, when it takes effect, and the fields that hold its value.
macro_rules! rows {
    ($($path:literal, $reload:ident, $($($field:ident).+)|+;)*) => {
        /// Every key that has a value of its own, in the order of `table::KEYS`. Those of packs and origins are a part of their list.
        static ROWS: &[Row] = &[$(Row {
            path: $path,
            reload: Reload::$reload,
            same: |one, other| $(one.$($field).+ == other.$($field).+)&&+,
            keep: |from, to| { $(to.$($field).+.clone_from(&from.$($field).+);)+ },
        },)*];
    };
}

rows! {
    "version", Upgrade, server.version;
    "threads", Upgrade, server.threads;
    "listener_tasks_per_fd", Upgrade, server.listener_tasks_per_fd;
    "work_stealing", Upgrade, server.work_stealing;
    "max_blocking_threads", Upgrade, server.max_blocking_threads;
    "blocking_threads_ttl_seconds", Upgrade, server.blocking_threads_ttl_seconds;
    "fast_timeout_to_tokio_threshold_seconds", Upgrade, server.fast_timeout_to_tokio_threshold_seconds;
    "grace_period_seconds", Upgrade, server.grace_period_seconds;
    "graceful_shutdown_timeout_seconds", Upgrade, server.graceful_shutdown_timeout_seconds;
    "daemon", Upgrade, server.daemon;
    "daemon_ready_timeout_seconds", Upgrade, server.daemon_ready_timeout_seconds;
    "error_log", Upgrade, server.error_log;
    "pid_file", Upgrade, server.pid_file;
    "upgrade_sock", Upgrade, server.upgrade_sock;
    "ca_file", Now, server.ca_file | server.ca_digest;
    "edge.bind", Upgrade, edge.bind;
    "edge.metrics", Upgrade, edge.metrics;
    "edge.mode", Now, edge.mode;
    "edge.upgrade_timeout", Upgrade, edge.upgrade_timeout;
    "edge.public_url", Now, edge.public_url;
    "edge.packs", Now, edge.packs;
    "edge.origins", Now, edge.origins;
    "edge.cas.dir", Upgrade, edge.cas.dir;
    "edge.cas.max_bytes", Now, edge.cas.max_bytes;
    "edge.cas.max_objects", Now, edge.cas.max_objects;
    "edge.cas.memory_bytes", Now, edge.cas.memory_bytes;
    "edge.cas.store", Upgrade, edge.cas.store;
    "edge.cas.durability", Now, edge.cas.durability;
    "edge.cas.lock", Now, edge.pins;
    "edge.fill.queue", Now, edge.fill.queue;
    "edge.fill.workers", Now, edge.fill.workers;
    "edge.fill.connect_timeout", Now, edge.fill.connect_timeout;
    "edge.fill.read_timeout", Now, edge.fill.read_timeout;
    "edge.fill.total_timeout", Now, edge.fill.total_timeout;
    "edge.fill.min_rate", Now, edge.fill.min_rate;
    "edge.fill.max_object_bytes", Now, edge.fill.max_object_bytes;
    "edge.fill.range_fill_max", Now, edge.fill.range_fill_max;
    "edge.fill.max_passthrough", Now, edge.fill.max_passthrough;
    "edge.fill.finish_max", Now, edge.fill.finish_max;
    "edge.fill.hash_on_runtime", Now, edge.fill.hash_on_runtime;
    "edge.fill.contact", Now, edge.fill.contact;
    "edge.fill.name", Now, edge.fill.name;
    "edge.fill.dns_ttl", Now, edge.fill.dns_ttl;
    "edge.fill.retry.base", Now, edge.fill.retry.base;
    "edge.fill.retry.max", Now, edge.fill.retry.max;
    "edge.fill.retry.count", Now, edge.fill.retry.count;
    "edge.fill.retry.jitter", Now, edge.fill.retry.jitter;
    "edge.fill.retry.retry_on", Now, edge.fill.retry.retry_on;
    "edge.fill.retry.budget", Now, edge.fill.retry.budget_percent;
    "edge.fill.circuit.failures", Now, edge.fill.circuit.failures;
    "edge.fill.circuit.open_for", Now, edge.fill.circuit.open_for;
    "edge.ingress.rps_limit", Now, edge.ingress.shed.rps_limit;
    "edge.ingress.rps_per_client", Now, edge.ingress.shed.rps_per_client;
    "edge.ingress.max_inflight", Now, edge.ingress.shed.max_inflight;
    "edge.ingress.timeout", Now, edge.ingress.timeout;
    "edge.ingress.header_timeout", Now, edge.ingress.header_timeout;
    "edge.ingress.write_timeout", Now, edge.ingress.write_timeout;
    "edge.ingress.min_send_rate", Now, edge.ingress.min_send_rate;
    "edge.ingress.keepalive", Now, edge.ingress.keepalive;
    "edge.ingress.keepalive_requests", Now, edge.ingress.keepalive_requests;
    "edge.ingress.max_connections", Now, edge.ingress.max_connections;
    "edge.ingress.max_connections_per_client", Now, edge.ingress.max_connections_per_client;
    "edge.ingress.shutdown_delay", Upgrade, edge.ingress.shutdown_delay;
    "edge.ingress.header_bytes", Now, edge.ingress.header_bytes;
    "edge.ingress.uri_bytes", Now, edge.ingress.uri_bytes;
    "edge.ingress.body_bytes", Now, edge.ingress.body_bytes;
    "edge.ingress.trusted_proxies", Now, edge.ingress.trusted_proxies;
    "edge.http.hsts", Now, edge.http.hsts;
    "edge.http.multi_range", Now, edge.http.multi_range;
    "edge.http.direct", Now, edge.http.direct;
    "edge.http.chunk_bytes", Now, edge.http.chunk_bytes;
    "edge.http.cache_control", Now, edge.http.cache_control;
    "edge.http.hosts", Now, edge.http.hosts;
    "edge.http.decode.ratio", Now, edge.http.decode.ratio;
    "edge.http.decode.bytes", Now, edge.http.decode.bytes;
    "edge.http.cors.allow_origins", Now, edge.http.cors;
    "edge.admin.token", Now, edge.admin.token;
    "edge.log.format", Upgrade, edge.log.format;
    "edge.log.level", Now, edge.log.level;
    "edge.log.access", Now, edge.log.access;
    "edge.log.sample", Now, edge.log.sample;
    "edge.log.audit", Upgrade, edge.log.audit;
}

/// What became of the keys when a conf was read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Keys whose values are other ones now, in the order of the documents.
    pub changed: Vec<&'static str>,
    /// Keys whose new values wait for the next process, likewise.
    pub needs_upgrade: Vec<&'static str>,
}

impl Changes {
    /// Whether a key that takes effect now changed, one of these or one in a section of these.
    pub fn touch(&self, paths: &[&str]) -> bool {
        let within =
            |key: &str, path: &str| key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.changed.iter().any(|key| paths.iter().any(|path| within(key, path)))
    }
}

impl Conf {
    /// The conf that is in force when this one is read while `running` serves: its own values, but those of `running` for every key
    /// that can't change while serving. And what differs.
    pub fn over(mut self, running: &Conf) -> (Conf, Changes) {
        let mut changes = Changes::default();
        for row in ROWS.iter().filter(|row| !(row.same)(running, &self)) {
            match row.reload {
                Reload::Now => changes.changed.push(row.path),
                Reload::Upgrade => changes.needs_upgrade.push(row.path),
            }
        }
        for row in ROWS.iter().filter(|row| row.reload == Reload::Upgrade) {
            (row.keep)(running, &mut self);
        }
        (self, changes)
    }
}

/// When a changed value of the key takes effect; a key of packs or origins goes by its list. `None` for what is no key.
pub fn of(path: &str) -> Option<Reload> {
    let list = path.split_once("[]").map_or(path, |(list, _)| list);
    ROWS.iter().find(|row| row.path == list).map(|row| row.reload)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::conf::table::KEYS;

    #[test]
    fn every_key_has_one_row_in_the_order_of_the_table() {
        let keys: Vec<_> = KEYS.iter().map(|key| key.path).filter(|path| !path.contains("[]")).collect();
        let rows: Vec<_> = ROWS.iter().map(|row| row.path).collect();
        assert_eq!(rows, keys);
        assert!(KEYS.iter().all(|key| of(key.path).is_some()));
        assert_eq!((of("edge.packs[].name"), of("edge.nothing")), (Some(Reload::Now), None));
    }

    #[test]
    fn a_change_touches_its_key_and_the_sections_around_it() {
        let changes = Changes { changed: vec!["edge.fill.retry.base"], needs_upgrade: vec!["edge.bind"] };
        assert!(changes.touch(&["edge.mode", "edge.fill"]) && changes.touch(&["edge.fill.retry.base"]));
        assert!(!changes.touch(&["edge.fill.retry.bas", "edge.fi", "edge.bind"]));
    }
}
