#!/bin/sh
# Everything that CI runs, in the order in which it fails fastest.
set -eu
cd "$(dirname "$0")/.."

echo "== format" && cargo fmt --all --check
echo "== lints"
cargo clippy --locked --workspace --all-targets -- -D warnings
# What the feature `faults` adds, and the tests that need it.
cargo clippy --locked --features faults --all-targets -- -D warnings
echo "== documentation" && RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
echo "== tests" && cargo test --locked --workspace --quiet
# A build of its own, with faults on demand: kept apart, so that the one above is what is shipped.
echo "== faults" && cargo test --locked --features faults --test cas_faults --test faults --quiet
echo "== the harness of performance, without a server"
if command -v python3 >/dev/null 2>&1; then
    (cd testing/performance && python3 -m unittest --quiet)
else
    echo "skipped: python3 is not installed"
fi
echo "== chaos"
if command -v python3 >/dev/null 2>&1; then
    make --no-print-directory chaos-short
else
    echo "skipped: python3 is not installed"
fi
echo "== alerts"
if command -v promtool >/dev/null 2>&1; then
    promtool check rules conf/prometheus/alerts.yml
    promtool test rules conf/prometheus/alerts_test.yml
else
    echo "skipped: promtool is not installed (Debian's package prometheus)"
fi
echo "== models" && make --no-print-directory models

echo "== dependencies"
if ! command -v cargo-deny >/dev/null 2>&1; then
    echo "skipped: cargo-deny is not installed (cargo install --locked cargo-deny)"
    exit 0
fi
cargo deny --log-level error check bans licenses sources
# The advisories stand in a repository of their own. A machine that can't reach it is told so, and fails nothing.
if cargo deny --log-level off fetch db >/dev/null 2>&1; then
    cargo deny --log-level error check --disable-fetch advisories
else
    echo "skipped: advisories, as their database cannot be fetched"
fi
