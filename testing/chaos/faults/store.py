"""What the CAS has on the disk is damaged: its index, its blobs."""

import os
import pathlib

from faults import fault
from faults.kills import verify
from harness import asks


@fault("index-garbage", "the server is stopped, its index overwritten with garbage, wholly or in the middle, and the server started", claims=["the index is damaged"])
def index_garbage(stage):
    index = pathlib.Path(stage.cas, "index.sqlite")
    for whole in (True, False):
        stage.check(stage.edge.stop() == 0, "the server did not end well")
        size = index.stat().st_size
        with open(index, "r+b") as file:
            file.seek(0 if whole else 4096)
            file.write(os.urandom(size if whole else size - 4096))
        stage.edge.start()
    yield
    # What was imported is there without an origin, from its manifests.
    for name in asks.IMPORTED:
        answer = stage.ask(stage.asks.asset("probe", name))
        stage.check(answer.outcome == "ok", f"{name}: {answer.outcome} {answer.detail}")
    verify(stage, "afterwards")


def flip(blob):
    """One bit of a file, in its middle, in place."""
    os.chmod(blob, 0o644)
    with open(blob, "r+b") as file:
        file.seek(blob.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    os.chmod(blob, 0o444)


@fault(
    "blob-flip",
    "one bit is flipped in blobs on the disk: small and large, filled and imported; the imported ones are imported again",
    store=", memory_bytes: 0",
)
def blob_flip(stage):
    listed = stage.edge.listed()
    filled = ["o/" + name for name in asks.WARM[:3] + asks.WARM[-1:]]
    imported = [asks.SMALL[0], asks.LARGE[0]]
    blobs = [stage.cas / "b3" / listed[path]["hash"][:2] / listed[path]["hash"] for path in filled + imported]
    for blob in blobs:
        flip(blob)
    stage.during(2, 5)
    code, _, err = stage.import_tree()
    stage.check(code == 0, f"import ended with {code}: {err}")
    for name in imported:
        answer = stage.await_good(stage.asks.asset("probe", name))
        stage.check(answer.outcome == "ok", f"{name}, imported again: {answer.outcome} {answer.detail}")
    yield
    for name in filled:
        stage.await_stored(name[2:])
    quarantined = list((stage.cas / "quarantine").iterdir())
    stage.check(len(quarantined) == len(blobs), f"{len(quarantined)} of {len(blobs)} bad blobs are in quarantine")
    failures = stage.edge.metric("edge_verify_failures_total")
    stage.check(failures >= len(filled), f"edge_verify_failures_total is {failures}")
    verify(stage, "afterwards")
