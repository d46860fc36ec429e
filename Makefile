# The commands of the project. `make run` and `make test` are all that a newcomer needs.

CARGO ?= cargo
BIN = target/release/svc-edge
# Where testing/deps.sh puts a cmake that the system lacks: the build scripts of zlib-ng look for one on PATH.
export PATH := $(CURDIR)/var/tools/bin:$(PATH)

.PHONY: run test perf-build build deps help demo-map browser-check upgrade-demo chaos chaos-short data fuzz models perf perf-quick perf-soak perf-sweep perf-publish bench allocations profiles

## Build, import the sample assets, serve the sample packs with a small origin behind them, show a miss and a hit, and say what to open.
run: build
	@$(CARGO) build --release --locked --package svc-edge-origin
	@sh testing/run.sh $(BIN) target/release/svc-edge-origin

## Everything that CI runs.
test:
	@sh testing/deps.sh test
	@sh testing/test.sh

## The release binary: target/release/svc-edge.
build: deps
	$(CARGO) build --release --locked

## What the build needs beside Rust (a C compiler, cmake), installed where that can be done, else said.
deps:
	@sh testing/deps.sh

## This list.
help:
	@awk '/^## / { if (text) text = text " "; text = text substr($$0, 4); next } \
	    /^[a-z-]+:/ && text { sub(/:.*/, ""); printf "make %-14s %s\n", $$0, text } { text = "" }' Makefile

## MapLibre for the demo page (needs npm): imported into the CAS, so that the page draws the packs.
demo-map: build
	@sh testing/browser/fetch-maplibre.sh
	$(BIN) cas import var/demo --prefix demo --conf conf/svc-edge.yaml

## Open the demo page of the server at BASE in headless Chromium (needs npm and chromium; `make demo-map` and a running server first).
browser-check: BASE ?= http://127.0.0.1:8080
browser-check:
	cd testing/browser && npm ci --ignore-scripts && BASE=$(BASE) npm run --silent check

## Upgrade a server four times under load, and show what its clients saw: nothing (needs python3).
upgrade-demo: build
	@sh testing/upgrade-demo.sh $(BIN)

## Kill, stop and starve the server, its origin and its disk under a load that checks every byte, and print what clients saw: about 15 minutes.
chaos: build
	@python3 testing/chaos/chaos.py $(BIN)

## The same with each fault for a moment, on the debug build: about two minutes.
chaos-short:
	$(CARGO) build --locked
	@python3 testing/chaos/chaos.py --short target/debug/svc-edge

## Make the sample data anew (needs npm).
data:
	cd testing/data/make && npm ci && npm run make

## Run each fuzz target for FUZZ_SECONDS, 60 unless told (needs cargo-fuzz).
fuzz: FUZZ_SECONDS ?= 60
fuzz:
	@sh testing/fuzz/run.sh $(FUZZ_SECONDS)

## Run the core of the fills under many thousand schedules of its threads: no lost wake-up, no double fill, no leak.
models:
	$(CARGO) test --locked --manifest-path testing/models/Cargo.toml

# What both measure.
perf-build: build
	@$(CARGO) build --release --locked --package perf-floor

## Measure svc-edge beside nginx, Varnish, h2o and martin, as far as they are installed: 35 minutes on an idle machine. PERF has more words for perf.py.
perf: perf-build
	@sh testing/deps.sh perf
	@python3 testing/performance/perf.py $(PERF)

## The short form for CI, beside nginx alone: two minutes, into var/perf/quick.json.
perf-quick: perf-build
	@sh testing/deps.sh perf-quick
	@python3 testing/performance/perf.py --quick $(PERF)

## gwsmoke at 400 requests a second for SOAK, 10m unless told: fails on a trend in memory or descriptors (needs oha).
perf-soak: SOAK ?= 10m
perf-soak: build
	@sh testing/deps.sh perf-quick
	@python3 testing/performance/soak.py --seconds $(SOAK)

## Measure each knob over its values: 10 minutes, into testing/performance/sweeps.json and sweeps.md.
perf-sweep: perf-build
	@sh testing/deps.sh perf-quick
	@python3 testing/performance/sweep.py $(PERF)

## Put the last report of `make perf` into testing/performance/report and README.md.
perf-publish:
	@python3 testing/performance/perf.py --publish

## What single steps cost: rules, hashing, packs, the index (of BENCH_OBJECTS objects, 200000 unless told), a hit over a socket pair. Minutes to build, two to run.
bench: deps
	$(CARGO) bench --locked

## What a hit allocates: the table, where each allocation is made (target/allocations.txt), and testing/performance/allocations.json.
allocations: deps
	@ALLOCATIONS=trace ALLOCATIONS_JSON=$(CURDIR)/testing/performance/allocations.json \
	    $(CARGO) test --locked --test allocations -- --nocapture >target/allocations.txt || failed=1; \
	sed -n '/^a hit of/,/^test /p' target/allocations.txt | grep -v '^test '; test -z "$$failed"

## Flamegraphs of hits and fills, and a recording of tokio-console, into testing/performance/profiles (needs perf, wrk, inferno, python3).
profiles:
	@sh testing/performance/flamegraph.sh
	@python3 testing/performance/console.py
