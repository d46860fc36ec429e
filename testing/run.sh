#!/bin/sh
# Imports the sample assets, then serves the sample conf in the foreground; the server says what to open once it accepts.
set -eu
binary=$1
conf=conf/svc-edge.yaml
"$binary" cas import testing/data/assets --prefix demo --conf $conf
echo "  page              http://127.0.0.1:8080/edge/assets/demo/index.html   (Ctrl-C stops the server)"
exec "$binary" --conf $conf
