#!/bin/sh
# Flamegraphs of the server under load: where its CPU goes while it answers hits, and while it fills.
#
#     sh testing/performance/flamegraph.sh [hits|fills|all] [SECONDS]
#
# Writes testing/performance/profiles/hits.svg and fills.svg; the confs that the servers ran with stand beside them. What is profiled is the release, which
# keeps the names of its functions; `PROFILE=profiling` builds it with lines instead (and `INLINE=1` then shows inlined functions, which takes minutes), PROFILED
# names a directory that has svc-edge and svc-edge-origin already. Needs perf (Debian's linux-perf), wrk, and inferno (`cargo install inferno --locked`). The
# server has core 0, what asks it has core 1. Stacks are unwound by DWARF, as the crates keep no frame pointers; samples are of `cpu-clock`, which virtual
# machines have, too. As root, or with kernel.perf_event_paranoid at 1 or less, the kernel's frames are there as well.
set -eu
cd "$(dirname "$0")/../.."
what=${1:-all}
seconds=${2:-8}
out=testing/performance/profiles
port=${EDGE_PORT:-18380}
admin=${ADMIN_PORT:-18390}
case $what in hits | fills | all) ;; *)
    sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
for tool in perf wrk inferno-collapse-perf inferno-flamegraph taskset curl; do
    command -v $tool >/dev/null || { echo "flamegraph: $tool is not installed" >&2; exit 1; }
done

profiled=${PROFILED:-}
if [ -z "$profiled" ]; then
    cargo build --profile "${PROFILE:-release}" --locked --package svc-edge --package svc-edge-origin
    profiled=${CARGO_TARGET_DIR:-target}/${PROFILE:-release}
fi

work=$(mktemp -d)
server=""
origin=""
stop() {
    for process in $server $origin; do
        kill "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 143' INT TERM

# What was kept of a profile names no directory of the machine that it was taken on.
start() {
    sed -e "s|WORK|$work|" -e "s|ORIGIN|${1:-}|" -e "s|PORT|$port|" -e "s|ADMIN|$admin|" "$out/$2.yaml" >"$work/$2.yaml"
    taskset -c 0 "$profiled/svc-edge" --conf "$work/$2.yaml" >"$work/$2.log" 2>&1 &
    server=$!
    tries=0
    until curl --silent --fail --output /dev/null --max-time 1 "http://127.0.0.1:$admin/readyz"; do
        tries=$((tries + 1))
        if [ $tries -gt 100 ] || ! kill -0 "$server" 2>/dev/null; then
            echo "flamegraph: the server does not start:" >&2
            cat "$work/$2.log" >&2
            exit 1
        fi
        sleep 0.1
    done
}

# Load, profile, draw: the profile begins when everything is warm.
draw() {
    taskset -c 1 wrk -t1 -c"$4" -d"$((seconds + 3))s" -s "$work/$1.lua" "http://127.0.0.1:$port" >"$work/$1.wrk" &
    load=$!
    sleep 2
    perf record --quiet -e cpu-clock -F 499 --call-graph dwarf,16384 --pid "$server" -o "$work/$1.perf" -- sleep "$seconds"
    wait $load
    if ! grep -q 'Requests/sec' "$work/$1.wrk" || grep 'Non-2xx' "$work/$1.wrk" >&2; then
        echo "flamegraph: the load of $1 was not answered" >&2
        cat "$work/$1.wrk" >&2
        exit 1
    fi
    inline=--no-inline
    [ -z "${INLINE:-}" ] || inline=--inline
    perf script $inline -i "$work/$1.perf" 2>/dev/null | inferno-collapse-perf >"$work/$1.folded"
    inferno-flamegraph --title "$2" --subtitle "$3; $(awk '/Requests\/sec/ {print int($2)}' "$work/$1.wrk") requests/s under the profiler" \
        --minwidth 0.15 --truncate-text-right --colors rust <"$work/$1.folded" >"$out/$1.svg"
    kill "$server"
    wait "$server" || true
    server=""
    echo "$out/$1.svg"
    grep 'Requests/sec' "$work/$1.wrk"
}

hits() {
    mkdir "$work/files"
    head -c 4096 /dev/urandom >"$work/files/4k.bin"
    head -c 65536 /dev/urandom >"$work/files/64k.bin"
    head -c 1048576 /dev/urandom >"$work/files/1m.bin"
    "$profiled/svc-edge" cas import "$work/files" --prefix bench --cas-dir "$work/cas" >/dev/null
    start "" hits
    etag=$(curl --silent --head "http://127.0.0.1:$port/edge/assets/bench/4k.bin" | tr -d '\r' | sed -n 's/^[Ee][Tt]ag: //p')
    cat >"$work/hits.lua" <<LUA
local requests, at = {}, 0
function init()
  local function add(method, path, headers) requests[#requests + 1] = wrk.format(method, "/edge/assets/" .. path, headers or {}) end
  for _ = 1, 4 do add("GET", "bench/4k.bin") end
  add("GET", "bench/64k.bin")
  add("GET", "bench/1m.bin", {["Range"] = "bytes=65536-131071"})
  add("GET", "bench/4k.bin", {["If-None-Match"] = '$etag'})
  add("GET", "tile/0/0/0.mvt", {["Accept-Encoding"] = "gzip"})
  add("GET", "raster/0/0/0.png")
end
function request() at = at % #requests + 1; return requests[at] end
LUA
    draw hits "svc-edge: hits" "GET 4 KiB (4 of 9), 64 KiB, Range 64 KiB of 1 MiB, 304, a vector and a raster tile; 16 connections, 1 core" 16
}

fills() {
    taskset -c 1 "$profiled/svc-edge-origin" --bind 127.0.0.1:0 >"$work/origin.log" 2>&1 &
    origin=$!
    tries=0
    until url=$(sed -n 's/^listening on //p' "$work/origin.log") && [ -n "$url" ]; do
        tries=$((tries + 1))
        [ $tries -lt 50 ] || { cat "$work/origin.log" >&2; exit 1; }
        sleep 0.1
    done
    start "$url" fills
    cat >"$work/fills.lua" <<'LUA'
local at = 0
function request() at = at + 1; return wrk.format("GET", "/edge/assets/gen/65536?" .. at) end
LUA
    draw fills "svc-edge: fills" "each GET a miss of 64 KiB, filled from an origin, hashed and stored; 16 connections, 1 core" 16
}

[ "$what" = fills ] || hits
[ "$what" = hits ] || fills
