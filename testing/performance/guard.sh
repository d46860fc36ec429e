#!/bin/sh
# A report of the harness, held against the committed baseline as .github/workflows/perf-regression-guard.yml does it.
#
#     sh testing/performance/guard.sh REPORT                          every waiver of waivers.json counts
#     sh testing/performance/guard.sh REPORT pull-request             those of a changed file don't, nor does a changed baseline
#     sh testing/performance/guard.sh REPORT pull-request perf-waiver …  but with the label `perf-waiver` they do
#
# What follows the kind are the labels of the pull request. It is checked out merged: HEAD^1 is the branch that it goes to, without it.
# Prints the table; exit codes as perf-compare's. Ratios are compared: a runner that names the baseline's processor is a slice of another machine all the same.
set -eu
if [ $# -lt 1 ]; then
    echo "usage: sh testing/performance/guard.sh REPORT [pull-request [LABEL …]]" >&2
    exit 2
fi
report=$(realpath "$1")
kind=${2:-}
shift $(($# < 2 ? $# : 2))
cd "$(dirname "$0")/../.."
baseline=testing/performance/baselines/edge_offline.json
waivers=testing/performance/waivers.json

case $kind in
"") trusted=yes ;;
pull-request)
    trusted=no
    for label; do
        [ "$label" != perf-waiver ] || trusted=yes
    done
    ;;
*)
    echo "guard.sh: expected pull-request, and this is $kind" >&2
    exit 2
    ;;
esac

# Whether the pull request leaves a file as its branch has it.
unchanged() {
    git diff --quiet HEAD^1 HEAD -- "$1"
}

set -- --ratios --waivers "$waivers"
if [ $trusted = yes ] || unchanged "$waivers"; then
    set -- "$@" --waivers-allowed
fi
if [ $trusted = no ] && ! unchanged "$baseline" && git cat-file -e "HEAD^1:$baseline" 2>/dev/null; then
    echo "The baseline is that of the branch: the pull request changes it, and has not the label \`perf-waiver\`."
    echo
    mkdir -p var/perf
    git show "HEAD^1:$baseline" >var/perf/baseline-of-branch.json
    baseline=var/perf/baseline-of-branch.json
fi
exec cargo run --quiet --locked --package perf-compare -- "$report" "$baseline" "$@"
