#!/usr/bin/env python3
"""The performance harness: python3 testing/performance/perf.py [--quick] [--profiles a,b] [--servers a,b] …; see testing/performance/README.md.

Runs svc-edge and the servers that are installed side by side and writes perf.json, report.md and chart.svg. Exit codes: 0 measured, whatever the figures say
(`perf-compare` judges them); 1 something did not run; 2 the usage.
"""

import argparse
import datetime
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import machine
import report
import slos
import stages
from content import Content
from machine import ROOT, Failed
from profiles import PROFILES, QUICK, saturate
from servers import PEERS, Edge, Floor, Nginx, NginxProxyCache, Varnish

HERE = pathlib.Path(__file__).resolve().parent
OWN = ("fixed_400", "live_fill", "burst", "cap", "idle", "start")
NOTE = "Medians of the rounds, which are interleaved; CPU is that of a server's processes, from /proc."


def say(text):
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


class Run:
    """One run: what it was told, what is found."""

    def __init__(self, given):
        self.given = given
        self.binary, self.floor = given.binary.resolve(), given.floor.resolve()
        self.server_core, self.load_core = machine.cores()
        # What measures must not run on the server's core. Servers are pinned by themselves.
        os.sched_setaffinity(0, {self.load_core})
        self.rounds, self.seconds, self.rest = given.rounds, given.seconds, 5
        self.fixed_seconds, self.fills, self.starts = given.fixed_seconds, given.fills, given.starts
        self.profiles, self.skipped, self.versions = {}, {}, {}
        self.conf, self.note = "", NOTE

    def wants(self, name):
        """Whether a profile was asked for."""
        return not self.given.profiles or name in self.given.profiles

    def peers(self):
        """The classes of the peers that take part; why the others don't goes into `skipped`."""
        chosen = []
        for peer in PEERS:
            if self.given.servers and peer.name not in self.given.servers:
                continue
            if not peer.installed():
                self.skipped[peer.name] = f"{peer.program} is not installed: testing/performance/README.md says how"
                continue
            chosen.append(peer)
        return chosen

    def saturation(self, directory):
        """The profiles that all servers take part in, and the fixed rate, which does not need its own."""
        wanted = [profile for profile in PROFILES if self.wants(profile.name)]
        fixed = self.wants("fixed_400") and self.has_oha("fixed_400")
        if not wanted and not fixed:
            return
        servers, origin = [], None
        try:
            servers.append(Edge(self.binary, directory, self.content, self.server_core))
            self.conf = servers[0].conf
            for peer in self.peers():
                if peer in (NginxProxyCache, Varnish):
                    if origin is None and Nginx.installed():
                        # Of the server that caches alone the CPU counts, and the one behind it rests once the cache is warm.
                        origin = Nginx(directory, self.content, self.load_core)
                    if origin is None:
                        self.skipped[peer.name] = "nginx, its origin, is not installed"
                        continue
                arguments = (origin.port,) if peer in (NginxProxyCache, Varnish) else ()
                self.begin(servers, peer.name, lambda: peer(directory, self.content, self.server_core, *arguments))
                self.versions[peer.name] = peer.version()
            if not self.given.servers or "floor" in self.given.servers:
                if self.floor.exists():
                    self.begin(servers, "floor", lambda: Floor(self.floor, directory, self.content, self.server_core))
                else:
                    self.skipped["floor"] = f"{self.floor} is not built: cargo build --release -p perf-floor"
            for server in servers:
                server.tags = {}
            say("servers: " + ", ".join(server.name for server in servers))
            for profile in wanted:
                if profile.tool == "oha" and not self.has_oha(profile.name):
                    continue
                say(f"{profile.name}: {profile.what}")
                self.profiles[profile.name] = saturate(profile, servers, self.content, self.rounds, self.seconds, self.load_core, say)
                self.tell(profile.name)
            if fixed:
                say("fixed_400: gwsmoke at 400 requests a second")
                self.profiles["fixed_400"] = stages.fixed(self, [each for each in servers if each.has("/edge/assets/site/4k")])
                self.tell("fixed_400")
        finally:
            for server in [*reversed(servers), *([origin] if origin else [])]:
                server.stop()

    def begin(self, servers, name, make):
        """Start a peer; one that does not start is skipped, and why is said."""
        try:
            servers.append(make())
        except Failed as fault:
            self.skipped[name] = f"did not start: {fault}"
            say(self.skipped[name])

    def own_stages(self):
        """The profiles with servers of their own."""
        given = self.given
        if self.wants("live_fill"):
            if Nginx.installed():
                say("live_fill: misses")
                self.profiles |= stages.live_fill(self)
            else:
                self.skipped["live_fill"] = self.skipped["live_fill_1m"] = "nginx, the origin, is not installed"
        if self.wants("burst") and self.has_oha("burst"):
            say(f"burst: ten times the cap for {given.burst_seconds} s")
            self.profiles["burst"] = stages.flood(self, 10, given.burst_seconds)
        if self.wants("cap") and self.has_oha("cap"):
            say(f"cap: at the cap for {given.cap_seconds} s")
            self.profiles["cap"] = stages.flood(self, 1, given.cap_seconds)
        if self.wants("idle"):
            if stages.room_for(given.idle):
                say(f"idle: {given.idle} connections")
                self.profiles["idle"] = stages.idle(self, given.idle)
            else:
                self.skipped["idle"] = f"{given.idle} connections need more descriptors than `ulimit -Hn` allows"
        if self.wants("start"):
            say("start: to ready")
            self.profiles |= stages.starts(self)

    def has_oha(self, profile):
        """Whether oha is there; else the profile is skipped."""
        if machine.which("oha") is None:
            self.skipped[profile] = "oha is not installed: cargo install oha --locked"
            return False
        return True

    def tell(self, name):
        """A line for who waits."""
        found = self.profiles[name]["servers"]
        say("  CPU µs a request: " + ", ".join(f"{server} {figures['cpu_us']:.1f}" for server, figures in found.items() if "cpu_us" in figures))

    def measure(self):
        """Everything that was asked for; the report."""
        busy = os.getloadavg()[0]
        if busy > machine.IDLE:
            # What a neighbour does is in every figure: the report must not look as if it were not.
            self.note += f" **The machine was not idle**: its load was {busy:.1f} when the run began."
            say(f"the machine is not idle, its load is {busy:.1f}: figures will be worse than they are")
        # Their servers may run as nobody: the directory can be read by everybody.
        with tempfile.TemporaryDirectory(prefix="svc-edge-perf-", ignore_cleanup_errors=True) as directory:
            os.chmod(directory, 0o755)
            self.directory = pathlib.Path(directory)
            self.content = Content(directory)
            self.saturation(self.directory)
            self.own_stages()
        return self.report()

    def report(self):
        """perf.json."""
        told = subprocess.run([self.binary, "--version"], capture_output=True, text=True, check=True).stdout
        versions = {"svc-edge": " ".join(told.split()[1:]), **self.versions}
        for tool, pattern in (("wrk", r"wrk \S*?(\d[\d.]*)"), ("oha", r"oha (\S+)")):
            if machine.which(tool):
                out = subprocess.run([machine.which(tool), "--version"], capture_output=True, text=True, check=False)
                found = re.search(pattern, out.stdout + out.stderr)
                versions[tool] = found.group(1) if found else "unknown"
        return {
            "schema": 1,
            "kind": "svc-edge-perf",
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "commit": machine.commit(),
            "machine": machine.describe(),
            "conf": self.conf,
            "versions": versions,
            "note": self.note,
            "skipped": self.skipped,
            "profiles": self.profiles,
            "slos": slos.slos(self.profiles, self.skipped, HERE / "allocations.json"),
        }


def arguments():
    """The command line."""
    names = [profile.name for profile in PROFILES] + list(OWN)
    parser = argparse.ArgumentParser(description="svc-edge beside other servers, on this machine: CPU a request, rates, latencies, memory.")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/svc-edge")
    parser.add_argument("--floor", type=pathlib.Path, default=ROOT / "target/release/perf-floor")
    parser.add_argument("--out", type=pathlib.Path, help="where perf.json, report.md and chart.svg go (var/perf); with --quick a file (var/perf/quick.json)")
    parser.add_argument("--quick", action="store_true", help=f"nginx alone, {', '.join(QUICK)}, short rounds: two minutes, for CI")
    parser.add_argument("--profiles", type=lambda text: text.split(","), help=f"some of {', '.join(names)}")
    parser.add_argument("--servers", type=lambda text: text.split(","), help=f"peers: some of {', '.join(peer.name for peer in PEERS)}, floor")
    parser.add_argument("--rounds", type=int, help="5, or 7 with --quick")
    parser.add_argument("--seconds", type=int, help="of a round: 4, or 1 with --quick")
    parser.add_argument("--fixed-seconds", type=int, default=30, help="at 400 requests a second")
    parser.add_argument("--burst-seconds", type=int, default=60, help="at ten times the cap")
    parser.add_argument("--cap-seconds", type=int, default=60, help="at the cap; 900 is what the SLO says")
    parser.add_argument("--fills", type=int, default=500, help="misses of each server")
    parser.add_argument("--starts", type=int, default=10, help="starts of each kind")
    parser.add_argument("--idle", type=int, default=10_000, help="idle connections")
    parser.add_argument("--publish", action="store_true", help="measure nothing: put the last run into testing/performance/report and README.md")
    given = parser.parse_args()
    if given.quick:
        given.profiles, given.servers = given.profiles or list(QUICK), given.servers or ["nginx"]
    rounds, seconds = (7, 1) if given.quick else (5, 4)
    given.rounds = rounds if given.rounds is None else given.rounds
    given.seconds = seconds if given.seconds is None else given.seconds
    for name in given.profiles or []:
        if name not in names:
            parser.error(f"no profile {name!r}; there are {', '.join(names)}")
    for name in given.servers or []:
        if name not in [*(peer.name for peer in PEERS), "floor"]:
            parser.error(f"no server {name!r}")
    if min(given.rounds, given.seconds, given.fixed_seconds, given.burst_seconds, given.cap_seconds, given.fills, given.starts, given.idle) < 1:
        parser.error("numbers are 1 or more")
    given.out = given.out or ROOT / ("var/perf/quick.json" if given.quick else "var/perf")
    return given


def publish(out):
    """The report of the last run, for the repository: its files, and the README's table."""
    perf = machine.read_json(out / "perf.json")
    kept = HERE / "report"
    kept.mkdir(exist_ok=True)
    for name in ("perf.json", "report.md", "chart.svg"):
        shutil.copyfile(out / name, kept / name)
    report.readme(perf, ROOT / "README.md")


def main():
    """Measure, and write what was found."""
    given = arguments()
    if given.publish:
        publish(given.out)
        return
    machine.require_to_measure()
    machine.end_on_signals()
    for program in (given.binary,):
        if not os.access(program, os.X_OK):
            sys.exit(f"no {program}: cargo build --release")
    perf = Run(given).measure()
    if given.quick:
        machine.write_json(given.out, perf)
        say(f"wrote {given.out}")
        return
    machine.write_json(given.out / "perf.json", perf)
    (given.out / "report.md").write_text(report.markdown(perf))
    (given.out / "chart.svg").write_text(report.chart(perf))
    print(report.slo_table(perf))
    say(f"wrote {given.out}/perf.json, report.md and chart.svg")


if __name__ == "__main__":
    try:
        main()
    except (Failed, TimeoutError) as fault:
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {fault}")
    except KeyboardInterrupt:
        sys.exit(130)
