"""One client: asks, reads the whole answer by hand, and says what it was.

Every answer is one of

- `ok`: the status and the very bytes that were expected
- `refused`: an honest refusal: its status, an `X-Reason`, and a whole problem document that says the same; or the origin's own, passed on
- `cut`: the connection broke before the answer's length was there
- `down`: nobody accepts connections
- `WRONG`: anything else: other bytes, a status that lies, an answer whose end can't be told
- `hung`: no byte for SILENCE seconds
"""

import json
import re
import socket
import time

SILENCE = 30
REFUSALS = {429, 502, 503, 504}
HEAD_MAX = 256 * 1024


class Ask:
    """A request of a load: `judge(status, fields, body)` says what is wrong with an answer, or None."""

    def __init__(self, kind, path, judge, fields=()):
        self.kind, self.path, self.judge, self.fields = kind, path, judge, fields


class Answer:
    """What came of one. Times are of `time.monotonic`, `wait` is seconds to the first byte."""

    def __init__(self, ask):
        self.ask, self.kind = ask, ask.kind
        self.started = time.monotonic()
        self.ended, self.wait = None, None
        self.outcome, self.status, self.detail = None, None, ""
        self.fields = {}
        # Whether a kept connection had ended before anything of the answer came, so that it was asked for anew.
        self.again = False

    def end(self, outcome, detail=""):
        self.outcome, self.detail, self.ended = outcome, detail, time.monotonic()
        return self


class Cut(Exception):
    """The connection broke off."""


class Connection:
    """A connection that is kept, and made anew where it has to be. `also` maps further honest statuses to their X-Reason, as a regex."""

    def __init__(self, port, also=None):
        self.port, self.also = port, also or {}
        self.socket, self.buffer, self.used = None, b"", False

    def ask(self, ask):
        answer = Answer(ask)
        while True:
            reused = self.used
            try:
                return self._ask(ask, answer)
            except socket.timeout:
                self.close()
                return answer.end("hung", f"no byte for {SILENCE} s")
            except ConnectionRefusedError:
                self.close()
                return answer.end("down", "connection refused")
            except (Cut, OSError) as error:
                nothing = answer.wait is None
                self.close()
                # A kept connection may be closed at any time; before the first byte the request is asked anew (RFC 9112 section 9.3.1).
                if not (nothing and reused):
                    return answer.end("cut", str(error) or type(error).__name__)
                answer.again = True

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket, self.buffer, self.used = None, b"", False

    def _ask(self, ask, answer):
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=SILENCE)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = "".join(f"{name}: {value}\r\n" for name, value in ask.fields)
        self.socket.sendall(f"GET {ask.path} HTTP/1.1\r\nHost: chaos.test\r\n{lines}\r\n".encode())
        self.used = True
        head = self._head(answer)
        version, _, rest = head[0].partition(" ")
        if version != "HTTP/1.1" or not re.match(r"[1-5]\d\d( |$)", rest):
            self.close()
            return answer.end("WRONG", f"not HTTP: {head[0][:80]!r}")
        answer.status = int(rest[:3])
        fields = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            name = name.lower()
            fields[name] = f"{fields[name]}, {value.strip()}" if name in fields else value.strip()
        answer.fields = fields
        try:
            body = self._body(answer.status, fields)
        except ValueError as error:
            self.close()
            return answer.end("WRONG", f"framing: {error}")
        if fields.get("connection", "").lower() == "close":
            self.close()
        return self._judge(ask, answer, fields, body)

    def _more(self):
        data = self.socket.recv(256 * 1024)
        if not data:
            raise Cut("the connection ended early")
        self.buffer += data

    def _head(self, answer):
        while b"\r\n\r\n" not in self.buffer:
            if self.buffer and answer.wait is None:
                answer.wait = time.monotonic() - answer.started
            if len(self.buffer) > HEAD_MAX:
                raise Cut("an endless header")
            self._more()
        if answer.wait is None:
            answer.wait = time.monotonic() - answer.started
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        return head.decode("latin-1").split("\r\n")

    def _take(self, length):
        parts, have = [self.buffer], len(self.buffer)
        while have < length:
            data = self.socket.recv(min(length - have, 1 << 20))
            if not data:
                raise Cut(f"{have} of {length} bytes")
            parts.append(data)
            have += len(data)
        whole = b"".join(parts)
        self.buffer = whole[length:]
        return whole[:length]

    def _line(self):
        while b"\r\n" not in self.buffer:
            if len(self.buffer) > HEAD_MAX:
                raise ValueError("an endless line")
            self._more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def _body(self, status, fields):
        if status in (204, 304):
            return b""
        if fields.get("transfer-encoding", "").lower() == "chunked":
            parts = []
            while True:
                length = int(self._line().split(b";")[0], 16)
                if length == 0:
                    while self._line():
                        pass
                    return b"".join(parts)
                parts.append(self._take(length))
                if self._line() != b"":
                    raise ValueError("a chunk without an end")
        if "content-length" not in fields:
            raise ValueError("no length")
        return self._take(int(fields["content-length"]))

    def _judge(self, ask, answer, fields, body):
        status, reason = answer.status, fields.get("x-reason", "")
        if status not in REFUSALS and not (status in self.also and re.fullmatch(self.also[status], reason)):
            fault = ask.judge(status, fields, body)
            return answer.end("WRONG", fault) if fault else answer.end("ok")
        if fields.get("x-chaos-origin") == str(status):
            return answer.end("refused", f"{status} by the origin")
        try:
            problem = json.loads(body)
            same = problem["status"] == status and problem["reason"] == reason
        except (ValueError, KeyError, TypeError):
            same = False
        if not same:
            return answer.end("WRONG", f"{status} without a reason and a problem document that agree")
        if status in (429, 503) and not fields.get("retry-after", "").isdigit():
            return answer.end("WRONG", f"{status} without Retry-After")
        return answer.end("refused", f"{status} {reason}")
