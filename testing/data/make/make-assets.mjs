// Makes what the styles need beside the packs: fonts, glyph ranges and the sprite.
//
//     node make-assets.mjs [--out DIR]     # default: ../assets

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { glyphRange } from './glyphs.mjs';
import { layers } from './natural-earth.mjs';
import { sprite } from './sprite.mjs';

const { values } = parseArgs({ options: { out: { type: 'string' } } });
const out = values.out ?? fileURLToPath(new URL('../assets', import.meta.url));

const NOTO = 'node_modules/@fontsource/noto-sans';
const MAKI = 'node_modules/@mapbox/maki';
const STACK = 'noto-sans-regular';
const ICONS = [
  'airport', 'bank', 'bus', 'cafe', 'castle', 'circle', 'city', 'ferry', 'harbor', 'hospital', 'library', 'lighthouse',
  'marker', 'monument', 'mountain', 'museum', 'park', 'rail', 'square', 'star', 'theatre', 'town', 'volcano', 'zoo',
];

const source = (path) => readFile(new URL(path, import.meta.url));

/** The web font and its licence, as the package ships them. */
async function fonts() {
  return {
    'fonts/noto-sans-latin-400-normal.woff2': await source(`${NOTO}/files/noto-sans-latin-400-normal.woff2`),
    'fonts/noto-sans-latin-600-normal.woff2': await source(`${NOTO}/files/noto-sans-latin-600-normal.woff2`),
    'fonts/OFL.txt': await source(`${NOTO}/LICENSE`),
  };
}

/** The glyph ranges that the names on the map need. */
async function glyphs() {
  const parts = ['latin', 'latin-ext'].map((subset) => source(`${NOTO}/files/noto-sans-${subset}-400-normal.woff`));
  const faces = await Promise.all(parts);
  const { country_labels, cities } = layers();
  const names = [...country_labels.features, ...cities.features].map((f) => f.properties.name);
  const codes = new Set(names.flatMap((name) => [...name]).map((letter) => letter.codePointAt(0)));
  const starts = [...new Set([...codes].map((code) => code - (code % 256)))].sort((a, b) => a - b);
  const files = { 'glyphs/OFL.txt': await source(`${NOTO}/LICENSE`) };
  for (const start of starts) {
    const { bytes, count } = glyphRange(STACK, faces, start);
    files[`glyphs/${STACK}/${start}-${start + 255}.pbf`] = bytes;
    console.log(`${STACK} ${start}-${start + 255}: ${count} glyphs`);
  }
  return files;
}

/** The sprite in both densities. */
async function sprites() {
  const icons = {};
  for (const name of ICONS) icons[name] = await readFile(new URL(`${MAKI}/icons/${name}.svg`, import.meta.url), 'utf8');
  const files = { 'sprites/CC0.txt': await source(`${MAKI}/LICENSE.txt`) };
  for (const ratio of [1, 2]) {
    const { png, index } = sprite(icons, { size: 15, ratio, color: '#4a4540' });
    const suffix = ratio === 1 ? '' : `@${ratio}x`;
    files[`sprites/maki${suffix}.png`] = png;
    files[`sprites/maki${suffix}.json`] = `${JSON.stringify(index, null, 2)}\n`;
  }
  return files;
}

for (const [name, bytes] of Object.entries({ ...(await fonts()), ...(await glyphs()), ...(await sprites()) })) {
  await mkdir(dirname(join(out, name)), { recursive: true });
  await writeFile(join(out, name), bytes);
  console.log(`${name}: ${bytes.length} bytes`);
}
