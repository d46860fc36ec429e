// Bytes that grow: varints for PMTiles directories and glyph protobufs, and the one gzip of this folder.

import { gzip as deflate } from 'pako';

/** A sequence of bytes under construction. */
export class Bytes {
  #parts = [];

  /** An unsigned LEB128 varint of a safe integer. */
  varint(value) {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`not an unsigned integer: ${value}`);
    while (value >= 0x80) {
      this.#parts.push((value % 0x80) | 0x80);
      value = Math.floor(value / 0x80);
    }
    this.#parts.push(value);
    return this;
  }

  /** Bytes as they are. */
  raw(bytes) {
    for (const byte of bytes) this.#parts.push(byte);
    return this;
  }

  /** A protobuf field of wire type 0. */
  field(number, value) {
    return this.varint(number << 3).varint(value);
  }

  /** A protobuf field of type `sint32`, zigzag-coded. */
  signedField(number, value) {
    return this.field(number, value < 0 ? -2 * value - 1 : 2 * value);
  }

  /** A protobuf field of wire type 2: bytes, a string or a message. */
  lengthField(number, value) {
    const bytes = typeof value === 'string' ? Buffer.from(value) : value;
    return this.varint((number << 3) | 2).varint(bytes.length).raw(bytes);
  }

  /** What was written so far. */
  done() {
    return Uint8Array.from(this.#parts);
  }
}

/**
 * Gzip at the highest level. By pako, not by node's zlib: the same input gives the same bytes whatever zlib node was
 * built with. The header carries no time and no name.
 */
export function gzip(bytes) {
  return deflate(bytes, { level: 9 });
}
