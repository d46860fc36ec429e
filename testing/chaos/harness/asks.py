"""What the load asks for, and what each answer must be."""

import gzip
import itertools
import random
import sqlite3

import harness.known as known
from harness.client import Ask

SMALL = [f"hit/small{n}-4096" for n in range(10)]
MEDIUM = [f"hit/medium{n}-98304" for n in range(3)]
LARGE = [f"hit/large{n}-2097152" for n in range(2)]
IMPORTED = SMALL + MEDIUM + LARGE
WARM = [f"keep/warm{n}-8192" for n in range(10)] + ["keep/warm-large-1500000"]
BRIEF = [f"brief/b{n}-4096" for n in range(5)]


class Asks:
    """Makes requests and judges answers. `packs` maps the mounts' names to every file that may stand behind them during the run."""

    def __init__(self, packs):
        self.random = random.Random(4)
        self.numbers = itertools.count()
        self.tags = {}
        self.archives, self.tiles = {}, {}
        for name, files in packs.items():
            for file in files:
                self.learn(name, file)

    def learn(self, name, file):
        """Accept what `file` has as answers of the pack `name`, beside what is accepted already."""
        if file.suffix == ".pmtiles":
            data = file.read_bytes()
            self.archives.setdefault(name, {})[len(data)] = data
            return
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
            rows = database.execute("SELECT zoom_level, tile_column, tile_row, tile_data FROM tiles").fetchall()
        database.close()
        for zoom, column, row, data in rows:
            place = (zoom, column, (1 << zoom) - 1 - row)
            self.tiles.setdefault(name, {}).setdefault(place, set()).add(bytes(data))

    def asset(self, kind, name, prefix="", fields=()):
        """The asset whose bytes are known by its name."""

        def judge(status, got, body):
            return same(status, 200, body, {known.body(name)}) or self.same_tag(path, got)

        path = f"/edge/assets/{prefix}{name}"
        return Ask(kind, path, judge, fields)

    def small(self):
        return self.asset("small", self.random.choice(SMALL))

    def large(self):
        return self.asset("large", self.random.choice(MEDIUM + MEDIUM + LARGE))

    def warm(self):
        return self.asset("warm", self.random.choice(WARM), "o/")

    def brief(self):
        return self.asset("brief", self.random.choice(BRIEF), "o/")

    def miss(self):
        length = self.random.choice([0, 1, 4096, 4096, 4096, 100000, 300000])
        return self.asset("miss", f"keep/miss{next(self.numbers)}-{length}", "o/")

    def tile(self):
        """A tile as it is stored: coded tiles are asked for with their coding."""
        name = self.random.choice(sorted(self.tiles))
        place, datas = self.random.choice(list(self.tiles[name].items()))
        path = "/edge/assets/{}/{}/{}/{}".format(name, *place)

        def judge(status, got, body):
            coded = got.get("content-encoding") == "gzip"
            plain = datas if coded else {unzipped(data) for data in datas}
            return same(status, 200, body, plain)

        return Ask("tile", path, judge, (("Accept-Encoding", "gzip"),))

    def range(self):
        """A range of an archive; which of the files that may be mounted it is of, the answer's Content-Range says."""
        name = self.random.choice(sorted(self.archives))
        files = self.archives[name]
        shortest = min(files)
        first = self.random.randrange(shortest)
        last = min(shortest - 1, first + self.random.choice([0, 1000, 65535, 200000]))

        def judge(status, got, body):
            span, _, total = got.get("content-range", "").partition("/")
            if span != f"bytes {first}-{last}" or not total.isdigit() or int(total) not in files:
                return f"{status} with Content-Range {got.get('content-range')!r}"
            return same(status, 206, body, {files[int(total)][first : last + 1]})

        return Ask("range", f"/edge/assets/{name}.pmtiles", judge, (("Range", f"bytes={first}-{last}"),))

    def same_tag(self, path, fields):
        """A strong tag names bytes: the same bytes never have another one (RFC 9110 section 8.8.3)."""
        tag = fields.get("etag")
        if tag and tag.startswith('"b3:') and self.tags.setdefault(path, tag) != tag:
            return f"the tag was {self.tags[path]} and is {tag}"
        return None


def same(status, expected, body, bodies):
    if status != expected:
        return f"{status} in place of {expected}"
    return None if body in bodies else f"{len(body)} other bytes"


def unzipped(data):
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
