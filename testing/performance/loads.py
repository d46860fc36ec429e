"""Loads, and what they and /proc say: wrk as fast as the server answers, oha at a fixed rate.

Figures of a run, as they stand in perf.json: `cpu_us` is CPU microseconds of the server's processes a request, from /proc; `rss_mib` and `fds` were seen in
the middle of the run, while its connections were open.
"""

import json
import math
import pathlib
import sqlite3
import tempfile
import threading
import time

import machine
from machine import Failed

HERE = pathlib.Path(__file__).resolve().parent
CONNECTIONS = 16
RANGE = "bytes=1048576-1114111"


class Watch:
    """Seconds of CPU, and the highest memory and descriptors, of a server while something runs: `with Watch(pid) as watch: …`."""

    def __init__(self, pid, every=0.25):
        self.pid, self.every = pid, every
        self.rss = self.fds = 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def look(self):
        while not self.done.wait(self.every):
            self.sample()

    def sample(self):
        rss, fds = machine.rss_of_all_mib(self.pid), machine.descriptors(self.pid)
        self.rss, self.fds = max(self.rss, rss), max(self.fds, fds)

    def __enter__(self):
        self.began, self.before = time.monotonic(), machine.cpu_seconds(self.pid)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.cpu = machine.cpu_seconds(self.pid) - self.before
        self.took = time.monotonic() - self.began
        self.done.set()
        self.thread.join()
        # What was over in no time was not seen yet.
        self.sample()


def wrk(server, path, seconds, core, method="GET", headers=(), connections=CONNECTIONS, script="one.lua", arguments=None, refused=False):
    """One round of wrk. `refused`: that answers are errors is what is measured."""
    argv = [machine.which("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", HERE / script, f"http://127.0.0.1:{server.port}{path}", "--"]
    argv += [method, *(f"{name}: {value}" for name, value in headers)] if arguments is None else arguments
    with Watch(server.pid) as watch:
        out = machine.run(argv, core, seconds + 30)
    # What a script prints in `done` stands behind wrk's own lines.
    said = json.loads(out[out.rindex("\n{") + 1 :])
    errors = said["errors"]
    if said["requests"] == 0:
        raise Failed(f"{server.name} answered nothing on {path}: {errors}")
    if errors["status"] and not refused:
        raise Failed(f"{server.name} refused {errors['status']} of {said['requests']} requests on {path}")
    latency = said["latency_us"]
    return {
        "cpu_us": watch.cpu / said["requests"] * 1e6,
        "rps": said["rps"],
        "p50_ms": latency["p50"] / 1000,
        "p95_ms": latency["p95"] / 1000,
        "p99_ms": latency["p99"] / 1000,
        "rss_mib": watch.rss,
        "fds": watch.fds,
        "requests": said["requests"],
        "errors": sum(errors.values()),
    }


def oha_closed(server, path, seconds, core, method, headers, connections=CONNECTIONS):
    """One round of oha as fast as the server answers: for HEAD, whose answers wrk can't read, as it waits for a body of the length that they tell."""
    argv = [machine.which("oha"), "--no-tui", "--output-format", "json", "-z", f"{seconds}s", "-c", connections, "--worker-threads", 1, "-m", method]
    argv += [word for name, value in headers for word in ("-H", f"{name}: {value}")]
    with Watch(server.pid) as watch:
        said = json.loads(machine.run([*argv, "--disable-compression", f"http://127.0.0.1:{server.port}{path}"], core, seconds + 30))
    statuses = {int(status): count for status, count in said["statusCodeDistribution"].items()}
    requests, refused = sum(statuses.values()), sum(count for status, count in statuses.items() if status >= 400)
    if not requests or refused:
        raise Failed(f"{server.name} answered {method} {path} with {statuses}")
    # What is under way when the time is over is no error of the server's.
    errors = sum(count for what, count in said["errorDistribution"].items() if "deadline" not in what)
    latency = said["latencyPercentiles"]
    return {
        "cpu_us": watch.cpu / requests * 1e6,
        "rps": requests / said["summary"]["total"],
        **{f"{name}_ms": latency[name] * 1000 for name in ("p50", "p95", "p99")},
        "rss_mib": watch.rss,
        "fds": watch.fds,
        "requests": requests,
        "errors": errors,
    }


def percentile(ordered, part):
    """The least value that `part` of them do not exceed, of values in order."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


class Share:
    """A part of a load at a fixed rate that one oha can send: one method, one set of headers, some paths by weight."""

    def __init__(self, rate, paths, method="GET", headers=()):
        self.rate, self.paths, self.method, self.headers = rate, paths, method, list(headers)

    def argv(self, server, seconds, directory, number, connections):
        """The command. Requests are counted instead of timed, so that none is cut off at the end."""
        urls = pathlib.Path(directory) / f"urls-{number}"
        urls.write_text("".join(f"http://127.0.0.1:{server.port}{server.path(path)}\n" for path in self.paths))
        argv = [machine.which("oha"), "--no-tui", "--output-format", "json", "-q", f"{self.rate:g}", "-n", max(1, round(self.rate * seconds))]
        argv += ["--latency-correction", "-c", connections, "--worker-threads", 1, "-m", self.method, "--redirect", 0, "--disable-compression"]
        for name, value in self.headers:
            argv += ["-H", f"{name}: {value}"]
        return [*argv, "--db-url", pathlib.Path(directory) / f"db-{number}", "--urls-from-file", urls]


def gwsmoke_shares(rate, tag):
    """gwsmoke as oha can send it, which has one method and one set of headers a process: four processes at once, whose rates are those of the list."""
    coded = [("Accept-Encoding", "gzip")]
    tiles = [f"/edge/assets/{name}/3/{x}/{y}" for name in ("png", "mvt") for x, y in ((2, 2), (3, 2), (2, 3), (3, 3))]
    assets = ["/edge/assets/site/4k"] * 40 + ["/edge/assets/site/64k"] * 15 + ["/edge/assets/site/1m"]
    return [
        Share(rate * 0.80, assets + tiles * 3, "GET", coded),
        Share(rate * 0.06, ["/edge/assets/site/4k"], "HEAD", coded),
        Share(rate * 0.07, ["/edge/assets/site/8m"], "GET", [*coded, ("Range", RANGE)]),
        Share(rate * 0.07, ["/edge/assets/site/4k"], "GET", [*coded, ("If-None-Match", tag)]),
    ]


def oha(server, shares, seconds, core, connections=4):
    """An open loop at a fixed rate with correction for coordinated omission: a request that is sent late counts from when it was due.

    What comes back has the figures of all shares together: percentiles are of every single request, from oha's database, of those that were answered with no
    error. `statuses` counts answers, `lost` requests without any.
    """
    with tempfile.TemporaryDirectory() as directory:
        commands = [share.argv(server, seconds, directory, number, connections) for number, share in enumerate(shares)]
        said = [None] * len(commands)

        def run(number):
            try:
                said[number] = json.loads(machine.run(commands[number], core, seconds + 60))
            except (Failed, ValueError) as fault:
                said[number] = fault

        threads = [threading.Thread(target=run, args=(number,)) for number in range(len(commands))]
        with Watch(server.pid) as watch:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        for each in said:
            if isinstance(each, Exception):
                raise Failed(f"oha: {each}")
        rows, took = [], 0.0
        for number in range(len(commands)):
            database = sqlite3.connect(pathlib.Path(directory) / f"db-{number}")
            rows += database.execute("select duration, status from oha").fetchall()
            took = max(took, database.execute("select max(end) from oha").fetchone()[0] or 0.0)
            database.close()
    asked = sum(max(1, round(share.rate * seconds)) for share in shares)
    return fixed_figures(rows, asked, watch, took)


def fixed_figures(rows, asked, watch, took):
    """The figures of a run of `asked` requests, of which `rows` of (seconds, status) were answered, the last one `took` seconds after the first was sent."""
    statuses = {}
    for _, status in rows:
        statuses[status] = statuses.get(status, 0) + 1
    answered = sorted(seconds * 1000 for seconds, status in rows if status < 400)
    if not answered:
        raise Failed(f"nothing was answered: {statuses}, {asked - len(rows)} lost")
    figures = {f"p{part:g}_ms".replace(".", ""): percentile(answered, part / 100) for part in (50, 95, 99, 99.9)}
    shed = sum(count for status, count in statuses.items() if status in (429, 503))
    return {
        **figures,
        "cpu_us": watch.cpu / len(rows) * 1e6,
        "cpu_core": watch.cpu / took,
        "rps": len(answered) / took,
        "rss_mib": watch.rss,
        "fds": watch.fds,
        "requests": len(answered) + shed,
        "errors": asked - len(answered) - shed,
        "shed_rate": shed / asked,
        "server_errors": sum(count for status, count in statuses.items() if status >= 500) / asked,
        "statuses": statuses,
        "lost": asked - len(rows),
    }
