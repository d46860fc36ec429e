"""A client of HTTP/2 that keeps no rule: python3 oddities.py PORT AUTHORITY.PEM

Each case is one connection, on which something odd is sent; what the server may do about it is a stream that is reset or refused, or a connection
that ends. After each, a good request on a connection of its own is answered. Needs Python's h2, whose checks of what is sent are off.
"""

import socket
import ssl
import struct
import sys
import time

import h2.config
import h2.connection
import h2.events
import h2.settings

PORT, AUTHORITY = int(sys.argv[1]), sys.argv[2]
GOOD = [(":method", "GET"), (":scheme", "https"), (":authority", "edge.test"), (":path", "/edge/assets/site/a")]
BIG = GOOD[:3] + [(":path", "/edge/assets/site/big")]


class Client:
    """A connection; what happened on it stands in its fields."""

    def __init__(self, settings=None, begin=True):
        context = ssl.create_default_context(cafile=AUTHORITY)
        context.set_alpn_protocols(["h2"])
        raw = socket.create_connection(("127.0.0.1", PORT), timeout=20)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(raw, server_hostname="edge.test")
        assert self.socket.selected_alpn_protocol() == "h2"
        config = h2.config.H2Configuration(
            client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding="utf-8"
        )
        self.h2 = h2.connection.H2Connection(config)
        self.closed, self.goaway = False, None
        self.status, self.headers, self.body, self.reset, self.ended, self.acked = {}, {}, {}, {}, set(), 0
        self.hold = False
        if begin:
            if settings:
                self.h2.local_settings = h2.settings.Settings(client=True, initial_values=settings)
            self.h2.initiate_connection()
            self.flush()

    def flush(self):
        self.send(self.h2.data_to_send())

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            self.closed = True

    def frame(self, kind, flags, stream, payload):
        self.send(struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload)

    def ask(self, headers, end=True):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, headers, end_stream=end)
        self.flush()
        return stream

    def step(self):
        """Read once; False at the end of the connection."""
        if self.closed:
            return False
        try:
            data = self.socket.recv(65536)
        except ssl.SSLError:
            data = b""
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
            return False
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                headers = dict(event.headers)
                assert all(name == name.lower() for name in headers), headers
                for name in ("connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection"):
                    assert name not in headers, headers
                self.status[event.stream_id] = int(headers[":status"])
                self.headers[event.stream_id] = headers
                self.body.setdefault(event.stream_id, b"")
            elif isinstance(event, h2.events.DataReceived):
                self.body[event.stream_id] += event.data
                if not self.hold and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.add(event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                self.reset[event.stream_id] = event.error_code
            elif isinstance(event, h2.events.PingAckReceived):
                self.acked += 1
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.goaway = event.error_code
        try:
            self.flush()
        except OSError:
            self.closed = True
        return True

    def until(self, done, seconds=20):
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, "nothing happened in time"
            if not self.step():
                return

    def settle(self, stream):
        """Wait for the end of a stream, or of the connection."""
        self.until(lambda: stream in self.ended or stream in self.reset or self.goaway is not None)
        return self.status.get(stream)

    def over(self):
        self.until(lambda: False if not self.closed else True)


def good():
    client = Client()
    stream = client.ask(GOOD)
    assert client.settle(stream) == 200 and client.body[stream] == b"hello", (client.status, client.body, client.reset)
    client.socket.close()


def malformed(headers, body=None):
    """A malformed request (RFC 9113 §8.1.1): never an answer with 2xx."""
    client = Client()
    stream = client.ask(headers, end=body is None)
    if body is not None:
        client.h2.send_data(stream, body, end_stream=True)
        client.flush()
    status = client.settle(stream)
    assert status is None or status >= 400, (headers, status)
    client.socket.close()


def requests():
    for extra in (
        [("connection", "close")],
        [("transfer-encoding", "chunked")],
        [("upgrade", "h2c")],
        [("keep-alive", "timeout=5")],
        [("proxy-connection", "keep-alive")],
        [("te", "gzip")],
        [("X-Upper", "yes")],
        [("x y", "space")],
        [("", "empty")],
        [("x", "a\r\nb: c")],
        [("x", "a\0b")],
        [(":unknown", "x")],
        [("content-length", "5")],
        [("content-length", "x")],
        [("content-length", "0"), ("content-length", "1")],
    ):
        malformed(GOOD + extra)
    # A pseudo-header behind a field, one twice, one that is missing.
    malformed(GOOD[:3] + [("x", "y")] + GOOD[3:])
    malformed(GOOD + [(":path", "/edge/assets/site/a")])
    for missing in (":method", ":scheme", ":path"):
        malformed([pair for pair in GOOD if pair[0] != missing])
    malformed([pair for pair in GOOD if pair[0] != ":authority"])
    for path in ("", "edge/assets/site/a", "/a b", "/a\r\nb", "//evil\0"):
        malformed(GOOD[:3] + [(":path", path)])
    malformed(GOOD[:2] + [(":authority", "user@edge.test")] + GOOD[3:])
    malformed(GOOD + [("host", "other.test")])
    malformed([(":method", "CONNECT"), (":authority", "edge.test:443")])
    # A body that is not as long as it says.
    malformed(GOOD + [("content-length", "3")], b"hello")
    malformed(GOOD + [("content-length", "9")], b"hello")


def fine():
    """Odd and allowed: each is answered."""
    for headers in (
        GOOD + [("te", "trailers")],
        GOOD + [("host", "edge.test")],
        GOOD + [("x-empty", "")],
        GOOD + [("cookie", "a=b"), ("cookie", "c=d")],
        GOOD[:1] + [(":scheme", "http")] + GOOD[2:],
    ):
        client = Client()
        stream = client.ask(headers)
        assert client.settle(stream) == 200 and client.body[stream] == b"hello", (headers, client.status, client.reset)
        client.socket.close()
    # Trailers of a request, and a body that nobody asked for.
    client = Client()
    stream = client.ask(GOOD, end=False)
    client.h2.send_data(stream, b"x" * 1000)
    client.h2.send_headers(stream, [("x-trailer", "1")], end_stream=True)
    client.flush()
    assert client.settle(stream) == 200, (client.status, client.reset)
    # Pings, an unknown frame, priorities and padding between requests.
    client.h2.ping(b"12345678")
    client.flush()
    client.frame(0xFA, 0, 0, b"unknown")
    client.frame(2, 0, 9, struct.pack(">IB", 0, 15))
    stream = client.ask(GOOD)
    client.until(lambda: client.acked == 1 and stream in client.ended)
    assert client.status[stream] == 200 and client.goaway is None
    client.socket.close()


def flow():
    """Windows are kept to the byte, and opened late they lead to the whole."""
    for window in (0, 1, 1000, 65535):
        client = Client({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        client.hold = True
        stream = client.ask(BIG)
        client.until(lambda: client.status.get(stream) == 200)
        sibling = client.ask(GOOD)
        # Longer than a rate is judged by: a small answer that waits for the window of the connection is no slow one.
        deadline = time.monotonic() + 1.5
        client.socket.settimeout(0.2)
        while time.monotonic() < deadline:
            try:
                client.step()
            except TimeoutError:
                pass
        assert len(client.body[stream]) <= window, (window, len(client.body[stream]))
        if window == 65535:
            # The connection's window is as large, and the first stream has it all.
            client.h2.increment_flow_control_window(1 << 20)
            client.flush()
        client.socket.settimeout(20)
        if window >= 1000:
            client.until(lambda: sibling in client.ended)
            assert client.body[sibling] == b"hello"
        client.hold = False
        client.h2.increment_flow_control_window((1 << 22))
        client.h2.increment_flow_control_window((1 << 22), stream)
        client.flush()
        client.until(lambda: stream in client.ended, 30)
        assert len(client.body[stream]) == 3 << 20
        client.socket.close()


def ends(what, act):
    """The connection ends, by GOAWAY or closed."""
    client = Client()
    act(client)
    client.until(lambda: client.goaway is not None)
    assert client.goaway is not None or client.closed, what
    client.socket.close()


def connections():
    ends("a frame that is too long", lambda c: c.frame(0, 0, 1, b"x" * 17000))
    ends("DATA on stream 0", lambda c: c.frame(0, 0, 0, b"x"))
    ends("DATA on an idle stream", lambda c: c.frame(0, 0, 99, b"x"))
    ends("HEADERS on an even stream", lambda c: c.frame(1, 5, 2, b"\x82\x87\x84"))
    ends("SETTINGS of a bad length", lambda c: c.frame(4, 0, 0, b"x"))
    ends("a window of more than 2^31", lambda c: [c.frame(8, 0, 0, b"\x7f\xff\xff\xff") for _ in range(2)])
    ends("a window of nothing", lambda c: c.frame(8, 0, 0, b"\0\0\0\0"))
    ends("HPACK of nonsense", lambda c: c.frame(1, 5, 1, b"\xff\xff\xff\xff\xff\xff"))
    ends("PUSH_PROMISE of a client", lambda c: c.frame(5, 4, 1, b"\0\0\0\2\x82"))
    ends("a PING of a bad length", lambda c: c.frame(6, 0, 0, b"x"))
    ends("CONTINUATION without HEADERS", lambda c: c.frame(9, 4, 1, b"\x82"))

    def between(client):
        client.frame(1, 1, 1, b"\x82\x87")
        client.frame(6, 0, 0, b"12345678")

    ends("a frame between HEADERS and CONTINUATION", between)
    # Something other than the preface.
    client = Client(begin=False)
    client.send(b"GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n")
    client.over()


def rapid_reset():
    client = Client()
    for number in range(2000):
        stream = client.ask(GOOD)
        client.h2.reset_stream(stream)
        if number % 100 == 0:
            client.flush()
        if client.closed:
            break
    try:
        client.flush()
        client.until(lambda: client.goaway is not None, 5)
    except (AssertionError, TimeoutError):
        pass
    client.socket.close()


def closed_softly():
    """A GOAWAY of the client's: what is under way is answered."""
    client = Client()
    stream = client.ask(GOOD)
    client.frame(7, 0, 0, struct.pack(">II", 0, 0))
    client.until(lambda: stream in client.ended)
    assert client.status[stream] == 200
    client.socket.close()


for case in (fine, requests, flow, connections, rapid_reset, closed_softly):
    good()
    case()
    good()
    print(case.__name__, "ok", flush=True)
