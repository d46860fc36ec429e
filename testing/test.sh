#!/bin/sh
# Everything that CI runs, in the order in which it fails fastest.
set -eu

echo "== format" && cargo fmt --all --check
echo "== lints" && cargo clippy --locked --all-targets -- -D warnings
echo "== documentation" && RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet
echo "== tests" && cargo test --locked --quiet
if command -v cargo-deny >/dev/null 2>&1; then
    echo "== dependencies" && cargo deny --log-level error check bans licenses sources
fi
