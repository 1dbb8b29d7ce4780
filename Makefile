# Two commands do everything on a fresh Debian machine with Rust:
#   make run    build, then gate + booking with a sample event
#   make test   all tests
# Both install what is missing from Debian; nothing else is fetched but crates
# and, for the browser tests, npm packages by their lock file.

CARGO ?= cargo
SHELL := /bin/bash
.DEFAULT_GOAL := run
.PHONY: run build test soak test-api test-kafka lint fmt bench tools-build tools-test tools-kafka tools-bench

run: build
	./target/release/usher demo

build: tools-build
	$(CARGO) build --release --locked

test: tools-test lint
	$(CARGO) test --locked
	tests/browser/run

# The fault runs with the crowd of an on-sale: more than an hour, by hand.
soak: tools-test
	$(CARGO) test --release --locked --test it -- --ignored --nocapture --test-threads 1 soak

# The feature `kafka` against a broker on this machine, which is built first.
test-kafka: tools-kafka
	CARGO=$(CARGO) tests/kafka/run

# Minutes long, and needs Python and PyPI: by hand.
test-api:
	$(CARGO) build --locked
	tests/api/run

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- --deny warnings

fmt:
	$(CARGO) fmt

bench: build tools-bench
	$(CARGO) bench --locked --bench rules
	$(CARGO) build --release --locked --manifest-path benches/references/Cargo.toml
	CARGO=$(CARGO) benches/compare/run --write

tools-build:
	deploy/tools cmake cc pkg-config

tools-test:
	deploy/tools cmake cc pkg-config redis-server postgres chromium node

tools-kafka:
	deploy/tools cmake cc c++ pkg-config python3 postgres

tools-bench:
	deploy/tools cmake cc redis-server postgres nginx haproxy wrk python3 openssl
