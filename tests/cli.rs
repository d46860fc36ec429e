//! The command line, with the real binary.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use pmtiles::{PmTilesWriter, TileCoord, TileType};
use svc_edge::cli::command;

#[path = "cli/live.rs"]
mod live;
#[path = "cli/lock.rs"]
mod lock;

/// Run svc-edge in `dir` with no environment but what the test says.
fn run(dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_svc-edge"))
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

/// Exit code, standard output and standard error.
fn outcome(dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let output = run(dir, arguments, environment);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A directory that holds one pack, `x.pmtiles`.
fn with_pack() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(dir.path().join("x.pmtiles")).unwrap();
    let mut writer = PmTilesWriter::new(TileType::Png).create(file).unwrap();
    writer.add_tile(TileCoord::new(0, 0, 0).unwrap(), b"\x89PNG\r\n\x1a\n").unwrap();
    writer.finalize().unwrap();
    dir
}

#[test]
fn the_line_of_the_readme_is_right() {
    let dir = with_pack();
    let line = "--bind 127.0.0.1:8080 --metrics 127.0.0.1:9090 --mode offline --pack ./x.pmtiles --test";
    let arguments: Vec<_> = line.split(' ').collect();
    let with_word: Vec<_> = std::iter::once("serve").chain(arguments.iter().copied()).collect();
    for arguments in [arguments, with_word] {
        let (code, out, err) = outcome(dir.path(), &arguments, &[]);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(
            out.starts_with("conf ok\nbind 127.0.0.1:8080\nmetrics 127.0.0.1:9090\npack x ok: ./x.pmtiles\n"),
            "{out}"
        );
    }
}

#[test]
fn check_says_ok_and_binds_nothing() {
    let dir = with_pack();
    // The port is taken: whoever binds it fails.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("edge:\n  bind: {}\n  packs:\n    - path: x.pmtiles\n", taken.local_addr().unwrap());
    fs::write(dir.path().join("c.yaml"), text).unwrap();
    for arguments in [&["check", "--conf", "c.yaml"][..], &["--conf", "c.yaml", "--test"], &["-c", "c.yaml", "-t"]] {
        let (code, out, err) = outcome(dir.path(), arguments, &[]);
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
        assert!(
            out.starts_with("conf ok\n") && out.contains("pack x ok: x.pmtiles\n") && out.contains("cas ok: var/cas\n"),
            "{out}"
        );
    }
    assert!(!dir.path().join("var").exists(), "check makes nothing");
}

#[test]
fn a_wrong_conf_exits_with_2_and_names_file_line_and_column() {
    let dir = with_pack();
    fs::write(dir.path().join("c.yaml"), "edge:\n  csa: {}\n  ingress: {timeout: 5}\n").unwrap();
    for arguments in [&["check", "--conf", "c.yaml"][..], &["--conf", "c.yaml"], &["serve", "--conf", "c.yaml"]] {
        let (code, out, err) = outcome(dir.path(), arguments, &[]);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        let lines: Vec<_> = err.lines().collect();
        assert_eq!(lines.len(), 2, "{err}");
        assert!(
            lines[0].starts_with("c.yaml:2:3: unknown key `edge.csa` (did you mean `edge.cas`?); allowed in `edge`: "),
            "{err}"
        );
        assert!(lines[1].starts_with("c.yaml:3:22: `edge.ingress.timeout`: `5` is no duration"), "{err}");
    }
}

#[test]
fn a_conf_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for (path, why) in [("none.yaml", "No such file"), (".", "directory"), ("/dev/zero", "larger than 1024 KiB")] {
        let (code, _, err) = outcome(dir.path(), &["check", "--conf", path], &[]);
        assert_eq!(code, 2, "{err}");
        assert!(err.starts_with(&format!("{path}:")) && err.contains(why) && err.lines().count() == 1, "{err}");
    }
}

#[test]
fn a_variable_names_the_conf_and_its_misspelling_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("c.yaml"), "edge: {bind: 127.0.0.1:7}\n").unwrap();
    let (code, out, _) = outcome(dir.path(), &["check"], &[("SVC_EDGE_CONF", "c.yaml")]);
    assert!(code == 0 && out.contains("bind 127.0.0.1:7\n"), "{out}");
    let both = [("SVC_EDGE_CONF", "none.yaml"), ("SVC_EDGE_EDGE__METRICS", "off")];
    let (code, out, _) = outcome(dir.path(), &["check", "--conf", "c.yaml"], &both);
    assert!(code == 0 && out.contains("bind 127.0.0.1:7\n") && !out.contains("metrics"), "{out}");
    let (code, _, err) = outcome(dir.path(), &["check"], &[("SVC_EDGE_CNOF", "c.yaml")]);
    assert!(
        code == 2 && err.contains("SVC_EDGE_CNOF: names no key (did you mean `SVC_EDGE_CONF`?); allowed: "),
        "{err}"
    );
}

#[test]
fn without_a_conf_no_file_is_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("conf")).unwrap();
    for name in ["svc-edge.yaml", "conf/svc-edge.yaml"] {
        fs::write(dir.path().join(name), "not a conf").unwrap();
    }
    assert_eq!(outcome(dir.path(), &["--test"], &[]).0, 0);
}

#[test]
fn a_pack_that_is_not_there_or_is_no_file_is_one_line_and_2() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d.pmtiles")).unwrap();
    for (path, why) in [("none.pmtiles", "No such file"), ("d.pmtiles", "not a regular file")] {
        let (code, out, err) = outcome(dir.path(), &["--pack", path, "--test"], &[]);
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert!(err.contains(path) && err.contains(why) && err.lines().count() == 1, "{err}");
    }
}

#[test]
fn a_cas_directory_that_others_may_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cas = dir.path().join("cas");
    fs::create_dir(&cas).unwrap();
    for (mode, code) in [(0o700, 0), (0o755, 0), (0o770, 2), (0o707, 2), (0o1777, 2)] {
        fs::set_permissions(&cas, fs::Permissions::from_mode(mode)).unwrap();
        let (found, _, err) = outcome(dir.path(), &["check", "--cas-dir", "cas"], &[]);
        assert_eq!(found, code, "{mode:o}: {err}");
        assert_eq!(err.contains("lets other users write"), code == 2, "{mode:o}: {err}");
    }
    fs::write(dir.path().join("file"), "").unwrap();
    let (code, _, err) = outcome(dir.path(), &["check", "--cas-dir", "file"], &[]);
    assert!(code == 2 && err.contains("is no directory"), "{err}");
}

#[test]
fn wrong_usage_exits_with_2() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [
        &["--frobnicate"][..],
        &["frobnicate"],
        &["--conf"],
        &["--rps", "fast"],
        &["--inflight", "0"],
        &["completions", "dos"],
        &["--mode", "online"],
        &["--bind", "nowhere"],
        &["--log-level", "loud"],
        &["check", "--upgrade"],
    ] {
        let (code, out, err) = outcome(dir.path(), arguments, &[]);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(!err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_listener_on_every_address_without_a_name_for_urls_is_warned_of() {
    let dir = with_pack();
    let warned = |arguments: &[&str], environment: &[(&str, &str)]| {
        let arguments = [&["check", "--metrics", "off"], arguments].concat();
        let (code, out, err) = outcome(dir.path(), &arguments, environment);
        assert_eq!(code, 0, "{err}");
        assert!(out.starts_with("conf ok\n"), "{out}");
        err
    };
    for bind in ["0.0.0.0:8080", "[::]:8080"] {
        let pack = ["--bind", "127.0.0.1:1", "--bind", bind, "--pack", "x.pmtiles"];
        let warning = warned(&pack, &[]);
        assert!(warning.starts_with(&format!("warning: edge.bind is {bind}, ")), "{warning}");
        assert!(warning.ends_with("; set edge.public_url or edge.http.hosts\n"), "{warning}");
        assert_eq!(warned(&pack, &[("SVC_EDGE_EDGE__PUBLIC_URL", "https://tiles.example")]), "");
        assert_eq!(warned(&pack, &[("SVC_EDGE_EDGE__HTTP__HOSTS", "tiles.example")]), "");
        // Without packs there is no TileJSON.
        assert_eq!(warned(&["--bind", bind], &[]), "");
    }
    assert_eq!(warned(&["--bind", "127.0.0.1:1", "--pack", "x.pmtiles"], &[]), "");
}

#[test]
fn the_version_names_the_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, _) = outcome(dir.path(), &["--version"], &[]);
    assert_eq!(code, 0);
    assert_eq!(out, format!("svc-edge {} ({})\n", env!("CARGO_PKG_VERSION"), svc_edge::conf::version::COMMIT));
}

/// Long flags of a command and of those below it, but for the hidden ones.
fn flags(command: &clap::Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_owned);
    let below = command.get_subcommands().filter(|command| !command.is_hide_set()).flat_map(flags);
    own.chain(below).collect()
}

#[test]
fn completions_know_every_flag_and_command() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (code, out, err) = outcome(dir.path(), &["completions", shell], &[]);
        assert_eq!((code, err.as_str()), (0, ""), "{shell}");
        for flag in flags(&command()) {
            assert!(out.contains(&flag), "{shell}: {flag}");
        }
        for command in command().get_subcommands().filter(|command| !command.is_hide_set()) {
            assert!(out.contains(command.get_name()), "{shell}: {}", command.get_name());
        }
    }
}

#[test]
fn manual_pages_know_every_flag_of_their_command() {
    let dir = tempfile::tempdir().unwrap();
    let (code, page, _) = outcome(dir.path(), &["man"], &[]);
    assert_eq!(code, 0);
    assert_page(&page, &command());
    let (code, out, err) = outcome(dir.path(), &["man", "--dir", "share/man1"], &[]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""));
    for command in command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let path = dir.path().join(format!("share/man1/svc-edge-{}.1", command.get_name()));
        assert_page(&fs::read_to_string(path).unwrap(), command);
    }
    assert_page(&fs::read_to_string(dir.path().join("share/man1/svc-edge.1")).unwrap(), &command());
}

fn assert_page(page: &str, command: &clap::Command) {
    assert!(page.contains(".SH SYNOPSIS"), "{}", command.get_name());
    for flag in command.get_arguments().filter_map(|argument| argument.get_long()) {
        // roff writes a hyphen as `\-`.
        assert!(page.contains(&flag.replace('-', "\\-")), "{}: {flag}", command.get_name());
    }
}

#[test]
fn help_has_examples_and_names_every_flag() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, _) = outcome(dir.path(), &["--help"], &[]);
    assert_eq!(code, 0);
    assert!(out.contains("Examples:"));
    for flag in command().get_arguments().filter_map(|argument| argument.get_long()) {
        assert!(out.contains(&format!("--{flag}")), "{flag}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_svc-edge"))
        .args(["completions", "zsh"])
        .current_dir(dir.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn pages_made_from_tables_are_printed_as_they_stand_in_the_tree() {
    let dir = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (page, file) in [("conf", "docs/conf.md"), ("sample", "conf/svc-edge.yaml"), ("metrics", "docs/metrics.md")] {
        let (code, out, _) = outcome(dir.path(), &["docs", page], &[]);
        assert_eq!(code, 0);
        let kept = fs::read_to_string(root.join(file)).unwrap();
        assert!(out == kept, "{file} is old: cargo run -- docs {page} > {file}");
    }
}

#[test]
fn places_of_files_that_a_server_could_not_use_are_found_by_check() {
    let dir = with_pack();
    let run = dir.path().join("run");
    fs::create_dir(&run).unwrap();
    let checked = |mode: u32, conf: &str| {
        fs::set_permissions(&run, fs::Permissions::from_mode(mode)).unwrap();
        fs::write(dir.path().join("c.yaml"), conf).unwrap();
        outcome(dir.path(), &["check", "--conf", "c.yaml"], &[])
    };
    let (code, out, err) = checked(0o700, "upgrade_sock: run/u.sock\npid_file: edge.pid\nerror_log: run/e.log\n");
    assert_eq!(code, 0, "{out}{err}");
    let (code, _, err) = checked(0o755, "upgrade_sock: run/u.sock\n");
    assert_eq!((code, err.as_str()), (2, "upgrade_sock: run: mode 0755 lets others in; allowed: 0700\n"));
    let (code, _, err) = checked(0o700, "pid_file: absent/edge.pid\nerror_log: absent/e.log\n");
    assert_eq!(code, 2);
    for key in ["pid_file: absent: ", "error_log: absent: "] {
        assert!(err.contains(key), "{err}");
    }
}
