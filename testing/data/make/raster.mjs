// Draws Natural Earth into PNG tiles: polygons filled by scan lines on a fine grid, then averaged down. Only integers and
// plain arithmetic decide about a pixel, so every machine draws the same bytes.

import { TINTS } from './natural-earth.mjs';
import { indexedPng } from './png.mjs';

const TILE = 256;
// Sub-pixels per pixel and axis.
const FINE = 4;
// Steps between two colours on an edge; 8 keep the palette under 256.
const BLENDS = 8;

const OCEAN = 0;
const LINE = 1;
const BORDER = 2;
const LAND = 3;
const COLORS = [
  [170, 202, 222],
  [152, 186, 208],
  [150, 128, 114],
  ...[[242, 226, 182], [206, 222, 176], [240, 205, 180], [224, 206, 224], [250, 240, 214]].slice(0, TINTS),
];

/** The tiles up to `maxZoom`: `{z, x, y, data}`, data a PNG of 256 px. */
export function render(sources, maxZoom) {
  const blends = new Blends();
  const tiles = [];
  for (let z = 0; z <= maxZoom; z++) {
    const grid = draw(sources, z);
    for (let x = 0; x < 2 ** z; x++) {
      for (let y = 0; y < 2 ** z; y++) {
        const pixels = shrink(grid, x * TILE, y * TILE, blends);
        tiles.push({ z, x, y, data: indexedPng(TILE, TILE, pixels, blends.palette) });
      }
    }
  }
  return tiles;
}

/** The whole world at a zoom, on the fine grid: one index into COLORS a sub-pixel. */
function draw({ graticule, countries, lakes, boundaries }, z) {
  const size = TILE * FINE * 2 ** z;
  const grid = { size, cells: new Uint8Array(size * size).fill(OCEAN) };
  const width = FINE * (z < 2 ? 0.5 : 1);
  for (const { geometry } of graticule.features) strokeAll(grid, geometry, width / 2, LINE);
  for (const { geometry, properties } of countries.features) fillAll(grid, geometry, LAND + properties.tint);
  for (const { geometry } of lakes.features) fillAll(grid, geometry, OCEAN);
  for (const { geometry } of boundaries.features) strokeAll(grid, geometry, width, BORDER);
  return grid;
}

/** Longitude and latitude to the grid, by Web Mercator. */
function project(size, [lon, lat]) {
  const sin = Math.sin((Math.max(-89.9, Math.min(89.9, lat)) * Math.PI) / 180);
  return [(lon / 360 + 0.5) * size, (0.5 - Math.log((1 + sin) / (1 - sin)) / (4 * Math.PI)) * size];
}

function fillAll(grid, geometry, color) {
  const polygons = geometry.type === 'Polygon' ? [geometry.coordinates] : geometry.coordinates;
  for (const rings of polygons) fill(grid, rings.map((ring) => ring.map((at) => project(grid.size, at))), color);
}

function strokeAll(grid, geometry, width, color) {
  for (const coordinates of geometry.coordinates) {
    const points = coordinates.map((at) => project(grid.size, at));
    for (let i = 1; i < points.length; i++) stroke(grid, points[i - 1], points[i], width, color);
  }
}

/** One segment as a rectangle, lengthened by half its width so that joints close. */
function stroke(grid, [ax, ay], [bx, by], width, color) {
  const length = Math.sqrt((bx - ax) ** 2 + (by - ay) ** 2);
  if (length === 0) return;
  const ux = ((bx - ax) / length) * (width / 2);
  const uy = ((by - ay) / length) * (width / 2);
  const corners = [
    [ax - ux - uy, ay - uy + ux],
    [ax - ux + uy, ay - uy - ux],
    [bx + ux + uy, by + uy - ux],
    [bx + ux - uy, by + uy + ux],
  ];
  fill(grid, [[...corners, corners[0]]], color);
}

/** Fill rings by the even-odd rule: a sub-pixel belongs to the polygon if its centre does. */
function fill({ size, cells }, rings, color) {
  const crossings = new Map();
  for (const ring of rings) {
    for (let i = 1; i < ring.length; i++) {
      let [[ax, ay], [bx, by]] = [ring[i - 1], ring[i]];
      if (ay > by) [ax, ay, bx, by] = [bx, by, ax, ay];
      const last = Math.min(size - 1, Math.ceil(by - 0.5) - 1);
      for (let row = Math.max(0, Math.ceil(ay - 0.5)); row <= last; row++) {
        const at = ax + ((row + 0.5 - ay) / (by - ay)) * (bx - ax);
        if (crossings.has(row)) crossings.get(row).push(at);
        else crossings.set(row, [at]);
      }
    }
  }
  for (const [row, ats] of crossings) {
    ats.sort((a, b) => a - b);
    for (let i = 0; i + 1 < ats.length; i += 2) {
      const from = Math.max(0, Math.ceil(ats[i] - 0.5));
      const to = Math.min(size, Math.ceil(ats[i + 1] - 0.5));
      if (from < to) cells.fill(color, row * size + from, row * size + to);
    }
  }
}

/** One tile of the grid, each pixel the blend of the two colours that fill most of it. */
function shrink({ size, cells }, left, top, blends) {
  const pixels = new Uint8Array(TILE * TILE);
  const counts = new Uint8Array(COLORS.length);
  for (let y = 0; y < TILE; y++) {
    for (let x = 0; x < TILE; x++) {
      counts.fill(0);
      for (let fy = 0; fy < FINE; fy++) {
        const start = ((top + y) * FINE + fy) * size + (left + x) * FINE;
        for (let fx = 0; fx < FINE; fx++) counts[cells[start + fx]] += 1;
      }
      pixels[y * TILE + x] = blends.index(counts);
    }
  }
  return pixels;
}

/** The palette of a pack: the colours and the steps between any two of them, numbered as they come up. */
class Blends {
  palette = [];
  #indexes = new Map();

  /** The palette's index for a pixel, from the number of sub-pixels of each colour. */
  index(counts) {
    const order = [...counts.keys()].filter((color) => counts[color] > 0).sort((a, b) => counts[b] - counts[a] || a - b);
    const [first, second = first] = order;
    const step = second === first ? 0 : Math.round((BLENDS * counts[second]) / (counts[first] + counts[second]));
    const key = step === 0 ? `${first}` : `${Math.min(first, second)} ${Math.max(first, second)} ${first < second ? step : BLENDS - step}`;
    if (!this.#indexes.has(key)) {
      if (this.palette.length === 256) throw new RangeError('more than 256 colours: take fewer BLENDS');
      this.#indexes.set(key, this.palette.length);
      this.palette.push(COLORS[first].map((value, i) => Math.round(value + ((COLORS[second][i] - value) * step) / BLENDS)));
    }
    return this.#indexes.get(key);
  }
}
