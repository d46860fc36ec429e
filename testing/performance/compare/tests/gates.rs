//! Each gate is shown to hold on its edge and to fail beyond it, on absolute figures and on ratios.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use perf_compare::compare::{Basis, Comparison, Incomparable, Judgement, Settings, Verdict, compare};
use perf_compare::gate::Gate;
use perf_compare::read;
use perf_compare::report::{Profile, Report};

fn recorded(name: &str) -> Report {
    read::report(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded").join(name)).unwrap()
}

/// The report of the recordings and, as its baseline, itself.
fn twice() -> (Report, Report) {
    (recorded("perf.json"), recorded("perf.json"))
}

fn of<'a>(report: &'a mut Report, profile: &str) -> &'a mut Profile {
    report.profiles.get_mut(profile).unwrap()
}

fn judged<'a>(comparison: &'a Comparison, profile: &str, gate: Gate) -> &'a Judgement {
    let found: Vec<_> = comparison.judgements.iter().filter(|j| j.profile == profile && j.gate == gate).collect();
    assert_eq!(found.len(), 1, "{profile} {gate:?}: {:?}", comparison.judgements);
    found[0]
}

/// What becomes of `gate` of asset_4k when `change` is done to the report. Nothing else may fail.
fn after(gate: Gate, settings: &Settings, change: impl Fn(&mut Profile)) -> Verdict {
    let (mut report, baseline) = twice();
    change(of(&mut report, "asset_4k"));
    let comparison = compare(&report, &baseline, settings).unwrap();
    let others = |each: &&Judgement| (each.profile.as_str(), each.gate) != ("asset_4k", gate);
    assert!(comparison.judgements.iter().filter(others).all(|each| each.verdict != Verdict::Failed));
    judged(&comparison, "asset_4k", gate).verdict
}

fn ratios() -> Settings {
    Settings { ratios: true, ..Settings::default() }
}

#[test]
fn a_report_holds_against_itself() {
    let (report, baseline) = twice();
    for settings in [Settings::default(), ratios()] {
        let comparison = compare(&report, &baseline, &settings).unwrap();
        assert!(comparison.held());
        assert!(comparison.judgements.iter().all(|each| each.verdict != Verdict::Noise));
    }
}

#[test]
fn p95_may_rise_by_a_tenth_and_no_more() {
    // 2.0 ms in the baseline.
    let settings = Settings::default();
    assert_eq!(after(Gate::P95, &settings, |p| p.figures.p95_ms = Some(2.2)), Verdict::Held);
    assert_eq!(after(Gate::P95, &settings, |p| p.figures.p95_ms = Some(2.21)), Verdict::Failed);
    assert_eq!(after(Gate::P95, &settings, |p| p.figures.p95_ms = Some(0.1)), Verdict::Held);
}

#[test]
fn a_p95_that_rose_by_less_than_the_noise_is_said_and_not_failed() {
    let fixed = |p95: f64, noise_ms: f64| {
        let (mut report, baseline) = twice();
        // 0.3 ms in the baseline.
        of(&mut report, "fixed_400").figures.p95_ms = Some(p95);
        let mut settings = Settings::default();
        settings.bounds.noise_ms = noise_ms;
        judged(&compare(&report, &baseline, &settings).unwrap(), "fixed_400", Gate::P95).clone()
    };
    let noisy = fixed(0.5, 0.2);
    assert_eq!(noisy.verdict, Verdict::Noise);
    assert_eq!(noisy.note.as_deref(), Some("0.20 ms more, which is within the noise of 0.2 ms"));
    assert_eq!(fixed(0.51, 0.2).verdict, Verdict::Failed);
    assert_eq!(fixed(0.34, 0.0).verdict, Verdict::Failed);
}

#[test]
fn requests_a_second_may_fall_by_a_tenth_and_no_more() {
    // 90,000 in the baseline.
    let settings = Settings::default();
    assert_eq!(after(Gate::Rps, &settings, |p| p.figures.rps = Some(81_000.0)), Verdict::Held);
    assert_eq!(after(Gate::Rps, &settings, |p| p.figures.rps = Some(80_999.0)), Verdict::Failed);
    assert_eq!(after(Gate::Rps, &settings, |p| p.figures.rps = Some(900_000.0)), Verdict::Held);
}

#[test]
fn the_bound_of_speed_is_what_fail_on_says() {
    let mut settings = Settings::default();
    settings.bounds.speed = 0.5;
    assert_eq!(after(Gate::Rps, &settings, |p| p.figures.rps = Some(45_000.0)), Verdict::Held);
    assert_eq!(after(Gate::P95, &settings, |p| p.figures.p95_ms = Some(3.01)), Verdict::Failed);
}

#[test]
fn cpu_and_memory_may_rise_by_fifteen_percent_and_no_more() {
    // 10 µs and 18 MiB in the baseline.
    let settings = Settings::default();
    assert_eq!(after(Gate::Cpu, &settings, |p| p.figures.cpu_us = Some(11.5)), Verdict::Held);
    assert_eq!(after(Gate::Cpu, &settings, |p| p.figures.cpu_us = Some(11.51)), Verdict::Failed);
    assert_eq!(after(Gate::Memory, &settings, |p| p.figures.rss_mib = Some(20.7)), Verdict::Held);
    assert_eq!(after(Gate::Memory, &settings, |p| p.figures.rss_mib = Some(20.71)), Verdict::Failed);
}

#[test]
fn refusals_may_rise_by_half_a_point_and_errors_by_a_tenth_of_one() {
    let settings = Settings::default();
    assert_eq!(after(Gate::Shed, &settings, |p| p.figures.shed_rate = Some(0.005)), Verdict::Held);
    assert_eq!(after(Gate::Shed, &settings, |p| p.figures.shed_rate = Some(0.0051)), Verdict::Failed);
    assert_eq!(after(Gate::Errors, &settings, |p| p.figures.error_rate = Some(0.001)), Verdict::Held);
    assert_eq!(after(Gate::Errors, &settings, |p| p.figures.error_rate = Some(0.0011)), Verdict::Failed);
}

#[test]
fn refusals_are_counted_from_those_of_the_baseline() {
    let (mut report, baseline) = twice();
    // 0.4 % in the baseline.
    of(&mut report, "fixed_400").figures.shed_rate = Some(0.009);
    assert!(compare(&report, &baseline, &Settings::default()).unwrap().held());
    of(&mut report, "fixed_400").figures.shed_rate = Some(0.0091);
    assert!(!compare(&report, &baseline, &Settings::default()).unwrap().held());
}

#[test]
fn a_profile_or_a_figure_that_is_gone_fails() {
    let (mut report, baseline) = twice();
    report.profiles.remove("tile_mvt");
    of(&mut report, "asset_1m").figures.cpu_us = None;
    let comparison = compare(&report, &baseline, &Settings::default()).unwrap();
    assert_eq!(judged(&comparison, "tile_mvt", Gate::Profile).verdict, Verdict::Failed);
    assert_eq!(judged(&comparison, "asset_1m", Gate::Cpu).verdict, Verdict::Failed);
    assert_eq!(judged(&comparison, "asset_4k", Gate::Cpu).verdict, Verdict::Held);
}

#[test]
fn a_profile_that_the_baseline_lacks_is_said_and_not_judged() {
    let (report, mut baseline) = twice();
    baseline.profiles.remove("tile_mvt");
    let comparison = compare(&report, &baseline, &Settings::default()).unwrap();
    assert!(comparison.held());
    assert!(comparison.notes.iter().any(|note| note.starts_with("tile_mvt is not in the baseline")));
    assert!(comparison.judgements.iter().all(|each| each.profile != "tile_mvt"));
}

#[test]
fn on_another_machine_ratios_are_compared_and_this_is_said() {
    let (mut report, baseline) = twice();
    report.machine.as_mut().unwrap().cpu = "Another CPU".to_owned();
    // Twice as slow, as every server there is: the ratios stay.
    for profile in report.profiles.values_mut() {
        profile.figures.rps = profile.figures.rps.map(|rps| rps / 2.0);
        profile.figures.cpu_us = profile.figures.cpu_us.map(|cpu| cpu * 2.0);
        profile.figures.p95_ms = profile.figures.p95_ms.map(|p95| p95 * 2.0);
    }
    let comparison = compare(&report, &baseline, &Settings::default()).unwrap();
    assert_eq!(comparison.basis, Basis::Ratios);
    assert!(comparison.held(), "{:?}", comparison.judgements);
    assert!(comparison.notes[0].contains("another machine (Another CPU, 2 cores) than the baseline (Example CPU"));
    let mut more_cores = baseline.clone();
    more_cores.machine.as_mut().unwrap().cores = 8;
    assert_eq!(compare(&baseline, &more_cores, &Settings::default()).unwrap().basis, Basis::Ratios);
    let mut other_kernel = baseline.clone();
    other_kernel.machine.as_mut().unwrap().kernel = Some("7.0".to_owned());
    assert_eq!(compare(&baseline, &other_kernel, &Settings::default()).unwrap().basis, Basis::Absolute);
}

#[test]
fn ratios_have_the_same_edges_as_figures() {
    let to_nginx = |ratio: fn(&mut perf_compare::report::Ratios) -> &mut Option<f64>, gate, factor: f64| {
        after(gate, &ratios(), |profile| {
            let value = ratio(profile.ratios.get_mut("nginx").unwrap());
            *value = value.map(|value| value * factor);
        })
    };
    assert_eq!(to_nginx(|r| &mut r.rps, Gate::Rps, 0.90), Verdict::Held);
    assert_eq!(to_nginx(|r| &mut r.rps, Gate::Rps, 0.899), Verdict::Failed);
    assert_eq!(to_nginx(|r| &mut r.cpu_us, Gate::Cpu, 1.15), Verdict::Held);
    assert_eq!(to_nginx(|r| &mut r.cpu_us, Gate::Cpu, 1.151), Verdict::Failed);
    assert_eq!(to_nginx(|r| &mut r.p95_ms, Gate::P95, 1.10), Verdict::Held);
    // 2.0 ms now, of which a sixth is above what the peer lets expect: more than noise.
    assert_eq!(to_nginx(|r| &mut r.p95_ms, Gate::P95, 1.2), Verdict::Failed);
    // A ninth of it: within the 0.2 ms.
    assert_eq!(to_nginx(|r| &mut r.p95_ms, Gate::P95, 1.11), Verdict::Noise);
}

#[test]
fn memory_is_compared_as_it_is_also_where_ratios_are() {
    assert_eq!(after(Gate::Memory, &ratios(), |p| p.figures.rss_mib = Some(20.7)), Verdict::Held);
    assert_eq!(after(Gate::Memory, &ratios(), |p| p.figures.rss_mib = Some(20.71)), Verdict::Failed);
}

#[test]
fn the_peer_is_the_first_of_the_order_that_both_runs_have() {
    let (mut report, baseline) = twice();
    let peer = |report: &Report, settings: &Settings| {
        let comparison = compare(report, &baseline, settings).unwrap();
        judged(&comparison, "asset_4k", Gate::Cpu).peer.clone().unwrap()
    };
    assert_eq!(peer(&report, &ratios()), "nginx");
    assert_eq!(peer(&report, &Settings { peers: vec!["martin".into(), "h2o".into()], ..ratios() }), "h2o");
    of(&mut report, "asset_4k").ratios.remove("nginx");
    assert_eq!(peer(&report, &ratios()), "h2o");
    of(&mut report, "asset_4k").ratios.remove("h2o");
    assert_eq!(peer(&report, &ratios()), "floor");
}

#[test]
fn a_profile_without_a_common_peer_is_not_comparable_and_the_others_are() {
    let (report, baseline) = twice();
    let comparison = compare(&report, &baseline, &ratios()).unwrap();
    let alone = judged(&comparison, "live_fill", Gate::Rps);
    assert_eq!(alone.verdict, Verdict::NotComparable);
    assert_eq!(alone.note.as_deref(), Some("no peer has this figure in both runs"));
    assert_eq!(judged(&comparison, "live_fill", Gate::Memory).verdict, Verdict::Held);
    assert_eq!(judged(&comparison, "asset_4k", Gate::Rps).verdict, Verdict::Held);
}

#[test]
fn where_nothing_is_comparable_it_is_an_error_that_says_why() {
    let (mut report, baseline) = twice();
    for profile in report.profiles.values_mut() {
        profile.ratios.clear();
    }
    let Err(Incomparable::Nothing(why)) = compare(&report, &baseline, &ratios()) else { panic!("it was compared") };
    assert!(why.contains("asset_4k p95: no peer has this figure in both runs"), "{why}");
}

#[test]
fn a_peer_of_another_version_is_said() {
    let (mut report, baseline) = twice();
    report.versions.insert("nginx".into(), "1.26.3".into());
    let notes = |settings: &Settings| compare(&report, &baseline, settings).unwrap().notes.join("\n");
    assert!(notes(&ratios()).contains("nginx is 1.26.3 now and was 1.22.1 in the baseline"));
    assert!(!notes(&Settings::default()).contains("1.26.3"));
}

#[test]
fn one_run_is_compared_with_a_profile_that_is_named() {
    let (mut run, baseline) = (recorded("wrk.json"), recorded("perf.json"));
    let named = Settings { profiles: vec!["asset_4k".into()], ..Settings::default() };
    let comparison = compare(&run, &baseline, &named).unwrap();
    // 43,204 a second, where 90,000 were, and 1.04 ms where there were 2.
    assert_eq!(judged(&comparison, "asset_4k", Gate::Rps).verdict, Verdict::Failed);
    assert_eq!(judged(&comparison, "asset_4k", Gate::P95).verdict, Verdict::Held);
    // No load knows these.
    assert_eq!(judged(&comparison, "asset_4k", Gate::Cpu).verdict, Verdict::NotComparable);
    assert_eq!(judged(&comparison, "asset_4k", Gate::Memory).verdict, Verdict::NotComparable);
    run.profiles.get_mut("run").unwrap().figures.rps = Some(90_000.0);
    assert!(compare(&run, &baseline, &named).unwrap().held());
}

#[test]
fn one_run_beside_many_profiles_needs_a_name_that_the_baseline_has() {
    let (run, baseline) = (recorded("wrk.json"), recorded("perf.json"));
    let error = |profiles: &[&str]| {
        let profiles = profiles.iter().map(|name| (*name).to_owned()).collect();
        compare(&run, &baseline, &Settings { profiles, ..Settings::default() }).unwrap_err().to_string()
    };
    assert!(error(&[]).contains("say with --profile which one the run is of (asset_1m, asset_4k,"));
    assert!(error(&["asset_5k"]).contains("no profile `asset_5k`; it has asset_1m,"));
    assert!(error(&["asset_4k", "asset_1m"]).contains("give --profile once"));
}

#[test]
fn two_runs_of_loads_are_compared_by_what_both_have() {
    for name in ["wrk.json", "oha.json", "bombardier.json"] {
        let (before, mut now) = (recorded(name), recorded(name));
        let comparison = compare(&now, &before, &Settings::default()).unwrap();
        assert!(comparison.held(), "{name}");
        assert!(comparison.notes[0].contains("does not say on which machine"), "{name}");
        let figures = &mut now.profiles.get_mut("run").unwrap().figures;
        figures.rps = figures.rps.map(|rps| rps * 0.89);
        figures.p99_ms = figures.p99_ms.map(|p99| p99 * 1.2);
        let comparison = compare(&now, &before, &Settings::default()).unwrap();
        assert_eq!(judged(&comparison, "run", Gate::Rps).verdict, Verdict::Failed, "{name}");
        // bombardier's p99 stands for the p95 that it does not write.
        let latency = judged(&comparison, "run", Gate::P95);
        let expected = if name == "bombardier.json" { ("p99_ms", Verdict::Failed) } else { ("p95_ms", Verdict::Held) };
        assert_eq!((latency.figure, latency.verdict), expected, "{name}");
    }
}

#[test]
fn only_the_chosen_profiles_are_judged() {
    let (mut report, baseline) = twice();
    of(&mut report, "asset_1m").figures.rps = Some(1.0);
    let chosen = Settings { profiles: vec!["asset_4k".into(), "tile_mvt".into()], ..Settings::default() };
    let comparison = compare(&report, &baseline, &chosen).unwrap();
    assert!(comparison.held());
    assert!(comparison.judgements.iter().all(|each| ["asset_4k", "tile_mvt"].contains(&each.profile.as_str())));
}

#[test]
fn a_conf_that_differs_is_said() {
    let (mut report, baseline) = twice();
    report.conf = Some("threads: 4\nedge: {bind: 127.0.0.1:8080}\n".to_owned());
    let notes = compare(&report, &baseline, &Settings::default()).unwrap().notes.join("\n");
    assert!(notes.contains("the conf is not the baseline's: that has `threads: 1`, this has `threads: 4`"), "{notes}");
}
