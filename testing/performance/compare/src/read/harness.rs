//! A report of the harness in `testing/performance`: profiles, each with several servers of the same run.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{optional, share};
use crate::report::{Figures, Machine, Profile, Ratios, Report, Source};

/// What `kind` says.
pub(super) const KIND: &str = "svc-edge-perf";
const SCHEMA: u64 = 1;
const OURS: &str = "svc-edge";

#[derive(Deserialize)]
struct Run {
    schema: u64,
    date: Option<String>,
    commit: Option<String>,
    machine: Machine,
    conf: Option<String>,
    #[serde(default)]
    versions: BTreeMap<String, Option<String>>,
    profiles: BTreeMap<String, Load>,
}

#[derive(Deserialize)]
struct Load {
    servers: BTreeMap<String, Server>,
    #[serde(default)]
    ratios: BTreeMap<String, Quotients>,
}

#[derive(Deserialize)]
struct Server {
    cpu_us: Option<f64>,
    rps: Option<f64>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
    rss_mib: Option<f64>,
    requests: Option<f64>,
    errors: Option<f64>,
    shed_rate: Option<f64>,
}

#[derive(Default, Deserialize)]
struct Quotients {
    cpu_us: Option<f64>,
    rps: Option<f64>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
}

pub(super) fn report(value: Value) -> Result<Report, String> {
    let run: Run = serde_json::from_value(value).map_err(|error| error.to_string())?;
    if run.schema != SCHEMA {
        return Err(format!("its schema is {}, and this perf-compare reads {SCHEMA}", run.schema));
    }
    let mut profiles = BTreeMap::new();
    for (name, load) in run.profiles {
        if let Some(profile) = profile(load).map_err(|what| format!("profile {name}: {what}"))? {
            profiles.insert(name, profile);
        }
    }
    Ok(Report {
        source: Source::Harness,
        machine: Some(run.machine),
        commit: run.commit,
        date: run.date,
        conf: run.conf,
        versions: run.versions.into_iter().filter_map(|(name, version)| Some((name, version?))).collect(),
        profiles,
    })
}

/// The profile, or none where svc-edge took no part in it: then it is as absent as one that was not run.
fn profile(mut load: Load) -> Result<Option<Profile>, String> {
    let servers = load
        .servers
        .iter()
        .map(|(name, server)| {
            figures(server).map(|figures| (name.as_str(), figures)).map_err(|w| format!("{name}: {w}"))
        })
        .collect::<Result<BTreeMap<_, _>, _>>()?;
    let Some(ours) = servers.get(OURS) else { return Ok(None) };
    let mut ratios = BTreeMap::new();
    for (peer, figures) in servers.iter().filter(|(name, _)| **name != OURS) {
        let measured = load.ratios.remove(*peer).unwrap_or_default();
        let ratios_of = quotients(&measured, ours, figures).map_err(|what| format!("ratios to {peer}: {what}"))?;
        ratios.insert((*peer).to_owned(), ratios_of);
    }
    Ok(Some(Profile { figures: ours.clone(), ratios }))
}

fn figures(server: &Server) -> Result<Figures, String> {
    let requests = optional("requests", server.requests)?;
    let errors = optional("errors", server.errors)?;
    Ok(Figures {
        p95_ms: optional("p95_ms", server.p95_ms)?,
        p99_ms: optional("p99_ms", server.p99_ms)?,
        rps: optional("rps", server.rps)?,
        cpu_us: optional("cpu_us", server.cpu_us)?,
        rss_mib: optional("rss_mib", server.rss_mib)?,
        shed_rate: optional("shed_rate", server.shed_rate)?,
        // Requests are those that were answered.
        error_rate: requests.zip(errors).and_then(|(requests, errors)| share(errors, requests + errors)),
    })
}

/// The harness' own ratio, the median of the rounds'; where it has none, that of the medians.
fn quotients(measured: &Quotients, ours: &Figures, peer: &Figures) -> Result<Ratios, String> {
    let ratio = |name, measured, ours: Option<f64>, peer: Option<f64>| match optional(name, measured)? {
        Some(ratio) => Ok::<_, String>(Some(ratio)),
        None => Ok(ours.zip(peer).and_then(|(ours, peer)| share(ours, peer))),
    };
    Ok(Ratios {
        p95_ms: ratio("p95_ms", measured.p95_ms, ours.p95_ms, peer.p95_ms)?,
        p99_ms: ratio("p99_ms", measured.p99_ms, ours.p99_ms, peer.p99_ms)?,
        rps: ratio("rps", measured.rps, ours.rps, peer.rps)?,
        cpu_us: ratio("cpu_us", measured.cpu_us, ours.cpu_us, peer.cpu_us)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use serde_json::{Value, json};

    use super::Figures;

    fn value() -> Value {
        json!({
            "schema": 1, "kind": "svc-edge-perf", "date": "2026-11-23T19:00:00Z", "commit": "abc",
            "machine": {"cpu": "A", "cores": 2, "kernel": "6.1", "memory_mib": 7900},
            "conf": "edge: {}", "versions": {"nginx": "1.22.1", "h2o": null},
            "profiles": {
                "asset_4k": {
                    "what": "GET", "tool": "wrk",
                    "servers": {
                        "svc-edge": {"cpu_us": 9.0, "rps": 900.0, "p95_ms": 0.2, "p99_ms": 0.4, "rss_mib": 18.0,
                            "fds": 40, "requests": 999, "errors": 1, "shed_rate": 0.25},
                        "nginx": {"cpu_us": 10.0, "rps": 1000.0, "p95_ms": 0.1},
                        "floor": {"cpu_us": 0.0}
                    },
                    "ratios": {"nginx": {"cpu_us": 0.91}}
                },
                "only_a_peer": {"servers": {"nginx": {"rps": 1.0}}}
            },
            "slos": []
        })
    }

    #[test]
    fn measured_ratios_stand_before_those_of_medians_and_nothing_is_divided_by_nothing() {
        let report = super::report(value()).unwrap();
        let profile = &report.profiles["asset_4k"];
        let nginx = &profile.ratios["nginx"];
        assert_eq!((nginx.cpu_us, nginx.rps, nginx.p95_ms, nginx.p99_ms), (Some(0.91), Some(0.9), Some(2.0), None));
        assert_eq!(profile.ratios["floor"].cpu_us, None);
        assert_eq!((profile.figures.shed_rate, profile.figures.error_rate), (Some(0.25), Some(0.001)));
        assert_eq!(report.versions.keys().collect::<Vec<_>>(), ["nginx"]);
    }

    #[test]
    fn a_recorded_report_has_its_profiles_with_the_ratios_of_its_rounds() {
        let path = crate::read::tests::recorded("harness.json");
        let report = crate::read::report(&path).unwrap();
        let value: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(report.profiles.keys().eq(value["profiles"].as_object().unwrap().keys()));
        for (name, profile) in report.profiles.iter().filter(|(_, profile)| !profile.ratios.is_empty()) {
            for (peer, ratios) in &profile.ratios {
                let measured = &value["profiles"][name]["ratios"][peer];
                assert_eq!(ratios.p95_ms, measured["p95_ms"].as_f64(), "{name} {peer}");
                assert_eq!(ratios.cpu_us, measured["cpu_us"].as_f64(), "{name} {peer}");
            }
        }
        assert_eq!(report.profiles["asset_4k"].figures.error_rate, Some(0.0));
        assert_eq!(report.profiles["start"].figures, Figures::default());
    }

    #[test]
    fn a_profile_without_svc_edge_is_absent() {
        assert_eq!(super::report(value()).unwrap().profiles.len(), 1);
    }

    #[test]
    fn another_schema_is_refused_with_both_numbers() {
        let mut value = value();
        value["schema"] = json!(2);
        assert!(super::report(value).is_err_and(|error| error.contains("schema is 2") && error.contains("reads 1")));
    }

    #[test]
    fn a_negative_figure_is_refused_with_its_place() {
        let mut value = value();
        value["profiles"]["asset_4k"]["servers"]["svc-edge"]["p95_ms"] = json!(-1);
        let error = super::report(value).unwrap_err();
        assert!(error.contains("asset_4k") && error.contains("svc-edge") && error.contains("p95_ms is -1"), "{error}");
    }

    #[test]
    fn a_report_without_its_machine_is_refused() {
        let mut value = value();
        value.as_object_mut().unwrap().remove("machine");
        assert!(super::report(value).is_err_and(|error| error.contains("machine")));
    }
}
