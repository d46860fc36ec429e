"""The real server: its conf, its process, its log, its figures."""

import http.client
import json
import pathlib
import re
import signal
import socket
import string
import subprocess
import threading
import time

from harness import processes


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Edge:
    """A server with a conf of its own below `directory`. It chooses its ports at the first start, and keeps them."""

    def __init__(self, binary, directory, conf):
        self.binary, self.directory, self.conf = binary, directory, conf
        self.file = directory / "svc-edge.yaml"
        # The third is that of a listener with TLS, where a fault has one.
        self.port = self.admin = self.tls = 0
        self.process = None
        self.lines, self.loud = 0, []
        self.addresses = []
        self.write_conf()

    def write_conf(self):
        self.file.write_text(string.Template(self.conf).substitute(port=self.port, admin=self.admin))

    @property
    def pid(self):
        return self.process.pid

    def start(self):
        """Start it and wait until it is ready; seconds that took."""
        began = time.monotonic()
        self.launch()
        self.await_ready()
        return time.monotonic() - began

    def launch(self):
        self.addresses = []
        self.process = self.spawn()

    def spawn(self, *options):
        """A process of this server; its log is read with that of the others."""
        command = [self.binary, "--conf", self.file, *options]
        process = processes.start(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=self.directory)
        threading.Thread(target=self._read_log, args=(process.stderr,), daemon=True).start()
        return process

    def await_ready(self, limit=60):
        until = time.monotonic() + limit
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}: {self.loud[-3:]}")
            if len(self.addresses) >= 2 and not self.port:
                self.port, self.admin = self.addresses[:2]
                self.write_conf()
            try:
                if self.port and self.get("/readyz")[0] == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() > until:
                raise RuntimeError(f"the server is not ready after {limit} s: {self.get('/readyz')}")
            time.sleep(0.01)

    def stop(self, limit=30):
        """SIGTERM; its exit code, or None where it had to be killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(limit)
        except subprocess.TimeoutExpired:
            processes.kill(self.process)
            return None

    def kill(self):
        processes.kill(self.process)

    def _read_log(self, pipe):
        with pipe:
            for line in pipe:
                self.lines += 1
                try:
                    entry = json.loads(line)
                except ValueError:
                    # A panic, say: it must not go unseen.
                    entry = {"level": "error", "event": "no_json", "message": line.decode("utf-8", "replace").rstrip()}
                if entry.get("event") == "listening":
                    port = int(entry["address"].rpartition(":")[2])
                    self.addresses += [port] if port != self.tls else []
                if entry.get("level", "").lower() in ("error", "warn"):
                    self.loud.append(entry)

    def errors(self, claims):
        """Lines at ERROR that none of the regexes in `claims` matches; each is matched against `event cause message`."""
        unclaimed = []
        for entry in list(self.loud):
            text = " ".join(str(entry[key]) for key in ("event", "cause", "message") if entry.get(key))
            if entry["level"].lower() == "error" and not any(re.search(claim, text) for claim in claims):
                unclaimed.append(entry)
        return unclaimed

    def get(self, path, limit=10):
        """A GET on the admin listener."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=limit)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metric(self, name):
        """The sum of a family's series, or of the one series that is named with its labels."""
        total = None
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith((name + " ", name + "{")) or line.rpartition(" ")[0] == name:
                total = (total or 0) + float(line.rpartition(" ")[2])
        return total

    def rss_mib(self):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("no VmRSS")

    def descriptors(self):
        return len(list(pathlib.Path(f"/proc/{self.pid}/fd").iterdir()))

    def cas(self, *arguments, timeout=120):
        """A `cas` command beside the server: exit code, standard output, standard error."""
        command = [self.binary, "cas", *arguments, "--conf", self.file]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=self.directory, timeout=timeout)
        return done.returncode, done.stdout, done.stderr

    def listed(self):
        """What the index holds, by path."""
        code, out, err = self.cas("list", "--json")
        if code != 0:
            raise RuntimeError(f"cas list: {err}")
        return {entry["path"]: entry for entry in map(json.loads, out.splitlines())}
