#!/usr/bin/env python3
"""What many connections cost: python3 testing/measure/connections.py target/release/svc-edge [--connections 10000] [--seconds 30]

Opens the connections, asks once on each, and leaves them idle; then each asks for a 4 KiB object once a second. Prints memory, descriptors, answers a
second, latency (from the moment at which a request was due, so that a late client hides nothing) and CPU, as a Markdown table. One client, with epoll;
everything stays on loopback. Exit code 1: a connection was refused or ended, or an answer was another than it should be.
"""

import argparse
import pathlib
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time

from measure import cpu_seconds, free_port, get, rss_mib, wait_for

BODY = bytes(range(256)) * 16
REQUEST = b"GET /edge/assets/site/4k HTTP/1.1\r\nHost: localhost\r\n\r\n"
# Addresses of loopback that connections come from: more than one has ports for, and no single client to a limit on clients.
SOURCES = 200


class Edge:
    """svc-edge with its defaults, but that it waits long for the next request of a connection."""

    def __init__(self, binary, directory, connections):
        self.port, self.admin = free_port(), free_port()
        assets = directory / "assets"
        assets.mkdir()
        (assets / "4k").write_bytes(BODY)
        known = subprocess.run([binary, "docs", "conf"], capture_output=True, text=True, check=True).stdout
        # Limits on admission are not what is measured; they stand in the conf where this build knows them.
        lifted = {"rps_limit": "null", "max_inflight": 100000, "max_connections": connections + 1000}
        ingress = "".join(f", {key}: {value}" for key, value in lifted.items() if f"`{key}`" in known)
        conf = directory / "svc-edge.yaml"
        conf.write_text(
            f"edge:\n  bind: 127.0.0.1:{self.port}\n  metrics: 127.0.0.1:{self.admin}\n"
            f"  cas: {{dir: {directory}/cas}}\n  ingress: {{keepalive: 10m{ingress}}}\n"
        )
        subprocess.run([binary, "cas", "import", assets, "--prefix", "site", "--conf", conf], check=True, stdout=subprocess.DEVNULL)
        self.log = open(directory / "edge.log", "ab")
        self.process = subprocess.Popen([binary, "--conf", conf], stdout=subprocess.DEVNULL, stderr=self.log, cwd=directory)
        wait_for(lambda: get(self.admin, "/readyz")[0] == 200)
        self.pid = self.process.pid

    def descriptors(self):
        return len(list(pathlib.Path(f"/proc/{self.pid}/fd").iterdir()))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Client:
    """Many connections, one request at a time on each."""

    def __init__(self, port):
        self.port, self.poll, self.sockets = port, select.epoll(), {}
        self.order, self.due, self.read, self.latencies = [], {}, {}, []
        self.broken = self.missed = 0
        self.length = None

    def open(self, count):
        for number in range(count):
            connection = socket.socket()
            connection.bind((f"127.0.{2 + number % SOURCES // 100}.{number % 100 + 1}", 0))
            connection.connect(("127.0.0.1", self.port))
            connection.setblocking(False)
            self.sockets[connection.fileno()] = connection
            self.order.append(connection.fileno())
            self.poll.register(connection, select.EPOLLIN)
            # A server's backlog has an end.
            if number % 100 == 99:
                self.ask_all(self.order[-100:])

    def ask_all(self, numbers):
        """One request on each, and wait for the answers."""
        for number in numbers:
            self.ask(number, time.perf_counter())
        until = time.monotonic() + 30
        while self.due and time.monotonic() < until:
            self.receive(0.1)
        self.broken += len(self.due)
        self.due.clear()

    def ask(self, number, due):
        if number not in self.sockets:
            return
        if number in self.due:
            # The last answer is not there yet.
            self.missed += 1
            return
        self.due[number], self.read[number] = due, b""
        try:
            self.sockets[number].send(REQUEST)
        except OSError:
            self.end(number)

    def receive(self, wait):
        for number, _ in self.poll.poll(wait):
            try:
                data = self.sockets[number].recv(65536)
            except OSError:
                data = b""
            if not data or number not in self.due:
                self.end(number)
                continue
            data = self.read[number] + data
            if self.length is None and b"\r\n\r\n" in data:
                head = data.split(b"\r\n\r\n", 1)[0]
                if not head.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(head)
                self.length = len(head) + 4 + len(BODY)
            if self.length is None or len(data) < self.length:
                self.read[number] = data
                continue
            if not (data.startswith(b"HTTP/1.1 200") and data.endswith(BODY)):
                raise RuntimeError(data[:300])
            self.latencies.append(time.perf_counter() - self.due.pop(number))

    def end(self, number):
        """It broke off, or said something unasked."""
        self.poll.unregister(number)
        self.sockets.pop(number).close()
        self.due.pop(number, None)
        self.broken += 1

    def run(self, seconds):
        """Each connection asks once a second, evenly spread; seconds that it took until all was answered."""
        self.latencies.clear()
        began, at, count = time.perf_counter(), 0, len(self.order)
        while True:
            now = time.perf_counter()
            if now - began >= seconds:
                break
            while at < (now - began) * count:
                self.ask(self.order[at % count], began + at / count)
                at += 1
            self.receive(0.001)
        until = time.monotonic() + 30
        while self.due and time.monotonic() < until:
            self.receive(0.1)
        self.broken += len(self.due)
        return time.perf_counter() - began

    def close(self):
        for connection in self.sockets.values():
            connection.close()


def measure(edge, count, seconds):
    idle, descriptors = rss_mib(edge.pid), edge.descriptors()
    client = Client(edge.port)
    client.open(count)
    time.sleep(5)
    rested, opened = rss_mib(edge.pid), edge.descriptors()
    cpu, own = cpu_seconds(edge.pid), time.process_time()
    took = client.run(seconds)
    cpu, own = cpu_seconds(edge.pid) - cpu, time.process_time() - own
    active, waits = rss_mib(edge.pid), sorted(client.latencies)
    client.close()
    time.sleep(3)
    rows = [
        ("RSS before, MiB", f"{idle:.1f}"),
        (f"RSS with {count:,} idle connections, MiB", f"{rested:.1f}"),
        ("a connection, KiB", f"{(rested - idle) * 1024 / count:.1f}"),
        ("descriptors before, with them, and after", f"{descriptors}, {opened:,}, {edge.descriptors()}"),
        ("asked each second, for", f"{seconds} s"),
        ("answered a second", f"{len(waits) / took:,.0f}"),
        ("latency p50, p99, longest, ms", ", ".join(f"{waits[int((len(waits) - 1) * part)] * 1000:.1f}" for part in (0.5, 0.99, 1))),
        ("not asked, as the last answer was late", f"{client.missed:,}"),
        ("connections that ended", f"{client.broken:,}"),
        ("RSS while they ask, MiB", f"{active:.1f}"),
        ("RSS 3 s after they went, MiB", f"{rss_mib(edge.pid):.1f}"),
        ("CPU of the server, of a core", f"{cpu / took:.0%} ({cpu / max(len(waits), 1) * 1e6:.1f} µs a request)"),
        ("CPU of the client, of a core", f"{own / took:.0%}"),
    ]
    print("| | |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")
    return client.broken == 0


def main():
    parser = argparse.ArgumentParser(description="What many connections cost.")
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--connections", type=int, default=10000)
    parser.add_argument("--seconds", type=int, default=30)
    given = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < given.connections + 200:
        parser.error(f"only {hard} descriptors may be open: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as name:
        edge = Edge(given.binary.resolve(), pathlib.Path(name), given.connections)
        try:
            return 0 if measure(edge, given.connections, given.seconds) else 1
        finally:
            edge.stop()


if __name__ == "__main__":
    sys.exit(main())
