#!/usr/bin/env python3
"""gwsmoke at 400 requests a second for a long time: python3 testing/performance/soak.py [--seconds 600] [--rate 400]

Samples memory and descriptors of svc-edge, and fails on a trend in either. Writes var/perf/soak.json with every sample. Exit codes: 0 held; 1 a trend, an
error, or something did not run.
"""

import argparse
import datetime
import os
import pathlib
import statistics
import sys
import tempfile
import threading
import time

import loads
import machine
from content import Content
from machine import ROOT, Failed
from servers import Edge

# What the loads are cut into: oha keeps every request in memory until it ends.
PIECE = 300
# A trend is one when it would gain this share of what there is in a day, and as much as this in the time that was looked at: the first alone would call the
# first pages of an idle process a leak.
A_DAY = 24 * 3600
RSS = {"share_a_day": 0.5, "least": 2.0}
FDS = {"share_a_day": 0.5, "least": 6.0}


def slope(samples):
    """The median of the slopes between pairs (Theil–Sen): units a second of samples (seconds, value). Up to 29 % of them may be anything."""
    # All pairs of up to 400 samples are 80,000: more are thinned out evenly.
    step = max(1, len(samples) // 400)
    kept = samples[::step]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for at, a in enumerate(kept) for b in kept[at + 1 :] if b[0] > a[0]]
    return statistics.median(slopes) if slopes else 0.0


def trend(samples, share_a_day, least):
    """Whether the second half of the samples (seconds, value) rises for good: (so, units a second). The first half is for what grows to its size.

    It is a trend when, at that pace, a day would add `share_a_day` of what there is, and the time looked at has added `least`.
    """
    if len(samples) < 20:
        raise ValueError(f"{len(samples)} samples are too few to tell a trend: 20")
    half = samples[len(samples) // 2 :]
    pace = slope(half)
    level = statistics.median(value for _, value in half)
    gained = pace * (half[-1][0] - half[0][0])
    return pace * A_DAY > share_a_day * level and gained > least, pace


class Sampler(threading.Thread):
    """Notes memory and descriptors each few seconds."""

    def __init__(self, pid, every):
        super().__init__(daemon=True)
        self.pid, self.every, self.samples, self.done = pid, every, [], threading.Event()
        self.began = time.monotonic()

    def run(self):
        while not self.done.wait(self.every):
            self.samples.append((time.monotonic() - self.began, machine.rss_of_all_mib(self.pid), machine.descriptors(self.pid)))

    def stop(self):
        self.done.set()
        self.join()


def duration(text):
    """`600`, `10m` or `24h` in seconds."""
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1)
    return int(number) * unit


def soak(edge, rate, seconds, core, every):
    """The load in pieces, one after the other: samples, and what was answered."""
    tag = machine.ask(edge.port, "/edge/assets/site/4k", "HEAD")[1]["etag"]
    sampler = Sampler(edge.pid, every)
    sampler.start()
    pieces = []
    until = time.monotonic() + seconds
    try:
        while (left := until - time.monotonic()) > 1:
            # The rest is one piece, not a piece and a crumb.
            length = min(left, PIECE) if left < 1.5 * PIECE or left > 2 * PIECE else left / 2
            pieces.append(loads.oha(edge, loads.gwsmoke_shares(rate, tag), length, core))
            now = pieces[-1]
            print(f"{seconds - max(0, until - time.monotonic()):,.0f} s: p99 {now['p99_ms']:.2f} ms, RSS {now['rss_mib']:.1f} MiB, {now['fds']} descriptors, {now['errors']} errors", file=sys.stderr, flush=True)
            if edge.process.poll() is not None:
                raise Failed(f"svc-edge ended with {edge.process.returncode}")
    finally:
        sampler.stop()
    return sampler.samples, pieces


def judge(samples, pieces):
    """What was found, and every fault in a sentence."""
    found, faults = {}, []
    for name, at, bounds, unit in (("rss_mib", 1, RSS, "MiB"), ("fds", 2, FDS, "descriptors")):
        rises, pace = trend([(sample[0], sample[at]) for sample in samples], **bounds)
        found[name] = {"a_day": pace * A_DAY, "last": samples[-1][at], "most": max(sample[at] for sample in samples), "rises": rises}
        if rises:
            faults.append(f"{name} rises: {pace * A_DAY:.1f} {unit} a day, from {samples[len(samples) // 2][at]:.1f} to {samples[-1][at]:.1f} in the second half")
    found["requests"] = sum(piece["requests"] for piece in pieces)
    found["errors"] = sum(piece["errors"] for piece in pieces)
    found["p99_ms"] = statistics.median(piece["p99_ms"] for piece in pieces)
    if found["errors"]:
        faults.append(f"{found['errors']} of {found['requests']} requests failed")
    return found, faults


def main():
    """Run, judge, write."""
    parser = argparse.ArgumentParser(description="gwsmoke at a fixed rate for a long time; fails on a trend in memory or descriptors.")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/svc-edge")
    parser.add_argument("--seconds", type=duration, default="10m", help="600, 10m, 24h")
    parser.add_argument("--rate", type=int, default=400)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "var/perf/soak.json")
    given = parser.parse_args()
    every = max(0.25, min(5.0, given.seconds / 120))
    if given.seconds < 10:
        parser.error("10 s or more, or there is no trend to see")
    machine.require_to_measure()
    machine.end_on_signals()
    if machine.which("oha") is None:
        raise Failed("oha is not installed: cargo install oha --locked")
    with tempfile.TemporaryDirectory(prefix="svc-edge-soak-", ignore_cleanup_errors=True) as directory:
        os.chmod(directory, 0o755)
        server, load = machine.cores()
        edge = Edge(given.binary.resolve(), directory, Content(directory), server)
        try:
            samples, pieces = soak(edge, given.rate, given.seconds, load, every)
        finally:
            edge.stop()
    found, faults = judge(samples, pieces)
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    machine.write_json(given.out, {"kind": "svc-edge-soak", "date": date, "seconds": given.seconds, "rate": given.rate, **found, "faults": faults, "samples": samples})
    print(f"RSS {found['rss_mib']['a_day']:+.1f} MiB a day, {found['fds']['a_day']:+.1f} descriptors a day; {found['requests']:,} requests, {found['errors']} errors, p99 {found['p99_ms']:.2f} ms")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, TimeoutError) as fault:
        sys.exit(f"soak.py: {fault}")
    except KeyboardInterrupt:
        sys.exit(130)
