// Cuts polygons at the antimeridian. The source is stitched for the sphere: Russia runs across 180° and Antarctica around
// the pole, which a flat map would draw as bands across the world.

/** The same area as a MultiPolygon whose rings stay within -180° … 180° and close on a flat map. */
export function cutAtAntimeridian(geometry) {
  const polygons = geometry.type === 'Polygon' ? [geometry.coordinates] : geometry.coordinates;
  return { type: 'MultiPolygon', coordinates: polygons.flatMap(cutPolygon) };
}

function cutPolygon(rings) {
  // A ring at the pole itself is the seam of the sphere, not a coast.
  const [outer, ...holes] = rings.filter((ring) => ring.some(([, lat]) => lat > -89.99)).map(unroll);
  const [west, east] = extent(outer);
  const aligned = holes.map((hole) => {
    const turns = Math.round((extent(hole)[0] - west) / 360);
    return shift(hole, -360 * turns);
  });
  const pieces = [];
  for (let turn = Math.ceil((west - 180) / 360); turn <= Math.floor((east + 180) / 360); turn++) {
    const [shell, ...inner] = [outer, ...aligned].map((ring) => clip(shift(ring, -360 * turn)));
    if (shell) pieces.push([shell, ...inner.filter(Boolean)]);
  }
  return pieces;
}

/** Let longitudes run on past 180° where the ring does; a ring around the pole is closed through it. */
function unroll(ring) {
  const points = [ring[0]];
  let turned = 0;
  for (let i = 1; i < ring.length; i++) {
    const step = ring[i][0] - ring[i - 1][0];
    if (step > 180) turned -= 360;
    if (step < -180) turned += 360;
    points.push([ring[i][0] + turned, ring[i][1]]);
  }
  if (turned !== 0) {
    const pole = ring[0][1] < 0 ? -90 : 90;
    points.push([points.at(-1)[0], pole], [points[0][0], pole], points[0]);
  }
  return points;
}

/** The part of a ring within -180° … 180° (Sutherland and Hodgman), or null where nothing of it is. */
function clip(ring) {
  const right = half(ring, (lon) => lon >= -180, -180);
  const both = half(right, (lon) => lon <= 180, 180);
  const [west, east] = extent(both);
  return both.length >= 4 && east > west ? both : null;
}

function half(ring, keeps, meridian) {
  const kept = [];
  for (let i = 1; i < ring.length; i++) {
    const [a, b] = [ring[i - 1], ring[i]];
    if (keeps(a[0])) kept.push(a);
    if (keeps(a[0]) !== keeps(b[0])) {
      const t = (meridian - a[0]) / (b[0] - a[0]);
      kept.push([meridian, a[1] + (b[1] - a[1]) * t]);
    }
  }
  if (kept.length > 0) kept.push(kept[0]);
  return kept;
}

const shift = (ring, degrees) => (degrees === 0 ? ring : ring.map(([lon, lat]) => [lon + degrees, lat]));

function extent(ring) {
  const lons = ring.map(([lon]) => lon);
  return [Math.min(...lons), Math.max(...lons)];
}
