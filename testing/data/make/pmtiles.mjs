// Writes PMTiles v3 archives: clustered, deduplicated, run-length coded, with leaf directories.

import { createHash } from 'node:crypto';

import { Bytes, gzip } from './bytes.mjs';

/** Tile types of the header. */
export const TILE_TYPE = { mvt: 1, png: 2 };
/** Compressions of the header. */
export const COMPRESSION = { none: 1, gzip: 2 };

const HEADER_LENGTH = 127;
// "The root directory MUST be contained in the first 16,384 bytes" (spec §3, header included).
const ROOT_END = 16384;

/**
 * The tile's place on the cumulative Hilbert curve (spec §4.1, "Tile ID"): all tiles of the lower zooms stand before it.
 * Exact up to zoom 26, where the ids leave the safe integers; the samples end far below.
 */
export function tileId(z, x, y) {
  let id = (4 ** z - 1) / 3;
  for (let side = 2 ** (z - 1); side >= 1; side /= 2) {
    const rx = x & side ? 1 : 0;
    const ry = y & side ? 1 : 0;
    id += side * side * ((3 * rx) ^ ry);
    // Turn the quadrant, so that the curve inside it starts where the one before ended.
    if (ry === 0) {
      if (rx === 1) {
        x = side - 1 - x;
        y = side - 1 - y;
      }
      [x, y] = [y, x];
    }
    // What lies above this bit was counted; keep what lies below.
    x &= side - 1;
    y &= side - 1;
  }
  return id;
}

/**
 * The bytes of an archive.
 *
 * `tiles` is a list of `{z, x, y, data}`, data already compressed as `tileCompression` says; `leafSize` is the number of
 * entries of a leaf directory, or null for a root directory alone; `bounds` is west, south, east, north and `center`
 * longitude, latitude, zoom.
 */
export function archive({ tiles, tileType, tileCompression, metadata, bounds, center, leafSize = null }) {
  const { entries, contents, data } = cluster(tiles);
  const { root, leaves, leafCount } = directories(entries, leafSize);
  const json = gzip(Buffer.from(JSON.stringify(metadata)));
  if (HEADER_LENGTH + root.length > ROOT_END) throw new RangeError('the root directory leaves the first 16 KiB: use leaves');

  const header = new DataView(new ArrayBuffer(HEADER_LENGTH));
  Buffer.from('PMTiles').forEach((byte, i) => header.setUint8(i, byte));
  header.setUint8(7, 3);
  let offset = HEADER_LENGTH;
  [root, json, leaves, data].forEach((section, i) => {
    header.setBigUint64(8 + 16 * i, BigInt(offset), true);
    header.setBigUint64(16 + 16 * i, BigInt(section.length), true);
    offset += section.length;
  });
  [tiles.length, entries.length, contents].forEach((count, i) => header.setBigUint64(72 + 8 * i, BigInt(count), true));
  header.setUint8(96, 1); // clustered
  header.setUint8(97, COMPRESSION.gzip); // of directories and metadata
  header.setUint8(98, tileCompression);
  header.setUint8(99, tileType);
  const zooms = tiles.map((tile) => tile.z);
  header.setUint8(100, Math.min(...zooms));
  header.setUint8(101, Math.max(...zooms));
  bounds.forEach((degrees, i) => header.setInt32(102 + 4 * i, Math.round(degrees * 1e7), true));
  header.setUint8(118, center[2]);
  header.setInt32(119, Math.round(center[0] * 1e7), true);
  header.setInt32(123, Math.round(center[1] * 1e7), true);

  const bytes = Buffer.concat([new Uint8Array(header.buffer), root, json, leaves, data]);
  return { bytes, stats: { tiles: tiles.length, entries: entries.length, contents, leaves: leafCount } };
}

/** Order the tiles by id, store equal contents once, and fold neighbours of equal content into one entry. */
function cluster(tiles) {
  const ordered = tiles.map((tile) => ({ id: tileId(tile.z, tile.x, tile.y), data: tile.data }));
  ordered.sort((a, b) => a.id - b.id);
  const seen = new Map();
  const entries = [];
  const parts = [];
  let end = 0;
  for (const { id, data } of ordered) {
    const hash = createHash('sha256').update(data).digest('hex');
    if (!seen.has(hash)) {
      seen.set(hash, end);
      parts.push(data);
      end += data.length;
    }
    const offset = seen.get(hash);
    const last = entries.at(-1);
    if (last && last.id + last.run === id && last.offset === offset) last.run += 1;
    else entries.push({ id, run: 1, offset, length: data.length });
  }
  return { entries, contents: seen.size, data: Buffer.concat(parts) };
}

/** The root directory, and the section of leaf directories it points into. */
function directories(entries, leafSize) {
  if (leafSize === null) return { root: directory(entries), leaves: new Uint8Array(), leafCount: 0 };
  const leaves = [];
  const pointers = [];
  let offset = 0;
  for (let i = 0; i < entries.length; i += leafSize) {
    const leaf = directory(entries.slice(i, i + leafSize));
    // A run length of 0 says that the entry is a leaf directory; its offset counts from the section of leaves.
    pointers.push({ id: entries[i].id, run: 0, offset, length: leaf.length });
    leaves.push(leaf);
    offset += leaf.length;
  }
  return { root: directory(pointers), leaves: Buffer.concat(leaves), leafCount: leaves.length };
}

/** One directory (spec §4.2): the entries column by column, gzipped. */
function directory(entries) {
  const bytes = new Bytes().varint(entries.length);
  entries.forEach((entry, i) => bytes.varint(i === 0 ? entry.id : entry.id - entries[i - 1].id));
  entries.forEach((entry) => bytes.varint(entry.run));
  entries.forEach((entry) => bytes.varint(entry.length));
  entries.forEach((entry, i) => {
    const before = entries[i - 1];
    const follows = before && before.offset + before.length === entry.offset;
    bytes.varint(follows ? 0 : entry.offset + 1);
  });
  return gzip(bytes.done());
}
