"""Upgrades under fire: nobody is refused, nothing is cut; and an upgrade that fails changes nothing."""

import pathlib
import signal
import time

from faults import HITS, fault
from harness import processes
from harness.stage import Skip

EVERYTHING = HITS + ("miss", "brief")


def needs_upgrades(stage):
    if "upgrade_sock" not in stage.keys:
        raise Skip("this build has no upgrades")


def successor(stage):
    """Start one, and wait until it listens for its predecessor."""
    process = stage.edge.spawn("--upgrade")
    place, until = pathlib.Path(stage.directory, "var/run/upgrade.sock"), time.monotonic() + 30
    while not place.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    return process


@fault("upgrade", "the server is replaced by a new process again and again: --upgrade and SIGQUIT", holds=EVERYTHING, prepare=needs_upgrades)
def upgrade(stage):
    times = stage.seconds(3, 20)
    for number in range(times):
        old, new = stage.edge.process, successor(stage)
        old.send_signal(signal.SIGQUIT)
        code = old.wait(90)
        stage.check(code == 0, f"upgrade {number}: the predecessor ended with {code}")
        stage.check(new.poll() is None, f"upgrade {number}: the successor ended with {new.poll()}")
        stage.edge.process = new
        stage.edge.await_ready()
    yield
    stage.note(f"{times} upgrades")


@fault(
    "upgrade-fails",
    "a successor stands still when it is handed the listeners (SIGSTOP), and is killed (SIGKILL), again and again",
    holds=EVERYTHING,
    claims=["upgrade_failed"],
    prepare=needs_upgrades,
)
def upgrade_fails(stage):
    for number in range(stage.seconds(2, 10)):
        new = successor(stage)
        new.send_signal(signal.SIGSTOP)
        stage.edge.process.send_signal(signal.SIGQUIT)
        time.sleep(0.5)
        processes.kill(new)
        stage.check(stage.edge.process.poll() is None, f"upgrade {number}: the predecessor is gone")
    yield
    failed = stage.edge.metric('upgrades_total{result="failed"}')
    stage.check(failed and failed >= 1, f"upgrades_total says that {failed} failed")
    # And it may be asked again.
    old, new = stage.edge.process, successor(stage)
    old.send_signal(signal.SIGQUIT)
    stage.check(old.wait(90) == 0, f"the predecessor ended with {old.returncode}")
    stage.edge.process = new
    stage.edge.await_ready()
