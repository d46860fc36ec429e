#!/bin/sh
# Runs each fuzz target for the given number of seconds and prints how often each was executed.
set -eu
seconds=${1:-60}
cd "$(dirname "$0")"
# cargo-fuzz needs unstable flags of the compiler: a stable one takes them when told to.
export RUSTC_BOOTSTRAP=1
for target in fuzz_targets/*.rs; do
    name=$(basename "$target" .rs)
    echo "== $name, $seconds s"
    cargo fuzz run --fuzz-dir . "$name" -- -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=2048 -print_final_stats=1 2>&1 |
        grep -E "stat::number_of_executed_units|stat::peak_rss_mb|SUMMARY|panicked|Test unit" || true
done
