//! Live mode on the command line: what `check` says of origins, and what a server can't start without.

use std::fs;
use std::path::Path;

use super::outcome;

const CA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conf/fixtures/ca.pem");

const CONF: &str = "\
edge:
  mode: live
  metrics: off
  origins:
    - prefix: fonts/
      url: [https://fonts.example/s/, \"https://[2606:4700::1]:8443/s/\"]
      headers: {authorization: {env: FONTS_KEY}, x-key: hunter2}
    - url: https://files.example
";

fn with_conf(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("c.yaml"), text).unwrap();
    dir
}

fn check(dir: &Path, environment: &[(&str, &str)]) -> (i32, String, String) {
    outcome(dir, &["check", "--conf", "c.yaml"], environment)
}

#[test]
fn check_says_where_misses_go_and_never_what_goes_along() {
    let dir = with_conf(CONF);
    let (code, out, err) = check(dir.path(), &[("SSL_CERT_FILE", CA), ("FONTS_KEY", "Bearer hunter2")]);
    assert_eq!((code, err.as_str()), (0, ""));
    let origins: Vec<_> = out.lines().filter(|line| line.starts_with("origin ")).collect();
    assert_eq!(
        origins,
        [
            "origin fonts/ -> https://fonts.example/s/, https://[2606:4700::1]:8443/s/",
            "origin every path -> https://files.example/"
        ]
    );
    assert!(!out.contains("hunter2") && !out.contains("authorization") && !out.contains("x-key"), "{out}");
}

#[test]
fn an_unset_secret_is_one_line_and_2() {
    let dir = with_conf(CONF);
    let (code, out, err) = check(dir.path(), &[("SSL_CERT_FILE", CA)]);
    assert_eq!((code, out.as_str(), err.lines().count()), (2, "", 1), "{err}");
    assert!(
        err.starts_with("c.yaml:7:32: `edge.origins[].headers`: `authorization`: the variable `FONTS_KEY` is not set"),
        "{err}"
    );
}

#[test]
fn live_mode_with_an_https_origin_and_no_trust_anchors_names_the_package_and_exits_with_2() {
    let dir = with_conf(CONF);
    fs::write(dir.path().join("empty.pem"), "").unwrap();
    for (file, why) in [("none.pem", "cannot read the trust anchors"), ("empty.pem", "finds no trust anchors")] {
        let environment = [("SSL_CERT_FILE", file), ("FONTS_KEY", "k")];
        for arguments in [&["check", "--conf", "c.yaml"][..], &["--conf", "c.yaml", "--test"], &["--conf", "c.yaml"]] {
            let (code, out, err) = outcome(dir.path(), arguments, &environment);
            assert_eq!((code, out.as_str(), err.lines().count()), (2, "", 1), "{err}");
            assert!(err.starts_with("c.yaml:5:5: `edge.origins` has an https URL, and ") && err.contains(why), "{err}");
            assert!(err.ends_with("the package `ca-certificates` installed, or `ca_file` set\n"), "{err}");
        }
        // Whoever asks no https origin needs none.
        for text in [
            format!("ca_file: {CA}\n{CONF}"),
            CONF.replace("mode: live", "mode: offline"),
            CONF.replace("https:", "http:"),
        ] {
            fs::write(dir.path().join("other.yaml"), &text).unwrap();
            let (code, _, err) = outcome(dir.path(), &["check", "--conf", "other.yaml"], &environment);
            assert_eq!(code, 0, "{text}: {err}");
        }
    }
}

#[test]
fn a_flag_makes_the_mode_live_and_warnings_say_what_is_hardly_meant() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = outcome(dir.path(), &["--mode", "live", "--test"], &[]);
    assert!(code == 0 && out.starts_with("conf ok\n"), "{out}");
    assert_eq!(err, "warning: edge.mode is live, and without edge.origins every miss is a 404\n");
    let dir = with_conf("edge: {origins: [{url: \"http://o.example/\"}]}\n");
    let (code, out, err) = check(dir.path(), &[]);
    assert!(code == 0 && out.contains("origin every path -> http://o.example/\n"), "{out}");
    assert!(err.starts_with("warning: edge.mode is offline, so edge.origins is ignored"), "{err}");
    let (_, _, err) = outcome(dir.path(), &["check", "--conf", "c.yaml", "--mode", "live"], &[]);
    assert_eq!(err, "");
}
