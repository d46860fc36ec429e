#!/usr/bin/env python3
"""An origin that is slow or fails, for sweeps: python3 origins.py PORT [--delay SECONDS] [--fail SHARE] [--body BYTES]

Each path is an object of its own. Of a hundred requests SHARE × 100 are answered with 503, spread evenly, so that every run has the same. `GET /count` tells how many
requests there were.
"""

import argparse
import http.server
import itertools
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers after a delay, by a counter."""

    protocol_version = "HTTP/1.1"
    counter = itertools.count(1)
    seen = 0
    lock = threading.Lock()

    def do_GET(self):
        if self.path == "/count":
            return self.answer(200, str(Handler.seen).encode())
        with Handler.lock:
            Handler.seen = number = next(Handler.counter)
        time.sleep(self.server.delay)
        # The share of the first `number` grows by one just when this one is to fail.
        fails = int(number * self.server.fail) > int((number - 1) * self.server.fail)
        return self.answer(503, b"") if fails else self.answer(200, self.server.body)

    def answer(self, status, body):
        head = f"HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\nCache-Control: max-age=3600\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def log_message(self, *_):
        """Nobody reads it."""


class Origin(http.server.ThreadingHTTPServer):
    """One thread a connection."""

    request_queue_size = 1024
    daemon_threads = True


def main():
    """Serve until it is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--fail", type=float, default=0.0)
    parser.add_argument("--body", type=int, default=4096)
    given = parser.parse_args()
    origin = Origin(("127.0.0.1", given.port), Handler)
    origin.delay, origin.fail, origin.body = given.delay, given.fail, bytes(given.body)
    origin.serve_forever()


if __name__ == "__main__":
    main()
