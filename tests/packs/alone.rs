//! Tests that measure their process run in one of their own.

use std::process::Command;

/// Run the body of the test `name` (its path) in a fresh process, and fail with it.
pub fn alone(name: &str, body: impl FnOnce()) {
    const MARK: &str = "PACKS_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    // A name that matches nothing would pass as well.
    assert!(told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&output.stderr));
}

/// How much more memory than now the process had at its peak during `work`, in bytes.
pub fn peak_of(work: impl FnOnce()) -> u64 {
    let before = status("VmRSS:");
    work();
    status("VmHWM:").saturating_sub(before)
}

fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}
