#!/usr/bin/env python3
"""Figures of live fills beside nginx's proxy_cache, all in one run: python3 testing/measure/fill.py target/release/svc-edge

Needs nginx (Debian's package). The origin is an nginx that serves files; before it stand svc-edge in live mode and an nginx with proxy_cache.
Rounds are interleaved, and what is printed are medians. Everything stays on loopback.

- First byte: how much later than the origin's own the first byte of a miss comes, 4 KiB objects, one connection that is kept.
- Throughput: one fill of 1 GiB, read to its end by one client.
- Shared fill: 100 clients ask at once for one object of 64 MiB that is not stored.
"""

import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

# What it shares with the harness stands there.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "performance"))

from clients import Kept
from machine import cpu_seconds, get, rss_mib
from servers import Edge, Nginx, NginxProxyCache

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SAMPLES = int(os.environ.get("SAMPLES", "300"))


def write_files(directory):
    files = directory / "files"
    files.mkdir()
    block = os.urandom(64 << 20)
    (files / "4k").write_bytes(block[:4096])
    (files / "64m").write_bytes(block)
    with open(files / "1g", "wb") as out:
        for _ in range(16):
            out.write(block)
    for path in [directory, files]:
        path.chmod(0o755)
    return files


def origin(directory, files):
    # Any first segment names the same files, so that each round has objects of its own.
    server = f"""location ~ ^/s/[^/]+/(.*)$ {{ alias {files}/$1; add_header Cache-Control "max-age=3600"; }} location = /up {{ return 200; }}"""
    return Nginx(directory, server=server, workers=2)


def edge_before(binary, directory, origin_port):
    """svc-edge in live mode with its defaults, but for bounds that let 1 GiB objects in."""
    lines = f"""  mode: live
  fill: {{max_object_bytes: 2GiB}}
  origins: [{{prefix: "", url: "http://127.0.0.1:{origin_port}/s/", allow_private: true}}]
"""
    return Edge(binary, directory, threads="null", ingress="{rps_limit: null}", cas=", max_bytes: 40GiB", lines=lines)


def first_bytes(edge, cache, direct):
    servers = {
        "origin": (Kept(direct.port), "/s/f{}/4k"),
        "svc-edge": (Kept(edge.port), "/edge/assets/f{}/4k"),
        "nginx proxy_cache": (Kept(cache.port), "/f{}/4k"),
    }
    samples = {name: [] for name in servers}
    for n in range(SAMPLES):
        for name, (connection, path) in servers.items():
            samples[name].append(connection.fetch(path.format(n), 4096)[0])
    medians = {name: statistics.median(values) for name, values in samples.items()}
    print(f"first byte of a miss of 4 KiB, median of {SAMPLES} (milliseconds; behind the origin's own)")
    for name, median in medians.items():
        print(f"  {name:18} {median:6.3f}  {median - medians['origin']:+.3f}   p95 {sorted(samples[name])[int(SAMPLES * 0.95)]:.3f}")


def fetch_seconds(url):
    out = subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{size_download} %{time_total}", url], capture_output=True, text=True, check=True
    ).stdout.split()
    if out[0] != "200" or out[1] != str(1 << 30):
        raise RuntimeError(out)
    return float(out[2])


def throughput(edge, cache, direct):
    urls = {
        "origin": (f"http://127.0.0.1:{direct.port}/s/t{{}}/1g", direct),
        "svc-edge": (f"http://127.0.0.1:{edge.port}/edge/assets/t{{}}/1g", edge),
        "nginx proxy_cache": (f"http://127.0.0.1:{cache.port}/t{{}}/1g", cache),
    }
    seconds, cpu = {name: [] for name in urls}, {name: [] for name in urls}
    for n in range(ROUNDS):
        for name, (url, server) in urls.items():
            subprocess.run(["sync"], check=True)
            before = cpu_seconds(server.process.pid)
            seconds[name].append(fetch_seconds(url.format(n)))
            cpu[name].append(cpu_seconds(server.process.pid) - before)
    print(f"one fill of 1 GiB, median of {ROUNDS} (MiB/s; seconds of CPU)")
    for name in urls:
        print(f"  {name:18} {1024 / statistics.median(seconds[name]):7.0f}  {statistics.median(cpu[name]):.2f}")
    ratio = statistics.median(seconds["nginx proxy_cache"]) / statistics.median(seconds["svc-edge"])
    print(f"  svc-edge / nginx proxy_cache: {ratio:.2f}")


def shared(edge):
    idle = rss_mib(edge.process.pid)
    peak, done = idle, threading.Event()

    def watch():
        nonlocal peak
        while not done.is_set():
            peak = max(peak, rss_mib(edge.process.pid))
            time.sleep(0.005)

    def read(results):
        with socket.create_connection(("127.0.0.1", edge.port)) as client:
            client.sendall(b"GET /edge/assets/shared/64m HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            total = 0
            while data := client.recv(1 << 18):
                total += len(data)
            results.append(total)

    results = []
    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.monotonic()
    readers = [threading.Thread(target=read, args=(results,)) for _ in range(100)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    done.set()
    watcher.join()
    if len(results) != 100 or min(results) < 64 << 20:
        raise RuntimeError(results)
    metrics = get(edge.admin, "/metrics")[1].decode()
    fills = [line for line in metrics.splitlines() if line.startswith("edge_live_fill_attempts_total{")]
    print(f"100 clients, one object of 64 MiB: {time.monotonic() - started:.1f} s, RSS idle {idle:.1f} MiB, peak {peak:.1f} MiB ({peak - idle:+.1f})")
    return fills


def main():
    binary = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        files = write_files(directory)
        running = []
        try:
            running.append(direct := origin(directory, files))
            running.append(cache := NginxProxyCache(directory, None, None, direct.port, "/s/"))
            running.append(edge := edge_before(binary, directory, direct.port))
            shared(edge)
            first_bytes(edge, cache, direct)
            throughput(edge, cache, direct)
        finally:
            for each in reversed(running):
                each.stop()


if __name__ == "__main__":
    main()
