"""The checking load: a few clients that ask all the time, on two lanes, and keep every answer.

What a stopped origin does to fills must not hide what it does to hits, so each lane has clients of its own.
"""

import collections
import threading
import time

from harness.client import Connection

HITS = ("small", "small", "large", "warm", "tile", "range")
FILLS = ("miss", "miss", "brief")
# So many good answers in a row make a recovery.
IN_A_ROW = 20


class Load:
    """`asks` makes the requests; `clients` of each lane ask every `pause` seconds, or as fast as they are answered."""

    def __init__(self, port, asks, also=None, clients=3, pause=0.015):
        self.port, self.asks, self.also, self.clients, self.pause = port, asks, also or {}, clients, pause
        self.answers = []
        self.stopping = threading.Event()
        self.threads = []

    def start(self):
        for lane in (HITS, FILLS):
            for client in range(self.clients):
                thread = threading.Thread(target=self._run, args=(lane, client), daemon=True)
                thread.start()
                self.threads.append(thread)
        return self

    def stop(self):
        """Stop asking, and wait until what was asked is answered or hung."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(90)
            if thread.is_alive():
                raise RuntimeError("a client of the load does not end")

    def _run(self, lane, turn):
        connection = Connection(self.port, self.also)
        while not self.stopping.is_set():
            ask = getattr(self.asks, lane[turn % len(lane)])()
            turn += 1
            self.answers.append(connection.ask(ask))
            # Now and then a new connection, so that accepting is looked at too.
            if turn % 7 == 0:
                connection.close()
            self.stopping.wait(self.pause)
        connection.close()

    def since(self, moment):
        """The answers that ended after `moment`."""
        return [answer for answer in list(self.answers) if answer.ended >= moment]

    def recovered(self, since, limit):
        """Wait until either lane had IN_A_ROW good answers to requests made after `since`; seconds from `since` to the end of the later
        lane's first of them. None where that does not come within `limit`."""
        until = time.monotonic() + limit
        while True:
            firsts = [self._first_good(set(lane), since) for lane in (HITS, FILLS)]
            if None not in firsts:
                return max(firsts) - since
            if time.monotonic() > until:
                return None
            time.sleep(0.02)

    def _first_good(self, kinds, since):
        row = []
        asked = [answer for answer in list(self.answers) if answer.kind in kinds and answer.started >= since]
        for answer in sorted(asked, key=lambda answer: answer.started):
            row = row + [answer] if answer.outcome == "ok" else []
            if len(row) == IN_A_ROW:
                return row[0].ended
        return None


def tally(answers):
    """What clients saw, as counts by outcome; refusals by status and reason."""
    counts = collections.Counter()
    for answer in answers:
        counts[f"refused {answer.detail}" if answer.outcome == "refused" else answer.outcome] += 1
        counts["asked twice"] += answer.again
    return counts


def told(counts):
    """A tally in words, the good ones first."""
    words = [f"{counts['ok']:,} ok"] + [f"{count:,} {what}" for what, count in sorted(counts.items()) if what != "ok" and count]
    return ", ".join(words)
