# Halfspace. `make demo` shows it at work, `make test` passes its tests; both install the Debian
# packages they need and say which.

SHELL := /bin/bash
.DEFAULT_GOAL := build

CARGO ?= cargo
TRIPLE := $(shell uname -m)-unknown-linux-gnu

# Building the kernel programs.
BUILD_PACKAGES := clang llvm libbpf-dev linux-libc-dev make gcc libc6-dev
# What the demo and the tests run: programs no one here wrote.
RUN_PACKAGES := iproute2 ethtool procps curl nginx-light iperf3 dnsutils iputils-ping traceroute \
	python3 prometheus coturn
# The benchmark's peers: gateways, and a generator; and what the conformance prober is held to.
BENCH_PACKAGES := nftables haproxy nginx-light libnginx-mod-stream wrk tayga
# What it found out.
BENCH_DIR := target/bench
# Counts instructions.
GUARD_PACKAGES := valgrind
# libFuzzer is C++.
FUZZ_PACKAGES := g++
# Making and running the container image without a daemon.
IMAGE_PACKAGES := buildah podman runc

.PHONY: build demo test check fuzz bench conformance perf-guard image clean \
	build-packages run-packages bench-packages guard-packages fuzz-packages image-packages

build: build-packages ## Build everything, optimised
	$(CARGO) build --release --workspace

demo: build run-packages ## Show the gateway at work, in namespaces of its own (root)
	target/release/halfspace demo
	target/release/halfspace demo eni

# The tests of the generator start the gateway that is built with them, instead of building it again.
test: build-packages run-packages bench-packages fuzz-packages image-packages ## Every test (root; skips say why)
	$(MAKE) image
	HALFSPACE=$(abspath $(or $(CARGO_TARGET_DIR),target))/debug/halfspace \
		$(CARGO) test --workspace --no-fail-fast
	$(MAKE) fuzz

check: build-packages ## Format, lints, documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items

fuzz: fuzz-packages ## Fuzz every parser, briefly; FUZZ_SECONDS=n for longer
	fuzz/run.sh

bench: build bench-packages run-packages ## Measure against peers, in namespaces of its own (root); QUICK=1 for less
	target/release/halfspace-loadtest bench --output $(BENCH_DIR)/results.json $(if $(QUICK),--quick)
	target/release/halfspace-loadtest report --results $(BENCH_DIR)/results.json \
		--html $(BENCH_DIR)/report.html \
		--markdown $(if $(QUICK),$(BENCH_DIR)/benchmarks.md,docs/benchmarks.md)

conformance: build bench-packages run-packages ## Hold known NATs to their RFCs, in namespaces of its own (root)
	target/release/halfspace-loadtest conformance

perf-guard: build-packages run-packages guard-packages ## Whether packets and flows cost more than they did; UPDATE=1 takes over what they cost now
	$(CARGO) build --release -p halfspace-slow-path
	$(CARGO) run -p halfspace-perf-guard -- $(if $(UPDATE),--update)

image: build-packages image-packages ## The container image, from one static binary
	images/build.sh

clean: ## Remove what was built
	$(CARGO) clean
	rm -rf fuzz/target

# Installs what is missing of a list of Debian packages, and says what it does.
define install
	@missing=""; for p in $(1); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
		echo "installing Debian packages:$$missing"; \
		if [ "$$(id -u)" -ne 0 ]; then echo "not root: run  apt-get install$$missing  and try again" >&2; exit 1; fi; \
		apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
endef

build-packages:
	$(call install,$(BUILD_PACKAGES))
run-packages:
	$(call install,$(RUN_PACKAGES))
bench-packages:
	$(call install,$(BENCH_PACKAGES))
guard-packages:
	$(call install,$(GUARD_PACKAGES))
fuzz-packages:
	$(call install,$(FUZZ_PACKAGES))
image-packages:
	$(call install,$(IMAGE_PACKAGES))
