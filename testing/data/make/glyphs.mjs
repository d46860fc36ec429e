// Makes glyph ranges for MapLibre: signed distance fields in a protobuf, 256 code points a file.

import opentype from 'opentype.js';

import { Bytes } from './bytes.mjs';

// What MapLibre expects of a glyph: drawn at 24 px, 3 px of border, a field 8 px wide whose edge stands at 3/4 of a byte.
const SIZE = 24;
const BORDER = 3;
const RADIUS = 8;
const CUTOFF = 0.25;
// Pieces of a curve: at 24 px an eighth of one is below a tenth of a pixel from its chord.
const PIECES = 8;

/**
 * One range file (message `glyphs` of Mapbox's glyph protobuf): the code points from `start` to `start + 255` that one of
 * the `fonts` (bytes of WOFF or TrueType files) knows; the first that does draws it.
 */
export function glyphRange(stack, fonts, start) {
  const parsed = fonts.map((bytes) => opentype.parse(new Uint8Array(bytes).buffer));
  const message = new Bytes().lengthField(1, stack).lengthField(2, `${start}-${start + 255}`);
  let count = 0;
  for (let code = Math.max(start, 32); code < start + 256; code++) {
    const font = parsed.find((candidate) => candidate.charToGlyphIndex(String.fromCodePoint(code)) > 0);
    if (!font) continue;
    message.lengthField(3, glyphMessage(font, code));
    count += 1;
  }
  return { bytes: new Bytes().lengthField(1, message.done()).done(), count };
}

/** One glyph: `id`, `bitmap`, `width`, `height`, `left`, `top`, `advance` are the fields 1 to 7. */
function glyphMessage(font, code) {
  const glyph = font.charToGlyph(String.fromCodePoint(code));
  const scale = SIZE / font.unitsPerEm;
  const segments = flatten(glyph.getPath(0, 0, SIZE).commands);
  const xs = segments.flatMap(([a, b]) => [a[0], b[0]]);
  const ys = segments.flatMap(([a, b]) => [a[1], b[1]]);
  const drawn = segments.length > 0;
  const left = drawn ? Math.floor(Math.min(...xs)) : 0;
  const top = drawn ? Math.floor(Math.min(...ys)) : 0; // y grows downwards from the baseline
  const width = drawn ? Math.ceil(Math.max(...xs)) - left : 0;
  const height = drawn ? Math.ceil(Math.max(...ys)) - top : 0;
  const message = new Bytes().field(1, code);
  if (drawn) message.lengthField(2, field(segments, left, top, width, height));
  // The offset of the top counts from the ascender, upwards.
  const ascender = Math.round(font.ascender * scale);
  message.field(3, width).field(4, height).signedField(5, left).signedField(6, drawn ? -top - ascender : 0);
  return message.field(7, Math.round(glyph.advanceWidth * scale)).done();
}

/** The outline as straight segments `[from, to]`. */
function flatten(commands) {
  const segments = [];
  let start = [0, 0];
  let at = start;
  const to = (point) => {
    if (point[0] !== at[0] || point[1] !== at[1]) segments.push([at, point]);
    at = point;
  };
  for (const { type, x, y, x1, y1, x2, y2 } of commands) {
    if (type === 'M') start = at = [x, y];
    else if (type === 'L') to([x, y]);
    else if (type === 'Z') to(start);
    else {
      // A quadratic curve is a cubic one with both controls two thirds of the way.
      const from = at;
      const quadratic = type === 'Q';
      const c1 = quadratic ? between(from, [x1, y1], 2 / 3) : [x1, y1];
      const c2 = quadratic ? between([x, y], [x1, y1], 2 / 3) : [x2, y2];
      for (let i = 1; i <= PIECES; i++) to(cubic(from, c1, c2, [x, y], i / PIECES));
    }
  }
  return segments;
}

const between = (a, b, t) => [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t];

function cubic(a, b, c, d, t) {
  const [ab, bc, cd] = [between(a, b, t), between(b, c, t), between(c, d, t)];
  return between(between(ab, bc, t), between(bc, cd, t), t);
}

/** The distance field: one byte a pixel with its border, larger inside the outline. */
function field(segments, left, top, width, height) {
  const columns = width + 2 * BORDER;
  const rows = height + 2 * BORDER;
  const bytes = new Uint8Array(columns * rows);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const point = [left - BORDER + column + 0.5, top - BORDER + row + 0.5];
      const away = Math.min(...segments.map((segment) => distance(point, segment)));
      const signed = inside(point, segments) ? -away : away;
      const value = Math.round(255 - 255 * (signed / RADIUS + CUTOFF));
      bytes[row * columns + column] = Math.max(0, Math.min(255, value));
    }
  }
  return bytes;
}

function distance([x, y], [[ax, ay], [bx, by]]) {
  const [dx, dy] = [bx - ax, by - ay];
  const t = Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)));
  return Math.sqrt((x - ax - t * dx) ** 2 + (y - ay - t * dy) ** 2);
}

/** Whether the outline winds around the point (the non-zero rule of TrueType: contours may overlap). */
function inside([x, y], segments) {
  let winding = 0;
  for (const [[ax, ay], [bx, by]] of segments) {
    if (ay <= y === by <= y) continue;
    if (ax + ((y - ay) / (by - ay)) * (bx - ax) > x) winding += by > ay ? 1 : -1;
  }
  return winding !== 0;
}
