//! `cas lock`: what is stored, as a file that pins it.

use std::fs;
use std::path::Path;

use super::outcome;

/// A directory with a store of three objects in `cas`.
fn with_store() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in [("in/b.txt", "b"), ("in/fonts/a b.pbf", ""), ("in/fonts/é.pbf", "c")] {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    assert_eq!(outcome(dir.path(), &["cas", "import", "in", "--cas-dir", "cas"], &[]).0, 0);
    dir
}

fn lock(dir: &Path, more: &[&str]) -> (i32, String, String) {
    outcome(dir, &[&["cas", "lock", "--cas-dir", "cas"], more].concat(), &[])
}

fn line(text: &str, path: &str) -> String {
    format!("{}  {path}\n", blake3::hash(text.as_bytes()).to_hex())
}

#[test]
fn what_is_stored_is_printed_as_b3sum_would_and_read_back() {
    let dir = with_store();
    let fonts = line("", "fonts/a b.pbf") + &line("c", "fonts/é.pbf");
    let whole = line("b", "b.txt") + &fonts;
    assert_eq!(lock(dir.path(), &[]), (0, whole.clone(), String::new()));
    assert_eq!(lock(dir.path(), &["--prefix", "fonts"]), (0, fonts.clone(), String::new()));
    assert_eq!(lock(dir.path(), &["--prefix", "fonts/"]).1, fonts);
    assert_eq!(lock(dir.path(), &["--prefix", "font"]).1, "");
    fs::write(dir.path().join("assets.lock"), &whole).unwrap();
    let (code, out, err) = outcome(
        dir.path(),
        &["check"],
        &[("SVC_EDGE_EDGE__CAS__LOCK", "assets.lock"), ("SVC_EDGE_EDGE__METRICS", "off")],
    );
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("lock ok: assets.lock pins 3 paths\n"), "{out}");
}

#[test]
fn a_pin_for_machines_is_an_object_a_line() {
    let dir = with_store();
    let (code, out, _) = lock(dir.path(), &["--json", "--prefix", "fonts"]);
    assert_eq!(code, 0);
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let hash = |text: &str| blake3::hash(text.as_bytes()).to_hex().to_string();
    assert_eq!(
        lines,
        [
            serde_json::json!({"path": "fonts/a b.pbf", "hash": hash("")}),
            serde_json::json!({"path": "fonts/é.pbf", "hash": hash("c")})
        ]
    );
}

#[test]
fn a_lock_of_no_store_is_2_and_makes_none() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = lock(dir.path(), &[]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("cas: no CAS there") && !dir.path().join("cas").exists(), "{err}");
}
