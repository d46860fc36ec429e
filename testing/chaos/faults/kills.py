"""kill -9: of the server while it fills, and of imports."""

import pathlib
import random
import signal
import subprocess
import threading
import time

from faults import HITS, fault
from harness import known, processes

# What is fresh for an hour is answered without the origin, or not at all (RFC 9111 section 5.2.1.7).
STORED_ONLY = (("Cache-Control", "only-if-cached"),)


def verify(stage, when):
    """The store is whole."""
    code, out, err = stage.edge.cas("verify")
    stage.check(code == 0, f"{when}: cas verify ended with {code}: {out} {err}")


def left(stage, place):
    return sorted(file.name for file in (stage.cas / place).iterdir())


@fault("kill-fill", "the server is killed (SIGKILL) while it fills, and started on the same CAS")
def kill_fill(stage):
    rounds, committed = stage.seconds(2, 20), {}
    for number in range(rounds):
        pouring = [stage.asks.asset("probe", f"slow/{number}-{n}-1500000", "o/") for n in range(4)]
        clients = [threading.Thread(target=stage.ask, args=(ask,), daemon=True) for ask in pouring]
        for client in clients:
            client.start()
        time.sleep(random.uniform(0.2, 0.9))
        stage.edge.kill()
        for client in clients:
            client.join(60)
        verify(stage, f"round {number}")
        committed = {path: entry for path, entry in stage.edge.listed().items() if path.startswith("o/keep/")}
        stage.edge.start()
    yield
    missing = 0
    for path in committed:
        answer = stage.ask(stage.asks.asset("probe", path[2:], "o/", STORED_ONLY))
        missing += answer.outcome != "ok"
    stage.check(missing == 0, f"{missing} of {len(committed)} committed fills are not served")
    stage.check(len(committed) > 10, f"only {len(committed)} fills were committed")
    bad = left(stage, "quarantine") + [name for name in left(stage, "tmp") if not name.startswith("segments.")]
    stage.check(not bad, f"left behind: {bad[:3]}")
    # The hashes of a blob's segments have a name while they are written. What a crash leaves of them goes after a minute.
    if left(stage, "tmp") and not stage.short:
        time.sleep(61)
        code, _, err = stage.edge.cas("gc")
        stage.check(code == 0 and not left(stage, "tmp"), f"cas gc ended with {code}: {err} and left {left(stage, 'tmp')[:3]}")
    stage.note(f"{rounds} kills, {len(committed):,} committed fills served without the origin")


def grow(tree, number):
    """A round's files: 60 under new names, 20 that change in place, one of more than one segment; what each path must be."""
    files = {f"new/{number}-{n}": f"round {number} file {n}".encode() for n in range(60)}
    files.update({f"same/{n}": f"round {number} changed {n}".encode() for n in range(20)})
    files[f"large/{number % 4}"] = known.body(f"import/{number}-{300000 + number * 7919 % 900000}")
    for name, data in files.items():
        file = tree / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return files


class Imports:
    """Imports of one growing tree, killed at random moments of the time that one takes."""

    def __init__(self, stage):
        self.stage, self.tree, self.files = stage, stage.directory / "grown", {}
        self.command = [stage.binary, "cas", "import", self.tree, "--prefix", "grown", "--conf", stage.edge.file]
        self.killed = self.ended = 0
        self.span = 0.1

    def whole(self):
        """One that runs to its end."""
        began = time.monotonic()
        process = processes.start(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=self.stage.directory)
        err = process.communicate(timeout=120)[1]
        self.stage.check(process.returncode == 0, f"import ended with {process.returncode}: {err!r}")
        self.span = time.monotonic() - began

    def disturbed(self, number):
        self.files.update(grow(self.tree, number))
        process = processes.start(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=self.stage.directory)
        time.sleep(random.uniform(0, self.span))
        process.kill()
        err = process.communicate(timeout=60)[1]
        if process.returncode == 0:
            self.ended += 1
            self.span *= 0.75
        else:
            self.stage.check(process.returncode == -signal.SIGKILL, f"import ended with {process.returncode}: {err!r}")
            self.killed += 1
            self.span *= 1.1
        verify(self.stage, f"import {number}")

    def compare(self):
        """Every listed object is its file, and every file is an object."""
        listed = {path[6:]: entry for path, entry in self.stage.edge.listed().items() if path.startswith("grown/")}
        self.stage.check(listed.keys() == self.files.keys(), f"{len(listed)} objects of {len(self.files)} files")
        for name, entry in listed.items():
            blob = self.stage.cas / "b3" / entry["hash"][:2] / entry["hash"]
            self.stage.check(blob.read_bytes() == self.files.get(name), f"{name} is not its file")
        return listed


@fault("kill-import", "`cas import` is killed (SIGKILL) at random moments, beside the server, then alone with the index lost now and then", holds=HITS + ("miss", "brief"))
def kill_import(stage):
    imports, rounds = Imports(stage), stage.seconds(3, 50)
    imports.files.update(grow(imports.tree, 0))
    imports.whole()
    for number in range(1, rounds + 1):
        imports.disturbed(number)
    imports.whole()
    yield
    listed = imports.compare()
    for name in random.sample(sorted(listed), 20):
        stage.check(served(stage, name, imports.files[name]), f"{name} is not served as imported")
    # Alone, with the index lost: what a manifest names comes back. The load has no server meanwhile, so it rests.
    stage.load.stop()
    stage.check(stage.edge.stop() == 0, "the server did not end well")
    lost = 0
    for number in range(rounds + 1, 2 * rounds + 1):
        imports.disturbed(number)
        if number % 3 == 0:
            for part in ("", "-wal", "-shm"):
                pathlib.Path(stage.cas, f"index.sqlite{part}").unlink(missing_ok=True)
            lost += 1
            verify(stage, f"import {number}, index lost")
    imports.whole()
    imports.compare()
    stage.edge.start()
    stage.note(f"{imports.killed} killed, {imports.ended} ended before; index lost {lost} times; {len(imports.files):,} objects whole")


def served(stage, name, data):
    ask = stage.asks.asset("probe", "keep/none-0")
    ask.path = f"/edge/assets/grown/{name}"
    ask.judge = lambda status, fields, body: None if (status, body) == (200, data) else f"{status}, {len(body)} bytes"
    return stage.await_good(ask).outcome == "ok"
