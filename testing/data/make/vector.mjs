// Cuts layers into vector tiles.

import GeoJSONVT from 'geojson-vt';
import vtpbf from 'vt-pbf';

import { gzip } from './bytes.mjs';

/**
 * What each layer is: its fields as TileJSON's `vector_layers` names them, the zoom from which it is drawn, and for points
 * the lowest rank that a zoom keeps.
 */
const LAYERS = {
  graticule: { description: 'Meridians and parallels every 10°', from: 0, fields: { degrees: 'Number', axis: 'String' } },
  land: { description: 'Land', from: 0, fields: {} },
  countries: { description: 'Countries', from: 0, fields: { name: 'String', iso_n3: 'String', tint: 'Number' } },
  lakes: { description: 'Lakes and reservoirs', from: 1, fields: {} },
  rivers: { description: 'Rivers', from: 2, fields: {} },
  boundaries: { description: 'Land boundaries between countries', from: 0, fields: {} },
  country_labels: {
    description: 'A point in each country',
    from: 0,
    fields: { name: 'String', rank: 'Number' },
    keeps: (rank, z) => rank <= [10, 25, 70, 150, 200][z] || z > 4,
  },
  cities: {
    description: 'Cities and capitals',
    from: 1,
    fields: { name: 'String', rank: 'Number' },
    keeps: (rank, z) => rank <= [0, 20, 60, 130][z] || z > 3,
  },
};

/**
 * The tiles of `sources` (feature collections by layer name) up to `maxZoom`: `{z, x, y, data}`, gzipped. A tile in which
 * nothing lies is left out.
 */
export function cut(sources, maxZoom) {
  const options = { maxZoom, indexMaxZoom: maxZoom, indexMaxPoints: 0, tolerance: 3, extent: 4096, buffer: 64 };
  const indexes = Object.entries(sources).map(([name, source]) => [name, new GeoJSONVT(source, options)]);
  const tiles = [];
  for (let z = 0; z <= maxZoom; z++) {
    for (let x = 0; x < 2 ** z; x++) {
      for (let y = 0; y < 2 ** z; y++) {
        const found = contents(indexes, z, x, y);
        if (Object.keys(found).length === 0) continue;
        const data = gzip(vtpbf.fromGeojsonVt(found, { version: 2, extent: 4096 }));
        tiles.push({ z, x, y, data });
      }
    }
  }
  return tiles;
}

/** The layers of one tile that have anything to draw. */
function contents(indexes, z, x, y) {
  const found = {};
  for (const [name, index] of indexes) {
    const { from, keeps } = LAYERS[name];
    if (z < from) continue;
    const features = (index.getTile(z, x, y)?.features ?? []).filter((f) => !keeps || keeps(f.tags.rank, z));
    if (features.length > 0) found[name] = { features };
  }
  return found;
}

/** `vector_layers` of the metadata, for these layers up to `maxZoom`. */
export function vectorLayers(names, maxZoom) {
  return names.map((id) => {
    const { description, from, fields } = LAYERS[id];
    return { id, description, minzoom: from, maxzoom: maxZoom, fields };
  });
}
