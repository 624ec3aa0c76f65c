# skiff: build, test, install. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
PREFIX ?= /usr/local
DESTDIR ?=
BUILD := .build/release
PRODUCTS := skiff skiffd skiff-runtime
SWIFTFLAGS := -c release

.PHONY: help deps toolchain build test unit integration lint format demo install uninstall bench compat soak test-guest fuzz clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

toolchain:
	@command -v swift >/dev/null && swift --version 2>/dev/null | grep -qE 'Swift version ([6-9]|[1-9][0-9])\.' || \
	  { echo "make: no Swift 6 toolchain in PATH: install one from https://www.swift.org/install/linux/ and try again" >&2; exit 1; }

deps: ## install what building needs (Debian packages)
	@Scripts/install-dependencies.sh build

build: toolchain deps ## release binaries in bin/
	@Scripts/build.sh $(PRODUCTS)

test: toolchain ## build and run all tests (as root; unit tests drop to an unprivileged user)
	@Scripts/install-dependencies.sh build test
	@Scripts/test.sh all

unit: toolchain deps ## unit tests only
	@Scripts/test.sh unit

integration: toolchain ## tests that need root, inside namespaces of their own; FILTER=regex picks
	@Scripts/install-dependencies.sh build test
	@Scripts/test.sh integration

lint: toolchain ## layout and house rules
	@Scripts/lint.sh

format: toolchain ## let swift-format lay out all sources
	@git ls-files '*.swift' | xargs swift format -i --configuration .swift-format

demo: build ## nginx from a fresh Debian image, answering on port 8080
	@Scripts/install-dependencies.sh demo
	@Scripts/demo.sh

install: build ## install into PREFIX (default /usr/local), DESTDIR is honoured
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' Scripts/install.sh

uninstall: ## remove what install put there
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' Scripts/install.sh --remove

bench: build ## timings side by side with docker, podman, crun and runc
	@Scripts/install-dependencies.sh bench
	@Benchmarks/bench.sh

compat: build ## outside clients (docker CLI, docker-py) drive the engine
	@Scripts/install-dependencies.sh compat
	@Tests/Compatibility/run.sh

soak: build ## long storms of kills and restarts; SOAK_SECONDS (default 600), STORM_KILLS (default 200)
	@Scripts/install-dependencies.sh test
	@Scripts/soak.sh

test-guest: build ## integration tests under systemd, cgroup v2 and AppArmor in a throw-away Debian guest
	@Scripts/install-dependencies.sh guest
	@Scripts/test-guest.sh

fuzz: toolchain ## every fuzzer for FUZZ_SECONDS (default 600)
	@Scripts/install-dependencies.sh build
	@Fuzz/run.sh

clean: ## remove build products
	rm -rf .build bin
