// Reads the sample packs with readers that share no code with what wrote them, and fails on anything that is not as it
// should be.
//
//     node verify.mjs [DIR]     # default: the folder above this one

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

import { VectorTile } from '@mapbox/vector-tile';
import { PbfReader } from 'pbf';
import { PMTiles, TileType } from 'pmtiles';
import { PNG } from 'pngjs';
import initSqlJs from 'sql.js';

const dir = process.argv[2] ?? fileURLToPath(new URL('..', import.meta.url));

/** A PMTiles archive in memory, by ranges, as the reader wants it. */
async function open(name) {
  const bytes = await readFile(join(dir, name));
  const source = {
    getKey: () => name,
    getBytes: async (offset, length) => ({ data: Uint8Array.from(bytes.subarray(offset, offset + length)).buffer }),
  };
  return { bytes, pack: new PMTiles(source), read: (offset, length) => bytes.subarray(offset, offset + length) };
}

/** Every address of a zoom range. */
function* addresses(minZoom, maxZoom) {
  for (let z = minZoom; z <= maxZoom; z++) {
    for (let x = 0; x < 2 ** z; x++) for (let y = 0; y < 2 ** z; y++) yield [z, x, y];
  }
}

/** Decode a vector tile wholly; add the number of features of each layer to `counts`. */
function decode(data, z, fields, counts) {
  const tile = new VectorTile(new PbfReader(data));
  const names = Object.keys(tile.layers);
  assert.ok(names.length > 0, 'a stored tile has a layer');
  for (const name of names) {
    const layer = tile.layers[name];
    const declared = fields.get(name);
    assert.ok(declared, `layer ${name} stands in vector_layers`);
    assert.ok(z >= declared.minzoom && z <= declared.maxzoom, `zoom ${z} is one of ${name}'s`);
    assert.equal(layer.version, 2);
    assert.equal(layer.extent, 4096);
    for (let i = 0; i < layer.length; i++) {
      const feature = layer.feature(i);
      assert.ok(feature.loadGeometry().length > 0, `a feature of ${name} has a geometry`);
      for (const [key, value] of Object.entries(feature.properties)) {
        assert.equal(typeof value, declared.fields[key]?.toLowerCase(), `${name}.${key} has its declared type`);
      }
    }
    counts.set(name, (counts.get(name) ?? 0) + layer.length);
  }
}

const declared = (layers) => new Map(layers.map((layer) => [layer.id, layer]));

function assertEveryLayerDrawn(fields, counts) {
  assert.deepEqual([...counts.keys()].sort(), [...fields.keys()].sort(), 'every declared layer is drawn somewhere');
}

async function verifyVectorArchive() {
  const { pack, read } = await open('tile.pmtiles');
  const header = await pack.getHeader();
  const metadata = await pack.getMetadata();
  assert.equal(header.specVersion, 3);
  assert.equal(header.tileType, TileType.Mvt);
  assert.ok(header.clustered);
  assert.ok(header.leafDirectoryLength > 0, 'there are leaf directories');
  assert.ok(header.numTileEntries > 512);
  assert.ok(header.numAddressedTiles > header.numTileEntries, 'there are runs');
  assert.ok(header.numTileEntries > header.numTileContents, 'contents are shared');
  assert.equal(metadata.attribution, 'Made with Natural Earth');
  const fields = declared(metadata.vector_layers);
  const counts = new Map();
  let found = 0;
  for (const [z, x, y] of addresses(header.minZoom, header.maxZoom)) {
    const tile = await pack.getZxy(z, x, y);
    if (!tile) continue;
    decode(new Uint8Array(tile.data), z, fields, counts);
    found += 1;
  }
  assert.equal(found, header.numAddressedTiles);
  assert.equal(gunzipSync(read(header.jsonMetadataOffset, header.jsonMetadataLength))[0], '{'.charCodeAt(0));
  assertEveryLayerDrawn(fields, counts);
  return `${found} tiles, zooms ${header.minZoom}–${header.maxZoom}, features ${JSON.stringify(Object.fromEntries(counts))}`;
}

async function verifyRasterArchive() {
  const { pack } = await open('raster.pmtiles');
  const header = await pack.getHeader();
  assert.equal(header.tileType, TileType.Png);
  assert.equal(header.leafDirectoryLength, 0);
  let found = 0;
  for (const [z, x, y] of addresses(header.minZoom, header.maxZoom)) {
    const tile = await pack.getZxy(z, x, y);
    assert.ok(tile, `${z}/${x}/${y} is there`);
    const png = PNG.sync.read(Buffer.from(tile.data));
    assert.deepEqual([png.width, png.height], [256, 256]);
    found += 1;
  }
  assert.equal(found, header.numAddressedTiles);
  return `${found} tiles of 256 px, zooms ${header.minZoom}–${header.maxZoom}`;
}

async function verifyDatabase() {
  const SQL = await initSqlJs();
  const db = new SQL.Database(await readFile(join(dir, 'world.mbtiles')));
  const rows = (sql) => db.exec(sql)[0].values;
  assert.deepEqual(rows('PRAGMA integrity_check'), [['ok']]);
  assert.deepEqual(rows('PRAGMA application_id'), [[0x4d504258]]);
  const metadata = Object.fromEntries(rows('SELECT name, value FROM metadata'));
  assert.equal(metadata.format, 'pbf');
  const fields = declared(JSON.parse(metadata.json).vector_layers);
  const counts = new Map();
  const tiles = rows('SELECT zoom_level, tile_column, tile_row, tile_data FROM tiles');
  for (const [z, x, row, data] of tiles) {
    assert.ok(z >= Number(metadata.minzoom) && z <= Number(metadata.maxzoom));
    assert.ok(x < 2 ** z && row < 2 ** z);
    decode(gunzipSync(data), z, fields, counts);
  }
  // Rows count from the south: Australia's label is in the southern half, which at zoom 1 is row 0.
  const [[south]] = rows('SELECT tile_data FROM tiles WHERE zoom_level = 1 AND tile_column = 1 AND tile_row = 0');
  const labels = new VectorTile(new PbfReader(gunzipSync(south))).layers.country_labels;
  const names = [...Array(labels.length).keys()].map((i) => labels.feature(i).properties.name);
  assert.ok(names.includes('Australia'), `row 0 is the south, but has ${names}`);
  assertEveryLayerDrawn(fields, counts);
  db.close();
  return `${tiles.length} tiles, zooms ${metadata.minzoom}–${metadata.maxzoom}, features ${JSON.stringify(Object.fromEntries(counts))}`;
}

console.log(`tile.pmtiles: ${await verifyVectorArchive()}`);
console.log(`world.mbtiles: ${await verifyDatabase()}`);
console.log(`raster.pmtiles: ${await verifyRasterArchive()}`);
