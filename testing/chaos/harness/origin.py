"""The origin: a process of its own, so that it can be stopped and killed. It answers names with their known bytes, and does as told.

    python3 origin.py PORT        (0: a free one)

It prints its port, then reads commands from its standard input, a mode each, and prints `ok`; it ends with its input.
The path chooses how long an answer is fresh and how fast it comes: /o/keep/… an hour, /o/brief/… a second, /o/slow/… an hour and in pieces.

    fine       everything as it should be
    silent     connections are accepted, requests are read, nothing is answered
    reset      the header and half of the body, then RST
    trickle    the header, then a byte a second
    garbage    no HTTP, broken HTTP, a body that ends early, by turns
    fail       503 with a body
"""

import asyncio
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import known  # noqa: E402 (the path comes first)

PIECE = 32 * 1024
mode = "fine"
turn = 0


class Request:
    """A request's target without its leading /o/, and its If-None-Match."""

    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        self.method, target = lines[0].split(" ")[:2]
        self.name = target[3:]
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        self.tag = fields.get("if-none-match")


def reset(writer):
    """Close with RST in place of FIN."""
    # The peer may have been first.
    if not writer.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()


def head(status, request, length):
    fresh = 1 if request.name.startswith("brief/") else 3600
    fields = f"ETag: {known.tag(request.name)}\r\nCache-Control: max-age={fresh}\r\nContent-Type: application/octet-stream\r\n"
    return f"HTTP/1.1 {status} Status\r\n{fields}Content-Length: {length}\r\n\r\n".encode()


async def fine(request, writer):
    if request.tag == known.tag(request.name):
        writer.write(head(304, request, 0).replace(b"Content-Length: 0\r\n", b""))
        return True
    body = known.body(request.name)
    writer.write(head(200, request, len(body)))
    if not request.name.startswith("slow/"):
        writer.write(body)
        return True
    for at in range(0, len(body), PIECE):
        writer.write(body[at : at + PIECE])
        await writer.drain()
        await asyncio.sleep(0.02)
    return True


async def silent(request, writer):
    while mode == "silent":
        await asyncio.sleep(0.1)
    reset(writer)


async def half(request, writer):
    body = known.body(request.name)
    writer.write(head(200, request, len(body)) + body[: len(body) // 2])
    await writer.drain()
    # What was sent must arrive before the reset does: a kernel drops what is queued behind one.
    await asyncio.sleep(0.02)
    reset(writer)


async def trickle(request, writer):
    body = known.body(request.name)
    writer.write(head(200, request, len(body)))
    for at in range(len(body)):
        if mode != "trickle":
            break
        writer.write(body[at : at + 1])
        await writer.drain()
        await asyncio.sleep(1)
    reset(writer)


async def garbage(request, writer):
    global turn
    turn += 1
    body = known.body(request.name)
    shapes = [
        os.urandom(4096),
        b"\x16\x03\x01\x00\x05hello\r\n\r\n",
        b"HTTP/9.9 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + body,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n" + body,
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n" + body,
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * (2 << 20) + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        head(200, request, len(body) + 1000) + body,
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/5\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 304 Not Modified\r\nETag: \"never seen\"\r\n\r\n",
        b"",
    ]
    writer.write(shapes[turn % len(shapes)])


async def fail(request, writer):
    writer.write(b"HTTP/1.1 503 Status\r\nX-Chaos-Origin: 503\r\nContent-Length: 5\r\n\r\nsorry")
    return True


MODES = {"fine": fine, "silent": silent, "reset": half, "trickle": trickle, "garbage": garbage, "fail": fail}


async def serve(reader, writer):
    try:
        keep = True
        while keep:
            request = Request(await reader.readuntil(b"\r\n\r\n"))
            keep = await MODES[mode](request, writer)
            await writer.drain()
        writer.close()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.transport.abort()


async def obey():
    """Take commands until the input ends."""
    global mode
    loop = asyncio.get_running_loop()
    while True:
        line = await loop.run_in_executor(None, sys.stdin.readline)
        if not line:
            return
        mode = line.strip()
        print("ok", flush=True)


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await obey()
    # The executor's thread has ended with the input; connections that are open go with the process.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
