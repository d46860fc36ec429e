#!/bin/sh
# The demo of upgrades: a server on ports of its own, a load, three upgrades by SIGQUIT and one by SIGUSR2, and what clients saw of them. Fails if a
# connection was refused or a body was cut. Needs python3; wrk makes more of a load where it is installed.
#
#     sh testing/upgrade-demo.sh BINARY
set -eu
binary=$1
command -v python3 >/dev/null || { echo "the demo needs python3" >&2; exit 1; }
echo "A server, and clients that check every body. Four upgrades: three times a new process waits and the running one gets SIGQUIT,"
echo "then the running one gets SIGUSR2 and starts its successor itself."
exec python3 testing/measure/upgrade.py "$binary" --upgrades 4 --usr2 1 --pause 1 --brief
