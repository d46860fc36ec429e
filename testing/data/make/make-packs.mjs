// Makes the sample packs from Natural Earth: tile.pmtiles, world.mbtiles and raster.pmtiles.
//
//     node make-packs.mjs [--out DIR]     # default: the folder above this one

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { database } from './mbtiles.mjs';
import { layers } from './natural-earth.mjs';
import { archive, COMPRESSION, TILE_TYPE } from './pmtiles.mjs';
import { render } from './raster.mjs';
import { cut, vectorLayers } from './vector.mjs';

const { version } = JSON.parse(await readFile(new URL('package.json', import.meta.url), 'utf8'));
const { values } = parseArgs({ options: { out: { type: 'string' } } });
const out = values.out ?? fileURLToPath(new URL('..', import.meta.url));

const attribution = 'Made with Natural Earth';
const generator = `svc-edge make-packs ${version}`;
// The square of Web Mercator, which every pack covers.
const bounds = [-180, -85.051129, 180, 85.051129];

/** Vector, PMTiles, with every layer and enough entries to need leaf directories. */
function vectorArchive(sources) {
  const maxZoom = 6;
  return archive({
    tiles: cut(sources, maxZoom),
    tileType: TILE_TYPE.mvt,
    tileCompression: COMPRESSION.gzip,
    leafSize: 512,
    bounds,
    center: [10, 30, 2],
    metadata: {
      name: 'tile',
      description: 'Countries, water, boundaries, cities and a graticule of the world at 1:50m',
      attribution,
      version: '1.0.0',
      type: 'baselayer',
      generator,
      vector_layers: vectorLayers(Object.keys(sources), maxZoom),
    },
  });
}

/** Vector, MBTiles, without land and graticule: most tiles of the oceans are absent. */
async function vectorDatabase({ countries, lakes, rivers, boundaries, country_labels, cities }) {
  const maxZoom = 4;
  const sources = { countries, lakes, rivers, boundaries, country_labels, cities };
  const tiles = cut(sources, maxZoom);
  const bytes = await database({
    tiles,
    metadata: {
      name: 'world',
      format: 'pbf',
      bounds: bounds.join(','),
      center: '10,30,1',
      minzoom: '0',
      maxzoom: String(maxZoom),
      attribution,
      description: 'Countries, lakes, rivers and cities of the world at 1:50m',
      type: 'baselayer',
      version: '1',
      generator,
      json: JSON.stringify({ vector_layers: vectorLayers(Object.keys(sources), maxZoom) }),
    },
  });
  return { bytes, stats: { tiles: tiles.length } };
}

/** Raster, PMTiles, in a root directory alone. */
function rasterArchive(sources) {
  const maxZoom = 3;
  return archive({
    tiles: render(sources, maxZoom),
    tileType: TILE_TYPE.png,
    tileCompression: COMPRESSION.none,
    bounds,
    center: [10, 30, 1],
    metadata: {
      name: 'raster',
      description: 'A political map of the world at 1:50m, 256 px',
      attribution,
      version: '1.0.0',
      type: 'baselayer',
      format: 'png',
      generator,
    },
  });
}

const sources = layers();
const packs = {
  'tile.pmtiles': vectorArchive(sources),
  'world.mbtiles': await vectorDatabase(sources),
  'raster.pmtiles': rasterArchive(sources),
};
await mkdir(out, { recursive: true });
for (const [name, { bytes, stats }] of Object.entries(packs)) {
  await writeFile(join(out, name), bytes);
  console.log(`${name}: ${bytes.length} bytes, ${JSON.stringify(stats)}`);
}
