#!/usr/bin/env python3
"""Upgrades in a row under load, and what clients saw of them: python3 testing/measure/upgrade.py target/release/svc-edge

wrk (Debian's package) makes the load if it is installed, and beside it clients of this script check each body: its length and its SHA-256, over connections of
their own and over ones that are kept. Prints refused connections, cut or wrong bodies, answers that are not 2xx, wrk's socket errors, and the time from the
signal to the end of the old process. Exits with 1 unless all of the former are zero. Everything stays on loopback; only the standard library is needed.

    --upgrades N      how many (20)
    --usr2 M          the last M of them by SIGUSR2, by which the running server starts its successor itself (0)
    --pause SECONDS   between two (0.5)
    --h2              a load of HTTP/2 beside, by nghttp: prior knowledge on a listener with `h2c`
    --tls             the same over TLS (needs openssl for a certificate)
    --brief           one line for each upgrade, for a demo
"""

import argparse
import hashlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

SIZES = {"4k": 4 << 10, "64k": 64 << 10, "2m": 2 << 20}


def noise(length, seed):
    return hashlib.shake_256(seed.encode()).digest(length)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Checker(threading.Thread):
    """A client that trusts nobody."""

    lock = threading.Lock()
    seen = {"answers": 0, "refused": 0, "cut": 0, "wrong": 0, "status": 0, "closed": 0}
    examples = []

    def __init__(self, port, name, digest, keep, stop):
        super().__init__(daemon=True)
        self.port, self.path, self.digest, self.keep, self.stop = port, f"/edge/assets/m/{name}", digest, keep, stop

    def count(self, what, example=None):
        with self.lock:
            self.seen[what] += 1
            if example and len(self.examples) < 10:
                self.examples.append(f"{what}: {self.path}: {example!r}")

    def run(self):
        kept = None
        while not self.stop.is_set():
            reused = kept is not None
            connection = kept or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            kept = None
            stage = "connecting"
            try:
                if not reused:
                    connection.connect()
                stage = "asking"
                connection.request("GET", self.path)
                stage = "waiting"
                answer = connection.getresponse()
                stage = "reading"
                body = answer.read()
            except ConnectionRefusedError as error:
                self.count("refused", error)
                continue
            except (http.client.HTTPException, OSError) as error:
                # A kept connection that is closed as its next request is under way: a client would ask again (RFC 9110 section 9.2.2).
                unheard = reused and stage in ("asking", "waiting")
                self.count("closed" if unheard else "cut", f"{stage}{', reused' if reused else ''}: {error!r}")
                continue
            if answer.status != 200:
                self.count("status", answer.status)
            elif hashlib.sha256(body).hexdigest() != self.digest:
                self.count("wrong", len(body))
            else:
                self.count("answers")
            if self.keep and not answer.will_close:
                kept = connection
            else:
                connection.close()


class Server:
    """A process, and what its log says."""

    def __init__(self, arguments, home, log):
        self.log = home / log
        self.process = subprocess.Popen(arguments, cwd=home, stdout=subprocess.DEVNULL, stderr=self.log.open("ab"))

    def events(self, name):
        events = []
        for line in self.log.read_text().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": "no_json", "message": line}
            if event.get("event") == name:
                events.append(event)
        return events

    def await_event(self, name, count=1):
        until = time.monotonic() + 60
        while len(self.events(name)) < count:
            if time.monotonic() > until or self.process.poll() not in (None, 0):
                sys.exit(f"no {name} in the log of {self.process.args}:\n{self.log.read_text()}")
            time.sleep(0.002)


def conf(home, ports, tls):
    bind = f"127.0.0.1:{ports[0]}"
    if tls:
        certificate = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        subprocess.run([*certificate, *names, "-keyout", home / "key.pem", "-out", home / "cert.pem"], check=True, capture_output=True)
        bind = f"[{bind}, {{addr: '127.0.0.1:{ports[2]}', tls: {{cert: cert.pem, key: key.pem}}}}]"
    elif len(ports) > 2:
        bind = f"[{bind}, {{addr: '127.0.0.1:{ports[2]}', h2c: true}}]"
    path = home / "c.yaml"
    path.write_text(
        f"threads: 1\nedge:\n  bind: {bind}\n  metrics: 127.0.0.1:{ports[1]}\n  cas: {{dir: cas}}\n  log: {{access: 'off'}}\n"
        # Limits are not what is measured.
        "  ingress: {rps_limit: null, max_inflight: null}\n"
    )
    return path


class Streams(threading.Thread):
    """Connections of HTTP/2, one after the other, each with eight streams at once. h2load gives up what it has not asked yet at a GOAWAY, and a curl of Debian 12 can't
    use a connection of prior knowledge twice."""

    AT_ONCE = 8

    def __init__(self, url, stop):
        super().__init__(daemon=True)
        self.command = ["nghttp", "-ns", *(f"{url}?{number}" for number in range(self.AT_ONCE))]
        self.stop, self.asked, self.whole = stop, 0, 0

    def run(self):
        while not self.stop.is_set():
            done = subprocess.run(self.command, capture_output=True, text=True, timeout=60, check=False)
            self.asked += self.AT_ONCE
            self.whole += len(re.findall(r" 200 +64K ", done.stdout))

    @staticmethod
    def tell(all_streams):
        for streams in all_streams:
            streams.join(timeout=60)
        asked, whole = sum(one.asked for one in all_streams), sum(one.whole for one in all_streams)
        if all_streams:
            print(f"nghttp: {asked} streams of HTTP/2 on {asked // Streams.AT_ONCE} connections, {whole} answered whole")
        return asked - whole


def start_load(command):
    if not shutil.which(command[0]):
        print(f"{command[0]} is not installed: the load is that of the checking clients alone")
        return None
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end_load(load, name, patterns):
    """Its report, and what of it is a fault."""
    if load is None:
        return 0
    load.send_signal(signal.SIGINT)
    report = load.communicate(timeout=120)[0]
    faults = 0
    for pattern in patterns:
        for found in re.finditer(pattern, report):
            faults += sum(int(number) for number in found.groups())
    summary = [line.strip() for line in report.splitlines() if re.search(r"requests in|Socket errors|Non-2xx|Requests/sec|^requests:|^status codes:", line.strip())]
    print(f"{name}: " + "; ".join(summary))
    return faults


def upgrade(old, binary, path, home, number, by_itself):
    """Have another process take the place of `old`; that one, and the milliseconds until it served and until the old one was gone."""
    if by_itself:
        before = len(old.events("serving"))
        since = time.monotonic()
        old.process.send_signal(signal.SIGUSR2)
        new = old
        old.await_event("serving", before + 1)
    else:
        new = Server([binary, "--conf", path, "--upgrade"], home, f"log.{number}")
        new.await_event("upgrade_waiting")
        since = time.monotonic()
        old.process.send_signal(signal.SIGQUIT)
        new.await_event("serving")
    served = time.monotonic() - since
    if old.process.wait(timeout=60) != 0:
        sys.exit(f"the old process ended with {old.process.returncode}:\n{old.log.read_text()}")
    gone = time.monotonic() - since
    if by_itself:
        # The server's child: nobody but its log tells who it is.
        new = Adopted(old, home)
    return new, served * 1000, gone * 1000


class Adopted(Server):
    """A successor that the server itself started; its log goes on in the same file."""

    class Process:
        def __init__(self, pid):
            self.pid, self.args, self.returncode = pid, f"process {pid}", None

        def poll(self):
            stat = pathlib.Path(f"/proc/{self.pid}/stat")
            try:
                alive = stat.read_text().rpartition(")")[2].split()[0] != "Z"
            except OSError:
                alive = False
            self.returncode = None if alive else 0
            return self.returncode

        def send_signal(self, number):
            os.kill(self.pid, number)

        def wait(self, timeout):
            until = time.monotonic() + timeout
            while self.poll() is None:
                if time.monotonic() > until:
                    raise subprocess.TimeoutExpired(self.args, timeout)
                time.sleep(0.002)
            return self.returncode

    def __init__(self, old, home):
        self.log = old.log
        self.process = self.Process(old.events("retiring")[-1]["successor"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--upgrades", type=int, default=20)
    parser.add_argument("--usr2", type=int, default=0)
    parser.add_argument("--pause", type=float, default=0.5)
    parser.add_argument("--h2", action="store_true")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--brief", action="store_true")
    options = parser.parse_args()
    binary = options.binary.resolve()
    with tempfile.TemporaryDirectory() as directory:
        sys.exit(measure(options, binary, pathlib.Path(directory)))


def measure(options, binary, home):
    ports = free_ports(3 if options.h2 or options.tls else 2)
    path = conf(home, ports, options.tls)
    (home / "assets").mkdir()
    bodies = {name: noise(length, name) for name, length in SIZES.items()}
    for name, body in bodies.items():
        (home / "assets" / name).write_bytes(body)
    subprocess.run([binary, "cas", "import", "assets", "--prefix", "m", "--conf", path], cwd=home, check=True, capture_output=True)
    server = Server([binary, "--conf", path], home, "log.0")
    server.await_event("serving")
    url = f"http://127.0.0.1:{ports[0]}/edge/assets/m/4k"
    wrk = start_load(["wrk", "-t1", "-c32", "-d3600s", url])
    stop, h2 = threading.Event(), []
    if options.h2 or options.tls:
        scheme = "https" if options.tls else "http"
        h2 = [Streams(f"{scheme}://127.0.0.1:{ports[2]}/edge/assets/m/64k", stop) for _ in range(4)]
    for streams in h2:
        streams.start()
    digests = {name: hashlib.sha256(body).hexdigest() for name, body in bodies.items()}
    checkers = [Checker(ports[0], name, digests[name], keep, stop) for name in SIZES for keep in (False, True)]
    for checker in checkers:
        checker.start()
    time.sleep(1)
    served, gone = [], []
    try:
        for number in range(1, options.upgrades + 1):
            by_itself = number > options.upgrades - options.usr2
            server, until_served, until_gone = upgrade(server, binary, path, home, number, by_itself)
            served.append(until_served)
            gone.append(until_gone)
            if options.brief:
                by = "SIGUSR2" if by_itself else "SIGQUIT"
                print(f"upgrade {number} by {by}: process {server.process.pid} serves after {until_served:.0f} ms, the old one is gone after {until_gone:.0f} ms")
            time.sleep(options.pause)
    finally:
        stop.set()
        faults = end_load(wrk, "wrk", [r"Non-2xx or 3xx responses: (\d+)", r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)"])
        faults += Streams.tell(h2)
        for checker in checkers:
            checker.join(timeout=60)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(timeout=60)
    seen = Checker.seen
    print(
        f"checked bodies: {seen['answers']} whole; {seen['refused']} connections refused, {seen['cut']} answers cut, {seen['wrong']} bodies wrong, "
        f"{seen['status']} not 200; {seen['closed']} kept connections closed with a request on its way"
    )
    for example in Checker.examples:
        print("  " + example)
    spread = lambda times: f"{min(times):.0f} / {statistics.median(times):.0f} / {max(times):.0f}"
    print(f"{options.upgrades} upgrades; from the signal until the new process served: {spread(served)} ms (least / median / most), until the old one was gone: {spread(gone)} ms")
    faults += sum(seen[what] for what in ("refused", "cut", "wrong", "status", "closed"))
    print("0 faults" if faults == 0 else f"{faults} FAULTS")
    return int(faults > 0)


if __name__ == "__main__":
    main()
