"""The faults, in the order in which they are done.

A fault is a generator over a `Stage`: what stands before its `yield` is done to a server under load, the `yield` says that the fault has ended, and what
stands behind it is looked at when the server has recovered.
"""

ALL = []


class Fault:
    """`title` says what is done. `holds` are kinds of requests that it must not touch: each of them is answered well, all the time. `claims` are regexes of
    the lines at ERROR that it may cause; `also` further honest refusals, status to X-Reason; `store` further keys of `edge.cas`; `prepare` is done before
    the server is started."""

    def __init__(self, act, name, title, holds, claims, also, store, prepare):
        self.act, self.name, self.title = act, name, title
        self.holds, self.claims, self.also, self.store, self.prepare = holds, claims, also, store, prepare


def fault(name, title, holds=(), claims=(), also=None, store="", prepare=None):
    """Put a generator among the faults."""

    def register(act):
        ALL.append(Fault(act, name, title, frozenset(holds), tuple(claims), also or {}, store, prepare))
        return act

    return register


# What a fault of the origin must not touch.
HITS = ("small", "large", "warm", "tile", "range")

from faults import kills, origins, disks, errors, descriptors, readers, packs, store, stopped, upgrade, certificates  # noqa: E402,F401 (they register themselves)
