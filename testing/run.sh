#!/bin/sh
# The demo: imports the sample assets, starts a small origin on a loopback port of its own, serves the sample packs in live mode with that origin
# on the allow-list, shows a miss and then a hit, and goes on serving until it is stopped.
#
#     sh testing/run.sh BINARY ORIGIN_BINARY
set -eu
binary=$1
origin_binary=$2
base=http://127.0.0.1:8080
metrics=127.0.0.1:9090
# What the demo asks for twice, as it follows /edge/assets/.
asset=live/demo.css
conf=var/demo.yaml
log=var/demo-origin.log
mkdir -p var

origin=""
server=""
stop() {
    # The server first: it finishes what it is sending. One that has ended already is none.
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$server" ] || wait "$server" || true
    [ -z "$origin" ] || kill "$origin" 2>/dev/null || true
}
trap stop EXIT
trap 'exit 143' TERM
# Ctrl-C reaches the server by itself, and a second signal would cut what it is sending: wait for its end below.
trap : INT

# An earlier demo's answers go, so that there is a miss to be seen.
"$binary" cas import testing/data/assets --prefix demo --cas-dir var/cas
"$binary" cas purge --prefix live --cas-dir var/cas >/dev/null

"$origin_binary" --bind 127.0.0.1:0 --dir testing/data/assets >$log 2>&1 &
origin=$!
url=""
tries=0
while [ -z "$url" ]; do
    url=$(sed -n 's/^listening on //p' $log)
    [ -z "$url" ] || break
    tries=$((tries + 1))
    if [ $tries -gt 50 ] || ! kill -0 "$origin" 2>/dev/null; then
        echo "the demo's origin does not start:" >&2
        cat $log >&2
        exit 1
    fi
    sleep 0.1
done

cat >$conf <<CONF
# Written by testing/run.sh. Every key that is not here has its default: docs/conf.md.
edge:
  bind: ${base#http://}
  metrics: $metrics
  mode: live
  packs:
    - path: testing/data/tile.pmtiles
    - path: testing/data/world.mbtiles
    - path: testing/data/raster.pmtiles
  cas: {dir: var/cas}
  origins:
    # The only place where misses may go. Loopback is a private address, which has to be allowed.
    - {prefix: live/, url: "$url/", allow_private: true}
CONF

echo "  page              $base/edge/assets/demo/index.html   (Ctrl-C stops the server)"
"$binary" --conf $conf &
server=$!

# Ask for the demo's asset; its Cache-Status.
ask() {
    curl --silent --show-error --max-time 10 --output /dev/null --dump-header - "$base/edge/assets/$asset" |
        tr -d '\r' | sed -n 's/^[Cc]ache-[Ss]tatus: //p'
}

if command -v curl >/dev/null 2>&1; then
    tries=0
    until curl --silent --fail --output /dev/null --max-time 1 "http://$metrics/readyz"; do
        tries=$((tries + 1))
        # A server that can't start has said why.
        kill -0 "$server" 2>/dev/null && [ $tries -lt 100 ] || break
        sleep 0.1
    done
    if kill -0 "$server" 2>/dev/null; then
        echo "  live              $base/edge/assets/$asset   from the origin at $url/"
        echo "    first request   Cache-Status: $(ask)"
        # What was filled is committed a moment after its last byte was sent.
        sleep 0.5
        echo "    second request  Cache-Status: $(ask)"
    fi
else
    echo "  live              $base/edge/assets/$asset   twice, for a miss and a hit (curl would have shown them)"
fi

# A signal that this shell handles interrupts its wait, not the server.
status=0
wait "$server" || status=$?
while kill -0 "$server" 2>/dev/null; do
    status=0
    wait "$server" || status=$?
done
server=""
exit $status
