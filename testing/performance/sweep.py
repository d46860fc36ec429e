#!/usr/bin/env python3
"""Each knob over its values, with a load that shows what it does: python3 testing/performance/sweep.py [--knobs chunk_bytes,threads] [--seconds 4]

Writes sweeps.json and sweeps.md beside this file, or where --out says. Everything else is as in `perf.py`: one core for the server, one for the load.
"""

import argparse
import contextlib
import datetime
import http.client
import os
import pathlib
import queue
import sys
import tempfile
import threading
import time

import loads
import machine
import profiles
import report
from content import Content
from loads import Share
from machine import Failed
from servers import HIGH, Edge

HERE = pathlib.Path(__file__).resolve().parent
ASSET = "/edge/assets/site/4k"


class Sweep:
    """What each load needs."""

    def __init__(self, binary, directory, seconds):
        self.binary, self.directory, self.seconds = binary, directory, seconds
        self.content = Content(directory)
        self.server, self.load = machine.cores()

    @contextlib.contextmanager
    def edge(self, **how):
        """svc-edge with this conf, for a while."""
        core = how.pop("core", self.server)
        edge = Edge(self.binary, self.directory, self.content, core, **how)
        try:
            yield edge
        finally:
            edge.stop()

    @contextlib.contextmanager
    def origin(self, **how):
        """An origin that is slow or fails: its port."""
        port = machine.free_port()
        words = [word for key, value in how.items() for word in (f"--{key}", value)]
        process = machine.start([sys.executable, HERE / "origins.py", port, *words], self.load)
        try:
            machine.wait_for(lambda: machine.get(port, "/count")[0] == 200)
            yield port
        finally:
            machine.stop(process)

    def wrk(self, edge, path, **how):
        """A round of wrk, with the share that was refused."""
        before = edge.metrics()
        figures = loads.wrk(edge, path, self.seconds, self.load, **how)
        figures["shed_rate"] = profiles.shed_rate(before, edge.metrics(), figures["requests"])
        return figures


def limited(high, **keys):
    """`ingress` with high limits, but for these."""
    for key, value in keys.items():
        high = ", ".join(part for part in high.strip("{}").split(", ") if not part.startswith(f"{key}:")) + f", {key}: {value}"
    return "{" + high.strip("{}") + "}"


def live(port, fill=""):
    """Live mode, with that origin for everything."""
    return f'  mode: live\n{fill}  origins: [{{prefix: "", url: "http://127.0.0.1:{port}/", allow_private: true}}]\n'


def rps_limit(sweep, value):
    """GET of 4 KiB at 1,000 a second, open loop."""
    with sweep.edge(ingress=limited(HIGH, rps_limit=value)) as edge:
        return loads.oha(edge, [Share(1000, [ASSET])], 2 * sweep.seconds, sweep.load, connections=16)


def max_inflight(sweep, value):
    """GET of 1 MiB, 64 connections at once."""
    with sweep.edge(ingress=limited(HIGH, max_inflight=value)) as edge:
        return sweep.wrk(edge, "/edge/assets/site/1m", connections=64, refused=True)


def fill_queue(sweep, value):
    """1,000 misses by 256 clients at once; the origin takes 50 ms for each."""
    with sweep.origin(delay=0.05) as port, sweep.edge(lines=live(port, f"  fill: {{queue: {value}}}\n")) as edge:
        return misses(edge, port, 1000, 256)


def threads(sweep, value):
    """GET of 4 KiB; with two cores a second thread has to share the load's."""
    every = sorted(os.sched_getaffinity(0))
    mine = every if len(every) == 2 else [core for core in every if core != sweep.load]
    with sweep.edge(threads=value, core=",".join(map(str, mine))) as edge:
        return sweep.wrk(edge, ASSET, connections=32)


def chunk_bytes(sweep, value):
    """GET of 8 MiB by the long way; on the short one the kernel sends the file by itself."""
    with sweep.edge(http=f"chunk_bytes: {value}, direct: false") as edge:
        return sweep.wrk(edge, "/edge/assets/site/8m")


def direct(sweep, value):
    """GET of 4 KiB, the short way and the long one."""
    with sweep.edge(http=f"direct: {value}") as edge:
        return sweep.wrk(edge, ASSET)


def multi_range(sweep, value):
    """Two ranges of 4 KiB out of 64 KiB; `false` answers with the whole."""
    with sweep.edge(http=f"multi_range: {value}") as edge:
        return sweep.wrk(edge, "/edge/assets/site/64k", headers=[("Range", "bytes=0-4095,32768-36863")])


def retry_count(sweep, value):
    """300 misses by 8 clients; the origin fails three in ten."""
    with sweep.origin(fail=0.3) as port, sweep.edge(lines=live(port, f"  fill: {{retry: {{count: {value}, budget: 100}}}}\n")) as edge:
        return misses(edge, port, 300, 8)


def retry_budget(sweep, value):
    """300 misses by 8 clients; the origin fails three in ten."""
    with sweep.origin(fail=0.3) as port, sweep.edge(lines=live(port, f"  fill: {{retry: {{budget: {value}}}}}\n")) as edge:
        return misses(edge, port, 300, 8)


def durability(sweep, value):
    """1,000 misses of 4 KiB by 16 clients. The hash can't be turned off: it is the name of what is stored."""
    with sweep.origin() as port, sweep.edge(lines=live(port), cas=f", durability: {value}") as edge:
        return misses(edge, port, 1000, 16)


def hash_on_runtime(sweep, value):
    """100 misses of 1 MiB by 4 clients: hashed by the worker that receives them, or by the threads that write."""
    with sweep.origin(body=1 << 20) as port, sweep.edge(lines=live(port, f"  fill: {{hash_on_runtime: {value}}}\n")) as edge:
        return misses(edge, port, 100, 4)


def memory_bytes(sweep, value):
    """gwsmoke: assets and tiles."""
    with sweep.edge(cas=f", memory_bytes: {value}") as edge:
        tag = machine.ask(edge.port, ASSET, "HEAD")[1]["etag"]
        return sweep.wrk(edge, "/", script="gwsmoke.lua", arguments=[tag])


def misses(edge, origin, count, clients):
    """So many misses, each of another object, by so many clients: what was answered, how long that took, and what it cost the origin."""
    left, seen = queue.Queue(), []
    for number in range(count):
        left.put(f"/edge/assets/miss/{number}")

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", edge.port, timeout=30)
        with contextlib.closing(connection), contextlib.suppress(queue.Empty):
            while True:
                path = left.get_nowait()
                began = time.perf_counter()
                try:
                    connection.request("GET", path)
                    answer = connection.getresponse()
                    answer.read()
                    seen.append((time.perf_counter() - began, answer.status))
                except (OSError, http.client.HTTPException):
                    connection.close()

    asked = [threading.Thread(target=ask, daemon=True) for _ in range(clients)]
    before = edge.metrics()
    with loads.Watch(edge.pid) as watch:
        for each in asked:
            each.start()
        for each in asked:
            each.join()
    figures = loads.fixed_figures(seen, count, watch, watch.took)
    # A 503 of the origin's is no refusal of ours.
    figures["shed_rate"] = profiles.shed_rate(before, edge.metrics(), count)
    figures["origin_requests"] = int(machine.get(origin, "/count")[1]) / count
    figures["answered"] = sum(status == 200 for _, status in seen) / count
    return figures


# The keys of the conf, what each is set to, and the load that shows it.
KNOBS = {
    "ingress.rps_limit": (rps_limit, [100, 250, 500, 1000, 2000, "null"]),
    "ingress.max_inflight": (max_inflight, [1, 4, 16, 32, 64, 512, "null"]),
    "fill.queue": (fill_queue, [1, 16, 64, 128, 256, 512]),
    "threads": (threads, [1, 2, 4]),
    "http.direct": (direct, ["true", "false"]),
    "http.chunk_bytes": (chunk_bytes, ["64KiB", "96KiB", "128KiB", "192KiB", "256KiB"]),
    "http.multi_range": (multi_range, ["false", "true"]),
    "fill.retry.count": (retry_count, [0, 1, 2, 3, 5]),
    "fill.retry.budget": (retry_budget, [0, 10, 20, 50, 100]),
    "cas.durability": (durability, ["verify", "fsync"]),
    "fill.hash_on_runtime": (hash_on_runtime, ["true", "false"]),
    "cas.memory_bytes": (memory_bytes, ["0", "256KiB", "1MiB", "8MiB", "128MiB"]),
}
COLUMNS = {
    "cpu_us": "CPU µs a request", "rps": "req/s", "p50_ms": "p50 ms", "p95_ms": "p95 ms", "p99_ms": "p99 ms", "rss_mib": "RSS MiB",
    "shed_rate": "refused, of 1", "answered": "answered with 200, of 1", "origin_requests": "requests to the origin, each",
}  # fmt: skip


def markdown(found):
    """A table for each knob."""
    parts = ["# Knobs", f"{found['date']}, commit {found['commit']}, {found['machine']['cpu']} with {found['machine']['cores']} cores. {found['note']}"]
    for knob, sweep in found["sweeps"].items():
        shown = [key for key in COLUMNS if any(key in row["figures"] for row in sweep["rows"])]
        rows = [[f"`{row['value']}`", *(report.number(row["figures"].get(key)) for key in shown)] for row in sweep["rows"]]
        parts += [f"## `{knob}`", sweep["what"], report.table(["", *(COLUMNS[key] for key in shown)], rows)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def main():
    """Sweep, and write."""
    parser = argparse.ArgumentParser(description="Each knob over its values.")
    parser.add_argument("--binary", type=pathlib.Path, default=machine.ROOT / "target/release/svc-edge")
    parser.add_argument("--knobs", type=lambda text: text.split(","), default=list(KNOBS), help=f"some of {', '.join(KNOBS)}")
    parser.add_argument("--seconds", type=int, default=4, help="of a round")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved over the values of a knob; figures are medians")
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    given = parser.parse_args()
    for knob in given.knobs:
        if knob not in KNOBS:
            parser.error(f"no knob {knob!r}; there are {', '.join(KNOBS)}")
    if min(given.seconds, given.rounds) < 1:
        parser.error("numbers are 1 or more")
    machine.require_to_measure()
    machine.end_on_signals()
    note = f"Medians of {given.rounds} rounds, interleaved over the values."
    if os.getloadavg()[0] > machine.IDLE:
        note += f" **The machine was not idle**: its load was {os.getloadavg()[0]:.1f} when the run began."
    sweeps = {}
    with tempfile.TemporaryDirectory(prefix="svc-edge-sweep-", ignore_cleanup_errors=True) as directory:
        os.chmod(directory, 0o755)
        sweep = Sweep(given.binary.resolve(), directory, given.seconds)
        for knob in given.knobs:
            load, values = KNOBS[knob]
            if load is rps_limit and machine.which("oha") is None:
                print(f"{knob}: skipped, oha is not installed", file=sys.stderr)
                continue
            print(f"{knob}: {load.__doc__}", file=sys.stderr, flush=True)
            rounds = [[] for _ in values]
            for _ in range(given.rounds):
                for figures, value in zip(rounds, values):
                    one = load(sweep, value)
                    figures.append({key: one[key] for key in COLUMNS if key in one})
            sweeps[knob] = {"what": load.__doc__, "rows": [{"value": value, "figures": profiles.medians(each)} for value, each in zip(values, rounds)]}
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = {"kind": "svc-edge-sweeps", "date": date, "commit": machine.commit(), "machine": machine.describe(), "note": note, "sweeps": sweeps}
    machine.write_json(given.out / "sweeps.json", found)
    (given.out / "sweeps.md").write_text(markdown(found))
    print(f"wrote {given.out}/sweeps.json and sweeps.md", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except (Failed, TimeoutError) as fault:
        sys.exit(f"sweep.py: {fault}")
    except KeyboardInterrupt:
        sys.exit(130)
