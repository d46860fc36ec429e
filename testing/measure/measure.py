#!/usr/bin/env python3
"""Figures of the release build beside nginx's static file serving, all in one run: python3 testing/measure/measure.py target/release/svc-edge

Needs nginx and wrk (Debian's packages) and two cores: the server under test on core 0, the load on core 1. Rounds are interleaved, and what is
printed are medians. CPU is what /proc says of the server's processes. Everything stays on loopback.
"""

import http.client
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = os.environ.get("SECONDS_A_ROUND", "4")
TICK = os.sysconf("SC_CLK_TCK")
ROOT = pathlib.Path(__file__).resolve().parents[2]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def descendants(pid):
    pids = [pid]
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pids += descendants(int(child))
    return pids


def cpu_seconds(pid):
    total = 0
    for each in descendants(pid):
        fields = pathlib.Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def rss_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS")


def wait_for(check, seconds=20.0):
    until = time.monotonic() + seconds
    while True:
        try:
            if check():
                return
        except OSError:
            pass
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.0005)


class Edge:
    """svc-edge with one worker thread and its defaults: metrics, validators and the sampled access log are on."""

    def __init__(self, binary, directory, verify="header", packs=True, assets=None):
        self.port, self.admin = free_port(), free_port()
        conf = f"threads: 1\nedge:\n  bind: 127.0.0.1:{self.port}\n  metrics: 127.0.0.1:{self.admin}\n  cas: {{dir: {directory}/cas}}\n  ingress: {{rps_limit: null, max_inflight: null}}\n"
        if packs:
            conf += "  packs:\n"
            for name in ("tile.pmtiles", "world.mbtiles", "raster.pmtiles"):
                conf += f"    - {{path: {ROOT}/testing/data/{name}, verify: {verify}}}\n"
        path = pathlib.Path(directory) / "svc-edge.yaml"
        path.write_text(conf)
        if assets:
            subprocess.run([binary, "cas", "import", assets, "--prefix", "site", "--conf", path], check=True, stdout=subprocess.DEVNULL)
        started = time.monotonic()
        self.log = open(f"{directory}/edge.log", "ab")
        self.process = subprocess.Popen(
            ["taskset", "-c", "0", binary, "--conf", path], stdout=subprocess.DEVNULL, stderr=self.log, cwd=directory
        )
        wait_for(lambda: get(self.admin, "/readyz")[0] == 200)
        self.ready_ms = (time.monotonic() - started) * 1000

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


class Nginx:
    """nginx static: sendfile, open_file_cache, no log."""

    def __init__(self, directory, assets, tcp_nopush):
        self.port = free_port()
        conf = pathlib.Path(directory) / f"nginx-{tcp_nopush}.conf"
        conf.write_text(
            f"""daemon off; worker_processes 1; pid {directory}/nginx-{tcp_nopush}.pid; error_log {directory}/nginx.log;
            events {{ worker_connections 1024; }}
            http {{ access_log off; sendfile on; tcp_nopush {tcp_nopush}; keepalive_requests 1000000000; open_file_cache max=1000;
              open_file_cache_valid 60s; default_type application/octet-stream;
              client_body_temp_path {directory}/n1; proxy_temp_path {directory}/n2; fastcgi_temp_path {directory}/n3;
              uwsgi_temp_path {directory}/n4; scgi_temp_path {directory}/n5;
              server {{ listen 127.0.0.1:{self.port}; root {assets}; }} }}"""
        )
        # nginx's worker becomes another user when the master is root: it must be able to read the files.
        self.process = subprocess.Popen(["taskset", "-c", "0", "nginx", "-c", conf], stderr=subprocess.DEVNULL)
        wait_for(lambda: get(self.port, "/4k")[0] == 200)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def load(port, path, pid, connections=16, refused=False):
    """One round of wrk: CPU microseconds a request, and requests a second. `refused`: that nearly all of them are is what is measured."""
    before = cpu_seconds(pid)
    out = subprocess.run(
        ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", f"http://127.0.0.1:{port}{path}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    used = cpu_seconds(pid) - before
    lines = out.splitlines()
    if any("Non-2xx" in line for line in lines) != refused or any("Socket errors" in line for line in lines):
        raise RuntimeError(out)
    requests = int(next(line.split()[0] for line in lines if " requests in " in line))
    rate = float(next(line.split()[1] for line in lines if line.startswith("Requests/sec")))
    return used / requests * 1e6, rate


def starts(binary):
    print("| start to ready, ms (median of 10) | |\n|---|---|")
    for verify in ("none", "header", "full"):
        times = []
        for _ in range(10):
            with tempfile.TemporaryDirectory() as directory:
                edge = Edge(binary, directory, verify)
                times.append(edge.ready_ms)
                edge.stop()
        print(f"| verify: {verify} | {statistics.median(times):.1f} ({min(times):.1f}–{max(times):.1f}) |")


def main():
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    print(f"binary: {os.path.getsize(binary) / 2**20:.1f} MiB\n")
    starts(binary)
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        assets = pathlib.Path(directory) / "assets"
        assets.mkdir()
        for name, size in (("4k", 4096), ("64k", 65536), ("1m", 1 << 20)):
            (assets / name).write_bytes(os.urandom(size))
        edge = Edge(binary, directory, assets=assets)
        idle = rss_mib(edge.process.pid)
        connection = http.client.HTTPConnection("127.0.0.1", edge.port)
        for i in range(10_000):
            path = ("/edge/assets/site/4k", "/edge/assets/site/64k", f"/edge/assets/tile/3/{i % 8}/{i // 8 % 8}")[i % 3]
            connection.request("GET", path)
            connection.getresponse().read()
        print(f"\nRSS: idle {idle:.1f} MiB, after 10,000 requests {rss_mib(edge.process.pid):.1f} MiB\n")
        servers = {"svc-edge": (edge, "/edge/assets/site")}
        for nopush in ("on", "off"):
            servers[f"nginx, tcp_nopush {nopush}"] = (Nginx(directory, assets, nopush), "")
        print("| CPU µs a request (requests/s) | " + " | ".join(servers) + " |\n|---|" + "---|" * len(servers))
        for name in ("4k", "64k", "1m"):
            rounds = {server: [] for server in servers}
            for _ in range(ROUNDS):
                for server, (running, prefix) in servers.items():
                    rounds[server].append(load(running.port, f"{prefix}/{name}", running.process.pid))
            cells = []
            for figures in rounds.values():
                cpu, rate = (statistics.median(values) for values in zip(*figures))
                cells.append(f"{cpu:.1f} ({rate:.0f})")
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
        for running, _ in servers.values():
            running.stop()


if __name__ == "__main__":
    main()
