//! The `pack` command: its flags and its exit codes.

use std::path::Path;

use clap::Parser;
use svc_edge::cli::pack::{PackCommand, run_to};
use svc_edge::store::pack::pmtiles::directory::Entry;

use crate::build::*;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: PackCommand,
}

/// The exit code, and what was written to standard output.
fn exit(args: &[&str], files: &[&Path]) -> (u8, String) {
    let args = std::iter::once("pack".into()).chain(args.iter().map(Into::into));
    let cli = Cli::try_parse_from(args.chain(files.iter().map(|file| file.as_os_str().to_owned()))).unwrap();
    let mut out = Vec::new();
    let code = run_to(cli.command, &mut out);
    (code, String::from_utf8(out).unwrap())
}

#[test]
fn exit_codes_tell_sound_from_faulty_from_unreadable() {
    let dir = tempfile::tempdir().unwrap();
    let (sound, faulty, none) = (dir.path().join("sound"), dir.path().join("faulty"), dir.path().join("none"));
    simple_pmtiles(&sound, &pyramid(2));
    let entry = Entry { id: 0, offset: 3, length: 9, run: 1 };
    std::fs::write(&faulty, Raw::of(&[entry], b"short").bytes()).unwrap();
    for args in [&["verify"][..], &["verify", "--json"]] {
        assert_eq!(exit(args, &[&sound]).0, 0);
        assert_eq!(exit(args, &[&sound, &faulty]).0, 1);
        assert_eq!(exit(args, &[&faulty, &none, &sound]).0, 2);
    }
    for args in [&["inspect"][..], &["inspect", "--json"]] {
        assert_eq!(exit(args, &[&sound]).0, 0);
        assert_eq!(exit(args, &[&none]).0, 2);
    }
}

#[test]
fn what_is_written_for_machines_is_one_json_document() {
    let dir = tempfile::tempdir().unwrap();
    let (sound, faulty) = (dir.path().join("sound"), dir.path().join("faulty"));
    simple_pmtiles(&sound, &pyramid(2));
    let entry = Entry { id: 0, offset: 3, length: 9, run: 1 };
    std::fs::write(&faulty, Raw::of(&[entry], b"short").bytes()).unwrap();
    let told: serde_json::Value = serde_json::from_str(&exit(&["inspect", "--json"], &[&sound]).1).unwrap();
    assert_eq!((&told["format"], &told["header"]["addressed_tiles"]), (&"pmtiles".into(), &21.into()));
    assert_eq!(told["header"]["sections"][0]["offset"], 127);
    let none = dir.path().join("none");
    let told: serde_json::Value =
        serde_json::from_str(&exit(&["verify", "--json"], &[&sound, &faulty, &none]).1).unwrap();
    assert_eq!((&told[0]["sound"], &told[0]["report"]["addressed_tiles"]), (&true.into(), &21.into()));
    assert_eq!((&told[1]["sound"], &told[1]["report"]["first"][0]["place"]), (&false.into(), &"tile 0/0/0".into()));
    assert!(told[2]["error"].as_str().unwrap().contains("none"));
}

#[test]
fn the_first_faults_are_listed_for_people() {
    let dir = tempfile::tempdir().unwrap();
    let faulty = dir.path().join("faulty");
    let entry = Entry { id: 0, offset: 3, length: 9, run: 1 };
    std::fs::write(&faulty, Raw::of(&[entry], b"short").bytes()).unwrap();
    let (_, text) = exit(&["verify"], &[&faulty]);
    assert!(text.contains("1 faults") && text.contains("  tile 0/0/0: "), "{text}");
}

#[test]
fn verify_without_a_file_is_a_usage_error() {
    assert!(Cli::try_parse_from(["pack", "verify"]).is_err());
    assert!(Cli::try_parse_from(["pack", "inspect"]).is_err());
}
