#!/bin/sh
# Brings MapLibre GL JS, which the demo page draws its maps with, to var/demo/ at the top of the repository. Import it beside
# the page afterwards:
#
#     svc-edge cas import testing/data/assets --prefix demo
#     svc-edge cas import var/demo --prefix demo
#
# The version is pinned in package.json; its bytes are checked against package-lock.json.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
out=$here/../../var/demo

cd "$here"
npm ci --ignore-scripts
mkdir -p "$out"
from=node_modules/maplibre-gl
# Removed first: a file of an earlier run may be read-only.
rm -f "$out/maplibre-gl.js" "$out/maplibre-gl.css" "$out/maplibre-gl.LICENSE.txt"
cp "$from/dist/maplibre-gl.js" "$from/dist/maplibre-gl.css" "$out/"
cp "$from/LICENSE.txt" "$out/maplibre-gl.LICENSE.txt"
echo "MapLibre GL JS $(node -p "require('./$from/package.json').version") is in var/demo"
