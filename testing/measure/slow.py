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
import signal
import subprocess
import sys
import tempfile
import threading
import time

from measure import cpu_seconds, free_port, get, rss_mib, wait_for

MODES = {
    # What a normal client waits for on this machine in any case.
    "nobody else": None,
    "slow headers (-H)": ["-H", "-i", "10", "-t", "GET", "-x", "24"],
    "slow bodies (-B)": ["-B", "-i", "10", "-s", "8192", "-t", "POST", "-x", "10"],
    "slow reading (-X)": ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"],
    "ranges (-R)": ["-R", "-t", "HEAD", "-a", "10", "-b", "3000"],
}
BODY = b"hello, world" * 300


class Edge:
    """svc-edge with its defaults."""

    def __init__(self, binary, directory):
        self.port, self.admin = free_port(), free_port()
        assets = directory / "assets"
        assets.mkdir()
        (assets / "small").write_bytes(BODY)
        (assets / "large").write_bytes(bytes(8 << 20))
        conf = directory / "svc-edge.yaml"
        conf.write_text(f"edge:\n  bind: 127.0.0.1:{self.port}\n  metrics: 127.0.0.1:{self.admin}\n  cas: {{dir: {directory}/cas}}\n")
        subprocess.run([binary, "cas", "import", assets, "--prefix", "site", "--conf", conf], check=True, stdout=subprocess.DEVNULL)
        self.log = open(directory / "edge.log", "ab")
        self.process = subprocess.Popen([binary, "--conf", conf], stdout=subprocess.DEVNULL, stderr=self.log, cwd=directory)
        wait_for(lambda: get(self.admin, "/readyz")[0] == 200)

    def refusals(self):
        lines = get(self.admin, "/metrics")[1].decode().splitlines()
        found = (re.match(r'rejected_total\{reason="(\w+)"\} (\d+)', line) for line in lines)
        return {match[1]: int(match[2]) for match in found if match}

    def descriptors(self):
        return len(list(pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


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
    before, cpu = edge.refusals(), cpu_seconds(edge.process.pid)
    probe = Probe(edge.port)
    probe.start()
    if options is None:
        time.sleep(10)
        return probe.done(), row(edge, probe, before, cpu, edge.descriptors(), rss_mib(edge.process.pid))
    url = f"http://127.0.0.1:{edge.port}/edge/assets/site/large"
    command = ["slowhttptest", "-c", connections, "-r", 500, "-l", seconds, "-p", 3, "-u", url, *options]
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    most = rss = 0
    try:
        reader = threading.Thread(target=process.stdout.read, daemon=True)
        reader.start()
        until = time.monotonic() + seconds + 30
        while process.poll() is None and time.monotonic() < until:
            most, rss = max(most, edge.descriptors()), max(rss, rss_mib(edge.process.pid))
            time.sleep(0.2)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    return probe.done(), row(edge, probe, before, cpu, most, rss)


def row(edge, probe, before, cpu, descriptors, rss):
    refused = {reason: count - before.get(reason, 0) for reason, count in edge.refusals().items() if count != before.get(reason, 0)}
    words = ", ".join(f"{count:,} {reason}" for reason, count in sorted(refused.items())) or "nothing"
    cpu = cpu_seconds(edge.process.pid) - cpu
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
            edge = Edge(given.binary.resolve(), pathlib.Path(name))
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
