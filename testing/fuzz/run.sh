#!/bin/sh
# Runs each fuzz target for the given number of seconds and prints how often each was executed. Ends with 1 when one of them failed.
set -eu
seconds=${1:-60}
cd "$(dirname "$0")"
# cargo-fuzz needs unstable flags of the compiler: a stable one takes them when told to.
export RUSTC_BOOTSTRAP=1
failed=0
for target in fuzz_targets/*.rs; do
    name=$(basename "$target" .rs)
    echo "== $name, $seconds s"
    log=$(mktemp)
    cargo fuzz run --fuzz-dir . "$name" -- -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=2048 -print_final_stats=1 >"$log" 2>&1 || {
        failed=1
        tail -40 "$log"
    }
    grep -E "stat::number_of_executed_units|stat::peak_rss_mb" "$log" || true
    rm -f "$log"
done
exit $failed
