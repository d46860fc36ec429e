// Writes PNG: indexed with the smallest palette that holds the picture, or RGBA.

import { deflate } from 'pako';

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const COLOR = { indexed: 3, rgba: 6 };

/**
 * An indexed picture. `pixels` holds one index into `palette` (a list of `[r, g, b]`) a pixel; colours that the picture
 * does not use are left out, and the bit depth is the least that holds the rest.
 */
export function indexedPng(width, height, pixels, palette) {
  const used = [...new Set(pixels)].sort((a, b) => a - b);
  const position = new Map(used.map((index, i) => [index, i]));
  const depth = [1, 2, 4, 8].find((bits) => used.length <= 2 ** bits);
  const stride = Math.ceil((width * depth) / 8);
  const rows = new Uint8Array(height * (stride + 1)); // each row starts with filter 0: none suits indexed pictures best
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = x * depth;
      const shift = 8 - depth - (bit % 8);
      rows[y * (stride + 1) + 1 + (bit >> 3)] |= position.get(pixels[y * width + x]) << shift;
    }
  }
  return png(width, height, depth, COLOR.indexed, rows, used.flatMap((index) => palette[index]));
}

/** A picture of 8-bit red, green, blue and alpha. */
export function rgbaPng(width, height, pixels) {
  const rows = new Uint8Array(height * (width * 4 + 1));
  for (let y = 0; y < height; y++) {
    rows.set(pixels.subarray(y * width * 4, (y + 1) * width * 4), y * (width * 4 + 1) + 1);
  }
  return png(width, height, 8, COLOR.rgba, rows, null);
}

function png(width, height, depth, color, rows, palette) {
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([depth, color], 8);
  const chunks = [chunk('IHDR', head)];
  if (palette) chunks.push(chunk('PLTE', palette));
  chunks.push(chunk('IDAT', deflate(rows, { level: 9 })), chunk('IEND', []));
  return Buffer.concat([SIGNATURE, ...chunks]);
}

function chunk(type, data) {
  const bytes = Buffer.alloc(12 + data.length);
  bytes.writeUInt32BE(data.length, 0);
  bytes.write(type, 4, 'latin1');
  bytes.set(data, 8);
  bytes.writeUInt32BE(crc(bytes.subarray(4, 8 + data.length)), 8 + data.length);
  return bytes;
}

/** The cyclic redundancy code of PNG (ISO 3309), bit by bit. */
function crc(bytes) {
  let code = 0xffffffff;
  for (const byte of bytes) {
    code ^= byte;
    for (let bit = 0; bit < 8; bit++) code = code & 1 ? (code >>> 1) ^ 0xedb88320 : code >>> 1;
  }
  return (code ^ 0xffffffff) >>> 0;
}
