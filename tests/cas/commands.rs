//! The `cas …` commands: their arguments and their exit codes.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use clap::{Parser, Subcommand};

use super::support::*;
use svc_edge::cli::cas::{CasCommand, CasTarget, run};
use svc_edge::conf::{CasBacking, CasConf};
use svc_edge::store::cas::*;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(subcommand)]
    Cas(CasCommand),
}

fn resolve(target: &CasTarget) -> Result<CasConf, String> {
    match (&target.conf, &target.cas_dir) {
        (Some(_), _) => Ok(CasConf { store: CasBacking::Memory, ..conf(Path::new("/nowhere")) }),
        (None, Some(dir)) => Ok(conf(dir)),
        (None, None) => Err("no store was named".into()),
    }
}

/// The exit code of `svc-edge cas …`; 2 too for what clap refuses.
fn exit(args: &[&str]) -> u8 {
    let Ok(line) = Line::try_parse_from(["svc-edge", "cas"].iter().chain(args)) else { return 2 };
    let Command::Cas(command) = line.command;
    let code = format!("{:?}", run(command, resolve));
    (0..=2).find(|known| code == format!("{:?}", std::process::ExitCode::from(*known))).unwrap()
}

#[test]
fn exit_codes_say_done_fault_or_usage() {
    let (dir, source) = (temp(), temp());
    let (at, from) = (dir.path().join("cas"), source.path().to_str().unwrap());
    let d = at.to_str().unwrap();
    write(&source.path().join("a"), b"a");
    write(&source.path().join("b/c"), b"c");
    for command in [&["list"][..], &["stat"], &["verify"], &["gc"], &["purge", "a"]] {
        assert_eq!(exit(&[command, &["--cas-dir", d]].concat()), 2, "no store there: {command:?}");
    }
    assert!(!at.exists(), "and none was made");
    assert_eq!(exit(&["import", from, "--prefix", "p", "--cas-dir", d]), 0);
    for command in [&["list"][..], &["stat"], &["verify"], &["verify", "--quarantine"], &["gc"], &["purge", "absent"]] {
        assert_eq!(exit(&[command, &["--cas-dir", d]].concat()), 0, "{command:?}");
        assert_eq!(exit(&[command, &["--json", "--cas-dir", d]].concat()), 0, "{command:?} --json");
    }
    let cas = Cas::open(&conf(&at)).unwrap();
    assert_eq!(paths(&cas), ["p/a", "p/b/c"]);

    symlink("a", source.path().join("link")).unwrap();
    assert_eq!(exit(&["import", from, "--prefix", "p", "--json", "--cas-dir", d]), 1, "something was refused");
    flip(&place(&at, &blake3::hash(b"a")), 0);
    assert_eq!(exit(&["verify", "--cas-dir", d]), 1);
    assert_eq!(exit(&["verify", "--quarantine", "--json", "--cas-dir", d]), 1);
    assert_eq!(exit(&["verify", "--cas-dir", d]), 1, "a pinned object is lost");
    assert_eq!(exit(&["purge", "p/a", "--cas-dir", d]), 0);
    assert_eq!(exit(&["verify", "--cas-dir", d]), 0, "and is not missed any more");
    assert_eq!(exit(&["purge", "--prefix", "p", "--cas-dir", d]), 0);
    assert_eq!(paths(&cas), Vec::<String>::new());

    for usage in [
        &["purge", "--cas-dir", d][..],
        &["purge", "a", "--prefix", "p", "--cas-dir", d],
        &["purge", "../a", "--cas-dir", d],
        &["import", from, "--prefix", "/p", "--cas-dir", d],
        &["import", "--cas-dir", d],
        &["list"],
        &["list", "--conf", "memory.yaml"],
        &["frobnicate"],
    ] {
        assert_eq!(exit(usage), 2, "{usage:?}");
    }
    assert_eq!(exit(&["import", "/nowhere/at/all", "--cas-dir", d]), 1);
    fs::set_permissions(&at, fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(exit(&["list", "--cas-dir", d]), 2, "others may write it");
}

#[test]
fn no_nul_of_a_filled_key_reaches_the_output_of_any_command() {
    let dir = temp();
    let cas = Cas::open(&conf(dir.path())).unwrap();
    let query = filled_key("a/b", Some("q=1"));
    let (varied, gone) = (variant(&query, 0xabc), variant("gone", 1));
    fill(&cas, &varied, b"varied", "v");
    fill(&cas, &gone, b"gone", "g");
    fs::remove_file(place(dir.path(), &blake3::hash(b"gone"))).unwrap();
    flip(&place(dir.path(), &blake3::hash(b"varied")), 0);
    drop(cas);
    for (command, says) in [
        (&["list"][..], &["00000000  a/b?q=1", "00000000  gone"][..]),
        (
            &["list", "--json"],
            &["\"path\":\"a/b\"", "\"query\":\"q=1\"", "\"variant\":\"00000000000000000000000000000abc\""],
        ),
        (&["stat"], &["filled       2 (2 variants)"]),
        (&["stat", "--json"], &["\"filled\":2", "\"variants\":2"]),
        (&["verify", "--json"], &["a/b?q=1 (variant 0000", "gone (variant 0000"]),
        (&["verify", "--quarantine"], &["a/b?q=1 (variant 0000", "gone (variant 0000"]),
    ] {
        let mut svc = std::process::Command::new(env!("CARGO_BIN_EXE_svc-edge"));
        let output = svc.arg("cas").args(command).arg("--cas-dir").arg(dir.path()).env_clear().output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!text.contains('\0') && !text.contains("u0000"), "{command:?}: {text:?}");
        for says in says {
            assert!(text.contains(says), "{command:?}: {text}");
        }
    }
}
