"""The server runs out of file descriptors while connections pile up, and recovers when they go."""

import resource
import socket
import time

from faults import fault


@fault(
    "fd-limit",
    "the limit of file descriptors is lowered to 40 more than are open, hundreds of connections pile up, and go",
    claims=["Too many open files", "EMFILE", "os error 24"],
    also={500: "internal"},
)
def fd_limit(stage):
    soft, hard = resource.prlimit(stage.edge.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(stage.edge.pid, resource.RLIMIT_NOFILE, (stage.edge.descriptors() + 40, hard))
    piled = []
    for _ in range(stage.seconds(120, 400)):
        client = socket.create_connection(("127.0.0.1", stage.edge.port), timeout=10)
        client.sendall(b"GET /edge/assets/hit/small0-4096 HTTP/1.1\r\nHost: chaos.test\r\n\r\n")
        piled.append(client)
    time.sleep(stage.seconds(2, 15))
    open_now = stage.edge.descriptors()
    for client in piled:
        client.close()
    # The limit stays low: it is the end of the connections that must be enough.
    yield
    stage.note(f"{open_now} descriptors open under a limit of {resource.prlimit(stage.edge.pid, resource.RLIMIT_NOFILE)[0]}")
    resource.prlimit(stage.edge.pid, resource.RLIMIT_NOFILE, (soft, hard))
