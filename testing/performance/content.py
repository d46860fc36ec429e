"""What is served: assets, tiles and packs, made from a fixed seed, so that every machine and every server has the same bytes.

The tree is served as it is by servers of files, at the paths that svc-edge has: `edge/assets/site/4k`, and `edge/assets/png/3/2/2` for those tiles of the packs
that the profiles ask for.
"""

import gzip
import json
import pathlib
import random
import struct
import zlib

SIZES = {"4k": 4 << 10, "64k": 64 << 10, "1m": 1 << 20, "8m": 8 << 20}
# Every tile of this zoom is in the packs.
ZOOM = 3
# The tiles that profiles ask for.
ASKED = [(2, 2), (3, 2), (2, 3), (3, 3)]
# Bytes of a vector tile, in gzip; a PNG has some 23 KB.
MVT = 42 << 10
# An archive for the start with verification: entries, and bytes of each tile before it is compressed.
ENTRIES, ENTRY_BYTES = 10_000, 2 << 10


class Content:
    """The files below a directory: `root` for servers of files, `site` to import, `packs` for svc-edge and martin."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.root = self.directory / "root"
        self.site = self.root / "edge/assets/site"
        self.packs = self.directory / "packs"
        source = random.Random(5)
        self.site.mkdir(parents=True)
        self.packs.mkdir()
        for name, size in SIZES.items():
            (self.site / name).write_bytes(source.randbytes(size))
        places = [(x, y) for x in range(2**ZOOM) for y in range(2**ZOOM)]
        for name, make in (("png", png), ("mvt", mvt)):
            tiles = {(ZOOM, x, y): make(source) for x, y in places}
            write_pmtiles(self.packs / f"{name}.pmtiles", tiles, name)
            for x, y in ASKED:
                tile = self.root / f"edge/assets/{name}/{ZOOM}/{x}/{y}"
                tile.parent.mkdir(parents=True, exist_ok=True)
                tile.write_bytes(tiles[ZOOM, x, y])

    def body(self, path):
        """The bytes that a path of svc-edge's is to be answered with."""
        return (self.root / path.lstrip("/")).read_bytes()


def many_entries(path):
    """An archive of ENTRIES tiles, no two alike."""
    source = random.Random(6)
    zoom = 7
    tiles = {}
    for number in range(ENTRIES):
        tiles[zoom, number % 2**zoom, number // 2**zoom] = gzip.compress(layer(source, ENTRY_BYTES), 6, mtime=0)
    write_pmtiles(path, tiles, "mvt")


def png(source):
    """256 × 256 points in one of five greys each, at random: some 23 KB."""
    rows = b"".join(b"\0" + bytes(50 * (each % 5) for each in source.randbytes(256)) for _ in range(256))
    data = zlib.compress(rows, 6)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 256, 256, 8, 0, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")]
    out = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        out += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return out


def mvt(source):
    """A vector tile that is MVT bytes after gzip, within some hundred: of eight bits of a byte, seven are at random."""
    return gzip.compress(layer(source, MVT * 134 // 118), 6, mtime=0)


def layer(source, size):
    """A vector tile with one layer, whose one feature has points at random: about as many bytes as it says."""
    # Parameters of one byte each: a MoveTo, whose count is in its varint, then steps of less than 64 either way.
    points = size // 2
    geometry = varint(points << 3 | 1) + bytes(each & 0x7F for each in source.randbytes(2 * points))
    feature = field(3, 0, varint(1)) + field(4, 2, geometry)
    inside = field(15, 0, varint(2)) + field(1, 2, b"points") + field(2, 2, feature) + field(5, 0, varint(4096))
    return field(3, 2, inside)


def field(number, kind, value):
    """One field of a protocol buffer."""
    return varint(number << 3 | kind) + (varint(len(value)) if kind == 2 else b"") + value


def varint(value):
    """A number, seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def tile_id(zoom, x, y):
    """The place of a tile on the Hilbert curve of PMTiles v3, counted from zoom 0."""
    at, side = (4**zoom - 1) // 3, 2**zoom // 2
    while side:
        right, below = int(x & side > 0), int(y & side > 0)
        at += side * side * (3 * right ^ below)
        if not below:
            if right:
                x, y = side - 1 - (x & side - 1), side - 1 - (y & side - 1)
            x, y = y, x
        side //= 2
    return at


def directory(entries):
    """A directory of PMTiles v3: (id, run length, length, offset) in columns, then gzip."""
    out, last = varint(len(entries)), 0
    for each in entries:
        out += varint(each[0] - last)
        last = each[0]
    out += b"".join(varint(each[1]) for each in entries) + b"".join(varint(each[2]) for each in entries)
    return gzip.compress(out + b"".join(varint(each[3] + 1) for each in entries), 6, mtime=0)


def write_pmtiles(path, tiles, kind):
    """An archive of tiles, `{(z, x, y): bytes}`, all different; leaf directories where the root would have more than 1,000 entries."""
    data, entries = bytearray(), []
    for at, body in sorted((tile_id(*place), body) for place, body in tiles.items()):
        entries.append((at, 1, len(body), len(data)))
        data += body
    leaves, root = b"", entries
    if len(entries) > 1000:
        root = []
        for first in range(0, len(entries), 1000):
            leaf = directory(entries[first : first + 1000])
            root.append((entries[first][0], 0, len(leaf), len(leaves)))
            leaves += leaf
    root = directory(root)
    layers = {"vector_layers": [{"id": "points", "fields": {}}]} if kind == "mvt" else {}
    metadata = gzip.compress(json.dumps({"name": path.stem, **layers}).encode(), 6, mtime=0)
    zooms = [place[0] for place in tiles]
    sections, offset = b"", 127
    for section in (root, metadata, leaves, data):
        sections += struct.pack("<QQ", offset, len(section))
        offset += len(section)
    head = b"PMTiles\x03" + sections + struct.pack("<QQQ", len(tiles), len(entries), len(entries))
    # Clustered; directories in gzip; tiles in gzip if they are vectors, else as they are; their type; zooms; bounds; centre.
    head += struct.pack("<BBBBBB", 1, 2, *((2, 1) if kind == "mvt" else (1, 2)), min(zooms), max(zooms))
    head += struct.pack("<iiii", -1_800_000_000, -850_000_000, 1_800_000_000, 850_000_000) + struct.pack("<Bii", min(zooms), 0, 0)
    path.write_bytes(head + root + metadata + leaves + data)
