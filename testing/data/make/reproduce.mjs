// Makes everything anew in a fresh folder and compares it, byte by byte, with what is committed.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const committed = join(here, '..');
const fresh = await mkdtemp(join(tmpdir(), 'svc-edge-data-'));
try {
  execFileSync(process.execPath, ['make-packs.mjs', '--out', fresh], { cwd: here, stdio: 'inherit' });
  execFileSync(process.execPath, ['make-assets.mjs', '--out', join(fresh, 'assets')], { cwd: here, stdio: 'inherit' });
  const entries = await readdir(fresh, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath ?? entry.path, entry.name));
  assert.ok(files.length > 0, 'something was made');
  for (const file of files) {
    const name = file.slice(fresh.length + 1);
    const [made, kept] = await Promise.all([readFile(file), readFile(join(committed, name))]);
    assert.ok(made.equals(kept), `${name} differs from what is committed`);
  }
  console.log(`${files.length} files are the same`);
} finally {
  await rm(fresh, { recursive: true });
}
