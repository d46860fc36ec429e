"""The origin stops, dies, is silent, breaks off, sends garbage. Hits must not notice; misses are refused honestly; what is stale may be answered."""

import signal

from faults import HITS, fault
from harness import processes

# Nothing: an origin's fault is no error of the server's.
CLAIMS = ()


@fault("origin-stop", "the origin is stopped (SIGSTOP), and goes on", holds=HITS + ("brief",))
def origin_stop(stage):
    stage.origin.send_signal(signal.SIGSTOP)
    stage.during(3, 15)
    stage.origin.send_signal(signal.SIGCONT)
    yield


@fault("origin-kill", "the origin is killed (SIGKILL), and started again", holds=HITS + ("brief",))
def origin_kill(stage):
    port = stage.origin_port
    processes.kill(stage.origin)
    stage.during(2, 15)
    stage.start_origin(port)
    yield


def told(mode):
    """A fault that the origin does itself."""

    def act(stage):
        stage.tell_origin(mode)
        stage.during(2, 15)
        stage.tell_origin("fine")
        yield

    return act


fault("origin-silent", "the origin accepts, and says nothing", holds=HITS + ("brief",))(told("silent"))
fault("origin-trickle", "the origin sends its headers, then a byte a second", holds=HITS)(told("trickle"))
fault("origin-reset", "the origin resets each connection in the middle of a body", holds=HITS)(told("reset"))
fault("origin-garbage", "the origin sends garbage: no HTTP, broken HTTP, short bodies", holds=HITS)(told("garbage"))
fault("origin-fail", "the origin answers 503 to everything", holds=HITS + ("brief",))(told("fail"))
