"""The server itself stands still for a while."""

import signal

from faults import fault


@fault("edge-stop", "the server is stopped (SIGSTOP), and goes on")
def edge_stop(stage):
    stage.edge.process.send_signal(signal.SIGSTOP)
    stage.during(3, 15)
    stage.edge.process.send_signal(signal.SIGCONT)
    yield
