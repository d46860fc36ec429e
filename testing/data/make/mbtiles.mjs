// Writes MBTiles 1.3 databases, with a SQLite of a pinned version so that the same tiles give the same bytes.

import initSqlJs from 'sql.js';

/**
 * The bytes of a database with the plain schema (spec §"Tiles": a `tiles` table, no deduplication).
 *
 * `tiles` is a list of `{z, x, y, data}` in the XYZ scheme; `metadata` maps names to strings.
 */
export async function database({ tiles, metadata }) {
  const SQL = await initSqlJs();
  const db = new SQL.Database();
  try {
    // 'MPBX', which SQLite's list of application ids gives to MBTiles.
    db.run('PRAGMA page_size = 4096; PRAGMA application_id = 0x4d504258;');
    db.run(`CREATE TABLE metadata (name text, value text);
      CREATE TABLE tiles (zoom_level integer, tile_column integer, tile_row integer, tile_data blob);
      CREATE UNIQUE INDEX metadata_index ON metadata (name);
      CREATE UNIQUE INDEX tile_index ON tiles (zoom_level, tile_column, tile_row);`);
    db.run('BEGIN');
    for (const [name, value] of Object.entries(metadata)) db.run('INSERT INTO metadata VALUES (?, ?)', [name, value]);
    const insert = db.prepare('INSERT INTO tiles VALUES (?, ?, ?, ?)');
    // Rows are counted from the south (TMS), as the specification has it.
    for (const { z, x, y, data } of tiles) insert.run([z, x, 2 ** z - 1 - y, data]);
    insert.free();
    db.run('COMMIT');
    db.run('VACUUM');
    return Buffer.from(db.export());
  } finally {
    db.close();
  }
}
