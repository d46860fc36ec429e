"""Packs are truncated in place, replaced by rename, removed and restored."""

import os
import shutil
import sqlite3
import time

from faults import fault
from harness.stage import DATA

# What is no pack must not notice.
OTHERS = ("small", "large", "warm", "miss", "brief")
PACKS = ("tile.pmtiles", "world.mbtiles")


def put(source, place):
    """Replace a pack as it should be: whole, by rename."""
    fresh = place.with_name(place.name + ".new")
    shutil.copyfile(source, fresh)
    os.replace(fresh, place)


def other(stage, name):
    """Another good archive with that name: other zooms for the one, other bytes of each tile for the other."""
    file = stage.directory / f"other-{name}"
    if name.endswith(".pmtiles"):
        shutil.copyfile(DATA / "raster.pmtiles", file)
        return file
    shutil.copyfile(DATA / name, file)
    with sqlite3.connect(file) as database:
        rows = database.execute("SELECT zoom_level, tile_column, tile_row, tile_data FROM tiles LIMIT 3").fetchall()
        some = bytes(rows[0][3])
        kind = database.execute("SELECT type FROM sqlite_master WHERE name = 'tiles'").fetchone()[0]
        if kind == "view":
            database.execute("CREATE TABLE copied AS SELECT zoom_level, tile_column, tile_row, tile_data FROM tiles")
            database.execute("DROP VIEW tiles")
            database.execute("ALTER TABLE copied RENAME TO tiles")
        database.execute("UPDATE tiles SET tile_data = ?", (some,))
    database.close()
    return file


@fault("pack-truncate", "both packs are truncated in place to half their length, and restored by rename", holds=OTHERS)
def pack_truncate(stage):
    for name in PACKS:
        place = stage.pack(name)
        os.truncate(place, place.stat().st_size // 2)
    stage.during(2, 10)
    for name in PACKS:
        put(DATA / name, stage.pack(name))
    yield


@fault("pack-rename", "both packs are replaced by rename with others, to and fro", holds=OTHERS + ("tile", "range"))
def pack_rename(stage):
    others = {name: other(stage, name) for name in PACKS}
    for name, file in others.items():
        stage.asks.learn(name.partition(".")[0], file)
    for turn in range(stage.seconds(3, 12)):
        for name in PACKS:
            put(DATA / name if turn % 2 else others[name], stage.pack(name))
        time.sleep(1.2)
    yield


@fault("pack-remove", "both packs are removed, and restored", holds=OTHERS)
def pack_remove(stage):
    for name in PACKS:
        stage.pack(name).unlink()
    stage.during(2, 10)
    for name in PACKS:
        put(DATA / name, stage.pack(name))
    yield
