// Draws the sample packs with MapLibre, and shows what the server answers. No request leaves this origin.

// The page is at {assets}/demo/index.html.
const demo = new URL('.', location.href);
const assets = new URL('..', demo);

const PACKS = ['tile', 'world', 'raster'];

const REQUESTS = [
  { path: 'tile.json', base: assets, says: 'TileJSON of a vector PMTiles pack' },
  { path: 'world.json', base: assets, says: 'TileJSON of an MBTiles pack' },
  { path: 'raster.json', base: assets, says: 'TileJSON of a raster pack' },
  { path: 'tile/4/8/5', base: assets, says: 'a vector tile, as it is stored: gzip' },
  { path: 'raster/3/4/2', base: assets, says: 'a raster tile' },
  { path: 'world/4/1/9', base: assets, says: 'open sea, where the pack has no tile: 204' },
  { path: 'tile.pmtiles', base: assets, range: 'bytes=0-126', says: 'the first 127 bytes of the archive: its header' },
  { path: 'fonts/noto-sans-latin-400-normal.woff2', base: demo, says: 'a font, from the content-addressed store' },
  { path: 'glyphs/noto-sans-regular/0-255.pbf', base: demo, says: 'glyphs for the labels' },
  { path: 'sprites/maki@2x.png', base: demo, says: 'the sprite of the icons' },
  { path: 'styles/tile.json', base: demo, says: 'the style of this map' },
  { path: '/healthz', base: assets, says: 'whether the server lives' },
];

// What tells most stands first; the rest follows by name.
const FIRST = ['etag', 'cache-status', 'cache-control', 'content-type', 'content-encoding', 'content-length', 'content-range'];

const byId = (id) => document.getElementById(id);

listRequests();
ask(REQUESTS[0]);
try {
  const maplibre = await loadMapLibre();
  addEventListener('hashchange', () => {
    if (packInAddress() !== byId('map').dataset.pack) draw(maplibre, packInAddress());
  });
  await draw(maplibre, packInAddress());
} catch (error) {
  byId('map').dataset.state = 'absent';
  byId('packs').hidden = true;
  notice(error.message);
}

function packInAddress() {
  const name = location.hash.slice(1);
  return PACKS.includes(name) ? name : PACKS[0];
}

/** MapLibre GL JS, if it was imported beside this page. */
function loadMapLibre() {
  const sheet = document.createElement('link');
  sheet.rel = 'stylesheet';
  sheet.href = new URL('maplibre-gl.css', demo);
  const script = document.createElement('script');
  script.src = new URL('maplibre-gl.js', demo);
  return new Promise((resolve, reject) => {
    sheet.onload = () => resolve(window.maplibregl);
    sheet.onerror = () => reject(new Error('maplibre-gl.js is here, but maplibre-gl.css is not: run `make demo-map` again.'));
    script.onload = () => document.head.append(sheet);
    script.onerror = () =>
      reject(new Error('The maps are drawn by MapLibre GL JS, which is not imported here yet: run `make demo-map`, then reload this page.'));
    document.head.append(script);
  });
}

/** Replace the map by one of the pack. `data-state` tells `loading`, then `idle` or `failed`; the map is `window.svcEdgeMap`. */
async function draw(maplibre, name) {
  for (const link of byId('packs').children) {
    if (link.hash === `#${name}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  const container = byId('map');
  container.dataset.state = 'loading';
  container.dataset.pack = name;
  notice(null);
  try {
    window.svcEdgeMap?.remove();
    window.svcEdgeMap = null;
    const style = await loadStyle(name);
    // Another pack may have been chosen while the style was on its way.
    if (container.dataset.pack !== name) return;
    const map = new maplibre.Map({ container, style, attributionControl: { compact: false } });
    window.svcEdgeMap = map;
    map.addControl(new maplibre.NavigationControl({ showCompass: false }));
    map.on('error', ({ error }) => fail(error));
    map.once('idle', () => {
      if (container.dataset.state === 'loading') container.dataset.state = 'idle';
    });
  } catch (error) {
    fail(error);
  }
}

function fail(error) {
  byId('map').dataset.state = 'failed';
  notice(`The map can't be drawn: ${error.message}`);
  console.error(error);
}

/** The style of a pack, its URLs made absolute: MapLibre takes no others, and the file can't know the origin. */
async function loadStyle(name) {
  const answer = await fetch(new URL(`styles/${name}.json`, demo));
  if (!answer.ok) throw new Error(`styles/${name}.json: ${answer.status}`);
  const style = await answer.json();
  const absolute = (path) => location.origin + path;
  if (style.sprite) style.sprite = absolute(style.sprite);
  if (style.glyphs) style.glyphs = absolute(style.glyphs);
  for (const source of Object.values(style.sources)) source.url = absolute(source.url);
  return style;
}

function notice(text) {
  byId('notice').hidden = text === null;
  byId('notice').textContent = text ?? '';
}

function listRequests() {
  const items = REQUESTS.map((request) => {
    const link = element('a', { href: new URL(request.path, request.base), textContent: request.path });
    const what = element('span', {}, link, element('small', { textContent: request.says }));
    const button = element('button', { type: 'button', textContent: 'Ask', onclick: () => ask(request) });
    button.setAttribute('aria-label', `Ask for ${request.path}`);
    return element('li', {}, what, button);
  });
  byId('requests').replaceChildren(...items);
}

/** Ask, past the browser's cache, and show the answer's head. */
async function ask(request, etag = null) {
  const headers = {};
  if (request.range) headers.Range = request.range;
  if (etag) headers['If-None-Match'] = etag;
  const url = new URL(request.path, request.base);
  byId('answer').dataset.state = 'loading';
  try {
    const answer = await fetch(url, { headers, cache: 'no-store' });
    await answer.arrayBuffer();
    show(request, url, headers, answer);
  } catch (error) {
    byId('asked').textContent = `GET ${url.pathname}: ${error.message}`;
    byId('headers').replaceChildren();
    byId('answer').dataset.state = 'failed';
  }
}

function show(request, url, sent, answer) {
  const asked = Object.entries(sent).map(([name, value]) => ` · ${name}: ${value}`);
  byId('asked').textContent = `GET ${url.pathname}${asked.join('')}`;
  const place = ([name]) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
  const rows = [...answer.headers].sort((a, b) => place(a) - place(b) || a[0].localeCompare(b[0]));
  const row = ([name, value]) => element('tr', {}, element('th', { textContent: name }), element('td', { textContent: value }));
  byId('headers').replaceChildren(...[['status', String(answer.status)], ...rows].map(row));
  const etag = answer.headers.get('etag');
  byId('again').hidden = etag === null;
  byId('again').onclick = () => ask(request, etag);
  byId('answer').dataset.state = 'shown';
  byId('answer').dataset.status = answer.status;
}

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
