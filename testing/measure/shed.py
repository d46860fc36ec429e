#!/usr/bin/env python3
"""What a flood gets, and what it costs: python3 testing/measure/shed.py target/release/svc-edge [SECONDS]

Needs wrk (Debian's package). The server has its defaults (500 requests a second) and one worker; core 0 is its own where there are two. Everything stays on loopback.

- Twice the limit for SECONDS (60 unless told), then ten times: what was offered, admitted and refused by the server's own counters, second by second; how long the admitted
  took, seen by a prober of its own connection; memory; and how long after the flood the last refusal came.
- CPU of a refusal beside that of a 4 KiB hit, from /proc: rounds are interleaved, and what is printed are medians.
"""

import http.client
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

# What it shares with the harness stands there.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "performance"))

from loads import wrk
from machine import cores, rss_mib
from servers import Edge

LIMIT = 500
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = int(os.environ.get("SECONDS_A_ROUND", "4"))
ASSET = "/edge/assets/site/4k"
# Milliseconds between two requests of a connection of wrk: with so many connections as it takes, the rate that is wanted.
PAUSE = 40
# Requests a second of the prober, beside those of wrk.
PROBES = 50
SCRIPT = f"function delay() return {PAUSE} end\n"


def start(binary, directory, name, ingress):
    """svc-edge with one worker thread and a 4 KiB asset, and this for `edge.ingress`."""
    base = pathlib.Path(directory) / name
    (base / "assets").mkdir(parents=True)
    (base / "assets" / "4k").write_bytes(os.urandom(4096))
    return Edge(binary, base, files=base / "assets", core=cores()[0], ingress=f"{{{ingress}}}")


def counts(edge):
    """Requests admitted and refused so far."""
    samples = edge.metrics()
    admitted = sum(value for key, value in samples.items() if key.startswith("http_requests_total") and 'status="200"' in key and 'route="asset"' in key)
    return int(admitted), int(samples.get('rejected_total{reason="rate_limit"}', 0))


class Prober(threading.Thread):
    """Asks at a steady pace, and notes when, with which status, and how long it took."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.seen, self.done = port, [], threading.Event()

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        due = time.monotonic()
        while not self.done.is_set():
            began = time.monotonic()
            connection.request("GET", ASSET)
            answer = connection.getresponse()
            answer.read()
            now = time.monotonic()
            self.seen.append((now, answer.status, now - began))
            due += 1 / PROBES
            time.sleep(max(0.0, due - time.monotonic()))

    def stop(self):
        self.done.set()
        self.join()
        return self.seen


def p99_ms(latencies):
    ordered = sorted(latencies)
    return 1000 * ordered[math.ceil(0.99 * len(ordered)) - 1]


def flood(edge, factor, seconds, script):
    """One flood, from a full bucket: a row of the table."""
    time.sleep(1.5)
    prober = Prober(edge.port)
    connections = LIMIT * factor * PAUSE // 1000
    prober.start()
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{edge.port}{ASSET}"]
    wrk = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    marks = [(time.monotonic(), *counts(edge))]
    peak = 0.0
    while wrk.poll() is None:
        time.sleep(max(0.0, marks[0][0] + len(marks) - time.monotonic()))
        marks.append((time.monotonic(), *counts(edge)))
        peak = max(peak, rss_mib(edge.process.pid))
    ended = time.monotonic()
    time.sleep(2.5)
    seen = prober.stop()
    # The last mark may lie in a second that wrk did not fill. What was saved up is gone after one second at twice the limit, and wrk's start.
    marks = marks[:-1]
    steps = [(b[0] - a[0], b[1] - a[1], b[2] - a[2]) for a, b in zip(marks, marks[1:])]
    rates = [admitted / took for took, admitted, _ in steps]
    took, admitted, refused = (sum(column) for column in zip(*steps))
    steady_took, steady, _ = (sum(column) for column in zip(*steps[2:]))
    latencies = [latency for when, status, latency in seen if status == 200 and when <= ended]
    refusals = [when for when, status, _ in seen if status != 200 and when > ended]
    recovery = max(refusals) - ended if refusals else 0.0
    print(
        f"| {factor}× for {seconds} s | {(admitted + refused) / took:.0f} | {admitted / took:.0f} | {steady / steady_took:.1f} | "
        f"{min(rates[2:]):.0f}–{max(rates[2:]):.0f} | {100 * refused / (admitted + refused):.1f} % | {p99_ms(latencies):.1f} of {len(latencies)} | "
        f"{peak:.1f} | {recovery:.2f} |",
        flush=True,
    )


def costs(binary, directory):
    """CPU microseconds a request of a hit and of each refusal, and requests a second."""
    open_handed = start(binary, directory, "hits", "rps_limit: null, max_inflight: null")
    strict = start(binary, directory, "refusals", "rps_limit: 1, max_inflight: null")
    rounds = {"4 KiB hit": [], "refusal, 429": []}
    for _ in range(ROUNDS):
        for name, edge in (("4 KiB hit", open_handed), ("refusal, 429", strict)):
            one = wrk(edge, ASSET, SECONDS, cores()[1], refused=edge is strict)
            rounds[name].append((one["cpu_us"], one["rps"]))
    print("\n| | CPU µs a request | requests/s |\n|---|---|---|")
    for name, figures in rounds.items():
        cpu, rate = zip(*figures)
        print(f"| {name} | {statistics.median(cpu):.1f} ({min(cpu):.1f}–{max(cpu):.1f}) | {statistics.median(rate):.0f} |")
    open_handed.stop()
    strict.stop()


def main():
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    if seconds < 5:
        sys.exit("SECONDS: 5 or more, or there is nothing steady to see")
    with tempfile.TemporaryDirectory() as directory:
        script = pathlib.Path(directory) / "pace.lua"
        script.write_text(SCRIPT)
        edge = start(binary, directory, "flood", f"rps_limit: {LIMIT}")
        print(f"RSS when idle: {rss_mib(edge.process.pid):.1f} MiB\n")
        print("| load | offered/s | admitted/s | without the first two seconds | each of these | 429 | p99 of the admitted, ms | RSS, MiB | last refusal after the end, s |")
        print("|---|---|---|---|---|---|---|---|---|")
        for factor in (2, 10):
            flood(edge, factor, seconds, script)
        edge.stop()
        costs(binary, directory)


if __name__ == "__main__":
    main()
