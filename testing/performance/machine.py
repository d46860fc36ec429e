"""What the measurements of this project share: processes that are stopped however a run ends, cores, ports, and what /proc says.

Everything that is started here listens on loopback alone, in a process group of its own, and is ended at the exit of the script, on Ctrl-C and on SIGTERM.
"""

import atexit
import contextlib
import functools
import http.client
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# A load average above this is somebody else.
IDLE = 0.5
TICK = os.sysconf("SC_CLK_TCK")
# Debian has servers in /usr/sbin, and `cargo install` its programs in ~/.cargo/bin: neither is on everybody's PATH.
PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", str(pathlib.Path.home() / ".cargo/bin")])

_running = []


class Failed(Exception):
    """A measurement that did not do what it was to do: the message says what, for people."""


def which(name):
    """Where a program is, or None."""
    return shutil.which(name, path=PLACES)


@functools.cache
def cores():
    """The core of the servers and the core of the load: the first two that this process might use when it was first asked, as a client pins it to one; (None, None) with fewer than two."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (None, None)


def pinned(core, argv):
    """The command on a core; anywhere when that is None."""
    return [str(word) for word in (["taskset", "-c", core] if core is not None else []) + list(argv)]


def start(argv, core=None, log=None, cwd=None, env=None):
    """Start a process that lasts, with what it says appended to the file `log`."""
    with open(log or os.devnull, "ab") as out:
        process = subprocess.Popen(
            pinned(core, argv), stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, env=env, start_new_session=True
        )
    _running.append(process)
    return process


def stop(process, seconds=20):
    """SIGTERM, then SIGKILL to its whole group; the order in which servers end is theirs."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process in _running:
        _running.remove(process)


@atexit.register
def stop_all():
    """End whatever still runs."""
    for process in reversed(list(_running)):
        stop(process, 3)


def end_on_signals():
    """SIGTERM ends a script as Ctrl-C does: `finally` and `with` are run, and so everything is stopped."""

    def end(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)


def run(argv, core=None, seconds=120, cwd=None, env=None):
    """Run a command to its end and give what it printed. It is ended after `seconds`, and with the script."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            pinned(core, argv), stdin=subprocess.DEVNULL, stdout=out, stderr=errors, cwd=cwd, env=env, start_new_session=True
        )
        _running.append(process)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{argv[0]} had not ended after {seconds} s") from None
        finally:
            stop(process, 3)
        out.seek(0), errors.seek(0)
        said = out.read().decode(errors="replace")
        if code != 0:
            raise Failed(f"{' '.join(map(str, argv))}: exit {code}\n{said[-2000:]}{errors.read().decode(errors='replace')[-2000:]}")
        return said


GIVEN = set()


def free_port():
    """A port of 127.0.0.1 on which nothing listens now, and which was not given before: who asked for that may not listen yet."""
    while True:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        # A long run may come around.
        if len(GIVEN) > 1000:
            GIVEN.clear()
        if port not in GIVEN:
            GIVEN.add(port)
            return port


def ask(port, path, method="GET", headers=None, timeout=10):
    """One request: status, header fields by their names in small letters, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def get(port, path):
    """Status and body."""
    status, _, body = ask(port, path)
    return status, body


def wait_for(check, seconds=20.0):
    """Ask until it is so; errors of the network are a no."""
    until = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if check():
                return
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.0005)


def descendants(pid):
    """The process and all below it."""
    pids = [pid]
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                pids += descendants(int(child))
    return pids


def cpu_seconds(pid):
    """Seconds of CPU, of the user and of the system, of a process and all below it. The kernel tells them in ticks, of 10 ms mostly."""
    total = 0
    for each in descendants(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = pathlib.Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICK


def rss_mib(pid):
    """Resident memory of one process, in MiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS")


def rss_of_all_mib(pid):
    """Resident memory of a process and all below it, in MiB; what they share counts for each."""
    total = 0
    for each in descendants(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, RuntimeError):
            total += rss_mib(each)
    return total


def descriptors(pid):
    """Open descriptors of a process and all below it."""
    total = 0
    for each in descendants(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            total += len(os.listdir(f"/proc/{each}/fd"))
    return total


def descriptor_limit(pid):
    """How many descriptors a process may have open."""
    for line in pathlib.Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith("Max open files"):
            return int(line.split()[3])
    raise RuntimeError("no limit on open files")


def describe():
    """What the machine is, for the report."""
    cpu = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            cpu = line.split(":", 1)[1].strip()
            break
    server, load = cores()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "memory_mib": memory,
        "server_core": server,
        "load_core": load,
    }


def commit():
    """What is checked out."""
    argv = ["git", "describe", "--always", "--abbrev=40", "--dirty"]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def require_to_measure():
    """End with a message where nothing can be measured."""
    if cores()[1] is None:
        sys.exit("two cores are needed: one for the server, one for the load")
    for name in ("wrk", "taskset"):
        if which(name) is None:
            sys.exit(f"{name} is needed: sh testing/deps.sh perf")


def write_json(path, value):
    """A JSON file that is there whole or not at all."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
    beside.replace(path)


def read_json(path):
    """A JSON file; one that is not there or is none ends the script with a line."""
    try:
        return json.loads(pathlib.Path(path).read_text())
    except (OSError, ValueError) as fault:
        raise Failed(f"{path}: {fault}") from None
