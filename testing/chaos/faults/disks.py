"""The disk of the CAS is full, and has room again."""

import os
import resource
import shutil
import subprocess

from faults import HITS, fault
from harness import known, processes
from harness.stage import Skip

# Of the small tmpfs, in bytes: what is imported and filled at the start takes about a third.
SIZE = 24 << 20


def mounted(stage):
    """A small tmpfs in place of the CAS's directory."""
    if os.geteuid() != 0:
        raise Skip("needs root, to mount a tmpfs")
    stage.cas.mkdir(mode=0o700)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", stage.cas], capture_output=True, text=True)
    if done.returncode != 0:
        raise Skip(f"no tmpfs can be mounted: {done.stderr.strip()}")
    stage.before_close.append(processes.later(lambda: subprocess.run(["umount", "-l", stage.cas], check=False)))


@fault("disk-full", "the disk of the CAS, a small tmpfs, is filled, and freed", holds=HITS, claims=["No space left on device"], prepare=mounted)
def disk_full(stage):
    ballast = stage.cas / "ballast"
    with open(ballast, "wb") as file:
        # To the last block: what fallocate can't have at once, write gets piece by piece.
        try:
            while True:
                file.write(b"\0" * 65536)
                file.flush()
        except OSError:
            pass
    stage.check(shutil.disk_usage(stage.cas).free == 0, "the disk is not full")
    tree = stage.directory / "more"
    tree.mkdir()
    (tree / "x").write_bytes(known.body("more/x-400000"))
    stage.during(2, 15)
    code, _, err = stage.edge.cas("import", tree, "--prefix", "more")
    stage.check(code == 1 and err, f"import to a full disk ended with {code}: {err!r}")
    ballast.unlink()
    yield
    stage.await_stored("keep/after-4096")
    stage.await_stored("keep/after-large-400000")
    code, _, err = stage.edge.cas("import", tree, "--prefix", "more")
    stage.check(code == 0, f"import after that ended with {code}: {err!r}")
    code, out, err = stage.edge.cas("verify")
    stage.check(code == 0, f"cas verify ended with {code}: {out} {err}")


@fault(
    "file-limit",
    "no file may grow over 64 KiB (RLIMIT_FSIZE of the server), as on a disk that takes no more; then the limit is lifted",
    holds=HITS,
    claims=["File too large"],
)
def file_limit(stage):
    soft, hard = resource.prlimit(stage.edge.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(stage.edge.pid, resource.RLIMIT_FSIZE, (65536, hard))
    stage.during(2, 15)
    resource.prlimit(stage.edge.pid, resource.RLIMIT_FSIZE, (soft, hard))
    yield
    stage.await_stored("keep/after-4096")
    stage.await_stored("keep/after-large-400000")
