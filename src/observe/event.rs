//! What happens and is worth telling: one list of events, and for each of them its name, its level and its fields, from which the log and the
//! audit file are written.

use log::Level;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server answers.
    Started {
        /// Version of the program.
        version: &'static str,
        /// `offline` or `live`.
        mode: &'static str,
    },
    /// The server was asked to stop: it answers what it has begun, and nothing new.
    Stopping,
    /// The server has stopped.
    Stopped,
    /// A pack was mounted, at start or after it was replaced.
    PackMounted {
        /// Its name in URLs.
        pack: String,
        /// Its entity tag.
        etag: String,
    },
    /// A pack was taken out of service.
    PackLost {
        /// Its name in URLs.
        pack: String,
        /// Why.
        cause: String,
    },
    /// A pack is served no more: a reload took it out of the conf.
    PackUnmounted {
        /// Its name in URLs.
        pack: String,
    },
    /// An object was evicted to keep the CAS below its bounds.
    ObjectsEvicted {
        /// How many.
        objects: u64,
        /// Bytes they freed.
        bytes: u64,
    },
    /// A blob that does not hash to its name was set aside.
    BlobQuarantined {
        /// Its name: 64 hex digits.
        hash: String,
    },
    /// The index was unreadable and was set aside; a new one takes its place.
    IndexSetAside {
        /// What was wrong.
        cause: String,
    },
    /// A fill was committed.
    FillFinished {
        /// What follows `/edge/assets/`.
        path: String,
        /// BLAKE3 of the body: 64 hex digits.
        hash: String,
        /// Its length in bytes.
        bytes: u64,
        /// Milliseconds from the first wish for it to the commit.
        ms: u64,
        /// The origin, as the conf calls it.
        origin: String,
    },
    /// A fill stored nothing, though it was to.
    FillFailed {
        /// What follows `/edge/assets/`.
        path: String,
        /// Milliseconds from the first wish for it to its failure.
        ms: u64,
        /// The origin, as the conf calls it.
        origin: String,
        /// Why, in a word.
        cause: &'static str,
        /// Why, in a sentence; empty where the word says it all.
        detail: String,
    },
    /// Somebody purged by the admin listener.
    Purged {
        /// The address that asked; empty where it is not known.
        peer: String,
        /// The path, or the prefix, which ends in `/`.
        what: String,
        /// Objects removed.
        objects: u64,
        /// Bytes that freed.
        bytes: u64,
    },
    /// Somebody wanted to purge by the admin listener, without its token.
    PurgeDenied {
        /// The address that asked; empty where it is not known.
        peer: String,
    },
    /// Readiness changed.
    ReadinessChanged {
        /// Whether every condition holds now.
        ready: bool,
        /// The conditions that don't.
        missing: Vec<&'static str>,
    },
    /// The conf was read again and is in force.
    ConfReloaded {
        /// Paths of the keys whose values are other ones now.
        changed: Vec<String>,
        /// Paths of the keys that differ and keep their old values until the process is replaced.
        needs_upgrade: Vec<String>,
    },
    /// The conf was read again and is wrong; the old one stays in force.
    ConfRefused {
        /// What is wrong, with its place.
        cause: String,
    },
    /// Changed certificates were taken up.
    CertificatesReloaded {
        /// The address of the listener.
        listener: String,
        /// Names that its certificates are for.
        names: Vec<String>,
    },
    /// Changed certificates can't be used; the old ones stay in use.
    CertificatesRefused {
        /// The address of the listener.
        listener: String,
        /// What is wrong.
        cause: String,
    },
    /// A successor is being given the listeners.
    UpgradeStarted,
    /// The successor serves; this process ends.
    UpgradeDone,
    /// There is no successor that serves; this process goes on.
    UpgradeFailed {
        /// Why.
        cause: String,
    },
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// Text, escaped by whoever writes it.
    Text(String),
    /// A count, or what its name says.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// Several texts; the log joins them by commas.
    List(Vec<String>),
}

/// An event as it is told.
pub struct Told {
    /// What an operator must look at is a WARN or an ERROR; what heals by itself or was asked for is an INFO.
    pub level: Level,
    /// The event's name, in the log and in the audit file.
    pub name: &'static str,
    /// What it is about, in the order in which it is written.
    pub fields: Vec<(&'static str, Field)>,
}

impl Event {
    /// How this event is told. What of it is secret is not in it in the first place.
    pub fn told(&self) -> Told {
        let (level, name) = self.head();
        Told { level, name, fields: self.fields() }
    }

    fn head(&self) -> (Level, &'static str) {
        match self {
            Self::Started { .. } => (Level::Info, "started"),
            Self::Stopping => (Level::Info, "stopping"),
            Self::Stopped => (Level::Info, "stopped"),
            Self::PackMounted { .. } => (Level::Info, "pack_mounted"),
            Self::PackLost { .. } => (Level::Warn, "pack_lost"),
            Self::PackUnmounted { .. } => (Level::Info, "pack_unmounted"),
            Self::ObjectsEvicted { .. } => (Level::Info, "objects_evicted"),
            Self::BlobQuarantined { .. } => (Level::Warn, "blob_quarantined"),
            Self::IndexSetAside { .. } => (Level::Warn, "index_set_aside"),
            // One for each miss: nothing that an operator reads day by day.
            Self::FillFinished { .. } => (Level::Debug, "fill_finished"),
            // That a circuit is open was told when it opened, and a fill that nobody wants any more is no failure.
            Self::FillFailed { cause: "abandoned" | "circuit_open" | "draining" | "offline", .. } => {
                (Level::Debug, "fill_failed")
            }
            Self::FillFailed { .. } => (Level::Warn, "fill_failed"),
            Self::Purged { .. } => (Level::Info, "purged"),
            Self::PurgeDenied { .. } => (Level::Info, "purge_denied"),
            Self::ReadinessChanged { .. } => (Level::Info, "readiness_changed"),
            Self::ConfReloaded { needs_upgrade, .. } if needs_upgrade.is_empty() => (Level::Info, "conf_reloaded"),
            Self::ConfReloaded { .. } => (Level::Warn, "conf_reloaded"),
            Self::ConfRefused { .. } => (Level::Error, "conf_refused"),
            Self::CertificatesReloaded { .. } => (Level::Info, "certificates_reloaded"),
            Self::CertificatesRefused { .. } => (Level::Error, "certificates_refused"),
            Self::UpgradeStarted => (Level::Info, "upgrade_started"),
            Self::UpgradeDone => (Level::Info, "upgrade_done"),
            Self::UpgradeFailed { .. } => (Level::Error, "upgrade_failed"),
        }
    }

    fn fields(&self) -> Vec<(&'static str, Field)> {
        match self {
            Self::Stopping | Self::Stopped | Self::UpgradeStarted | Self::UpgradeDone => Vec::new(),
            Self::Started { version, mode } => vec![("version", text(version)), ("mode", text(mode))],
            Self::PackMounted { pack, etag } => vec![("pack", text(pack)), ("etag", text(etag))],
            Self::PackLost { pack, cause } => vec![("pack", text(pack)), ("cause", text(cause))],
            Self::PackUnmounted { pack } => vec![("pack", text(pack))],
            Self::ObjectsEvicted { objects, bytes } => {
                vec![("objects", Field::Number(*objects)), ("bytes", Field::Number(*bytes))]
            }
            Self::BlobQuarantined { hash } => vec![("hash", text(hash))],
            Self::IndexSetAside { cause } | Self::ConfRefused { cause } | Self::UpgradeFailed { cause } => {
                vec![("cause", text(cause))]
            }
            Self::FillFinished { path, hash, bytes, ms, origin } => vec![
                ("path", text(path)),
                ("hash", text(hash)),
                ("bytes", Field::Number(*bytes)),
                ("ms", Field::Number(*ms)),
                ("origin", text(origin)),
            ],
            Self::FillFailed { path, ms, origin, cause, detail } => vec![
                ("path", text(path)),
                ("cause", text(cause)),
                ("detail", text(detail)),
                ("ms", Field::Number(*ms)),
                ("origin", text(origin)),
            ],
            Self::Purged { peer, what, objects, bytes } => vec![
                ("what", text(what)),
                ("objects", Field::Number(*objects)),
                ("bytes", Field::Number(*bytes)),
                ("peer_addr", text(peer)),
            ],
            Self::PurgeDenied { peer } => vec![("peer_addr", text(peer))],
            Self::ReadinessChanged { ready, missing } => {
                vec![("ready", Field::Flag(*ready)), ("missing", list(missing))]
            }
            Self::ConfReloaded { changed, needs_upgrade } => {
                vec![("changed", list(changed)), ("needs_upgrade", list(needs_upgrade))]
            }
            Self::CertificatesReloaded { listener, names } => {
                vec![("listener", text(listener)), ("names", list(names))]
            }
            Self::CertificatesRefused { listener, cause } => {
                vec![("listener", text(listener)), ("cause", text(cause))]
            }
        }
    }
}

fn text(value: &str) -> Field {
    Field::Text(value.to_owned())
}

fn list(values: &[impl AsRef<str>]) -> Field {
    Field::List(values.iter().map(|value| value.as_ref().to_owned()).collect())
}

impl log::kv::ToValue for Field {
    fn to_value(&self) -> log::kv::Value<'_> {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Number(number) => (*number).into(),
            Self::Flag(flag) => (*flag).into(),
            Self::List(_) => log::kv::Value::from_display(self),
        }
    }
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::List(texts) => f.write_str(&texts.join(",")),
        }
    }
}

impl Told {
    /// Tell the log.
    pub fn log(&self) {
        if self.level > log::max_level() {
            return;
        }
        let name = Field::Text(self.name.to_owned());
        let fields: Vec<_> =
            std::iter::once(("event", &name)).chain(self.fields.iter().map(|(k, v)| (*k, v))).collect();
        log::logger().log(
            &log::Record::builder()
                .level(self.level)
                .target(module_path!())
                .key_values(&fields)
                .args(format_args!(""))
                .build(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_somebody_to_look_is_a_warning_or_an_error_and_the_rest_is_not() {
        let reloaded = |needs: &[&str]| Event::ConfReloaded {
            changed: vec!["edge.log.level".into()],
            needs_upgrade: needs.iter().map(ToString::to_string).collect(),
        };
        let failed = |cause: &'static str| Event::FillFailed {
            path: "a".into(),
            ms: 1,
            origin: "o/".into(),
            cause,
            detail: String::new(),
        };
        let table = [
            (reloaded(&[]), Level::Info),
            (reloaded(&["edge.bind"]), Level::Warn),
            (Event::ConfRefused { cause: "x".into() }, Level::Error),
            (Event::UpgradeFailed { cause: "x".into() }, Level::Error),
            (Event::UpgradeDone, Level::Info),
            (failed("origin"), Level::Warn),
            (failed("abandoned"), Level::Debug),
        ];
        for (event, level) in table {
            assert_eq!(event.told().level, level, "{event:?}");
        }
    }

    #[test]
    fn a_list_is_told_with_commas() {
        let told = Event::ReadinessChanged { ready: false, missing: vec!["a", "b"] }.told();
        let texts: Vec<_> = told.fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!((told.name, texts), ("readiness_changed", vec!["ready=false".to_owned(), "missing=a,b".to_owned()]));
    }
}
