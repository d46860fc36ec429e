#!/usr/bin/env python3
"""Slow and hostile clients beside normal ones: python3 testing/measure/slow.py target/release/svc-edge [--connections 1000] [--seconds 30]

Needs slowhttptest (Debian's package). Runs its four modes against a server of its own: slow headers (-H), slow bodies (-B), slow reading (-X), ranges
(-R). Beside each, a normal client asks for a small object ten times a second, each time on a new connection. Prints how long it waited at the most, and
what the server refused, as a Markdown table. Exit code 1: somebody waited for a second or more, or got another answer.
"""

import argparse
import http.client
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

# What it shares with the harness stands there.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "performance"))

from machine import cpu_seconds, descriptors, rss_mib
from servers import Edge

MODES = {
    # What a normal client waits for on this machine in any case.
    "nobody else": None,
    "slow headers (-H)": ["-H", "-i", "10", "-t", "GET", "-x", "24"],
    "slow bodies (-B)": ["-B", "-i", "10", "-s", "8192", "-t", "POST", "-x", "10"],
    "slow reading (-X)": ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"],
    "ranges (-R)": ["-R", "-t", "HEAD", "-a", "10", "-b", "3000"],
}
BODY = b"hello, world" * 300


def start(binary, directory):
    """svc-edge with its defaults."""
    assets = directory / "assets"
    assets.mkdir()
    (assets / "small").write_bytes(BODY)
    (assets / "large").write_bytes(bytes(8 << 20))
    return Edge(binary, directory, files=assets, threads="null", ingress="{}")


def refusals(edge):
    """Requests refused so far, by reason."""
    found = ((re.match(r'rejected_total\{reason="(\w+)"\}', key), value) for key, value in edge.metrics().items())
    return {match[1]: int(value) for match, value in found if match}


class Probe(threading.Thread):
    """The normal client."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.over = port, threading.Event()
        self.waits, self.wrong = [], []

    def run(self):
        while not self.over.wait(0.1):
            began = time.monotonic()
            try:
                self.wrong += self.ask()
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(f"{type(error).__name__}: {error}")
            self.waits.append(time.monotonic() - began)

    def done(self):
        """Stop it, and wait for its last answer."""
        self.over.set()
        self.join(60)
        return self

    def ask(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", "/edge/assets/site/small")
            answer = connection.getresponse()
            return [] if (answer.status, answer.read()) == (200, BODY) else [f"{answer.status} {answer.getheader('X-Reason')}"]
        finally:
            connection.close()


def attack(edge, options, connections, seconds):
    """One mode; its row. What is left of it is gone before the next one begins."""
    before, cpu = refusals(edge), cpu_seconds(edge.pid)
    probe = Probe(edge.port)
    probe.start()
    if options is None:
        time.sleep(10)
        return probe.done(), row(edge, probe, before, cpu, descriptors(edge.pid), rss_mib(edge.pid))
    url = f"http://127.0.0.1:{edge.port}/edge/assets/site/large"
    command = ["slowhttptest", "-c", connections, "-r", 500, "-l", seconds, "-p", 3, "-u", url, *options]
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    most = rss = 0
    try:
        reader = threading.Thread(target=process.stdout.read, daemon=True)
        reader.start()
        until = time.monotonic() + seconds + 30
        while process.poll() is None and time.monotonic() < until:
            most, rss = max(most, descriptors(edge.pid)), max(rss, rss_mib(edge.pid))
            time.sleep(0.2)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    return probe.done(), row(edge, probe, before, cpu, most, rss)


def row(edge, probe, before, cpu, descriptors, rss):
    refused = {reason: count - before.get(reason, 0) for reason, count in refusals(edge).items() if count != before.get(reason, 0)}
    words = ", ".join(f"{count:,} {reason}" for reason, count in sorted(refused.items())) or "nothing"
    cpu = cpu_seconds(edge.pid) - cpu
    return [f"{max(probe.waits) * 1000:.0f}", f"{len(probe.waits)}", f"{len(probe.wrong)}", f"{descriptors:,}", f"{rss:.0f}", f"{cpu:.1f}", words]


def main():
    parser = argparse.ArgumentParser(description="Slow and hostile clients beside normal ones.")
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=30)
    given = parser.parse_args()
    if not shutil.which("slowhttptest"):
        parser.error("slowhttptest is not installed (Debian: apt-get install slowhttptest)")
    good = True
    print("| | longest wait, ms | asked | answered wrongly | descriptors | RSS, MiB | CPU, s | refused |\n|---|---|---|---|---|---|---|---|")
    for mode, options in MODES.items():
        # A server for each: what one mode left behind is not the next one's.
        with tempfile.TemporaryDirectory() as name:
            edge = start(given.binary.resolve(), pathlib.Path(name))
            try:
                probe, row = attack(edge, options, given.connections, given.seconds)
            finally:
                edge.stop()
        print(f"| {mode} | {' | '.join(row)} |", flush=True)
        for wrong in probe.wrong[:3]:
            print(f"{mode}: {wrong}", file=sys.stderr)
        good = good and not probe.wrong and max(probe.waits) < 1
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
