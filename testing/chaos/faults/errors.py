"""EIO from the disk, injected by strace into the system calls of the running server."""

import pathlib
import shutil
import signal
import subprocess
import time

from faults import HITS, fault
from faults.kills import verify
from harness import processes
from harness.stage import Skip


def needs_strace(stage):
    if not shutil.which("strace"):
        raise Skip("needs strace")


class Injected:
    """strace that lets `calls` fail with EIO, each from `when` on (strace's own words: `2+3` is the second call and every third after it)."""

    def __init__(self, stage, calls, when):
        self.pid = stage.edge.pid
        command = ["strace", "-f", "-qq", "-o", "/dev/null", "-p", self.pid, "-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO:when={when}"]
        self.process = processes.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.wait(self.process.pid)

    def wait(self, tracer):
        """Until `tracer` traces every thread; 0 is nobody."""
        until = time.monotonic() + 20
        while any(traced_by(status) != tracer for status in pathlib.Path(f"/proc/{self.pid}/task").glob("*/status")):
            if self.process.poll() is not None and tracer:
                raise Skip(f"strace cannot attach: {self.process.stderr.read().strip()}")
            if time.monotonic() > until:
                raise RuntimeError(f"strace does not {'attach' if tracer else 'detach'}")
            time.sleep(0.02)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self.wait(0)


def traced_by(status):
    try:
        return int(next(line for line in status.read_text().splitlines() if line.startswith("TracerPid:")).split()[1])
    except (OSError, StopIteration):
        # A thread that ended meanwhile.
        return 0


def nothing_lost(stage):
    """An error of the disk says nothing of the bytes: nothing was set aside for it, and everything is still there."""
    verify(stage, "afterwards")
    aside = list((stage.cas / "quarantine").glob("*")) + list(stage.cas.glob("index.sqlite.bad*"))
    stage.check(not aside, f"set aside for an error of the disk: {aside[:3]}")


INTERNAL = {500: "internal"}


@fault(
    "eio-read",
    "every third read of blobs, packs and the index fails with EIO (strace)",
    claims=["internal", "disk I/O error", "Input/output error", "the index is damaged, or the disk fails"],
    also=INTERNAL,
    store=", memory_bytes: 0",
    prepare=needs_strace,
)
def eio_read(stage):
    injected = Injected(stage, "pread64,preadv2", "2+3")
    stage.during(2, 15)
    injected.end()
    yield
    nothing_lost(stage)


@fault("eio-write", "every write to a blob and to the index fails with EIO (strace)", holds=HITS, claims=["Input/output error", "disk I/O error"], prepare=needs_strace)
def eio_write(stage):
    injected = Injected(stage, "pwrite64", "1+1")
    stage.during(2, 15)
    injected.end()
    yield
    stage.await_stored("keep/after-4096")
    nothing_lost(stage)


@fault(
    "eio-fsync",
    "every fsync fails with EIO (strace), with `durability: fsync`",
    holds=HITS,
    claims=["Input/output error", "disk I/O error"],
    store=", durability: fsync",
    prepare=needs_strace,
)
def eio_fsync(stage):
    injected = Injected(stage, "fsync,fdatasync", "1+1")
    stage.during(2, 15)
    injected.end()
    yield
    stage.await_stored("keep/after-4096")
    nothing_lost(stage)
