// Makes a MapLibre sprite: one picture of all icons, and an index that tells where each stands.

import { Resvg } from '@resvg/resvg-js';

import { rgbaPng } from './png.mjs';

const COLUMNS = 6;
const GAP = 1; // sub-pixel positions must not bleed a neighbour in

/**
 * The sprite at `ratio` device pixels a pixel. `icons` maps names to SVG texts of `size` pixels; they are drawn in `color`.
 */
export function sprite(icons, { size, ratio, color }) {
  const side = size * ratio;
  const cell = side + GAP;
  const names = Object.keys(icons).sort();
  const width = COLUMNS * cell;
  const height = Math.ceil(names.length / COLUMNS) * cell;
  const pixels = new Uint8Array(width * height * 4);
  const index = {};
  names.forEach((name, i) => {
    const x = (i % COLUMNS) * cell;
    const y = Math.floor(i / COLUMNS) * cell;
    const drawn = draw(icons[name], side, color);
    for (let row = 0; row < side; row++) {
      pixels.set(drawn.subarray(row * side * 4, (row + 1) * side * 4), ((y + row) * width + x) * 4);
    }
    index[name] = { x, y, width: side, height: side, pixelRatio: ratio };
  });
  return { png: rgbaPng(width, height, pixels), index };
}

/** Straight (not premultiplied) RGBA of one icon. */
function draw(svg, side, color) {
  const tinted = svg.replace('<svg ', `<svg fill="${color}" `);
  const picture = new Resvg(tinted, { fitTo: { mode: 'width', value: side } }).render();
  if (picture.width !== side || picture.height !== side) throw new RangeError(`an icon of ${picture.width}×${picture.height}`);
  const pixels = Uint8Array.from(picture.pixels);
  for (let i = 0; i < pixels.length; i += 4) {
    const alpha = pixels[i + 3];
    for (let c = i; alpha > 0 && c < i + 3; c++) pixels[c] = Math.min(255, Math.round((pixels[c] * 255) / alpha));
  }
  return pixels;
}
