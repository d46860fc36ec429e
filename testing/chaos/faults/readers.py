"""Memory pressure: thousands of clients that read a large object a byte a second."""

import resource
import select
import socket
import time

from faults import HITS, fault

PATH = "/edge/assets/hit/huge-8388608"


class Storm:
    """`count` clients, from many addresses of loopback, so that no limit on one client is what is looked at."""

    def __init__(self, port, count):
        self.clients, self.ended = [], 0
        for number in range(count):
            client = socket.socket()
            # Little room on our side: what isn't read soon stands in the server's socket, then in the server.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.bind((f"127.0.1.{number % 250 + 1}", 0))
            client.settimeout(10)
            client.connect(("127.0.0.1", port))
            client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: chaos.test\r\n\r\n".encode())
            client.setblocking(False)
            self.clients.append(client)

    def await_first_bytes(self, limit):
        """Until everybody was sent something, at most `limit` seconds."""
        waiting, until = set(self.clients), time.monotonic() + limit
        while waiting and time.monotonic() < until:
            ready = select.poll()
            for client in waiting:
                ready.register(client, select.POLLIN)
            numbers = {number for number, _ in ready.poll(1000)}
            waiting = {client for client in waiting if client.fileno() not in numbers}
        return len(waiting)

    def read(self):
        """A byte each."""
        open_ones = []
        for client in self.clients:
            try:
                more = client.recv(1)
            except BlockingIOError:
                more = True
            except OSError:
                more = False
            if more:
                open_ones.append(client)
            else:
                client.close()
                self.ended += 1
        self.clients = open_ones

    def end(self):
        for client in self.clients:
            client.close()


def huge(stage):
    code, _, err = stage.import_tree(["hit/huge-8388608"])
    stage.check(code == 0, f"import ended with {code}: {err}")


@fault("slow-readers", "2,000 clients (500 in the short run) read an object of 8 MiB, a byte a second each", holds=HITS + ("miss", "brief"), prepare=huge)
def slow_readers(stage):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Asked for once, it is verified: that is not what is looked at.
    first = stage.ask(stage.asks.asset("probe", "hit/huge-8388608"))
    stage.check(first.outcome == "ok", f"the large object: {first.outcome} {first.detail}")
    before = stage.edge.rss_mib()
    began = time.monotonic()
    storm = Storm(stage.edge.port, stage.seconds(500, 2000))
    unanswered = storm.await_first_bytes(30)
    stage.check(unanswered == 0, f"{unanswered} slow readers got no first byte in 30 s")
    figures = []
    until = time.monotonic() + stage.seconds(5, 40)
    while time.monotonic() < until:
        storm.read()
        figures.append(stage.edge.rss_mib())
        time.sleep(1)
    cut, count = storm.ended, storm.ended + len(storm.clients)
    storm.end()
    waits = sorted(answer.wait for answer in stage.load.since(began) if answer.wait is not None)
    late = waits[int(len(waits) * 0.99)]
    yield
    # The first figure is of when all had their first byte.
    stage.check(max(figures) < figures[0] * 1.25 + 16, f"RSS grew from {figures[0]:.0f} to {max(figures):.0f} MiB with no client more")
    stage.check(late < 1, f"one in a hundred others waited {late:.2f} s and more")
    stage.note(
        f"RSS {before:.0f} MiB before, {figures[0]:.0f} with {count:,} slow readers, {max(figures):.0f} at most; {cut:,} of them were cut; "
        f"99 % of the others waited less than {late * 1000:.0f} ms"
    )
