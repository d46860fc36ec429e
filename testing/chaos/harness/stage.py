"""A stage: one server, one origin and one load, for one fault."""

import pathlib
import shutil
import signal
import string
import subprocess
import sys
import time

from harness import asks, known, processes
from harness.client import Connection
from harness.edge import Edge
from harness.load import Load

DATA = pathlib.Path(__file__).resolve().parents[2] / "data"
CONF = """\
threads: 2
grace_period_seconds: 5
edge:
  bind: 127.0.0.1:$port
  metrics: 127.0.0.1:$admin
  mode: live
  packs:
    - {path: $directory/packs/tile.pmtiles}
    - {path: $directory/packs/world.mbtiles}
  cas: {dir: $directory/cas$store}
  origins: [{prefix: o/, url: "http://127.0.0.1:$origin/o/", allow_private: true}]
$further  log: {access: "off"}
"""
# With the defaults a circuit stays open for 10 s and more: too long for a short run, whose recoveries it would hide.
BRISK = """\
  fill: {connect_timeout: 1s, read_timeout: 1s, total_timeout: 5s, retry: {base: 20ms, max: 100ms}, circuit: {open_for: 500ms}}
"""
# Admission limits would refuse what is to be looked at. They are lifted where this build knows them.
LIFTED = {"rps_limit": "null", "max_inflight": "100000", "max_connections": "100000"}


class Skip(Exception):
    """Why a fault can't be shown here."""


class Stage:
    """What a fault is given. `keys` are the keys of the conf that this build knows."""

    def __init__(self, binary, keys, directory, short, fault):
        self.binary, self.keys, self.directory, self.short, self.fault = binary, keys, directory, short, fault
        self.faults, self.notes = [], []
        # What is undone before the directory goes, the latest first.
        self.before_close = []
        self.cas = directory / "cas"
        self.origin = None
        (directory / "packs").mkdir()
        for pack in ("tile.pmtiles", "world.mbtiles"):
            shutil.copyfile(DATA / pack, directory / "packs" / pack)
        self.asks = asks.Asks({"tile": [self.pack("tile.pmtiles")], "world": [self.pack("world.mbtiles")]})
        self.start_origin(0)
        lifted = ", ".join(f"{key}: {value}" for key, value in LIFTED.items() if f"edge.ingress.{key}" in keys)
        further = (BRISK if short else "") + (f"  ingress: {{{lifted}}}\n" if lifted else "")
        conf = string.Template(CONF).safe_substitute(directory=directory, store=fault.store, origin=self.origin_port, further=further)
        self.edge = Edge(binary, directory, conf)
        self.load = None

    def pack(self, name):
        return self.directory / "packs" / name

    def seconds(self, short, full):
        return short if self.short else full

    def during(self, short, full):
        """Let the fault last."""
        time.sleep(self.seconds(short, full))

    def start_origin(self, port):
        script = pathlib.Path(__file__).with_name("origin.py")
        command = [sys.executable, script, port]
        self.origin = processes.start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.origin.stdout.readline()
        if not line:
            raise RuntimeError("the origin does not start")
        self.origin_port = int(line)

    def tell_origin(self, mode):
        self.origin.stdin.write(mode + "\n")
        self.origin.stdin.flush()
        if self.origin.stdout.readline() != "ok\n":
            raise RuntimeError("the origin does not obey")

    def import_tree(self, names=asks.IMPORTED):
        """Import the assets with these names, at the paths they say."""
        tree = self.directory / "tree"
        for name in names:
            file = tree / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(known.body(name))
        return self.edge.cas("import", tree / "hit", "--prefix", "hit")

    def begin(self):
        """Import, start, fill what is to be warm, start the load, and see that all is well before anything is done to it."""
        code, _, err = self.import_tree()
        if code != 0:
            raise RuntimeError(f"import: {err}")
        self.edge.start()
        self.load = Load(self.edge.port, self.asks, self.fault.also)
        self.warm()
        began = time.monotonic()
        self.load.start()
        if self.load.recovered(began, 60) is None:
            raise RuntimeError("not one row of good answers before the fault")
        time.sleep(self.seconds(0.2, 2))
        bad = [answer for answer in self.load.since(began) if answer.outcome != "ok"]
        if bad:
            raise RuntimeError(f"before the fault: {bad[0].kind}: {bad[0].outcome} {bad[0].detail}")

    def warm(self):
        """Fill the warm ones, and wait until the store has them."""
        for name in asks.WARM + asks.BRIEF:
            self.ask(self.asks.asset("probe", name, "o/"))
        for name in asks.WARM + asks.BRIEF:
            self.await_stored(name)

    def await_stored(self, name, limit=30):
        """Ask for an origin's asset until it is a hit."""
        until = time.monotonic() + limit
        while True:
            answer = self.ask(self.asks.asset("probe", name, "o/"))
            if answer.outcome == "ok" and "; hit" in answer.fields.get("cache-status", ""):
                return
            if time.monotonic() > until:
                raise RuntimeError(f"{name} is not stored: {answer.outcome} {answer.detail} {answer.fields.get('cache-status')}")
            time.sleep(0.05)

    def await_good(self, ask, limit=30):
        """Ask until the answer is good: what another process imported shows within 3 s. The last answer."""
        until = time.monotonic() + limit
        while (answer := self.ask(ask)).outcome != "ok" and time.monotonic() < until:
            time.sleep(0.05)
        return answer

    def ask(self, ask):
        """One request on a connection of its own."""
        connection = Connection(self.edge.port, self.fault.also)
        try:
            return connection.ask(ask)
        finally:
            connection.close()

    def check(self, holds, claim):
        """Something that must hold; the fault fails where it doesn't."""
        if not holds:
            self.faults.append(claim)

    def note(self, text):
        """Something for the table."""
        self.notes.append(text)

    def end(self):
        """Stop the load and the server, and see that nothing is left behind."""
        self.load.stop()
        until = time.monotonic() + 20
        while (inflight := self.edge.metric("edge_inflight")) and time.monotonic() < until:
            time.sleep(0.05)
        self.check(inflight == 0, f"edge_inflight is {inflight} with no client left")
        self.check(self.edge.process.poll() is None, "the server is gone")
        code = self.edge.stop()
        self.check(code == 0, f"SIGTERM ended it with {code}")

    def close(self):
        """Whatever happened: nothing of this stage goes on."""
        if self.load:
            self.load.stopping.set()
        if self.edge.process:
            processes.kill(self.edge.process)
        if self.origin.poll() is None:
            self.origin.send_signal(signal.SIGCONT)
        processes.kill(self.origin)
        for undo in reversed(self.before_close):
            undo()
