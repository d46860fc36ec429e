//! `gate.sh` and `guard.sh`, which CI calls, in a repository made for the test: `cargo run` is this binary, `make perf-quick` hands out reports that were put ready.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

struct Ended {
    code: i32,
    said: String,
}

/// A repository with the scripts, `var/perf` ignored as in ours.
struct Repository(TempDir);

impl Repository {
    fn new() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        for script in ["gate.sh", "guard.sh"] {
            let text = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(script)).unwrap();
            this.write(&format!("testing/performance/{script}"), &text);
        }
        let cargo = format!(
            "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec '{}' \"$@\"\n",
            env!("CARGO_BIN_EXE_perf-compare")
        );
        this.program("cargo", &cargo);
        // The next report that was put ready; without one there is none.
        this.program(
            "make",
            "#!/bin/sh\nnext=$(ls reports | head -n 1)\n[ -z \"$next\" ] || mv reports/$next var/perf/quick.json\n",
        );
        // What gate.sh looks for before it runs anything.
        for name in ["wrk", "taskset", "nginx", "python3"] {
            this.program(name, "#!/bin/sh\nexit 1\n");
        }
        this.program("nproc", "#!/bin/sh\necho 2\n");
        std::fs::create_dir_all(this.path("reports")).unwrap();
        std::fs::create_dir_all(this.path("var/perf")).unwrap();
        this.write(".gitignore", b"/var\n/bin\n/reports\n");
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &[u8]) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
    }

    fn program(&self, name: &str, text: &str) {
        self.write(&format!("bin/{name}"), text.as_bytes());
        std::fs::set_permissions(self.path(&format!("bin/{name}")), PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn sh(&self, args: &[&str]) -> Ended {
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh").args(args).current_dir(self.0.path()).env("PATH", path).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        Ended { code: output.status.code().unwrap(), said: String::from_utf8(said).unwrap() }
    }

    fn commit(&self) {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"];
        let git = |args: &[&str]| {
            let mut command = Command::new("git");
            // The environment of a hook of ours must not reach into this repository.
            command.env_remove("GIT_DIR").env_remove("GIT_INDEX_FILE").env_remove("GIT_WORK_TREE");
            assert!(command.args(identity).args(args).current_dir(self.0.path()).status().unwrap().success());
        };
        git(&["init", "--quiet"]);
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--allow-empty", "--message", "x"]);
    }

    fn gate(&self, reports: &[Value]) -> Ended {
        for (place, report) in reports.iter().enumerate() {
            self.write(&format!("reports/{place}.json"), report.to_string().as_bytes());
        }
        let bounds =
            json!({"asset_4k": {"peer": "nginx", "cpu_us_max": 1.0}, "asset_1m": {"peer": "nginx", "cpu_us_max": 1.2}});
        self.write("testing/performance/gates.json", bounds.to_string().as_bytes());
        self.sh(&["testing/performance/gate.sh"])
    }
}

fn perf() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/perf.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The recorded report, with three times the CPU of nginx in a profile.
fn slow(profile: &str) -> Value {
    let mut value = perf();
    value["profiles"][profile]["ratios"]["nginx"]["cpu_us"] = json!(3.0);
    value
}

#[test]
fn a_quick_run_that_holds_is_not_repeated() {
    let repository = Repository::new();
    let ended = repository.gate(&[perf(), slow("asset_4k")]);
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert!(repository.path("reports/1.json").exists(), "it ran once");
}

#[test]
fn a_noisy_run_is_repeated_and_what_held_once_holds() {
    let ended = Repository::new().gate(&[slow("asset_4k"), slow("asset_1m")]);
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert!(ended.said.contains("running again") && ended.said.contains("held in run 1 of 2"), "{}", ended.said);
}

#[test]
fn what_is_slower_in_three_runs_fails() {
    let ended = Repository::new().gate(&[slow("asset_4k"), slow("asset_4k"), slow("asset_4k"), perf()]);
    assert_eq!(ended.code, 1, "{}", ended.said);
    assert!(
        ended.said.contains("**failed** in each of 3 runs") && ended.said.contains("held in none of 3 runs"),
        "{}",
        ended.said
    );
}

#[test]
fn a_report_that_the_gates_do_not_fit_fails_at_once() {
    let mut without = perf();
    without["profiles"].as_object_mut().unwrap().remove("asset_1m");
    let ended = Repository::new().gate(&[without, perf()]);
    assert_eq!(ended.code, 2, "{}", ended.said);
    assert!(!ended.said.contains("running again"), "{}", ended.said);
}

#[test]
fn a_report_of_an_earlier_call_is_not_judged() {
    let repository = Repository::new();
    repository.write("var/perf/quick.json", perf().to_string().as_bytes());
    let ended = repository.gate(&[]);
    assert_eq!(ended.code, 2, "{}", ended.said);
    assert!(ended.said.contains("quick.json: No such file"), "{}", ended.said);
}

#[test]
fn without_two_cores_the_gates_are_skipped_and_this_is_said() {
    let repository = Repository::new();
    repository.program("nproc", "#!/bin/sh\necho 1\n");
    let ended = repository.gate(&[slow("asset_4k")]);
    assert_eq!((ended.code, ended.said.starts_with("skipped: two cores are needed")), (0, true), "{}", ended.said);
}

/// A repository whose last commit changes `files`, with a report that is slower than its baseline under asset_4k.
fn changing(files: &[(&str, String)]) -> Repository {
    let repository = Repository::new();
    let mut report = perf();
    report["profiles"]["asset_4k"]["ratios"]["nginx"]["rps"] = json!(0.5);
    repository.write("var/perf/perf.json", report.to_string().as_bytes());
    repository.write("testing/performance/baselines/edge_offline.json", perf().to_string().as_bytes());
    repository.write("testing/performance/waivers.json", b"[]");
    repository.commit();
    for (name, text) in files {
        repository.write(&format!("testing/performance/{name}"), text.as_bytes());
    }
    repository.commit();
    repository
}

fn waiver() -> (&'static str, String) {
    let text = json!([{"profile": "asset_4k", "gate": "rps", "note": "x", "until": "9999-12-31"}]).to_string();
    ("waivers.json", text)
}

fn guard(repository: &Repository, rest: &[&str]) -> Ended {
    repository.sh(&[&["testing/performance/guard.sh", "var/perf/perf.json"], rest].concat())
}

#[test]
fn what_became_slower_fails_the_guard() {
    let repository = changing(&[]);
    for rest in [&[][..], &["pull-request"], &["pull-request", "perf-waiver"]] {
        let ended = guard(&repository, rest);
        assert_eq!((ended.code, ended.said.contains("asset_4k:rps")), (1, true), "{rest:?}: {}", ended.said);
    }
}

#[test]
fn a_waiver_that_a_pull_request_brings_counts_only_with_the_label() {
    let repository = changing(&[waiver()]);
    assert_eq!(guard(&repository, &["pull-request", "perf"]).code, 1);
    assert_eq!(guard(&repository, &["pull-request", "perf", "perf-waiver"]).code, 0);
    // In the branch it is nobody's proposal any more.
    assert_eq!(guard(&repository, &[]).code, 0);
    repository.commit();
    assert_eq!(guard(&repository, &["pull-request"]).code, 0);
}

#[test]
fn a_baseline_that_a_pull_request_brings_counts_only_with_the_label() {
    let mut slower = perf();
    slower["profiles"]["asset_4k"]["ratios"]["nginx"]["rps"] = json!(0.5);
    let repository = changing(&[("baselines/edge_offline.json", slower.to_string())]);
    let ended = guard(&repository, &["pull-request"]);
    assert_eq!((ended.code, ended.said.contains("The baseline is that of the branch")), (1, true), "{}", ended.said);
    assert_eq!(guard(&repository, &["pull-request", "perf-waiver"]).code, 0);
    assert_eq!(guard(&repository, &[]).code, 0);
}

#[test]
fn the_guard_says_how_it_is_called() {
    let repository = changing(&[]);
    assert_eq!(repository.sh(&["testing/performance/guard.sh"]).code, 2);
    let ended = guard(&repository, &["pull_request"]);
    assert_eq!((ended.code, ended.said.contains("expected pull-request")), (2, true), "{}", ended.said);
}
