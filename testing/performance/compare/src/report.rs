//! What every kind of file becomes before it is judged: profiles with the figures that the gates use.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The figures of one server under one profile. What was not measured is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// 95th percentile of the time to the end of an answer, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<f64>,
    /// 99th percentile of the same, in milliseconds. Judged only where a side has no 95th: bombardier writes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    /// Requests answered a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rps: Option<f64>,
    /// CPU time of the server's processes a request, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<f64>,
    /// Resident memory of the server's processes, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_mib: Option<f64>,
    /// The share of requests that were refused, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shed_rate: Option<f64>,
    /// The share of requests that failed (no answer, or not the one that was asked for), 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<f64>,
}

/// svc-edge's figures divided by those of a peer in the same run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratios {
    /// Of the 95th percentiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<f64>,
    /// Of the 99th percentiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    /// Of the requests a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rps: Option<f64>,
    /// Of the CPU time a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<f64>,
}

/// One load, and how svc-edge stood it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// svc-edge's own.
    pub figures: Figures,
    /// By peer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ratios: BTreeMap<String, Ratios>,
}

/// What a run took place on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's model, as the system names it.
    pub cpu: String,
    /// Cores that the system has.
    pub cores: u64,
    /// The kernel's release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Memory of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
}

impl Machine {
    /// Whether absolute figures of both may be compared: the same processor, with as many cores.
    pub fn is_like(&self, other: &Self) -> bool {
        self.cpu == other.cpu && self.cores == other.cores
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {} cores", self.cpu, self.cores)
    }
}

/// Who wrote a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The harness in `testing/performance`: many profiles, with peers.
    Harness,
    /// `perf-compare baseline`: of such a report, what the gates use.
    Baseline,
    /// The `done` function of the harness' wrk scripts: one run.
    Wrk,
    /// `oha --output-format json`: one run.
    Oha,
    /// `bombardier -l -o json`: one run.
    Bombardier,
}

impl Source {
    /// Whether a file of this kind is one run of a load, which knows neither machine nor server nor the name of its profile.
    pub fn is_one_run(self) -> bool {
        matches!(self, Self::Wrk | Self::Oha | Self::Bombardier)
    }
}

/// The profile of a file that is one run, until `--profile` names it.
pub const UNNAMED: &str = "run";

/// A file, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Who wrote it.
    pub source: Source,
    /// Where the run took place, where the file says so.
    pub machine: Option<Machine>,
    /// The commit that was measured.
    pub commit: Option<String>,
    /// When, as the file writes it.
    pub date: Option<String>,
    /// The YAML that svc-edge ran with.
    pub conf: Option<String>,
    /// Versions of the servers and tools, by name.
    pub versions: BTreeMap<String, String>,
    /// By name.
    pub profiles: BTreeMap<String, Profile>,
}

impl Report {
    /// A report of one run, which says nothing of where it took place.
    pub fn of_one_run(source: Source, figures: Figures) -> Self {
        let profile = Profile { figures, ratios: BTreeMap::new() };
        Self {
            source,
            machine: None,
            commit: None,
            date: None,
            conf: None,
            versions: BTreeMap::new(),
            profiles: BTreeMap::from([(UNNAMED.to_owned(), profile)]),
        }
    }

    /// The same with `name` for the profile of a single run; other reports stay as they are.
    pub fn named(mut self, name: &str) -> Self {
        if self.source.is_one_run()
            && let Some(profile) = self.profiles.remove(UNNAMED)
        {
            self.profiles.insert(name.to_owned(), profile);
        }
        self
    }
}
