//! The command as it is called: what it prints, and with which code it ends.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn run(args: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_perf-compare")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn recorded(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded").join(name).to_str().unwrap().to_owned()
}

/// A directory with files that a test makes.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn with(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The recorded report, changed.
    fn report(&self, name: &str, change: impl Fn(&mut Value)) -> String {
        let mut value = serde_json::from_str(&std::fs::read_to_string(recorded("perf.json")).unwrap()).unwrap();
        change(&mut value);
        self.with(name, &value.to_string())
    }
}

fn slower(value: &mut Value) {
    value["profiles"]["asset_4k"]["servers"]["svc-edge"]["rps"] = json!(50_000.0);
}

#[test]
fn a_report_that_holds_ends_with_0_and_a_table() {
    let ended = run(&[&recorded("perf.json"), &recorded("perf.json"), "--fail-on", "0.10"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.contains("| profile | gate | baseline | now | change | verdict |"));
    assert!(
        ended.out.contains("| asset_4k | rps | 90000 /s | 90000 /s | +0.0 % (bound −10 %) | held |"),
        "{}",
        ended.out
    );
    assert!(ended.err.contains("held, by absolute figures"));
}

#[test]
fn a_gate_that_fails_ends_with_1_and_is_named() {
    let files = Files::new();
    let ended = run(&[&files.report("now.json", slower), &recorded("perf.json")]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.out.contains("| asset_4k | rps | 90000 /s | 50000 /s | -44.4 % (bound −10 %) | **failed** |"),
        "{}",
        ended.out
    );
    assert!(ended.out.contains("1 failed, 0 waived"));
    assert!(ended.err.contains("failed, by absolute figures: asset_4k:rps"));
}

#[test]
fn a_peer_that_is_named_is_the_one_that_is_compared_with() {
    let ended = run(&[&recorded("perf.json"), &recorded("perf.json"), "--peer", "h2o"]);
    assert!(ended.out.contains("| asset_4k | cpu, ratio to h2o | 1.25 | 1.25 |"), "{}", ended.out);
    assert!(ended.out.contains("| asset_1m | cpu, ratio to nginx |"), "{}", ended.out);
}

#[test]
fn the_json_has_each_gate_with_its_figures() {
    let files = Files::new();
    let ended = run(&[&files.report("now.json", slower), &recorded("perf.json"), "--json"]);
    assert_eq!(ended.code, 1);
    let value: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&value["held"], &value["basis"]), (&json!(false), &json!("absolute")));
    let failed: Vec<&Value> =
        value["gates"].as_array().unwrap().iter().filter(|gate| gate["verdict"] == json!("failed")).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(
        (&failed[0]["gate"], &failed[0]["baseline"], &failed[0]["now"]),
        (&json!("rps"), &json!(90_000.0), &json!(50_000.0))
    );
}

#[test]
fn a_waiver_lets_the_gate_fail_and_one_of_a_file_needs_leave() {
    let files = Files::new();
    let (now, before) = (files.report("now.json", slower), recorded("perf.json"));
    assert_eq!(run(&[&now, &before, "--waive", "asset_4k:rps", "--note", "verified now"]).code, 0);
    let none = run(&[&now, &before, "--waive", "asset_4k:rps"]);
    assert!((none.code, none.err.contains("a waiver needs a note")) == (2, true), "{}", none.err);
    let waivers = files.with("w.json", r#"[{"profile":"asset_4k","gate":"rps","note":"x","until":"9999-12-31"}]"#);
    let without = run(&[&now, &before, "--waivers", &waivers]);
    assert!((without.code, without.out.contains("does not count without --waivers-allowed")) == (1, true));
    let with = run(&[&now, &before, "--waivers", &waivers, "--waivers-allowed"]);
    assert!((with.code, with.out.contains("waived: x (until 9999-12-31)")) == (0, true), "{}", with.out);
    let old = files.with("o.json", r#"[{"profile":"asset_4k","gate":"rps","note":"x","until":"2020-01-01"}]"#);
    assert_eq!(run(&[&now, &before, "--waivers", &old]).code, 2);
}

#[test]
fn bad_usage_and_unreadable_input_end_with_2_and_name_what_is_wrong() {
    let files = Files::new();
    let perf = recorded("perf.json");
    let (text, list) = (files.with("text.json", "p95: 3"), files.with("list.json", "[]"));
    let unknown = files.with("unknown.json", r#"{"latency": 3}"#);
    let cut = files.with("cut.json", &std::fs::read_to_string(&perf).unwrap()[..500]);
    let deep = files.with("deep.json", &"[".repeat(100_000));
    let no_machine = files.report("no_machine.json", |value| value["machine"] = json!(null));
    let directory = files.0.path().to_str().unwrap().to_owned();
    for (args, what) in [
        (vec![], "<REPORT>"),
        (vec![&*perf], "<BASELINE>"),
        (vec![&*perf, "absent.json"], "absent.json: No such file"),
        (vec![&*perf, &*directory], "Is a directory"),
        (vec![&*text, &*perf], "text.json: not JSON"),
        (vec![&*cut, &*perf], "cut.json: not JSON: EOF"),
        (vec![&*deep, &*perf], "deep.json: not JSON: recursion limit"),
        (vec![&*list, &*perf], "list.json: not a report that perf-compare knows: it is a list"),
        (vec![&*unknown, &*perf], "its keys are [\"latency\"]"),
        (vec![&*no_machine, &*perf], "no_machine.json: a report of the harness"),
        (vec![&*perf, &*perf, "--fail-on", "10"], "a share from 0 to 1"),
        (vec![&*perf, &*perf, "--noise-ms=-1"], "milliseconds from 0 to 1000"),
        (vec![&*perf, &*perf, "--waivers-allowed"], "--waivers"),
        (vec![&*perf, &*perf, "--profile", "asset_5k"], "no profile `asset_5k`"),
        (vec![&*perf, &*perf, "--peer", "ngnix"], "the peer `ngnix`; there are floor, h2o, martin, nginx"),
        (vec![&*perf, &*perf, "--ratios", "--profile", "live_fill"], "nothing was comparable"),
        (vec![&*perf, &*perf, "--fial-on", "0.1"], "--fail-on"),
    ] {
        let ended = run(&args);
        assert_eq!(ended.code, 2, "{args:?}: {} {}", ended.out, ended.err);
        assert!(ended.err.contains(what), "{args:?}: {}", ended.err);
        assert_eq!(ended.out, "", "{args:?}");
    }
}

#[test]
fn a_baseline_holds_the_report_it_was_made_of_and_fails_a_slower_one() {
    let files = Files::new();
    let out = files.path("edge_offline.json");
    let made = run(&["baseline", &recorded("perf.json"), out.to_str().unwrap()]);
    assert_eq!(made.code, 0, "{}", made.err);
    let value: Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["commit", "conf", "date", "kind", "machine", "profiles", "schema", "versions"]);
    assert_eq!(value["profiles"]["asset_4k"]["figures"].get("fds"), None);
    assert_eq!(run(&[&recorded("perf.json"), out.to_str().unwrap()]).code, 0);
    assert_eq!(run(&[&files.report("now.json", slower), out.to_str().unwrap()]).code, 1);
    assert_eq!(std::fs::read_dir(files.0.path()).unwrap().count(), 2, "nothing is left beside the baseline");
}

#[test]
fn a_baseline_with_errors_is_made_with_a_warning() {
    let files = Files::new();
    let report = files.report("now.json", |value| {
        value["profiles"]["asset_4k"]["servers"]["svc-edge"]["errors"] = json!(40_000);
    });
    let made = run(&["baseline", &report, files.path("out.json").to_str().unwrap()]);
    assert_eq!(made.code, 0);
    assert!(made.err.contains("warning: 10.000 % of the requests of asset_4k failed"), "{}", made.err);
}

#[test]
fn what_makes_no_baseline_leaves_the_one_before_alone() {
    let files = Files::new();
    let out = files.with("baseline.json", "before");
    for report in [recorded("wrk.json"), files.report("now.json", |value| value["conf"] = json!(""))] {
        let ended = run(&["baseline", &report, &out]);
        assert_eq!(ended.code, 2, "{report}");
        assert!(ended.err.contains(&report), "{}", ended.err);
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "before");
    }
}

#[test]
fn the_gates_file_holds_on_its_edge_and_fails_beyond() {
    let files = Files::new();
    // To nginx: cpu_us 0.9091, rps 1.0588, p95_ms 0.9091.
    let perf = recorded("perf.json");
    for (bound, value, code) in [
        ("cpu_us_max", 0.9091, 0),
        ("cpu_us_max", 0.909, 1),
        ("rps_min", 1.0588, 0),
        ("rps_min", 1.0589, 1),
        ("p95_ms_max", 0.9091, 0),
        ("p95_ms_max", 0.909, 1),
        ("p99_ms_max", 0.9091, 0),
        ("p99_ms_max", 0.909, 1),
        ("rss_mib_max", 18.0, 0),
        ("rss_mib_max", 17.9, 1),
        ("shed_rate_max", 0.0, 0),
        ("error_rate_max", 0.0, 0),
    ] {
        let gates =
            files.with("gates.json", &json!({"asset_4k": {"peer": "nginx", bound: value, "note": "why"}}).to_string());
        let ended = run(&["gate", &perf, &gates]);
        assert_eq!(ended.code, code, "{bound} {value}: {} {}", ended.out, ended.err);
    }
    let shed = files.with("gates.json", &json!({"fixed_400": {"shed_rate_max": 0.003}}).to_string());
    assert_eq!(run(&["gate", &perf, &shed]).code, 1);
}

#[test]
fn a_profile_may_have_bounds_to_several_peers() {
    let files = Files::new();
    let gates = json!({"asset_4k": [{"peer": "nginx", "cpu_us_max": 1.0}, {"peer": "h2o", "cpu_us_max": 1.0}]});
    let ended = run(&["gate", &recorded("perf.json"), &files.with("gates.json", &gates.to_string())]);
    assert_eq!(ended.code, 1);
    assert!(ended.out.contains("| asset_4k | cpu_us_max, ratio to nginx | 1 | 0.909 | held |"), "{}", ended.out);
    assert!(ended.out.contains("| asset_4k | cpu_us_max, ratio to h2o | 1 | 1.25 | **failed** |"), "{}", ended.out);
}

#[test]
fn a_bound_that_held_in_an_earlier_run_holds_and_one_that_never_did_fails() {
    let files = Files::new();
    let noisy = |name: &str, profile: &'static str| {
        files.report(name, move |value| value["profiles"][profile]["ratios"]["nginx"]["cpu_us"] = json!(3.0))
    };
    let (first, second) = (noisy("1.json", "asset_4k"), noisy("2.json", "asset_1m"));
    let bounds =
        json!({"asset_4k": {"peer": "nginx", "cpu_us_max": 1.0}, "asset_1m": {"peer": "nginx", "cpu_us_max": 1.2}});
    let gates = files.with("gates.json", &bounds.to_string());
    assert_eq!(run(&["gate", &first, &gates]).code, 1);
    assert_eq!(run(&["gate", &second, &gates]).code, 1);
    let both = run(&["gate", &second, &gates, "--earlier", &first]);
    assert_eq!(both.code, 0, "{}", both.out);
    assert!(both.out.contains("held in run 1 of 2"));
    let never = run(&["gate", &first, &gates, "--earlier", &first]);
    assert_eq!(never.code, 1);
    assert!(never.out.contains("**failed** in each of 2 runs"));
    let value: Value =
        serde_json::from_str(&run(&["gate", &second, &gates, "--earlier", &first, "--json"]).out).unwrap();
    assert_eq!(value["held"], json!(true));
}

#[test]
fn a_gates_file_that_could_judge_nothing_ends_with_2() {
    let files = Files::new();
    for (gates, what) in [
        (json!([]), "expected an object"),
        (json!({}), "it has no bound"),
        (json!({"asset_4k": {"peer": "nginx"}}), "it has no bound"),
        (json!({"asset_4k": 3}), "asset_4k: expected an object with bounds"),
        (json!({"asset_4k": {"peer": "nginx", "cpu_max": 1}}), "did you mean `cpu_us_max`?"),
        (json!({"asset_4k": {"peer": "nginx", "cpu_us_max": "1"}}), "cpu_us_max: expected a number"),
        (json!({"asset_4k": {"peer": 3, "cpu_us_max": 1}}), "peer is not a string"),
        (json!({"asset_4k": {"cpu_us_max": 1}}), "no peer is named"),
        (json!({"asset_4k": {"peer": "varnish", "cpu_us_max": 1}}), "the peer varnish took no part in the run"),
        (json!({"asset_4k": {"peer": "floor", "p95_ms_max": 1}}), "no such ratio to floor"),
        (json!({"asset_5k": {"peer": "nginx", "cpu_us_max": 1}}), "the report has no such profile; it has asset_1m"),
    ] {
        let ended = run(&["gate", &recorded("perf.json"), &files.with("gates.json", &gates.to_string())]);
        assert_eq!(ended.code, 2, "{gates}: {}", ended.out);
        assert!(ended.err.contains(what), "{gates}: {}", ended.err);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let command = format!("'{}' '{1}' '{1}' | true", env!("CARGO_BIN_EXE_perf-compare"), recorded("perf.json"));
    let output = Command::new("bash").args(["-c", &format!("set -o pipefail; {command}")]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_readme_has_every_gate_as_the_table_has_it_and_the_bounds_as_they_are() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    for row in perf_compare::gate::GATES {
        let line = format!("| `{}` | {} |", row.name, row.fails);
        assert!(readme.contains(&line), "{line}");
    }
    let bounds = perf_compare::gate::Bounds::default();
    for (flag, value) in [
        ("--fail-on", bounds.speed),
        ("--fail-on-resources", bounds.resources),
        ("--fail-on-shed", bounds.shed),
        ("--fail-on-errors", bounds.errors),
        ("--noise-ms", bounds.noise_ms),
    ] {
        assert!(readme.contains(&format!("`{flag} {value}`")), "{flag} {value}");
    }
    assert!(readme.contains(&perf_compare::compare::PEERS.join(", ")));
}

#[test]
fn the_gates_file_and_the_waivers_of_the_project_are_read() {
    let file = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    let bounds = perf_compare::bounds::of_file(&file("gates.json")).unwrap();
    assert!(bounds.iter().any(|bound| bound.profile == "asset_4k" && bound.key == "cpu_us_max"), "{bounds:?}");
    // Whether one has ended is for the guard to say, not for a test that would fail some day by itself.
    let long_ago = perf_compare::date::Day::parse("2026-01-01").unwrap();
    perf_compare::waiver::of_file(&file("waivers.json"), long_ago).unwrap();
}
