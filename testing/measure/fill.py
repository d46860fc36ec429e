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
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from measure import cpu_seconds, free_port, get, rss_mib, wait_for

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


class Nginx:
    """An nginx with one server block; as an origin, or as a cache before one."""

    def __init__(self, directory, name, port, server, http=""):
        base = directory / name
        base.mkdir()
        base.chmod(0o777)
        conf = base / "nginx.conf"
        temporary = " ".join(f"{kind}_temp_path {base}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        conf.write_text(
            f"""daemon off; worker_processes 2; pid {base}/pid; error_log {base}/log;
            events {{ worker_connections 1024; }}
            http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; {temporary} {http}
              server {{ listen 127.0.0.1:{port}; {server} }} }}"""
        )
        self.port = port
        self.process = subprocess.Popen(["nginx", "-c", conf], stderr=subprocess.DEVNULL)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def origin(directory, files):
    # Any first segment names the same files, so that each round has objects of its own.
    port = free_port()
    server = f"""location ~ ^/s/[^/]+/(.*)$ {{ alias {files}/$1; add_header Cache-Control "max-age=3600"; }}"""
    server += f" location = /up {{ return 200; }}"
    nginx = Nginx(directory, "origin", port, server)
    wait_for(lambda: get(port, "/s/x/4k")[0] == 200)
    return nginx


def proxy_cache(directory, origin_port):
    port = free_port()
    http = f"proxy_cache_path {directory}/cache keys_zone=z:10m max_size=40g inactive=1h use_temp_path=off;"
    http += f" upstream o {{ server 127.0.0.1:{origin_port}; keepalive 16; }}"
    server = """location / { proxy_pass http://o/s/; proxy_http_version 1.1; proxy_set_header Connection "";
        proxy_cache z; proxy_cache_lock on; proxy_cache_valid 1h; proxy_max_temp_file_size 0; }"""
    nginx = Nginx(directory, "cache-nginx", port, server, http)
    wait_for(lambda: get(port, "/up/4k")[0] == 200)
    return nginx


class Edge:
    """svc-edge in live mode with its defaults, but for bounds that let 1 GiB objects in."""

    def __init__(self, binary, directory, origin_port):
        self.port, self.admin = free_port(), free_port()
        conf = directory / "svc-edge.yaml"
        conf.write_text(
            f"""edge:
  bind: 127.0.0.1:{self.port}
  metrics: 127.0.0.1:{self.admin}
  mode: live
  cas: {{dir: {directory}/cas, max_bytes: 40GiB}}
  fill: {{max_object_bytes: 2GiB}}
  ingress: {{rps_limit: null}}
  origins: [{{prefix: "", url: "http://127.0.0.1:{origin_port}/s/", allow_private: true}}]
"""
        )
        self.log = open(directory / "edge.log", "ab")
        self.process = subprocess.Popen([binary, "--conf", conf], stdout=subprocess.DEVNULL, stderr=self.log, cwd=directory)
        wait_for(lambda: get(self.admin, "/readyz")[0] == 200)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Kept:
    """A connection that is kept: when the first byte of each answer comes."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def first_byte_ms(self, path, length):
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        started = time.perf_counter()
        self.socket.sendall(request)
        data = self.socket.recv(65536)
        elapsed = (time.perf_counter() - started) * 1000
        if not data.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(data[:200])
        while b"\r\n\r\n" not in data:
            data += self.socket.recv(65536)
        left = length - len(data.split(b"\r\n\r\n", 1)[1])
        while left > 0:
            left -= len(self.socket.recv(65536))
        return elapsed


def first_bytes(edge, cache, direct):
    servers = {
        "origin": (Kept(direct.port), "/s/f{}/4k"),
        "svc-edge": (Kept(edge.port), "/edge/assets/f{}/4k"),
        "nginx proxy_cache": (Kept(cache.port), "/f{}/4k"),
    }
    samples = {name: [] for name in servers}
    for n in range(SAMPLES):
        for name, (connection, path) in servers.items():
            samples[name].append(connection.first_byte_ms(path.format(n), 4096))
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
            running.append(cache := proxy_cache(directory, direct.port))
            running.append(edge := Edge(binary, directory, direct.port))
            shared(edge)
            first_bytes(edge, cache, direct)
            throughput(edge, cache, direct)
        finally:
            for each in reversed(running):
                each.stop()


if __name__ == "__main__":
    main()
