# The commands of the project. `make run` and `make test` are all that a newcomer needs.

CARGO ?= cargo
BIN = target/release/svc-edge

.PHONY: run test build deps demo-map data fuzz bench clean

## Build, import the sample assets, serve conf/svc-edge.yaml, and say what to open.
run: build
	@sh testing/run.sh $(BIN)

## What the build needs and a bare machine lacks: a C compiler and cmake (zlib-ng, SQLite), make. Installed by apt-get as root; without
## root, `pip install --user cmake` (or any cmake on PATH) will do.
deps:
	@sh testing/deps.sh

build: deps
	$(CARGO) build --release --locked

## Everything that CI runs.
test: deps
	@sh testing/test.sh

## MapLibre for the demo page (needs npm): imported into the CAS, so that the page draws the packs.
demo-map: build
	@sh testing/browser/fetch-maplibre.sh
	$(BIN) cas import var/demo --prefix demo --conf conf/svc-edge.yaml

## Make the sample data anew (needs npm).
data:
	cd testing/data/make && npm ci && node make-packs.mjs

## Each fuzz target for FUZZ_SECONDS (needs cargo-fuzz and a nightly or RUSTC_BOOTSTRAP=1).
FUZZ_SECONDS ?= 60
fuzz:
	@sh testing/fuzz/run.sh $(FUZZ_SECONDS)
