//! Tells the binary which commit it is built from. Outside a checkout, or without git, it builds all the same.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A package that has no history is told its commit.
    println!("cargo:rerun-if-env-changed=BUILD_COMMIT");
    let told = std::env::var("BUILD_COMMIT").ok().filter(|commit| !commit.is_empty() && !commit.contains('\n'));
    let commit = told.or_else(|| git(&["describe", "--always", "--abbrev=12", "--match=v[0-9]*"]));
    println!("cargo:rustc-env=BUILD_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    // HEAD's log grows with every commit and checkout. A path that doesn't exist would build anew each time.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]).filter(|path| Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}

/// The first line that git prints, if it succeeds and says something plain.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim();
    (output.status.success() && !line.is_empty()).then(|| line.to_owned())
}
