#!/usr/bin/env python3
"""A tokio-console recording of some seconds of hits: python3 testing/performance/console.py [BINARY]

Builds the server with the feature `console` (in a directory of its own, as `--cfg tokio_unstable` is for all crates) unless BINARY is one; runs it with
profiles/hits.yaml, two connections and 20 requests a second; writes profiles/console.json, and says what the tasks did.

To watch a server live: start such a binary, and `tokio-console` (cargo install tokio-console) shows it; TOKIO_CONSOLE_BIND says where it listens.
"""

import collections
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROFILES = HERE / "profiles"
SECONDS = 2
CONNECTIONS = 2
EACH_SECOND = 20


def build():
    target = ROOT / "target" / "console"
    environment = {**os.environ, "RUSTFLAGS": "--cfg tokio_unstable", "CARGO_TARGET_DIR": str(target)}
    subprocess.run(["cargo", "build", "--locked", "--features", "console"], cwd=ROOT, env=environment, check=True)
    return target / "debug" / "svc-edge"


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def start(binary, directory):
    """The server, its port, and the file that it records to."""
    files = directory / "files"
    files.mkdir()
    (files / "4k.bin").write_bytes(os.urandom(4096))
    store = directory / "cas"
    subprocess.run([binary, "cas", "import", files, "--prefix", "bench", "--cas-dir", store], check=True, stdout=subprocess.DEVNULL)
    port, admin, console = free_port(), free_port(), free_port()
    text = (PROFILES / "hits.yaml").read_text()
    for word, value in (("WORK", directory), ("PORT", port), ("ADMIN", admin)):
        text = text.replace(word, str(value))
    conf = directory / "hits.yaml"
    conf.write_text(text)
    recording = directory / "console.json"
    environment = {**os.environ, "TOKIO_CONSOLE_RECORD_PATH": str(recording), "TOKIO_CONSOLE_BIND": f"127.0.0.1:{console}"}
    with open(directory / "log", "wb") as log:
        server = subprocess.Popen([binary, "--conf", conf], cwd=ROOT, env=environment, stdout=log, stderr=log)
    for _ in range(100):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=1)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return server, port, recording
        except OSError:
            pass
        if server.poll() is not None:
            break
        time.sleep(0.1)
    server.kill()
    sys.exit("console: the server does not start:\n" + (directory / "log").read_text())


def ask(port):
    """Hits, one connection after the other."""
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=5) for _ in range(CONNECTIONS)]
    for number in range(SECONDS * EACH_SECOND):
        connection = connections[number % CONNECTIONS]
        connection.request("GET", "/edge/assets/bench/4k.bin")
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or len(body) != 4096:
            sys.exit(f"console: {answer.status} with {len(body)} bytes")
        time.sleep(1 / EACH_SECOND)
    for connection in connections:
        connection.close()


def table(recording):
    """What each task did: by the events of the recording."""
    tasks, polls, busy, entered = {}, collections.Counter(), collections.Counter(), {}
    for line in recording.read_text().splitlines():
        (kind, event), *_ = json.loads(line).items()
        if kind not in ("Spawn", "Enter", "Exit"):
            continue
        task, at = event["id"], event["at"]["secs_since_epoch"] + event["at"]["nanos_since_epoch"] / 1e9
        if kind == "Spawn":
            tasks[task] = {field["name"]: field["value"] for field in event["fields"]}
        elif kind == "Enter":
            polls[task] += 1
            entered[task] = at
        elif task in entered:
            busy[task] += at - entered.pop(task)
    print(f"{'kind':<10}{'bytes':>8}{'polls':>8}{'busy ms':>9}  what")
    for task, fields in sorted(tasks.items(), key=lambda pair: -polls[pair[0]]):
        size = fields.get("original_size.bytes", fields.get("size.bytes", ""))
        what = str(fields.get("fn", fields.get("task.name", ""))).split("<")[0]
        print(f"{fields['kind']:<10}{size:>8}{polls[task]:>8}{busy[task] * 1000:>9.2f}  {what}")


def main():
    binary = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else build()
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        server, port, recording = start(binary, directory)
        try:
            ask(port)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
        # The last line may be cut: the process does not wait for the thread that records.
        lines = recording.read_text().split("\n")
        recording.write_text("\n".join(line for line in lines if line.endswith("}")) + "\n")
        table(recording)
        shutil.copy(recording, PROFILES / "console.json")
    print(f"{PROFILES.relative_to(ROOT)}/console.json: {(PROFILES / 'console.json').stat().st_size >> 10} KiB")


if __name__ == "__main__":
    main()
