#!/usr/bin/env bash
# Fuzzes every target in turn, FUZZ_SECONDS each (30 unless told otherwise). What was learnt stays
# in fuzz/corpus, what failed in fuzz/artifacts: make a unit test of it before anything else.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-30}

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "fuzzing needs a nightly compiler: run  rustup toolchain install nightly  and try again" >&2
    exit 1
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "installing cargo-fuzz"
    cargo install cargo-fuzz --locked --version 0.13.2
fi

# The code under test forbids unsafe, so the address sanitizer would only halve the speed.
cargo +nightly fuzz build --sanitizer none
for target in $(cargo +nightly fuzz list); do
    echo "== $target, $seconds s"
    cargo +nightly fuzz run --sanitizer none "$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -verbosity=0 -print_final_stats=1
done
