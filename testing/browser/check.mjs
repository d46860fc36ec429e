// Opens the demo page of a running svc-edge in headless Chromium and fails unless each of the three maps draws.
//
//     BASE=http://127.0.0.1:8080 node check.mjs [--out DIR]     # DIR takes a screenshot of each map
//
// BASE must be the URL by which TileJSON names the server: a request to any other place is a fault. CHROMIUM is the browser,
// /usr/bin/chromium by default. Exit code 0: all draw; 1: a fault, printed; 2: usage.

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { chromium } from 'playwright-core';
import { PNG } from 'pngjs';

const WAIT = 30_000; // ms: drawing without a GPU is slow
// Without a GPU, WebGL is drawn by SwiftShader. The rest keeps the browser from talking to anyone but BASE.
const FLAGS = [
  '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--no-sandbox', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

/** What each pack must draw: layers of the style of which at least one feature is on the screen. None for raster. */
const PACKS = {
  tile: ['graticule', 'land', 'countries', 'lakes', 'rivers', 'boundaries', 'cities', 'countries-names'],
  world: ['countries', 'lakes', 'boundaries', 'cities', 'countries-names'],
  raster: [],
};

const { values } = parseArgs({ options: { out: { type: 'string' } } });
if (!process.env.BASE) {
  console.error('usage: BASE=http://127.0.0.1:8080 node check.mjs [--out DIR]');
  process.exit(2);
}
const base = new URL(process.env.BASE);
const page = new URL('/edge/assets/demo/index.html', base);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: FLAGS,
});
try {
  const faults = [];
  for (const name of Object.keys(PACKS)) faults.push(...(await inTab(name, (tab, found) => checkPack(tab, name, found))));
  faults.push(...(await inTab('switching', checkSwitching)));
  faults.push(...(await inTab('answers', checkAnswers)));
  for (const fault of faults) console.error(fault);
  console.log(faults.length === 0 ? 'all maps draw' : `${faults.length} faults`);
  process.exitCode = faults.length === 0 ? 0 : 1;
} finally {
  await browser.close();
}

/** Run `check` in a fresh tab, whose cache is empty; the faults that it and the tab found, each with `name` before it. */
async function inTab(name, check) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const tab = await context.newPage();
  const faults = [];
  watch(tab, faults);
  try {
    await check(tab, faults);
  } catch (error) {
    faults.push(error.message);
  } finally {
    await context.close();
  }
  return faults.map((fault) => `${name}: ${fault}`);
}

/** Whatever goes wrong in the tab is a fault. */
function watch(tab, faults) {
  tab.on('console', (message) => {
    if (message.type() === 'error') faults.push(`console: ${message.text()}`);
  });
  tab.on('pageerror', (error) => faults.push(`uncaught: ${error.message}`));
  tab.on('request', (request) => {
    const url = new URL(request.url());
    if (url.protocol.startsWith('http') && url.origin !== base.origin) faults.push(`a request left the server: ${url.origin}`);
  });
  tab.on('response', (response) => {
    if (response.status() >= 400) faults.push(`${response.status()} for ${response.url()}`);
  });
  tab.on('requestfailed', (request) => {
    const reason = request.failure()?.errorText;
    // MapLibre gives up tiles that it no longer needs: what is missing then shows as a map that is never idle.
    if (reason !== 'net::ERR_ABORTED') faults.push(`${reason} for ${request.url()}`);
  });
}

/** Draw one pack and look at it. */
async function checkPack(tab, name, faults) {
  await tab.goto(`${page}#${name}`, { timeout: WAIT });
  if (!(await drawn(tab, name, faults))) return;
  if (PACKS[name].length > 0) faults.push(...(await missingLayers(tab, PACKS[name])));
  const colors = distinctColors(await middle(tab));
  if (colors < 10) faults.push(`the map shows only ${colors} colours`);
  await save(`${name}.png`, await tab.screenshot());
  console.log(`${name}: idle, ${colors} colours`);
}

/** Go through the packs by the links of the page, without a reload. */
async function checkSwitching(tab, faults) {
  const [first, ...others] = Object.keys(PACKS);
  await tab.goto(page.href, { timeout: WAIT });
  if (!(await drawn(tab, first, faults))) return;
  for (const name of [...others, first]) {
    await tab.click(`#packs a[href="#${name}"]`, { timeout: WAIT });
    if (!(await drawn(tab, name, faults))) return;
    const colors = distinctColors(await middle(tab));
    if (colors < 10) faults.push(`${name} shows only ${colors} colours`);
  }
  console.log('packs switched');
}

/** Wait for the map of a pack; whether it came. */
async function drawn(tab, name, faults) {
  const handle = await tab.waitForFunction(
    (wanted) => {
      const { pack, state } = document.querySelector('#map').dataset;
      return state === 'absent' || (pack === wanted && state !== 'loading') ? state : false;
    },
    name,
    { timeout: WAIT },
  );
  const state = await handle.jsonValue();
  if (state !== 'idle') faults.push(`the map is ${state}: ${await tab.textContent('#notice')}`);
  return state === 'idle';
}

/** The layers of which no feature is on the screen. */
async function missingLayers(tab, layers) {
  const counts = await tab.evaluate((ids) => {
    const map = window.svcEdgeMap;
    return ids.map((id) => [id, map.queryRenderedFeatures({ layers: [id] }).length]);
  }, layers);
  console.log(counts.map(([id, count]) => `${id} ${count}`).join(', '));
  return counts.filter(([, count]) => count === 0).map(([id]) => `layer ${id} draws nothing`);
}

/** Every request that the page offers is answered, and asking again with its entity tag gives 304. */
async function checkAnswers(tab, faults) {
  await tab.goto(page.href, { timeout: WAIT });
  await answered(tab);
  const buttons = await tab.locator('#requests button').all();
  if (buttons.length === 0) faults.push('the page offers no request');
  for (const button of buttons) {
    const label = await button.getAttribute('aria-label');
    await button.click();
    const first = await answered(tab);
    if (!['200', '204', '206'].includes(first)) faults.push(`${label}: ${first}`);
    if (!(await tab.isVisible('#again'))) continue;
    await tab.click('#again');
    const second = await answered(tab);
    if (second !== '304') faults.push(`${label}: ${second} for If-None-Match with its own ETag, not 304`);
  }
  console.log(`${buttons.length} requests asked`);
}

/** Wait for the answer that the page asked for last; its status, or `failed`. */
async function answered(tab) {
  const handle = await tab.waitForFunction(
    () => {
      const { state, status } = document.querySelector('#answer').dataset;
      return { shown: status, failed: state }[state] ?? false;
    },
    undefined,
    { timeout: WAIT },
  );
  return handle.jsonValue();
}

/** A picture of the middle of the map, where no control stands over it. */
async function middle(tab) {
  const { x, y, width, height } = await tab.locator('#map canvas').boundingBox();
  return tab.screenshot({ clip: { x: x + width / 4, y: y + height / 4, width: width / 2, height: height / 2 } });
}

function distinctColors(picture) {
  const { data } = PNG.sync.read(picture);
  const colors = new Set();
  for (let i = 0; i < data.length; i += 4) colors.add(data.readUIntBE(i, 3));
  return colors.size;
}

async function save(name, bytes) {
  if (!values.out) return;
  await mkdir(values.out, { recursive: true });
  await writeFile(join(values.out, name), bytes);
}
