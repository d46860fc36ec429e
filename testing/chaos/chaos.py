#!/usr/bin/env python3
"""Does the worst to a running svc-edge, and checks every byte that its clients get meanwhile: python3 testing/chaos/chaos.py target/release/svc-edge

Each fault has a server, an origin and a directory of its own, under a load whose every answer is compared with what it must be. It ends with a table:
what was done, what clients saw, how soon all was well again. Exit codes: 0 all is as it should be, 1 a fault found something, 2 usage, 3 not done in time.
See testing/chaos/README.md.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from faults import ALL  # noqa: E402 (the path comes first)
from harness import processes  # noqa: E402
from harness.load import tally, told  # noqa: E402
from harness.stage import Skip, Stage  # noqa: E402

# Bounds in seconds: on the whole, and on a recovery.
WHOLE = {True: 600, False: 3600}
RECOVERY = {True: 45, False: 150}


def conf_keys(binary):
    """The conf keys that this build knows."""
    page = subprocess.run([binary, "docs", "conf"], capture_output=True, text=True, check=True).stdout
    keys, section = set(), ""
    for line in page.splitlines():
        if line.startswith("## "):
            section = line[4:-1] + "." if line.startswith("## `") else ""
        elif line.startswith("| `"):
            keys.add(section + line.split("`")[1])
    return keys


def run(binary, keys, fault, short):
    """One fault; what is said of it."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        stage = None
        try:
            stage = Stage(binary, keys, pathlib.Path(name), short, fault)
            return show(stage, fault, short)
        except Skip as reason:
            return {"fault": fault.name, "title": fault.title, "skipped": str(reason), "faults": []}
        except Exception as error:  # noqa: BLE001 (whatever it is, the other faults are still done)
            return {"fault": fault.name, "title": fault.title, "faults": [f"{type(error).__name__}: {error}"]}
        finally:
            if stage:
                stage.close()


def show(stage, fault, short):
    if fault.prepare:
        fault.prepare(stage)
    stage.begin()
    began = time.monotonic()
    act = fault.act(stage)
    next(act)
    ended = time.monotonic()
    recovery = stage.load.recovered(ended, RECOVERY[short])
    if recovery is None:
        stage.check(False, f"no {RECOVERY[short]} s were enough to recover")
    else:
        next(act, None)
    stage.end()
    seen = stage.load.since(began)
    judge(stage, fault, seen)
    return {
        "fault": fault.name,
        "title": fault.title,
        "seconds": round(ended - began, 1),
        "seen": dict(tally(seen)),
        "recovered_in": None if recovery is None else round(recovery, 2),
        "notes": stage.notes,
        "faults": stage.faults,
    }


def judge(stage, fault, seen):
    """What no fault excuses."""
    for answer in seen:
        if answer.outcome in ("WRONG", "hung"):
            stage.faults.append(f"{answer.outcome}: {answer.ask.path}: {answer.detail}")
        elif answer.kind in fault.holds and answer.outcome != "ok":
            stage.faults.append(f"{answer.kind} must not notice: {answer.ask.path}: {answer.outcome} {answer.detail}")
    kinds = {}
    for entry in stage.edge.errors(fault.claims):
        kinds.setdefault((entry.get("event"), entry.get("cause"), entry.get("message")), []).append(entry)
    for entries in kinds.values():
        stage.faults.append(f"unclaimed in the log, {len(entries)} times: {json.dumps(entries[0])}")


def line(result):
    if "skipped" in result:
        return f"{result['fault']:15} skipped: {result['skipped']}"
    if "seen" not in result:
        return f"{result['fault']:15} FAILED"
    recovered = "not recovered" if result["recovered_in"] is None else f"recovered in {result['recovered_in']:.2f} s"
    verdict = "FAILED" if result["faults"] else "ok"
    return f"{result['fault']:15} {verdict}: {told(counted(result))}; {recovered}"


def counted(result):
    return {"ok": 0, **result["seen"]}


def table(results):
    print("| fault | what is done | for, s | what clients saw | recovered in, s | |\n|---|---|---|---|---|---|")
    for result in results:
        notes = "; ".join(result.get("notes", []))
        if "seen" not in result:
            saw, seconds, recovered = "skipped: " + result["skipped"] if "skipped" in result else "–", "", ""
        else:
            saw, seconds, recovered = told(counted(result)), result["seconds"], result["recovered_in"]
        verdict = f"**FAILED**: {len(result['faults'])}" if result["faults"] else notes
        print(f"| `{result['fault']}` | {result['title']} | {seconds} | {saw} | {recovered} | {verdict} |")


def options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0], formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", nargs="?", type=pathlib.Path, help="the server's program")
    parser.add_argument("--short", action="store_true", help="each fault for a moment, with shorter deadlines: 90 s in all")
    parser.add_argument("--only", action="append", metavar="NAME", help="this fault alone; may stand several times")
    parser.add_argument("--list", action="store_true", help="print the faults and end")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON in place of the table")
    given = parser.parse_args()
    known = {fault.name for fault in ALL}
    if unknown := set(given.only or ()) - known:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(fault.name for fault in ALL)}")
    if not given.list and (given.binary is None or not given.binary.is_file()):
        parser.error("the path of the server's program is missing, or no file is there")
    return given


def main():
    given = options()
    if given.list:
        for fault in ALL:
            print(f"{fault.name:15} {fault.title}")
        return 0
    processes.watchdog(WHOLE[given.short])
    binary, results = given.binary.resolve(), []
    keys = conf_keys(binary)
    for fault in ALL:
        if given.only and fault.name not in given.only:
            continue
        began = time.monotonic()
        results.append(result := run(binary, keys, fault, given.short))
        print(f"{line(result)} ({time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
        for found in result["faults"][:20]:
            print(f"    {found}", file=sys.stderr, flush=True)
        if len(result["faults"]) > 20:
            print(f"    and {len(result['faults']) - 20} more", file=sys.stderr, flush=True)
    if given.json:
        print(json.dumps(results, indent=1))
    else:
        table(results)
    return 1 if any(result["faults"] for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
