"""Clients that look closer than a load does: when the first byte came, and many connections at a time."""

import select
import socket
import time

# Addresses of loopback that connections come from: more than one has ports for, and no single client to a limit on clients.
SOURCES = 200


class Kept:
    """A connection that is kept: when the first byte of each answer comes, and when the last."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fetch(self, path, length):
        """One GET whose body must have that length: milliseconds to the first byte and to the last."""
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        started = time.perf_counter()
        self.socket.sendall(request)
        data = self.socket.recv(65536)
        first = (time.perf_counter() - started) * 1000
        if not data.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(data[:200])
        while b"\r\n\r\n" not in data:
            data += self.receive()
        left = length - len(data.split(b"\r\n\r\n", 1)[1])
        while left > 0:
            left -= len(self.receive())
        return first, (time.perf_counter() - started) * 1000

    def receive(self):
        data = self.socket.recv(65536)
        if not data:
            raise RuntimeError("the connection ended in the middle of an answer")
        return data

    def close(self):
        self.socket.close()


class Client:
    """Many connections, one request at a time on each."""

    def __init__(self, port, path, body):
        self.request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        self.body = body
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
            self.sockets[number].send(self.request)
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
                self.length = len(head) + 4 + len(self.body)
            if self.length is None or len(data) < self.length:
                self.read[number] = data
                continue
            if not (data.startswith(b"HTTP/1.1 200") and data.endswith(self.body)):
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
