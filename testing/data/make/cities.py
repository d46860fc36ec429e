#!/usr/bin/env python3
"""Print the cities of Natural Earth (populated places, 1:110m) as JSON.

They ship in the wheel of geopandas 0.14.4, the last line that carried data sets:

    pip download --no-deps --dest . geopandas==0.14.4
    python3 cities.py geopandas-0.14.4-py3-none-any.whl > cities.json

Only the standard library is used: a point shapefile and its table are a few fixed offsets.
"""

import json
import struct
import sys
import zipfile

BASE = "geopandas/datasets/naturalearth_cities/naturalearth_cities"
# The table is Latin-1 and lost what Latin-1 can't spell.
REPAIRED = {"Chi?in?u": "Chișinău", "?saka": "Ōsaka"}


def points(shp: bytes) -> list[tuple[float, float]]:
    """Longitude and latitude of each record (ESRI Shapefile: 100 bytes of header, then 8 + 20 bytes a point)."""
    found = []
    at = 100
    while at < len(shp):
        words = struct.unpack_from(">i", shp, at + 4)[0]
        kind, lon, lat = struct.unpack_from("<idd", shp, at + 8)
        if kind != 1:
            raise ValueError(f"record at {at} is of shape type {kind}, not a point")
        found.append((round(lon, 4), round(lat, 4)))
        at += 8 + 2 * words
    return found


def names(dbf: bytes) -> list[str]:
    """The one text column of the table (dBASE III: counts and lengths at 4, 8 and 10, then fixed records)."""
    count, header, record = struct.unpack_from("<IHH", dbf, 4)
    rows = (dbf[header + i * record + 1 : header + (i + 1) * record] for i in range(count))
    return [REPAIRED.get(name, name) for name in (row.decode("latin-1").strip() for row in rows)]


def main() -> None:
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        places = zip(names(wheel.read(f"{BASE}.dbf")), points(wheel.read(f"{BASE}.shp")), strict=True)
        # The source runs from the least to the most prominent city: rank 1 is the last.
        cities = [{"name": name, "at": at} for name, at in reversed(list(places))]
    if (lost := [city["name"] for city in cities if "?" in city["name"]]):
        raise ValueError(f"these names lost letters, add them to REPAIRED: {lost}")
    print("[\n" + ",\n".join(json.dumps(city, ensure_ascii=False) for city in cities) + "\n]")


if __name__ == "__main__":
    main()
