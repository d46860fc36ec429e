#!/usr/bin/env python3
"""Figures of TLS and HTTP/2 beside nginx, all in one run: python3 testing/measure/tls.py target/release/svc-edge

Needs nginx, wrk, h2load and openssl (Debian's packages nginx, wrk, nghttp2-client, openssl) and two cores: the server under test on core 0, the load on
core 1. Both servers have the same certificate (ECDSA on P-256), one worker, TLS 1.3 and the suite that the client asks for first. Rounds are
interleaved, and what is printed are medians: CPU microseconds of the server a request, and requests a second. Everything stays on loopback.
"""

import os
import pathlib
import ssl
import statistics
import subprocess
import sys
import tempfile
import urllib.request

# What it shares with the harness stands there.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "performance"))

from machine import cores, cpu_seconds, run
from servers import Edge, Nginx

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = os.environ.get("SECONDS_A_ROUND", "4")
SERVER, LOAD = cores()

SIZES = (("4k", 4096), ("64k", 65536), ("1m", 1 << 20))


def answers(port, path):
    context = ssl._create_unverified_context()
    with urllib.request.urlopen(f"https://127.0.0.1:{port}{path}", context=context, timeout=5) as answer:
        return answer.status == 200


def secure_edge(binary, directory, assets):
    """svc-edge with its defaults, and one listener with TLS."""
    tls = f"{{addr: 127.0.0.1:PORT, tls: {{cert: {directory}/cert.pem, key: {directory}/key.pem}}}}"
    return Edge(binary, directory, files=assets, core=SERVER, bind=tls, lines=os.environ.get("EDGE_LINES", ""))


def secure_nginx(directory, assets):
    """nginx static: open_file_cache, no log, HTTP/2."""
    certificate = f"ssl_certificate {directory}/cert.pem; ssl_certificate_key {directory}/key.pem;"
    http = f"ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:s:10m; {certificate}"
    ready = lambda nginx: answers(nginx.port, "/4k")
    return Nginx(directory, core=SERVER, server=f"root {assets};", http=http, listen=" ssl http2", nopush="off", ready=ready)


def on_core_1(*words):
    return run(words, LOAD, 120)


def wrk(url):
    """HTTP/1.1, 16 connections: requests, and requests a second."""
    out = on_core_1("wrk", "-t1", "-c16", f"-d{SECONDS}s", url)
    if "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(out)
    lines = out.splitlines()
    requests = int(next(line.split()[0] for line in lines if " requests in " in line))
    return requests, float(next(line.split()[1] for line in lines if line.startswith("Requests/sec")))


def h2load(url, *words):
    out = on_core_1("h2load", *words, url)
    totals = next(line for line in out.splitlines() if line.startswith("requests:")).split()
    numbers = dict(zip([word.rstrip(",") for word in totals[2::2]], totals[1::2]))
    if int(numbers["failed"]) or int(numbers["errored"]) or int(numbers["timeout"]):
        raise RuntimeError(out)
    finished = next(line for line in out.splitlines() if line.startswith("finished in"))
    return int(numbers["succeeded"]), float(finished.split()[3])


def h2(url):
    """HTTP/2, 4 connections of 8 streams."""
    return h2load(url, "-c4", "-m8", f"-D{SECONDS}")


def handshakes(url):
    """A connection for each request."""
    return h2load(url, "-n500", "-c500", "-m1")


def round_of(server, prefix, load, name):
    before = cpu_seconds(server.process.pid)
    requests, rate = load(f"https://127.0.0.1:{server.port}{prefix}/{name}")
    return (cpu_seconds(server.process.pid) - before) / requests * 1e6, rate


def main():
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        subprocess.run(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 7 -subj /CN=localhost "
            "-addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem",
            shell=True, check=True, cwd=directory, stderr=subprocess.DEVNULL,
        )
        assets = pathlib.Path(directory) / "assets"
        assets.mkdir()
        for name, size in SIZES:
            (assets / name).write_bytes(os.urandom(size))
        servers = {
            "svc-edge": (secure_edge(binary, directory, assets), "/edge/assets/site"),
            "nginx": (secure_nginx(directory, assets), ""),
        }
        rows = [(f"HTTP/1.1, {name}", wrk, name) for name, _ in SIZES] + [(f"HTTP/2, {name}", h2, name) for name, _ in SIZES]
        rows.append(("a connection for each request of 4k", handshakes, "4k"))
        print("| CPU µs a request (requests/s) | " + " | ".join(servers) + " |\n|---|" + "---|" * len(servers))
        for title, load, name in rows:
            rounds = {server: [] for server in servers}
            for _ in range(ROUNDS):
                for server, (running, prefix) in servers.items():
                    rounds[server].append(round_of(running, prefix, load, name))
            cells = []
            for figures in rounds.values():
                cpu, rate = (statistics.median(values) for values in zip(*figures))
                cells.append(f"{cpu:.1f} ({rate:.0f})")
            print(f"| {title} | " + " | ".join(cells) + " |", flush=True)
        for running, _ in servers.values():
            running.stop()


if __name__ == "__main__":
    main()
