#!/usr/bin/env python3
"""What many connections cost: python3 testing/measure/connections.py target/release/svc-edge [--connections 10000] [--seconds 30]

Opens the connections, asks once on each, and leaves them idle; then each asks for a 4 KiB object once a second. Prints memory, descriptors, answers a
second, latency (from the moment at which a request was due, so that a late client hides nothing) and CPU, as a Markdown table. One client, with epoll;
everything stays on loopback. Exit code 1: a connection was refused or ended, or an answer was another than it should be.
"""

import argparse
import pathlib
import resource
import sys
import tempfile
import time

# What it shares with the harness stands there.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "performance"))

from clients import Client
from machine import cpu_seconds, descriptors, rss_mib
from servers import Edge

BODY = bytes(range(256)) * 16


def start(binary, directory, connections):
    """svc-edge with its defaults, but that it waits long for the next request of a connection, and admits what comes."""
    assets = directory / "assets"
    assets.mkdir()
    (assets / "4k").write_bytes(BODY)
    ingress = f"{{rps_limit: null, max_inflight: 100000, max_connections: {connections + 1000}, keepalive: 10m}}"
    return Edge(binary, directory, files=assets, threads="null", ingress=ingress)


def measure(edge, count, seconds):
    idle, before = rss_mib(edge.pid), descriptors(edge.pid)
    client = Client(edge.port, "/edge/assets/site/4k", BODY)
    client.open(count)
    time.sleep(5)
    rested, opened = rss_mib(edge.pid), descriptors(edge.pid)
    cpu, own = cpu_seconds(edge.pid), time.process_time()
    took = client.run(seconds)
    cpu, own = cpu_seconds(edge.pid) - cpu, time.process_time() - own
    active, waits = rss_mib(edge.pid), sorted(client.latencies)
    client.close()
    time.sleep(3)
    rows = [
        ("RSS before, MiB", f"{idle:.1f}"),
        (f"RSS with {count:,} idle connections, MiB", f"{rested:.1f}"),
        ("a connection, KiB", f"{(rested - idle) * 1024 / count:.1f}"),
        ("descriptors before, with them, and after", f"{before}, {opened:,}, {descriptors(edge.pid)}"),
        ("asked each second, for", f"{seconds} s"),
        ("answered a second", f"{len(waits) / took:,.0f}"),
        ("latency p50, p99, longest, ms", ", ".join(f"{waits[int((len(waits) - 1) * part)] * 1000:.1f}" for part in (0.5, 0.99, 1))),
        ("not asked, as the last answer was late", f"{client.missed:,}"),
        ("connections that ended", f"{client.broken:,}"),
        ("RSS while they ask, MiB", f"{active:.1f}"),
        ("RSS 3 s after they went, MiB", f"{rss_mib(edge.pid):.1f}"),
        ("CPU of the server, of a core", f"{cpu / took:.0%} ({cpu / max(len(waits), 1) * 1e6:.1f} µs a request)"),
        ("CPU of the client, of a core", f"{own / took:.0%}"),
    ]
    print("| | |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")
    return client.broken == 0


def main():
    parser = argparse.ArgumentParser(description="What many connections cost.")
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--connections", type=int, default=10000)
    parser.add_argument("--seconds", type=int, default=30)
    given = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < given.connections + 200:
        parser.error(f"only {hard} descriptors may be open: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as name:
        edge = start(given.binary.resolve(), pathlib.Path(name), given.connections)
        try:
            return 0 if measure(edge, given.connections, given.seconds) else 1
        finally:
            edge.stop()


if __name__ == "__main__":
    sys.exit(main())
